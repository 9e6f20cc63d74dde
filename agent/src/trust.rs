//! Whom the agent believes, and whom it tells.
//!
//! In: host patterns of the configuration, and the host a request goes to. Out: whether that host is outside.
//! Left out on purpose: addresses behind names; a pattern matches what the request says.

use propagation::{Extracted, FormatSet};

use crate::config::Trust;

/// Hosts outside, by patterns of which the last that matches decides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untrusted(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    inside: bool,
    host: Host,
}

#[derive(Debug, Clone)]
enum Host {
    Any,
    /// With its dot: `.example.com`.
    Below(String),
    Exactly(String),
}

impl Untrusted {
    /// Reads patterns; those that are none are told to `wrong` with their place.
    pub(crate) fn new(patterns: &[String], mut wrong: impl FnMut(usize)) -> Self {
        let mut read = Vec::new();
        for (place, text) in patterns.iter().enumerate() {
            match Pattern::parse(text) {
                Some(pattern) => read.push(pattern),
                None => wrong(place),
            }
        }
        Self(read)
    }

    /// Whether `host`, without a port, is outside.
    pub(crate) fn contains(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let last = self.0.iter().rfind(|pattern| pattern.host.matches(host));
        last.is_some_and(|pattern| !pattern.inside)
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('!');
        let host = match bare.unwrap_or(text) {
            "*" => Host::Any,
            pattern => match pattern.strip_prefix('*') {
                Some(suffix) => Host::Below(name(suffix.strip_prefix('.')?).map(|name| format!(".{name}"))?),
                None => Host::Exactly(name(pattern)?),
            },
        };
        Some(Self {
            inside: bare.is_some(),
            host,
        })
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| host.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        }
    }
}

/// A host name or an address, without a port; brackets around IPv6 may be there.
fn name(text: &str) -> Option<String> {
    let bare = text.trim_start_matches('[').trim_end_matches([']', '.']);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let is_name = bare
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (!bare.is_empty() && (is_address || is_name)).then(|| bare.to_owned())
}

/// What a request may say of itself under `trust`, and the format of a trace that was not continued.
pub(crate) fn believed(extracted: Extracted, trust: Trust) -> (Extracted, Option<propagation::Format>) {
    if trust == Trust::Continue {
        return (extracted, None);
    }
    let left = extracted.format.filter(|_| extracted.formats != FormatSet::EMPTY);
    (extracted.restarted(trust == Trust::Link), left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = [
            "*",
            "!*.svc.cluster.local",
            "!10.0.0.7",
            "bad.svc.cluster.local",
            "!::1",
        ];
        let list = Untrusted::new(&patterns.map(str::to_owned), |place| panic!("{place}"));
        for (host, outside) in [
            ("api.example.com", true),
            ("cart.svc.cluster.local", false),
            ("CART.svc.cluster.local.", false),
            ("svc.cluster.local", true),
            ("bad.svc.cluster.local", true),
            ("10.0.0.7", false),
            ("10.0.0.71", true),
            ("[::1]", false),
        ] {
            assert_eq!(list.contains(host), outside, "{host}");
        }
        assert!(
            !Untrusted::default().contains("api.example.com"),
            "by default everybody is told"
        );
    }

    #[test]
    fn what_is_no_host_is_named() {
        let wrong = ["", "!", "*example.com", "http://a", "a:80", "a b", "*.", "a"];
        let mut places = Vec::new();
        Untrusted::new(&wrong.map(str::to_owned), |place| places.push(place));
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6]);
    }
}
