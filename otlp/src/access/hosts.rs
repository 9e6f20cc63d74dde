//! Under which names a listener may be asked for.
//!
//! In: the `Host` of a request, or its authority in HTTP/2. Out: whether it is a name of this host.
//! A web page can let its own name lead to a loopback address, and then reads what is there as its own: its requests bear
//! that name. Names that nobody else can give away are taken: addresses, `localhost`, and those in the configuration.
//! Where programs send rather than browsers read, only browsers are looked at: what they post bears an `Origin`, whatever the
//! page, and a proxy before the listener may well pass on another name.
//! Left out on purpose: requests without a name, which no browser sends.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Under which names a listener may be asked for. Addresses and `localhost` always are.
#[derive(Debug, Clone, Copy)]
pub enum HostNames<'n> {
    /// Any.
    Any,
    /// These, by whoever asks.
    Only(&'n [String]),
    /// These by browsers, any by others.
    OfBrowsers(&'n [String]),
}

/// Names of a listener, beside addresses and `localhost`.
pub(super) struct Hosts {
    names: Vec<String>,
    browsers_only: bool,
}

impl Hosts {
    /// `None` where any name is taken.
    pub(super) fn new(names: HostNames<'_>) -> Option<Self> {
        let (names, browsers_only) = match names {
            HostNames::Any => return None,
            HostNames::Only(names) => (names, false),
            HostNames::OfBrowsers(names) => (names, true),
        };
        Some(Self {
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            browsers_only,
        })
    }

    pub(super) fn allow(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        if self.browsers_only && !headers.contains_key(header::ORIGIN) {
            return true;
        }
        let named = headers.get_all(header::HOST).iter();
        let mut named = named.map(|host| Authority::try_from(host.as_bytes()).ok());
        named.all(|host| host.is_some_and(|host| self.is_ours(host.host())))
            && uri.host().is_none_or(|host| self.is_ours(host))
    }

    fn is_ours(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok()) || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        // RFC 6761, section 6.3: these lead to loopback whoever is asked.
        host == "localhost" || host.ends_with(".localhost") || self.names.iter().any(|name| name == host)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allows(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        hosts.allow(&headers, &Uri::from_static("/"))
    }

    #[test]
    fn addresses_localhost_and_given_names_are_ours_and_no_other() {
        let names = ["Traces.example".to_owned()];
        let hosts = Hosts::new(HostNames::Only(&names)).expect("not any");
        for ours in [
            "127.0.0.1",
            "127.0.0.1:7070",
            "[::1]:7070",
            "10.1.2.3:7070",
            "localhost:7070",
            "LOCALHOST",
            "a.localhost",
            "traces.example.:7070",
        ] {
            assert!(allows(&hosts, ours), "{ours}");
        }
        for foreign in [
            "evil.example:7070",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "traces.example.evil",
            "",
            "a b",
            "evil.example@localhost@x",
        ] {
            assert!(!allows(&hosts, foreign), "{foreign}");
        }
    }

    #[test]
    fn where_programs_send_only_browsers_are_asked_for_the_name() {
        let hosts = Hosts::new(HostNames::OfBrowsers(&[])).expect("not any");
        let asked = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            hosts.allow(&headers, &Uri::from_static("/v1/traces"))
        };
        assert!(asked("collector.example", None), "an SDK, by way of a proxy");
        assert!(asked("localhost:4318", Some("http://shop.example")));
        assert!(!asked("evil.example:4318", Some("http://evil.example:4318")));
        assert!(!asked("evil.example:4318", Some("null")));
    }

    #[test]
    fn every_name_that_a_request_bears_has_to_be_ours() {
        let hosts = Hosts::new(HostNames::Only(&[])).expect("not any");
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, "localhost".parse().expect("a value"));
        twice.append(header::HOST, "evil.example".parse().expect("a value"));
        assert!(!hosts.allow(&twice, &Uri::from_static("/")));
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!hosts.allow(&HeaderMap::new(), &absolute));
        assert!(
            hosts.allow(&HeaderMap::new(), &Uri::from_static("/")),
            "no name at all"
        );
    }
}
