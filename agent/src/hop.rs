//! Headers that are meant for one connection and must not travel past it.
//!
//! In: the headers of a message as it came. Out: the headers it goes on with.
//! Left out on purpose: `Via` and `X-Forwarded-*`. A sidecar is part of its service, and adds only context.
//! Source: RFC 9110, sections 7.6.1 and 7.8.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};

const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-authenticate"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what belongs to the connection that the message came on. Gives the protocol it asks to upgrade to.
///
/// `TE: trailers` is kept, for the body's trailers pass. `Trailer` is kept, for it announces them.
pub(crate) fn strip(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !headers.keys().any(is_of_connection) {
        return None;
    }
    let named = named_by_connection(headers);
    let upgrade = headers
        .get(UPGRADE)
        .filter(|protocol| named.contains(&UPGRADE) && !is_h2c(protocol))
        .cloned();
    let trailers = accepts_trailers(headers);
    if headers.contains_key(TRANSFER_ENCODING) {
        // Chunks frame the body, and a length beside them is how one message becomes two (RFC 9112, section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    for name in named.iter().filter(|name| **name != TE).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    headers.remove(TE);
    if trailers {
        set(headers, TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Whether [`strip`] has something to do because of this header.
fn is_of_connection(name: &HeaderName) -> bool {
    *name == CONNECTION || *name == TE || HOP_BY_HOP.contains(name)
}

/// Asks the next peer on an HTTP/1.1 connection for `upgrade`, and says that `TE` was meant for it.
pub(crate) fn restore_http1(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    let te = headers.contains_key(TE);
    let connection = match (&upgrade, te) {
        (Some(_), true) => "upgrade, te",
        (Some(_), false) => "upgrade",
        (None, true) => "te",
        (None, false) => return,
    };
    set(headers, CONNECTION, HeaderValue::from_static(connection));
    if let Some(protocol) = upgrade {
        set(headers, UPGRADE, protocol);
    }
}

/// A peer may have filled the map to its bound, beyond which `insert` panics.
fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let _ = headers.try_insert(name, value);
}

/// Header names listed by `Connection`. `Host` and the like are no one's to remove: names that frame or route the message
/// are not connection options.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| ![http::header::HOST, http::header::CONTENT_LENGTH].contains(name))
        .collect()
}

/// An upgrade to HTTP/2 would hide all later requests of the connection in a tunnel. To go on without it is always allowed
/// (RFC 9110, section 7.8), and RFC 9113 has given it up.
fn is_h2c(protocol: &HeaderValue) -> bool {
    let mut tokens = protocol.as_bytes().split(|byte| *byte == b',');
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// Whether the message's body is framed in a way that both sides of a proxy are sure to read alike: by a length, or
/// chunked once. Other codings would have to be undone, and variants of the word are how requests are smuggled.
pub(crate) fn framing_is_known(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            let coding = coding.as_bytes().trim_ascii();
            coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity")
        }
        (Some(_), Some(_)) => false,
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn headers_of_one_connection_end_with_it_and_those_named_by_connection_too() {
        let mut came = headers(&[
            ("connection", "close, X-Trace-Hop"),
            ("x-trace-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("trailer", "x-checksum"),
            ("authorization", "kept"),
        ]);
        assert_eq!(strip(&mut came), None);
        assert_eq!(
            came,
            headers(&[
                ("te", "trailers"),
                ("trailer", "x-checksum"),
                ("authorization", "kept")
            ])
        );
        restore_http1(&mut came, None);
        assert_eq!(came.get(CONNECTION), Some(&HeaderValue::from_static("te")));
    }

    #[test]
    fn an_upgrade_counts_only_if_connection_names_it() {
        let asked = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        let mut came = headers(&asked);
        let upgrade = strip(&mut came);
        assert_eq!(upgrade, Some(HeaderValue::from_static("websocket")));
        restore_http1(&mut came, upgrade);
        assert_eq!(
            came,
            headers(&[("connection", "upgrade"), ("upgrade", "websocket")])
        );
        assert_eq!(strip(&mut headers(&[("upgrade", "websocket")])), None);
    }

    #[test]
    fn an_upgrade_to_http2_is_not_passed_on() {
        for protocol in ["h2c", "H2C", "websocket, h2c"] {
            let mut came = headers(&[("connection", "upgrade, http2-settings")]);
            came.insert(UPGRADE, HeaderValue::from_static(protocol));
            assert_eq!(strip(&mut came), None, "{protocol}");
            assert!(came.is_empty());
        }
    }

    #[test]
    fn only_one_plain_chunked_is_a_framing_that_both_sides_read_alike() {
        for (coding, known) in [
            ("chunked", true),
            ("Chunked", true),
            ("identity", true),
            ("gzip, chunked", false),
            ("chunked, chunked", false),
            ("xchunked", false),
            ("\"chunked\"", false),
        ] {
            let came = HeaderMap::from_iter([(TRANSFER_ENCODING, HeaderValue::from_static(coding))]);
            assert_eq!(framing_is_known(&came), known, "{coding}");
        }
        let twice = headers(&[
            ("transfer-encoding", "identity"),
            ("transfer-encoding", "chunked"),
        ]);
        assert!(!framing_is_known(&twice));
        assert!(framing_is_known(&HeaderMap::new()));
    }

    #[test]
    fn connection_cannot_remove_what_frames_or_routes_the_message() {
        let mut came = headers(&[
            ("connection", "host, content-length"),
            ("host", "cart"),
            ("content-length", "2"),
        ]);
        strip(&mut came);
        assert_eq!(came, headers(&[("host", "cart"), ("content-length", "2")]));
    }
}
