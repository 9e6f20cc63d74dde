//! Requests that are signed for AWS: a header that the signature covers must arrive as it left.
//!
//! In: the head of a request. Out: which headers its signature covers.
//! Left out on purpose: checking the signature, and schemes that cover no headers.
//! Source: AWS, "Signature Version 4", in the `Authorization` header and in the query.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use propagation::{Format, keys};

use crate::config::SignedRequests;

/// Signature Version 4 and its variant for several regions.
const SCHEME: &str = "AWS4-";
const HEADERS: &str = "SignedHeaders=";
const QUERY_SIGNATURE: &str = "X-Amz-Signature=";
const QUERY_HEADERS: &str = "X-Amz-SignedHeaders=";

/// Whether nothing may be written into a request with these headers, under `policy`.
pub(crate) fn forbids(
    policy: SignedRequests,
    uri: &Uri,
    headers: &HeaderMap,
    correlation: Option<&str>,
) -> bool {
    let Some(covered) = covered(uri, headers) else {
        return false;
    };
    match policy {
        SignedRequests::Leave => true,
        SignedRequests::Add => covered
            .iter()
            .any(|name| is_ours(name) || correlation.is_some_and(|ours| ours.eq_ignore_ascii_case(name))),
    }
}

/// The names that the signature lists; `None` where the request is not signed.
fn covered(uri: &Uri, headers: &HeaderMap) -> Option<Vec<String>> {
    let authorization = headers.get_all(AUTHORIZATION).iter();
    let mut signed = authorization
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.trim_start().starts_with(SCHEME));
    if let Some(value) = signed.next() {
        let mut parts = value.split([' ', ',']).map(str::trim);
        let list = parts.find_map(|part| part.strip_prefix(HEADERS));
        return Some(names(list.unwrap_or_default()));
    }
    let query = uri.query()?;
    query.split('&').find(|pair| pair.starts_with(QUERY_SIGNATURE))?;
    let list = query.split('&').find_map(|pair| pair.strip_prefix(QUERY_HEADERS));
    Some(names(
        &list.unwrap_or_default().replace("%3B", ";").replace("%3b", ";"),
    ))
}

fn names(list: &str) -> Vec<String> {
    list.split(';').map(str::to_owned).collect()
}

fn is_ours(name: &str) -> bool {
    let is_format = Format::ALL
        .iter()
        .flat_map(|format| format.keys())
        .any(|key| key.eq_ignore_ascii_case(name));
    is_format || name.eq_ignore_ascii_case(keys::BAGGAGE) || name.starts_with(keys::JAEGER_BAGGAGE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_request_is_known_by_its_authorization_or_its_query() {
        let credential = "AWS4-HMAC-SHA256 Credential=AKID/20300101/eu-west-1/s3/aws4_request";
        for (uri, authorization, leave, add) in [
            ("/", "Bearer AWS4-", false, false),
            ("/?X-Amz-Date=1", "", false, false),
            (
                "/",
                &*format!("{credential}, SignedHeaders=host;x-amz-date, Signature=ab"),
                true,
                false,
            ),
            (
                "/",
                &*format!("{credential},SignedHeaders=host;x-amzn-trace-id,Signature=ab"),
                true,
                true,
            ),
            (
                "/",
                &*format!("{credential}, SignedHeaders=X-Correlation-Id, Signature=ab"),
                true,
                true,
            ),
            ("/", "AWS4-ECDSA-P256-SHA256", true, false),
            ("/?X-Amz-SignedHeaders=host&X-Amz-Signature=ab", "", true, false),
            (
                "/?X-Amz-Signature=ab&X-Amz-SignedHeaders=host%3Btraceparent",
                "",
                true,
                true,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if !authorization.is_empty() {
                headers.insert(AUTHORIZATION, authorization.parse().expect("a value"));
            }
            let uri = uri.parse().expect("a target");
            let forbids = |policy| forbids(policy, &uri, &headers, Some("x-correlation-id"));
            let found = (forbids(SignedRequests::Leave), forbids(SignedRequests::Add));
            assert_eq!(found, (leave, add), "{uri} {authorization}");
        }
    }
}
