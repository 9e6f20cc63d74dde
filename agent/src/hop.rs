//! Headers that are meant for one connection and must not travel past it.
//!
//! In: the headers of a message as it came. Out: the headers it goes on with.
//! Left out on purpose: `Via` and `X-Forwarded-*`. A sidecar is part of its service, and adds only context.
//! Source: RFC 9110, sections 7.6.1 and 7.8.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

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
    let named = named_by_connection(headers);
    let upgrade = headers.get(UPGRADE).filter(|_| named.contains(&UPGRADE)).cloned();
    let trailers = accepts_trailers(headers);
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
