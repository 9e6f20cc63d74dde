//! The far side of an edge, as it is named in spans, counts and rules.
//!
//! In: the authority of a request's target. Out: a [`Peer`]; and a bounded number of names for labels.
//! Left out on purpose: resolving names.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::semconv;

/// The one name of all peers beyond the bound.
pub(crate) const OVERFLOW: &str = "__overflow__";
/// Longest name that is kept; longer ones are among the others.
const MAX_NAME: usize = 256;

/// Whom an outbound request is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// `host[:port]` as the request says it, without credentials.
    pub(crate) authority: String,
    /// `server.address` of the CLIENT span.
    pub(crate) address: String,
    /// `server.port` of the CLIENT span.
    pub(crate) port: u16,
}

impl Peer {
    /// Whom a request with this absolute target is for.
    pub(crate) fn of_target(target: &Uri) -> Option<Self> {
        let mut peer = Self::of(target.authority()?);
        if target.scheme() == Some(&Scheme::HTTPS) && target.port().is_none() {
            peer.port = 443;
        }
        Some(peer)
    }

    pub(crate) fn of(authority: &Authority) -> Self {
        let (address, port) = semconv::address_and_port(authority);
        let text = authority.as_str();
        Self {
            authority: text.rsplit_once('@').map_or(text, |(_, bare)| bare).to_owned(),
            address: address.to_owned(),
            port,
        }
    }
}

/// Names of peers that may become labels: the first so many.
#[derive(Debug)]
pub(crate) struct PeerNames {
    seen: Mutex<HashSet<String>>,
    most: usize,
}

impl PeerNames {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            seen: Mutex::default(),
            most,
        }
    }

    /// `peer`, or [`OVERFLOW`] where too many others came before it.
    pub(crate) fn label<'a>(&self, peer: &'a str) -> &'a str {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(peer) {
            return peer;
        }
        if seen.len() >= self.most || peer.len() > MAX_NAME {
            return OVERFLOW;
        }
        seen.insert(peer.to_owned());
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_as_its_span_names_it_and_without_credentials() {
        for (authority, expected, address, port) in [
            ("ann:pw@shop:8080", "shop:8080", "shop", 8080),
            ("shop", "shop", "shop", 80),
            ("[::1]:81", "[::1]:81", "::1", 81),
        ] {
            let peer = Peer::of(&authority.parse().expect("an authority"));
            let named = (peer.authority.as_str(), peer.address.as_str(), peer.port);
            assert_eq!(named, (expected, address, port));
        }
    }

    #[test]
    fn names_beyond_the_bound_are_one_and_known_ones_stay() {
        let names = PeerNames::new(1);
        assert_eq!(names.label("a"), "a");
        assert_eq!(names.label("b"), OVERFLOW);
        assert_eq!(names.label("a"), "a");
    }
}
