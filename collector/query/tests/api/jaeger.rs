//! Jaeger's older endpoints, one after the other.

use axum::http::StatusCode;
use expect_test::{Expect, expect};
use query::Limits;
use serde_json::{Value, json};

use super::shop::{Shop, fixture};
use super::{ask, encode, get, ok, router_over};

async fn check(uri: &str, expected: Expect) {
    expected.assert_eq(&ok(uri).await.to_string());
}

async fn check_pretty(uri: &str, expected: Expect) {
    expected.assert_eq(&format!("{:#}", ok(uri).await));
}

async fn check_failure(uri: &str, status: StatusCode, expected: Expect) {
    let answer = get(uri).await;
    assert_eq!(answer.status, status, "{uri}");
    expected.assert_eq(&answer.json().to_string());
}

const HOUR: &str = "start=1795316520000000&end=1795320120000000";

/// Ids of the traces that a search of the shop's hour finds.
async fn found(parameters: &str) -> Vec<String> {
    let answer = ok(&format!("/jaeger/api/traces?{HOUR}&{parameters}")).await;
    let traces = answer["data"].as_array().expect("a list of traces");
    let ids = traces
        .iter()
        .map(|trace| trace["traceID"].as_str().expect("an id"));
    ids.map(|id| id.trim_start_matches('0').to_owned()).collect()
}

