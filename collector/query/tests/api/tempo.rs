//! Tempo's endpoints, one after the other.

use axum::http::StatusCode;
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use query::Backend as _;
use serde_json::Value;

use super::shop::Shop;
use super::{ask, encode, get, get_protobuf, ok, routers};

const CHECKOUT: [u8; 16] = 0xabcd_u128.to_be_bytes();

async fn check(uri: &str, expected: Expect) {
    expected.assert_eq(&ok(uri).await.to_string());
}

async fn check_pretty(uri: &str, expected: Expect) {
    expected.assert_eq(&format!("{:#}", ok(uri).await));
}

async fn check_failure(uri: &str, status: StatusCode, message: &str) {
    let answer = get(uri).await;
    assert_eq!(
        (answer.status, answer.text().trim_end()),
        (status, message),
        "{uri}"
    );
}

/// Ids of the traces that a query finds, on which the model and the store agree.
async fn found(query: &str) -> Vec<String> {
    let uri = format!("/tempo/api/search?limit=100&q={}", encode(query));
    let [model, store] = routers().map(|router| ask(router, &uri, "application/json"));
    let (model, store) = (ids(&model.await.json()), ids(&store.await.json()));
    assert_eq!(model, store, "{query}");
    store
}

fn ids(answer: &Value) -> Vec<String> {
    let traces = answer["traces"].as_array().expect("a list of traces");
    let ids = traces
        .iter()
        .map(|trace| trace["traceID"].as_str().expect("an id"));
    ids.map(|id| id.trim_start_matches('0').to_owned()).collect()
}

