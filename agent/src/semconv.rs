//! What a span of ours says about a request.
//!
//! In: the heads of requests and responses, and the addresses of their connections. Out: attributes under the names of
//! the semantic conventions, and names that are low in cardinality.
//! Left out on purpose: queries (they hold secrets and have no bound) and bodies.
//! Source: OpenTelemetry semantic conventions 1.37: HTTP spans (stable), RPC and gRPC spans (release candidate).

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::header::{CONTENT_TYPE, FORWARDED, HOST, HeaderMap, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Uri, Version};
use otlp::Kind;
use otlp::encode::Attributes;

/// Bytes that the attributes of a request take, about; saves growing.
const ROOM: usize = 512;
/// Longest value that is taken from a header or a path, in bytes.
const MAX_VALUE: usize = 1024;

/// Says that a span is an agent's, so that the collector can fold it with an SDK's span of the same request.
pub(crate) const AGENT_MARK: &str = "tracemap.agent";
/// Name of the correlation id, on spans and in logs.
pub(crate) const CORRELATION_ID: &str = "correlation.id";
/// The names that a broker gave to the messages of a span, by which the collector joins both sides: one or more of
/// `kafka:TOPIC/PARTITION@OFFSET`, `redis:STREAM@ENTRY-ID` and `nats:STREAM@SEQUENCE`, with a space between.
pub(crate) const MESSAGE_PLACES: &str = "tracemap.message.places";
/// The evidence that a span's parent rests on: `context`, `id`, `exclusive` or `none`.
pub(crate) const CORRELATION_METHOD: &str = "correlation.method";
/// How sure that evidence is, 0 to 1; absent where there is none.
pub(crate) const CORRELATION_CONFIDENCE: &str = "correlation.confidence";
/// What kind of failure it was; one of few values.
pub(crate) const ERROR_TYPE: &str = "error.type";

/// Attributes of an inbound request.
pub(crate) fn server(head: &http::request::Parts, peer: SocketAddr, scheme: &Scheme) -> Attributes {
    let mut out = common(head);
    out.push("url.path", clipped(head.uri.path()));
    out.push("url.scheme", scheme_name(scheme));
    if let Some(authority) = authority(&head.uri, &head.headers) {
        server_address(&mut out, &authority, scheme);
    }
    let client = forwarded_client(&head.headers).unwrap_or_else(|| peer.ip());
    out.push_display("client.address", client);
    network_peer(&mut out, peer);
    out
}

/// Attributes of an outbound request to `uri`, whose authority may hold credentials.
pub(crate) fn client(head: &http::request::Parts) -> Attributes {
    let mut out = common(head);
    out.push("url.full", &redacted(&head.uri));
    if let Some(authority) = head.uri.authority() {
        server_address(&mut out, authority, head.uri.scheme().unwrap_or(&Scheme::HTTP));
    }
    out
}

fn common(head: &http::request::Parts) -> Attributes {
    let mut out = Attributes::with_capacity(ROOM);
    out.push(AGENT_MARK, true);
    out.push("http.request.method", method(&head.method));
    if known_method(&head.method).is_none() {
        out.push("http.request.method_original", clipped(head.method.as_str()));
    }
    out.push("network.protocol.version", version(head.version));
    if let Some(agent) = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        out.push("user_agent.original", clipped(agent));
    }
    if let Some(method) = rpc_method(head) {
        out.push("rpc.system.name", "grpc");
        out.push("rpc.system", "grpc");
        out.push("rpc.method", clipped(method));
    }
    out
}

/// The address of the connection's other end.
pub(crate) fn network_peer(out: &mut Attributes, peer: SocketAddr) {
    out.push_display("network.peer.address", peer.ip());
    out.push("network.peer.port", i64::from(peer.port()));
}

/// The span's name: the RPC, else the method with its route, else the method. Never the path.
pub(crate) fn name(head: &http::request::Parts, route: Option<&str>) -> String {
    if let Some(rpc) = rpc_method(head) {
        return clipped(rpc).to_owned();
    }
    let method = known_method(&head.method).unwrap_or("HTTP");
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// Whether the request is a gRPC call.
pub(crate) fn is_grpc(head: &http::request::Parts) -> bool {
    rpc_method(head).is_some()
}

/// The RPC's full name, where the request is a gRPC call.
pub(crate) fn rpc_method(head: &http::request::Parts) -> Option<&str> {
    let content_type = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let rest = content_type.strip_prefix("application/grpc")?;
    let is_grpc = rest.is_empty() || rest.starts_with(['+', ';']);
    let path = head.uri.path().strip_prefix('/')?;
    (is_grpc && head.version == Version::HTTP_2 && path.split('/').count() == 2).then_some(path)
}

/// Whether a response with this status makes the span an error: 5xx always, 4xx for whoever called.
pub(crate) fn is_error(kind: Kind, status: StatusCode) -> bool {
    status.is_server_error() || kind == Kind::Client && status.is_client_error()
}

/// Whether a gRPC status makes the span an error: for the server only those that are its own fault.
pub(crate) fn is_grpc_error(kind: Kind, code: u8) -> bool {
    match kind {
        Kind::Server => matches!(code, 2 | 4 | 12 | 13 | 14 | 15),
        _ => code != 0,
    }
}

/// The name of a gRPC status code (`grpc-status`), as `rpc.response.status_code` wants it.
pub(crate) fn grpc_status_name(code: u8) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).copied()
}