#[tokio::test]
async fn services_and_operations_are_listed() {
    check("/jaeger/api/services", expect![[r#"{"data":["cart","checkout","details.bookinfo","example-trace","istio-ingressgateway.istio-system","productpage.bookinfo","query25-service","ratings.bookinfo","reviews.bookinfo","telemetrygen"],"errors":null,"limit":0,"offset":0,"total":10}"#]]).await;
    check(
        "/jaeger/api/services/checkout/operations",
        expect![[
            r#"{"data":["INSERT orders","POST /checkout"],"errors":null,"limit":0,"offset":0,"total":2}"#
        ]],
    )
    .await;
    check(
        "/jaeger/api/services/nobody/operations",
        expect![[r#"{"data":[],"errors":null,"limit":0,"offset":0,"total":0}"#]],
    )
    .await;
    check("/jaeger/api/operations?service=checkout&spanKind=client", expect![[r#"{"data":[{"name":"INSERT orders","spanKind":"client"}],"errors":null,"limit":0,"offset":0,"total":1}"#]]).await;
    check("/jaeger/api/operations?service=query25-service", expect![[r#"{"data":[{"name":"query25-operation","spanKind":""}],"errors":null,"limit":0,"offset":0,"total":1}"#]]).await;
    check_failure("/jaeger/api/operations", StatusCode::BAD_REQUEST, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `service` is required"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/operations?service=a&spanKind=b", StatusCode::BAD_REQUEST, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `spanKind` is `b` but must be `server`, `client`, `producer`, `consumer`, `internal` or `unspecified`"}],"limit":0,"offset":0,"total":0}"#]]).await;
}

#[tokio::test]
async fn a_trace_is_translated_for_jaegers_user_interface() {
    check_pretty(
        "/jaeger/api/traces/abcd",
        expect![[r#"
        {
          "data": [
            {
              "processes": {
                "p1": {
                  "serviceName": "checkout",
                  "tags": [
                    {
                      "key": "service.version",
                      "type": "string",
                      "value": "2.1.0"
                    },
                    {
                      "key": "process.pid",
                      "type": "int64",
                      "value": 4711
                    }
                  ]
                }
              },
              "spans": [
                {
                  "duration": 300000,
                  "flags": 1,
                  "logs": [
                    {
                      "fields": [
                        {
                          "key": "event",
                          "type": "string",
                          "value": "exception"
                        },
                        {
                          "key": "exception.type",
                          "type": "string",
                          "value": "Timeout"
                        }
                      ],
                      "timestamp": 1795320000200000
                    }
                  ],
                  "operationName": "POST /checkout",
                  "processID": "p1",
                  "references": [
                    {
                      "refType": "FOLLOWS_FROM",
                      "spanID": "00000000000000b1",
                      "traceID": "0000000000000000000000000000beef"
                    }
                  ],
                  "spanID": "00000000000000a1",
                  "startTime": 1795320000000000,
                  "tags": [
                    {
                      "key": "otel.scope.name",
                      "type": "string",
                      "value": "http.server"
                    },
                    {
                      "key": "otel.scope.version",
                      "type": "string",
                      "value": "1.4.2"
                    },
                    {
                      "key": "http.request.method",
                      "type": "string",
                      "value": "POST"
                    },
                    {
                      "key": "http.response.status_code",
                      "type": "int64",
                      "value": 500
                    },
                    {
                      "key": "cart.value",
                      "type": "float64",
                      "value": 12.5
                    },
                    {
                      "key": "cart.full",
                      "type": "bool",
                      "value": true
                    },
                    {
                      "key": "user.id",
                      "type": "int64",
                      "value": "9007199254740993"
                    },
                    {
                      "key": "items",
                      "type": "string",
                      "value": "[\"tea\",2]"
                    },
                    {
                      "key": "raw",
                      "type": "binary",
                      "value": "AAECAw=="
                    },
                    {
                      "key": "span.kind",
                      "type": "string",
                      "value": "server"
                    },
                    {
                      "key": "otel.status_code",
                      "type": "string",
                      "value": "ERROR"
                    },
                    {
                      "key": "error",
                      "type": "bool",
                      "value": true
                    },
                    {
                      "key": "otel.status_description",
                      "type": "string",
                      "value": "payment timed out"
                    },
                    {
                      "key": "w3c.tracestate",
                      "type": "string",
                      "value": "ot=th:8"
                    }
                  ],
                  "traceID": "0000000000000000000000000000abcd",
                  "warnings": null
                },
                {
                  "duration": 250000,
                  "logs": [],
                  "operationName": "INSERT orders",
                  "processID": "p1",
                  "references": [
                    {
                      "refType": "CHILD_OF",
                      "spanID": "00000000000000a1",
                      "traceID": "0000000000000000000000000000abcd"
                    }
                  ],
                  "spanID": "00000000000000a2",
                  "startTime": 1795320000010000,
                  "tags": [
                    {
                      "key": "otel.scope.name",
                      "type": "string",
                      "value": "http.server"
                    },
                    {
                      "key": "otel.scope.version",
                      "type": "string",
                      "value": "1.4.2"
                    },
                    {
                      "key": "db.system.name",
                      "type": "string",
                      "value": "postgresql"
                    },
                    {
                      "key": "db.namespace",
                      "type": "string",
                      "value": "orders"
                    },
                    {
                      "key": "server.address",
                      "type": "string",
                      "value": "db-1"
                    },
                    {
                      "key": "span.kind",
                      "type": "string",
                      "value": "client"
                    }
                  ],
                  "traceID": "0000000000000000000000000000abcd",
                  "warnings": null
                }
              ],
              "traceID": "0000000000000000000000000000abcd",
              "warnings": null
            }
          ],
          "errors": null,
          "limit": 0,
          "offset": 0,
          "total": 0
        }"#]],
    )
    .await;
}

/// Jaeger's own translations; its later versions call the library scope.
#[tokio::test]
async fn the_translation_agrees_with_jaegers() {
    for (id, file) in [
        (
            "83a9efd15c1c98a977e0711cc93ee28b",
            "jaeger-ui/otlp2jaeger-out.json",
        ),
        (
            "c620759e5d60fafb8ee0922b30e06bc6",
            "jaeger-ui/oltp2jaeger-multi-out.json",
        ),
    ] {
        let text = String::from_utf8(fixture(file)).expect("text");
        let text = text.replace("otel.library.", "otel.scope.");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let answer = ok(&format!("/jaeger/api/traces/{id}")).await;
        assert_eq!(normal(&answer["data"]), normal(&expected["data"]), "{file}");
    }
}

/// Spans by id with their processes, so that order and numbering do not count, and without what the user interface
/// adds to them.
fn normal(data: &Value) -> Vec<Value> {
    let trace = &data[0];
    let spans = trace["spans"].as_array().expect("spans").iter();
    let mut spans: Vec<_> = spans.map(|span| normal_span(span, &trace["processes"])).collect();
    spans.sort_by_key(|span| span["spanID"].to_string());
    spans
}

fn normal_span(span: &Value, processes: &Value) -> Value {
    let references = span["references"].as_array().expect("references").iter();
    let references: Vec<_> = references
        .map(|one| [&one["refType"], &one["traceID"], &one["spanID"]])
        .collect();
    let process = span["processID"].as_str().expect("a process");
    let kept = [
        "traceID",
        "spanID",
        "operationName",
        "startTime",
        "duration",
        "tags",
        "logs",
    ];
    let mut normal: serde_json::Map<_, _> = kept
        .map(|key| (key.to_owned(), span[key].clone()))
        .into_iter()
        .collect();
    normal.insert("references".to_owned(), json!(references));
    normal.insert("process".to_owned(), processes[process].clone());
    normal.into()
}

#[tokio::test]
async fn odd_spans_are_translated_as_well_as_can_be() {
    let mut shop = Shop::open();
    shop.put(include_bytes!("odd.json"));
    let answer = ask(
        router_over(shop, Limits::default()),
        "/jaeger/api/traces/1",
        "application/json",
    )
    .await;
    let json = answer.json();
    let span = &json["data"][0]["spans"][0];
    let shown = json!({ "duration": span["duration"], "tags": span["tags"], "logs": span["logs"] });
    expect![[r#"{"duration":0,"logs":[{"fields":[{"key":"event","type":"string","value":"its attribute"}],"timestamp":1795320000200000}],"tags":[{"key":"ratio","type":"float64","value":"NaN"},{"key":"pairs","type":"string","value":"{\"a\":true}"},{"key":"nothing","type":"string","value":""},{"key":"otel.status_code","type":"string","value":"ERROR"},{"key":"error","type":"bool","value":true},{"key":"otel.dropped_attributes_count","type":"int64","value":3}]}"#]].assert_eq(&shown.to_string());
    expect![[r#"{"p1":{"serviceName":"OTLPResourceNoServiceName","tags":[{"key":"host.name","type":"string","value":"a"}]}}"#]].assert_eq(&json["data"][0]["processes"].to_string());
}

#[tokio::test]
async fn links_follow_unless_they_say_child_of() {
    let answer = ok("/jaeger/api/traces/226").await;
    expect![[r#"[{"refType":"CHILD_OF","spanID":"00000000000000ff","traceID":"000000000000000000000000000000ff"},{"refType":"CHILD_OF","spanID":"0000000000000002","traceID":"00000000000000000000000000000001"},{"refType":"FOLLOWS_FROM","spanID":"0000000000000002","traceID":"00000000000000000000000000000001"}]"#]].assert_eq(&answer["data"][0]["spans"][0]["references"].to_string());
}

#[tokio::test]
async fn a_trace_that_is_not_kept_is_404_and_never_empty_data() {
    check_failure(
        "/jaeger/api/traces/abce",
        StatusCode::NOT_FOUND,
        expect![[
            r#"{"data":null,"errors":[{"code":404,"msg":"trace not found"}],"limit":0,"offset":0,"total":0}"#
        ]],
    )
    .await;
    check_failure(
        "/jaeger/api/traces?traceID=abce&traceID=1",
        StatusCode::NOT_FOUND,
        expect![[
            r#"{"data":null,"errors":[{"code":404,"msg":"trace not found"}],"limit":0,"offset":0,"total":0}"#
        ]],
    )
    .await;
    check_failure("/jaeger/api/traces/xyz", StatusCode::BAD_REQUEST, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"`xyz` is no trace id: write up to 32 hexadecimal digits"}],"limit":0,"offset":0,"total":0}"#]]).await;
}

#[tokio::test]
async fn traces_asked_for_by_id_come_with_the_names_of_those_that_are_missing() {
    let answer = ok("/jaeger/api/traces?traceID=abcd&traceID=abce&traceID=beef").await;
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
    let missing = json!([{ "msg": "trace not found", "traceID": "0000000000000000000000000000abce" }]);
    assert_eq!(answer["errors"], missing);
}

#[tokio::test]
async fn a_search_finds_spans_of_the_service_that_have_everything() {
    let tags = |tags: &str| format!("service=checkout&tags={}", encode(tags));
    for (parameters, ids) in [
        ("service=checkout".to_owned(), &["abcd"][..]),
        ("service=cart&limit=20&lookback=1h".to_owned(), &["beef"]),
        (
            "service=checkout&operation=POST+%2Fcheckout".to_owned(),
            &["abcd"],
        ),
        ("service=cart&operation=POST+%2Fcheckout".to_owned(), &[]),
        (
            "service=checkout&minDuration=200ms&maxDuration=260ms".to_owned(),
            &["abcd"],
        ),
        ("service=checkout&minDuration=301ms".to_owned(), &[]),
        (tags(r#"{"error":"true"}"#), &["abcd"]),
        (tags(r#"{"error":"true","span.kind":"client"}"#), &[]),
        (tags(r#"{"error":"false","span.kind":"client"}"#), &["abcd"]),
        (tags(r#"{"http.response.status_code":"500"}"#), &["abcd"]),
        (
            tags(r#"{"http.response.status_code":500,"cart.full":true}"#),
            &["abcd"],
        ),
        (tags(r#"{"cart.value":"12.5"}"#), &["abcd"]),
        (tags(r#"{"service.version":"2.1.0"}"#), &["abcd"]),
        (tags(r#"{"exception.type":"Timeout"}"#), &["abcd"]),
        (tags(r#"{"otel.status_code":"ERROR"}"#), &["abcd"]),
        (tags(r#"{"otel.status_code":"OK"}"#), &[]),
        ("service=checkout&tag=db.namespace%3Aorders".to_owned(), &["abcd"]),
        ("service=checkout&tag=db.namespace%3Acarts".to_owned(), &[]),
    ] {
        assert_eq!(found(&parameters).await, ids, "{parameters}");
    }
}

#[tokio::test]
async fn a_search_without_times_reaches_back_as_far_as_it_says() {
    for (parameters, count) in [
        ("", 1),
        ("&lookback=1m", 1),
        ("&lookback=5s", 0),
        ("&end=1795319999999999", 0),
    ] {
        let answer = ok(&format!("/jaeger/api/traces?service=cart{parameters}")).await;
        assert_eq!(
            answer["data"].as_array().map(Vec::len),
            Some(count),
            "{parameters}"
        );
    }
}

#[tokio::test]
async fn a_wrong_search_is_told_what_would_be_right() {
    let bad = StatusCode::BAD_REQUEST;
    check_failure("/jaeger/api/traces", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `service` is required"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&start=now", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `start` is `now` but must be a time since 1970 as a number"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&start=2000000&end=1", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"`start` must be before `end`"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&limit=-1", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `limit` is `-1` but must be a whole number"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&minDuration=2s&maxDuration=1s", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"the least duration must not be longer than the greatest"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&tags=error%3Dtrue", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `tags` is no JSON object (expected value at line 1 column 1): write a JSON object such as `{\"http.method\":\"GET\"}`"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&tags=%7B%22a%22%3Anull%7D", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `tags` has no single value for `a`: write a JSON object such as `{\"http.method\":\"GET\"}`"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/traces?service=a&tag=a", bad, expect![[r#"{"data":null,"errors":[{"code":400,"msg":"parameter `tag` is `a` but must be `key:value`"}],"limit":0,"offset":0,"total":0}"#]]).await;
    check_failure("/jaeger/api/metrics/calls", StatusCode::NOT_FOUND, expect![[r#"{"data":null,"errors":[{"code":404,"msg":"no such endpoint: this is the part of Jaeger's API that reads, below `/api`"}],"limit":0,"offset":0,"total":0}"#]]).await;
}

#[tokio::test]
async fn the_dependency_graph_is_the_maps() {
    check("/jaeger/api/dependencies?endTs=1795320120000&lookback=3600000", expect![[r#"{"data":[{"callCount":12,"child":"cart","parent":"checkout"},{"callCount":3,"child":"postgresql:orders@db-1","parent":"checkout"}],"errors":null,"limit":0,"offset":0,"total":0}"#]]).await;
    let none = ok("/jaeger/api/dependencies?endTs=1795310000000&lookback=3600000").await;
    assert_eq!(none["data"], json!([]));
    let one = ok("/jaeger/api/dependencies?service=cart").await;
    assert_eq!(
        one["data"],
        json!([{ "parent": "checkout", "child": "cart", "callCount": 12 }])
    );
}