#[tokio::test]
async fn echo_and_build_info_answer_the_health_check() {
    let echo = get("/tempo/api/echo").await;
    assert_eq!((echo.status, echo.text()), (StatusCode::OK, "echo".to_owned()));
    check(
        "/tempo/api/status/buildinfo",
        expect![[r#"{"branch":"","goVersion":"","revision":"","version":"0.1.0"}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_trace_in_protobuf_is_the_stored_trace() {
    let stored = Shop::open()
        .trace(CHECKOUT)
        .expect("no failure")
        .expect("a trace");
    let bare = get_protobuf("/tempo/api/traces/0000000000000000000000000000abcd").await;
    assert_eq!(bare.kind, "application/protobuf");
    assert_eq!(bare.body, stored);
}

/// Tempo's `TraceByIDResponse`, as far as Grafana reads it.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Empty>,
    #[prost(int32, tag = "3")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[tokio::test]
async fn the_second_version_wraps_the_trace_in_an_envelope() {
    let stored = Shop::open()
        .trace(CHECKOUT)
        .expect("no failure")
        .expect("a trace");
    let wrapped = get_protobuf("/tempo/api/v2/traces/abcd").await;
    assert_eq!(wrapped.kind, "application/protobuf");
    let response = TraceByIdResponse::decode(&*wrapped.body).expect("a TraceByIDResponse");
    assert_eq!(response.trace, Some(TracesData::decode(stored).expect("spans")));
    assert_eq!((response.metrics, response.status), (Some(Empty {}), 0));
}

#[tokio::test]
async fn a_trace_in_json_has_every_field_of_its_spans() {
    check_pretty(
        "/tempo/api/traces/abcd",
        expect![[r#"
        {
          "batches": [
            {
              "resource": {
                "attributes": [
                  {
                    "key": "service.name",
                    "value": {
                      "stringValue": "checkout"
                    }
                  },
                  {
                    "key": "service.version",
                    "value": {
                      "stringValue": "2.1.0"
                    }
                  },
                  {
                    "key": "process.pid",
                    "value": {
                      "intValue": "4711"
                    }
                  }
                ]
              },
              "scopeSpans": [
                {
                  "schemaUrl": "https://opentelemetry.io/schemas/1.41.0",
                  "scope": {
                    "attributes": [
                      {
                        "key": "tier",
                        "value": {
                          "stringValue": "edge"
                        }
                      }
                    ],
                    "name": "http.server",
                    "version": "1.4.2"
                  },
                  "spans": [
                    {
                      "attributes": [
                        {
                          "key": "http.request.method",
                          "value": {
                            "stringValue": "POST"
                          }
                        },
                        {
                          "key": "http.response.status_code",
                          "value": {
                            "intValue": "500"
                          }
                        },
                        {
                          "key": "cart.value",
                          "value": {
                            "doubleValue": 12.5
                          }
                        },
                        {
                          "key": "cart.full",
                          "value": {
                            "boolValue": true
                          }
                        },
                        {
                          "key": "user.id",
                          "value": {
                            "intValue": "9007199254740993"
                          }
                        },
                        {
                          "key": "items",
                          "value": {
                            "arrayValue": {
                              "values": [
                                {
                                  "stringValue": "tea"
                                },
                                {
                                  "intValue": "2"
                                }
                              ]
                            }
                          }
                        },
                        {
                          "key": "raw",
                          "value": {
                            "bytesValue": "AAECAw=="
                          }
                        }
                      ],
                      "endTimeUnixNano": "1795320000300000000",
                      "events": [
                        {
                          "attributes": [
                            {
                              "key": "exception.type",
                              "value": {
                                "stringValue": "Timeout"
                              }
                            }
                          ],
                          "name": "exception",
                          "timeUnixNano": "1795320000200000000"
                        }
                      ],
                      "flags": 257,
                      "kind": 2,
                      "links": [
                        {
                          "spanId": "00000000000000b1",
                          "traceId": "0000000000000000000000000000beef"
                        }
                      ],
                      "name": "POST /checkout",
                      "spanId": "00000000000000a1",
                      "startTimeUnixNano": "1795320000000000000",
                      "status": {
                        "code": 2,
                        "message": "payment timed out"
                      },
                      "traceId": "0000000000000000000000000000abcd",
                      "traceState": "ot=th:8"
                    },
                    {
                      "attributes": [
                        {
                          "key": "db.system.name",
                          "value": {
                            "stringValue": "postgresql"
                          }
                        },
                        {
                          "key": "db.namespace",
                          "value": {
                            "stringValue": "orders"
                          }
                        },
                        {
                          "key": "server.address",
                          "value": {
                            "stringValue": "db-1"
                          }
                        }
                      ],
                      "endTimeUnixNano": "1795320000260000000",
                      "kind": 3,
                      "name": "INSERT orders",
                      "parentSpanId": "00000000000000a1",
                      "spanId": "00000000000000a2",
                      "startTimeUnixNano": "1795320000010000000",
                      "status": {},
                      "traceId": "0000000000000000000000000000abcd"
                    }
                  ]
                }
              ]
            }
          ]
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn the_json_of_a_trace_reads_back_as_the_same_trace() {
    for id in [
        "abcd",
        "beef",
        "3ba55609c3cde49649cd77d1f9dcd936",
        "83a9efd15c1c98a977e0711cc93ee28b",
        "226",
    ] {
        let number = u128::from_str_radix(id, 16).expect("an id");
        let stored = Shop::open()
            .trace(number.to_be_bytes())
            .expect("no failure")
            .expect("a trace");
        for version in ["/tempo/api/traces/", "/tempo/api/v2/traces/"] {
            let answer = get(&format!("{version}{id}")).await;
            let read = otlp::json::trace_request_to_protobuf(&answer.body).expect("OTLP/JSON");
            assert_eq!(
                TracesData::decode(read),
                TracesData::decode(stored.clone()),
                "{version}{id}"
            );
        }
    }
}

#[tokio::test]
async fn an_id_may_lack_its_leading_zeros_and_must_be_hexadecimal() {
    let whole = ok("/tempo/api/v2/traces/0000000000000000000000000000ABCD").await;
    assert_eq!(whole, ok("/tempo/api/v2/traces/abcd").await);
    check_failure(
        "/tempo/api/v2/traces/abce",
        StatusCode::NOT_FOUND,
        "trace `0000000000000000000000000000abce` is not kept",
    )
    .await;
    check_failure(
        "/tempo/api/traces/xyz",
        StatusCode::BAD_REQUEST,
        "`xyz` is no trace id: write up to 32 hexadecimal digits",
    )
    .await;
    for id in ["+abcd", "00000000000000000000000000000abcd", "%20", "-1"] {
        assert_eq!(
            get(&format!("/tempo/api/traces/{id}")).await.status,
            StatusCode::BAD_REQUEST,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_search_answers_in_grafanas_form() {
    check_pretty(
        "/tempo/api/search?q=%7Bstatus%3Derror%7D&start=1795320000&end=1795320100",
        expect![[r#"
        {
          "metrics": {
            "completedJobs": 1,
            "inspectedBytes": "4711",
            "inspectedTraces": 6,
            "totalJobs": 1
          },
          "traces": [
            {
              "durationMs": 300,
              "rootServiceName": "checkout",
              "rootTraceName": "POST /checkout",
              "serviceStats": {
                "checkout": {
                  "errorCount": 1,
                  "spanCount": 2
                }
              },
              "spanSet": {
                "matched": 1,
                "spans": [
                  {
                    "attributes": [
                      {
                        "key": "service.name",
                        "value": {
                          "stringValue": "checkout"
                        }
                      },
                      {
                        "key": "http.request.method",
                        "value": {
                          "stringValue": "POST"
                        }
                      },
                      {
                        "key": "http.response.status_code",
                        "value": {
                          "intValue": "500"
                        }
                      },
                      {
                        "key": "cart.value",
                        "value": {
                          "doubleValue": 12.5
                        }
                      },
                      {
                        "key": "cart.full",
                        "value": {
                          "boolValue": true
                        }
                      },
                      {
                        "key": "user.id",
                        "value": {
                          "intValue": "9007199254740993"
                        }
                      }
                    ],
                    "durationNanos": "300000000",
                    "name": "POST /checkout",
                    "spanID": "00000000000000a1",
                    "startTimeUnixNano": "1795320000000000000"
                  }
                ]
              },
              "spanSets": [
                {
                  "matched": 1,
                  "spans": [
                    {
                      "attributes": [
                        {
                          "key": "service.name",
                          "value": {
                            "stringValue": "checkout"
                          }
                        },
                        {
                          "key": "http.request.method",
                          "value": {
                            "stringValue": "POST"
                          }
                        },
                        {
                          "key": "http.response.status_code",
                          "value": {
                            "intValue": "500"
                          }
                        },
                        {
                          "key": "cart.value",
                          "value": {
                            "doubleValue": 12.5
                          }
                        },
                        {
                          "key": "cart.full",
                          "value": {
                            "boolValue": true
                          }
                        },
                        {
                          "key": "user.id",
                          "value": {
                            "intValue": "9007199254740993"
                          }
                        }
                      ],
                      "durationNanos": "300000000",
                      "name": "POST /checkout",
                      "spanID": "00000000000000a1",
                      "startTimeUnixNano": "1795320000000000000"
                    }
                  ]
                }
              ],
              "startTimeUnixNano": "1795320000000000000",
              "traceID": "0000000000000000000000000000abcd"
            }
          ]
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn a_search_finds_what_the_query_says() {
    for (query, ids) in [
        (r#"{resource.service.name="cart"}"#, &["beef"][..]),
        ("{span.http.response.status_code>=500}", &["abcd"]),
        (r#"{span."foo bar"="x y"}"#, &["beef"]),
        (r#"{name=~"(POST|GET) /c.*"}"#, &["beef", "abcd"]),
        (
            r#"{name="POST /checkout"} && {span.db.namespace="orders"}"#,
            &["abcd"],
        ),
        (r#"{name="POST /checkout" && span.db.namespace="orders"}"#, &[]),
        (r#"{rootServiceName="checkout"}"#, &["abcd"]),
        ("{.cart.full}", &["abcd"]),
        ("{event.exception.type != nil}", &["abcd"]),
        (
            r#"{duration>280ms && kind=server && .service.name="checkout"}"#,
            &["abcd"],
        ),
        (
            r#"{span.db.name="postgresql:orders@db-1" || span.db.system="postgresql:orders@db-1" || span.peer.service="postgresql:orders@db-1" || span.messaging.system="postgresql:orders@db-1" || span.net.peer.name="postgresql:orders@db-1"}"#,
            &["abcd"],
        ),
        (
            r#"{span.db.name="nobody" || span.db.system="nobody" || span.peer.service="nobody"}"#,
            &[],
        ),
    ] {
        assert_eq!(found(query).await, ids, "{query}");
    }
}

#[tokio::test]
async fn tags_of_the_time_before_traceql_are_understood() {
    for (parameters, ids) in [
        ("tags=service.name%3Dcart", vec!["beef"]),
        (
            "tags=http.response.status_code%3D500%20service.name%3Dcheckout",
            vec!["abcd"],
        ),
        (
            "tags=name%3D%22POST%20%2Fcheckout%22%20db.namespace%3Dorders",
            vec!["abcd"],
        ),
        ("tags=error%3Dtrue%20root.service.name%3Dcheckout", vec!["abcd"]),
        ("tags=status.code%3Dok", vec!["beef"]),
        ("tags=cart.full%3Dtrue", vec!["abcd"]),
        ("minDuration=100ms&start=1795320000&end=1795320100", vec!["abcd"]),
        ("maxDuration=100ms&start=1795320000&end=1795320100", vec!["beef"]),
        ("start=1795320060&end=1795320060", vec!["beef"]),
        ("start=1795320061&end=1795320100", vec![]),
    ] {
        let answer = ok(&format!("/tempo/api/search?{parameters}")).await;
        assert_eq!(self::ids(&answer), ids, "{parameters}");
    }
}

#[tokio::test]
async fn a_wrong_search_is_told_what_would_be_right() {
    let bad = StatusCode::BAD_REQUEST;
    check_failure("/tempo/api/search?q=%7B.a%3D1%7D%20%7C%20rate()", bad, "the TraceQL query is wrong at line 1 column 8: pipelines (`|`) are not supported, neither aggregates nor metrics: write one filter in braces").await;
    check_failure(
        "/tempo/api/search?q=%7B%7D&limit=many",
        bad,
        "parameter `limit` is `many` but must be a whole number",
    )
    .await;
    check_failure(
        "/tempo/api/search?q=%7B%7D&limit=0",
        bad,
        "parameter `limit` is `0` but must be at least 1",
    )
    .await;
    check_failure(
        "/tempo/api/search?q=%7B%7D&start=20&end=10",
        bad,
        "`start` must be before `end`",
    )
    .await;
    check_failure("/tempo/api/search?minDuration=fast", bad, "parameter `minDuration`: `fast` is no duration: write a number and a unit, as in `200ms`, `1.5s` or `1h30m`").await;
    check_failure(
        "/tempo/api/search?minDuration=2s&maxDuration=1s",
        bad,
        "`minDuration` must not be longer than `maxDuration`",
    )
    .await;
    check_failure(
        "/tempo/api/search?tags=cart",
        bad,
        "parameter `tags`: `cart` must be `key=value`",
    )
    .await;
    check_failure(
        "/tempo/api/metrics/query_range?q=%7B%7D",
        bad,
        "TraceQL metrics are not supported: ask Prometheus for `traces_spanmetrics_*` instead",
    )
    .await;
    check_failure(
        "/tempo/api/v3/everything",
        StatusCode::NOT_FOUND,
        "no such endpoint: this is the part of Tempo's API that Grafana uses, below `/api`",
    )
    .await;
}

#[tokio::test]
async fn tag_names_are_listed_by_scope() {
    let all = ok("/tempo/api/v2/search/tags?limit=5000").await;
    let scopes: Vec<_> = all["scopes"]
        .as_array()
        .expect("scopes")
        .iter()
        .map(|scope| scope["name"].clone())
        .collect();
    assert_eq!(scopes, ["resource", "span", "event", "intrinsic"]);
    check("/tempo/api/v2/search/tags?scope=resource", expect![[r#"{"scopes":[{"name":"resource","tags":["process.pid","service.name","service.version","telemetry.sdk.language","telemetry.sdk.name","telemetry.sdk.version"]}]}"#]]).await;
    check(
        "/tempo/api/v2/search/tags?scope=event",
        expect![[r#"{"scopes":[{"name":"event","tags":["exception.type"]}]}"#]],
    )
    .await;
    check("/tempo/api/v2/search/tags?scope=intrinsic", expect![[r#"{"scopes":[{"name":"intrinsic","tags":["duration","event:name","instrumentation:name","instrumentation:version","kind","name","rootName","rootServiceName","span:duration","span:id","span:kind","span:name","span:parentID","span:status","span:statusMessage","status","statusMessage","trace:duration","trace:id","trace:rootName","trace:rootService","traceDuration"]}]}"#]]).await;
    check(
        "/tempo/api/v2/search/tags?scope=span&limit=2",
        expect![[r#"{"scopes":[{"name":"span","tags":["cart.full","cart.value"]}]}"#]],
    )
    .await;
    check("/tempo/api/search/tags?scope=resource", expect![[r#"{"tagNames":["process.pid","service.name","service.version","telemetry.sdk.language","telemetry.sdk.name","telemetry.sdk.version"]}"#]]).await;
    let flat = ok("/tempo/api/search/tags").await;
    let names = flat["tagNames"].as_array().expect("names");
    assert!(
        names.contains(&"service.name".into()) && names.contains(&"db.namespace".into()),
        "{names:?}"
    );
    check_failure("/tempo/api/v2/search/tags?scope=all", StatusCode::BAD_REQUEST, "parameter `scope` is `all` but must be `resource`, `span`, `event`, `link`, `instrumentation`, `intrinsic` or `none`").await;
}

#[tokio::test]
async fn tag_values_are_listed_with_their_types() {
    check(
        "/tempo/api/v2/search/tag/resource.service.version/values",
        expect![[r#"{"tagValues":[{"type":"string","value":"2.1.0"}]}"#]],
    )
    .await;
    check(
        "/tempo/api/v2/search/tag/span.http.response.status_code/values?q=%7B%7D&limit=5000",
        expect![[r#"{"tagValues":[{"type":"int","value":"200"},{"type":"int","value":"500"}]}"#]],
    )
    .await;
    check(
        "/tempo/api/v2/search/tag/.cart.full/values",
        expect![[r#"{"tagValues":[{"type":"bool","value":"true"}]}"#]],
    )
    .await;
    check(
        "/tempo/api/v2/search/tag/span.cart.value/values",
        expect![[r#"{"tagValues":[{"type":"float","value":"12.5"}]}"#]],
    )
    .await;
    check("/tempo/api/v2/search/tag/status/values", expect![[r#"{"tagValues":[{"type":"keyword","value":"error"},{"type":"keyword","value":"ok"},{"type":"keyword","value":"unset"}]}"#]]).await;
    check("/tempo/api/v2/search/tag/span:kind/values", expect![[r#"{"tagValues":[{"type":"keyword","value":"client"},{"type":"keyword","value":"internal"},{"type":"keyword","value":"server"},{"type":"keyword","value":"unspecified"}]}"#]]).await;
    check(
        "/tempo/api/v2/search/tag/duration/values",
        expect![[r#"{"tagValues":[]}"#]],
    )
    .await;
    check("/tempo/api/v2/search/tag/event:name/values", expect![[r#"{"tagValues":[{"type":"string","value":"cr"},{"type":"string","value":"exception"},{"type":"string","value":"ss"}]}"#]]).await;
    check(
        "/tempo/api/v2/search/tag/.service.name/values?limit=2",
        expect![[r#"{"tagValues":[{"type":"string","value":"cart"},{"type":"string","value":"checkout"}]}"#]],
    )
    .await;
    check(
        "/tempo/api/search/tag/http.response.status_code/values",
        expect![[r#"{"tagValues":["200","500"]}"#]],
    )
    .await;
    check_failure("/tempo/api/v2/search/tag/service.name/values", StatusCode::BAD_REQUEST, "`service.name` is no tag: `service.` is no scope: write `.service…` for an attribute of any scope, or begin with `span.`, `resource.`, `event.`, `link.` or `instrumentation.`").await;
}

#[tokio::test]
async fn a_tag_may_be_encoded_once_or_twice() {
    for tag in ["span.%22foo%20bar%22", "span.%2522foo%2520bar%2522"] {
        let values = ok(&format!("/tempo/api/v2/search/tag/{tag}/values")).await;
        assert_eq!(values["tagValues"][0]["value"], "x y", "{tag}");
    }
    let values = ok("/tempo/api/search/tag/foo%2520bar/values").await;
    assert_eq!(values["tagValues"][0], "x y");
}
