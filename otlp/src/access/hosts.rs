//! Under which names a page may be asked for.
//!
//! In: the `Host` of a request, or its authority in HTTP/2. Out: whether it is a name of this host.
//! A web page can let its own name lead to a loopback address, and then reads what is there as its own: its requests bear
//! that name. Names that nobody else can give away are taken: addresses, `localhost`, and those in the configuration.
//! Left out on purpose: requests without a name, which no browser sends.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Names of a listener, beside addresses and `localhost`.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    pub(super) fn allow(&self, headers: &HeaderMap, uri: &Uri) -> bool {
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
        host == "localhost" || host.ends_with(".localhost") || self.0.iter().any(|name| name == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        hosts.allow(&headers, &Uri::from_static("/"))
    }

    #[test]
    fn addresses_localhost_and_given_names_are_ours_and_no_other() {
        let hosts = Hosts::new(&["Traces.example".to_owned()]);
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
    fn every_name_that_a_request_bears_has_to_be_ours() {
        let hosts = Hosts::new(&[]);
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
