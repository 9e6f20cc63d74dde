//! Jaeger's `api_v3`, one endpoint after the other.

use axum::http::StatusCode;
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use query::Backend as _;
use serde_json::Value;

use super::shop::Shop;
use super::{encode, get, ok};

async fn check(uri: &str, expected: Expect) {
    expected.assert_eq(&ok(uri).await.to_string());
}

async fn check_failure(uri: &str, status: StatusCode, expected: Expect) {
    let answer = get(uri).await;
    assert_eq!(answer.status, status, "{uri}");
    expected.assert_eq(&answer.json().to_string());
}

const HOUR: &str =
    "query.startTimeMin=2026-11-22T03:00:00Z&query.startTimeMax=2026-11-22T05:00:00.123456789Z";

/// Ids of the spans that a search finds.
async fn found(parameters: &str) -> Vec<String> {
    spans(&ok(&format!("/jaeger/api/v3/traces?{parameters}")).await)
}

fn spans(answer: &Value) -> Vec<String> {
    let resources = answer["result"]["resourceSpans"]
        .as_array()
        .expect("resources")
        .iter();
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().expect("scopes"));
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().expect("spans"));
    spans
        .map(|span| span["spanId"].as_str().expect("an id")[14..].to_owned())
        .collect()
}

#[tokio::test]
async fn services_and_operations_are_listed() {
    check("/jaeger/api/v3/services", expect![[r#"{"services":["cart","checkout","details.bookinfo","example-trace","istio-ingressgateway.istio-system","productpage.bookinfo","query25-service","ratings.bookinfo","reviews.bookinfo","telemetrygen"]}"#]]).await;
    check("/jaeger/api/v3/operations?service=checkout", expect![[r#"{"operations":[{"name":"INSERT orders","spanKind":"client"},{"name":"POST /checkout","spanKind":"server"}]}"#]]).await;
    check(
        "/jaeger/api/v3/operations?service=checkout&spanKind=client",
        expect![[r#"{"operations":[{"name":"INSERT orders","spanKind":"client"}]}"#]],
    )
    .await;
    check(
        "/jaeger/api/v3/operations?service=query25-service&span_kind=server",
        expect![[r#"{"operations":[]}"#]],
    )
    .await;
    check_failure(
        "/jaeger/api/v3/operations",
        StatusCode::BAD_REQUEST,
        expect![[r#"{"error":{"httpCode":400,"message":"parameter `service` is required"}}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_trace_is_otlp_in_an_envelope() {
    let answer = ok("/jaeger/api/v3/traces/abcd").await;
    let read =
        otlp::json::trace_request_to_protobuf(answer["result"].to_string().as_bytes()).expect("OTLP/JSON");
    let stored = Shop::open()
        .trace(0xabcd_u128.to_be_bytes())
        .expect("no failure")
        .expect("a trace");
    assert_eq!(TracesData::decode(read), TracesData::decode(stored));
}

#[tokio::test]
async fn a_search_takes_parameters_in_both_spellings() {
    let attributes = encode(r#"{"http.response.status_code":"500"}"#);
    for (parameters, ids) in [
        (format!("{HOUR}&query.serviceName=cart"), &["b1"][..]),
        (format!("{HOUR}&query.serviceName=checkout&query.operationName=POST%20%2Fcheckout"), &["a1", "a2"]),
        (format!("{HOUR}&query.attributes={attributes}"), &["a1", "a2"]),
        (format!("{HOUR}&query.durationMin=260ms&query.durationMax=1s"), &["a1", "a2"]),
        (format!("{HOUR}&query.searchDepth=1"), &["b1"]),
        (format!("{HOUR}&query.num_traces=1"), &["b1"]),
        (
            "query.service_name=cart&query.start_time_min=2026-11-22T05:00:00+01:00&query.start_time_max=2026-11-22T04:05:00Z&query.search_depth=5&query.duration_max=1s".to_owned(),
            &["b1"],
        ),
    ] {
        assert_eq!(found(&parameters).await, ids, "{parameters}");
    }
}

#[tokio::test]
async fn no_match_is_404_in_the_gateways_form() {
    let none = expect![[r#"{"error":{"httpCode":404,"message":"No traces found"}}"#]];
    check_failure("/jaeger/api/v3/traces/abce", StatusCode::NOT_FOUND, none).await;
    let uri = format!("/jaeger/api/v3/traces?{HOUR}&query.serviceName=nobody");
    check_failure(
        &uri,
        StatusCode::NOT_FOUND,
        expect![[r#"{"error":{"httpCode":404,"message":"No traces found"}}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_search_is_told_what_would_be_right() {
    let bad = StatusCode::BAD_REQUEST;
    check_failure("/jaeger/api/v3/traces?query.serviceName=cart", bad, expect![[r#"{"error":{"httpCode":400,"message":"parameters `query.startTimeMin` and `query.startTimeMax` are required"}}"#]]).await;
    check_failure("/jaeger/api/v3/traces?query.startTimeMin=now&query.startTimeMax=now", bad, expect![[r#"{"error":{"httpCode":400,"message":"parameter `query.startTimeMin` is `now` but must be a time such as `2026-11-22T04:05:06.789Z`"}}"#]]).await;
    check_failure(&format!("/jaeger/api/v3/traces?{HOUR}&query.duration_min=fast"), bad, expect![[r#"{"error":{"httpCode":400,"message":"parameter `query.duration_min`: `fast` is no duration: write a number and a unit, as in `200ms`, `1.5s` or `1h30m`"}}"#]]).await;
    check_failure(&format!("/jaeger/api/v3/traces?{HOUR}&query.attributes=5"), bad, expect![[r#"{"error":{"httpCode":400,"message":"parameter `query.attributes` is no JSON object (invalid type: integer `5`, expected a map at line 1 column 1): write a JSON object such as `{\"http.method\":\"GET\"}`"}}"#]]).await;
    check_failure(&format!("/jaeger/api/v3/traces?{HOUR}&query.searchDepth=x"), bad, expect![[r#"{"error":{"httpCode":400,"message":"parameter `query.searchDepth` is `x` but must be a whole number"}}"#]]).await;
    check_failure("/jaeger/api/v3/traces/xyz", bad, expect![[r#"{"error":{"httpCode":400,"message":"`xyz` is no trace id: write up to 32 hexadecimal digits"}}"#]]).await;
}