/// The method, if it is a known one, else `_OTHER`.
pub(crate) fn method(method: &Method) -> &'static str {
    known_method(method).unwrap_or("_OTHER")
}

fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// Whom the request is for: the authority of its target, else its `Host`.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    uri.authority()
        .cloned()
        .or_else(|| Authority::try_from(headers.get(HOST)?.as_bytes()).ok())
}

fn server_address(out: &mut Attributes, authority: &Authority, scheme: &Scheme) {
    let (address, port) = address_and_port(authority);
    let is_default = authority.port_u16().is_none() && *scheme == Scheme::HTTPS;
    let port = if is_default { 443 } else { port };
    out.push("server.address", address);
    out.push("server.port", i64::from(port));
}

/// `server.address` and `server.port` of whom the request is for.
pub(crate) fn address_and_port(authority: &Authority) -> (&str, u16) {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (clipped(host), authority.port_u16().unwrap_or(80))
}

fn scheme_name(scheme: &Scheme) -> &'static str {
    if *scheme == Scheme::HTTPS { "https" } else { "http" }
}

/// `url.full` without query and fragment, credentials replaced as the conventions ask.
fn redacted(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", Authority::as_str);
    let address = match authority.rsplit_once('@') {
        Some((_, address)) => format!("REDACTED:REDACTED@{address}"),
        None => authority.to_owned(),
    };
    clipped(&format!(
        "{}://{address}{}",
        scheme_name(uri.scheme().unwrap_or(&Scheme::HTTP)),
        uri.path()
    ))
    .to_owned()
}

/// Who asked first, by `Forwarded` or `X-Forwarded-For`.
fn forwarded_client(headers: &HeaderMap) -> Option<IpAddr> {
    let first = |name: &str| {
        Some(
            headers
                .get(name)?
                .to_str()
                .ok()?
                .split(',')
                .next()?
                .trim()
                .to_owned(),
        )
    };
    let forwarded = first(FORWARDED.as_str()).and_then(|element| {
        let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
        address(node.trim_matches('"'))
    });
    forwarded.or_else(|| address(&first("x-forwarded-for")?))
}

fn address(node: &str) -> Option<IpAddr> {
    let bare = node.trim_start_matches('[').trim_end_matches(']');
    IpAddr::from_str(bare)
        .ok()
        .or_else(|| Some(SocketAddr::from_str(node).ok()?.ip()))
}

/// `text` up to [`MAX_VALUE`] bytes, cut between characters.
fn clipped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_VALUE))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use otlp::view::Value;

    use super::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> http::request::Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn find(attributes: &Attributes, key: &str) -> Option<String> {
        attributes.get(key).map(|value| match value {
            Value::Str(text) => text.to_owned(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a_url_keeps_neither_credentials_nor_query() {
        let redacted = |uri| find(&client(&head("GET", uri, &[])), "url.full");
        assert_eq!(
            redacted("http://ann:s3cret@shop:8080/pay?token=s3cret").as_deref(),
            Some("http://REDACTED:REDACTED@shop:8080/pay")
        );
        assert_eq!(redacted("http://shop").as_deref(), Some("http://shop/"));
    }

    #[test]
    fn a_method_nobody_knows_is_other_and_its_span_is_http() {
        let head = head("BREW", "/pot", &[]);
        let attributes = server(&head, SocketAddr::from(([10, 0, 0, 1], 9)), &Scheme::HTTP);
        assert_eq!(
            find(&attributes, "http.request.method").as_deref(),
            Some("_OTHER")
        );
        assert_eq!(
            find(&attributes, "http.request.method_original").as_deref(),
            Some("BREW")
        );
        assert_eq!(name(&head, None), "HTTP");
    }

    #[test]
    fn the_client_is_whom_the_first_proxy_saw_else_the_peer() {
        let peer = SocketAddr::from(([10, 0, 0, 1], 9));
        for (header, value, expected) in [
            ("x-forwarded-for", "192.0.2.7, 10.0.0.9", "192.0.2.7"),
            (
                "forwarded",
                "proto=http;For=\"[2001:db8::1]:4711\"",
                "2001:db8::1",
            ),
            ("forwarded", "for=_hidden", "10.0.0.1"),
            ("x-forwarded-for", "unknown", "10.0.0.1"),
        ] {
            let attributes = server(&head("GET", "/", &[(header, value)]), peer, &Scheme::HTTP);
            assert_eq!(
                find(&attributes, "client.address").as_deref(),
                Some(expected),
                "{header}: {value}"
            );
        }
    }

    #[test]
    fn the_host_header_names_the_server_with_port_80_where_none_is_said() {
        let peer = SocketAddr::from(([10, 0, 0, 1], 9));
        for (host, address, port) in [("cart", "cart", "Int(80)"), ("[::1]:8080", "::1", "Int(8080)")] {
            let attributes = server(&head("GET", "/", &[("host", host)]), peer, &Scheme::HTTP);
            assert_eq!(find(&attributes, "server.address").as_deref(), Some(address));
            assert_eq!(find(&attributes, "server.port").as_deref(), Some(port));
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = format!("/{}", "é".repeat(MAX_VALUE));
        assert_eq!(clipped(&long).len(), MAX_VALUE - 1);
    }
}
