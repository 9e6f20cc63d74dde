//! What no question may do: fail unexplained, cost without bound, or break the server.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use bytes::Bytes;
use otlp::Kind;
use proptest::prelude::*;
use query::{Backend, BackendError, Dependency, Limits};
use store::{Condition, Field, Found, Scope, Search, TagValue, TimeRange};

use super::shop::{NOW, Shop};
use super::{ask, router, router_over};

/// A backend whose every answer is made by one function.
struct Scripted<F>(F);

impl<F: Fn() -> Result<(), BackendError> + Send + Sync + 'static> Backend for Scripted<F> {
    fn trace(&self, _: [u8; 16]) -> Result<Option<Bytes>, BackendError> {
        (self.0)().map(|()| None)
    }

    fn search(&self, _: &Search) -> Result<Found, BackendError> {
        (self.0)().map(|()| Found::default())
    }

    fn services(&self) -> Result<Vec<String>, BackendError> {
        (self.0)().map(|()| Vec::new())
    }

    fn operations(&self, _: &str) -> Result<Vec<(String, Kind)>, BackendError> {
        (self.0)().map(|()| Vec::new())
    }

    fn tags(&self, _: Option<Scope>, _: TimeRange) -> Result<Vec<(Scope, Vec<String>)>, BackendError> {
        (self.0)().map(|()| Vec::new())
    }

    fn tag_values(&self, _: &Field, _: TimeRange, _: usize) -> Result<Vec<TagValue>, BackendError> {
        (self.0)().map(|()| Vec::new())
    }

    fn dependencies(&self, _: u64, _: u64) -> Result<Vec<Dependency>, BackendError> {
        (self.0)().map(|()| Vec::new())
    }

    fn node_condition(&self, _: &str) -> Option<Condition> {
        None
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn now_unix_nano(&self) -> u64 {
        NOW
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read segment `0007`")]
struct Unreadable {
    #[source]
    source: std::io::Error,
}

const EVERY_ENDPOINT: [&str; 14] = [
    "/tempo/api/traces/1",
    "/tempo/api/v2/traces/1",
    "/tempo/api/search?q=%7B%7D",
    "/tempo/api/search/tags",
    "/tempo/api/v2/search/tags",
    "/tempo/api/search/tag/a/values",
    "/tempo/api/v2/search/tag/.a/values",
    "/jaeger/api/services",
    "/jaeger/api/services/a/operations",
    "/jaeger/api/traces?service=a",
    "/jaeger/api/traces/1",
    "/jaeger/api/dependencies",
    "/jaeger/api/v3/services",
    "/jaeger/api/v3/traces/1",
];

#[tokio::test]
async fn a_failure_of_the_store_is_500_with_its_causes() {
    for uri in EVERY_ENDPOINT {
        let failing = Scripted(|| {
            let source = std::io::Error::other("input/output error");
            Err(Unreadable { source }.into())
        });
        let answer = ask(router_over(failing, Limits::default()), uri, "application/json").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{uri}");
        let text = answer.text();
        assert!(
            text.contains("cannot read segment `0007`: input/output error"),
            "{uri}: {text}"
        );
        if uri.starts_with("/jaeger") {
            let json = answer.json();
            let code = if uri.contains("v3") {
                &json["error"]["httpCode"]
            } else {
                &json["errors"][0]["code"]
            };
            assert_eq!(*code, 500, "{uri}: {json}");
        }
    }
}

#[tokio::test]
async fn a_panic_of_the_store_is_500_and_the_next_question_is_answered() {
    let panics = Mutex::new(true);
    let first_panics = Scripted(move || {
        let mut panics = panics.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!std::mem::take(&mut *panics), "the store is broken");
        Ok(())
    });
    let limits = Limits {
        concurrent: 1,
        ..Limits::default()
    };
    let router = router_over(first_panics, limits);
    let answer = ask(router.clone(), "/jaeger/api/services", "application/json").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let answer = ask(router, "/jaeger/api/services", "application/json").await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_wait_is_refused_and_asked_for_again() {
    let (begun, has_begun): (Sender<()>, Receiver<()>) = channel();
    let (release, released): (Sender<()>, Receiver<()>) = channel();
    let first = Mutex::new(Some((begun, released)));
    let blocks_once = Scripted(move || {
        let first = first.lock().map_err(|_| "poisoned")?.take();
        if let Some((begun, released)) = first {
            begun.send(())?;
            released.recv()?;
        }
        Ok(())
    });
    let limits = Limits {
        concurrent: 1,
        waiting: 0,
        ..Limits::default()
    };
    let router = router_over(blocks_once, limits);
    let first = tokio::spawn(ask(router.clone(), "/jaeger/api/services", "application/json"));
    let has_begun = tokio::task::spawn_blocking(move || has_begun.recv());
    has_begun
        .await
        .expect("no panic")
        .expect("the first question reaches the store");
    for uri in EVERY_ENDPOINT {
        let refused = ask(router.clone(), uri, "application/json").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{uri}");
    }
    release.send(()).expect("the store waits");
    assert_eq!(first.await.expect("no panic").status, StatusCode::OK);
    let again = ask(router, "/jaeger/api/services", "application/json").await;
    assert_eq!(again.status, StatusCode::OK);
}

fn tight() -> Limits {
    Limits {
        traces: 7,
        spans_per_trace: 5,
        tags: 3,
        examined_bytes: 1_000,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_search_is_bounded_whatever_it_asks_for() {
    let shop = Shop::open();
    let searches = Arc::clone(&shop.searches);
    let router = router_over(shop, tight());
    for uri in [
        "/tempo/api/search?q=%7B%7D&limit=1000000&spss=99999999999999999999",
        "/tempo/api/search?q=%7B%7D&limit=18446744073709551615&spss=1000",
        "/tempo/api/search?spss=0",
        "/jaeger/api/traces?service=checkout&limit=100000",
        "/jaeger/api/traces?service=checkout",
        "/jaeger/api/v3/traces?query.searchDepth=9999&query.startTimeMin=2026-11-22T03:00:00Z&query.startTimeMax=2026-11-22T05:00:00Z",
    ] {
        ask(router.clone(), uri, "application/json").await;
    }
    let searches = searches.lock().expect("no panic");
    let bounds: Vec<_> = searches
        .iter()
        .map(|one| (one.limit, one.max_bytes_examined))
        .collect();
    assert_eq!(
        bounds,
        [(7, 1_000); 5],
        "the number too large for 64 bits was refused"
    );
    let spans: Vec<_> = searches.iter().map(|one| one.spans_per_trace).collect();
    assert_eq!(
        spans,
        [5, 5, 0, 0, 0],
        "0 asks Tempo for all, and Jaeger's searches need none"
    );
}

#[tokio::test]
async fn lists_of_tags_are_bounded() {
    let router = router_over(Shop::open(), tight());
    for (uri, list) in [
        (
            "/tempo/api/v2/search/tags?scope=span&limit=5000",
            "/scopes/0/tags",
        ),
        (
            "/tempo/api/v2/search/tag/.service.name/values?limit=5000",
            "/tagValues",
        ),
        ("/tempo/api/search/tag/service.name/values", "/tagValues"),
    ] {
        let json = ask(router.clone(), uri, "application/json").await.json();
        let list = json.pointer(list).and_then(|list| list.as_array()).map(Vec::len);
        assert_eq!(list, Some(3), "{uri}: {json}");
    }
}

#[tokio::test]
async fn a_trace_that_would_be_too_long_is_refused() {
    for uri in [
        "/tempo/api/traces/abcd",
        "/tempo/api/v2/traces/abcd",
        "/jaeger/api/traces/abcd",
        "/jaeger/api/v3/traces/abcd",
    ] {
        for accept in ["application/json", "application/protobuf"] {
            let answer = ask(router_over(Shop::open(), at_most(500)), uri, accept).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{uri}");
            assert!(
                answer.text().contains("longer than 500 bytes"),
                "{uri}: {}",
                answer.text()
            );
        }
    }
}

/// What Jaeger's lists keep free for all that stands around the traces.
const ENVELOPE: usize = 16 * 1024;

async fn bytes_of_checkout() -> usize {
    ask(router(), "/jaeger/api/traces/abcd", "application/json")
        .await
        .body
        .len()
}

fn at_most(answer_bytes: usize) -> Limits {
    Limits {
        answer_bytes,
        ..Limits::default()
    }
}

#[tokio::test]
async fn traces_asked_for_by_id_come_with_the_names_of_those_that_do_not_fit() {
    let limits = at_most(ENVELOPE + bytes_of_checkout().await);
    let uri = "/jaeger/api/traces?traceID=abcd&traceID=beef";
    let json = ask(router_over(Shop::open(), limits), uri, "application/json")
        .await
        .json();
    assert_eq!(json["data"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(json["errors"][0]["msg"], "the answer would be too large");
    assert_eq!(json["errors"][0]["traceID"], "0000000000000000000000000000beef");
}

#[tokio::test]
async fn a_search_of_jaeger_says_what_it_left_out() {
    let mut shop = Shop::open();
    let json = include_str!("shop.json");
    (1..=4).for_each(|copy| shop.put(json.replace("0000abcd", &format!("{copy:04}abcd")).as_bytes()));
    let limits = at_most(ENVELOPE + 3 * bytes_of_checkout().await);
    let longest = limits.answer_bytes;
    let uri = "/jaeger/api/traces?service=checkout&start=1795316520000000&end=1795320120000000";
    let answer = ask(router_over(shop, limits), uri, "application/json").await;
    let json = answer.json();
    let traces = json["data"].as_array().expect("traces");
    let warnings: Vec<_> = traces.iter().map(|trace| trace["warnings"].to_string()).collect();
    let left_out = r#"["2 more traces were left out because the answer would be too large"]"#;
    assert_eq!(warnings, ["null", "null", left_out]);
    assert!(answer.body.len() <= longest);
}

#[tokio::test]
async fn a_search_that_did_not_see_everything_says_so() {
    let mut shop = Shop::open();
    shop.incomplete = true;
    let router = router_over(shop, Limits::default());
    let uri = "/jaeger/api/traces?service=checkout&start=1795316520000000&end=1795320120000000";
    let json = ask(router.clone(), uri, "application/json").await.json();
    let warning = "the search did not see all of the time range, there may be more traces";
    assert_eq!(json["data"][0]["warnings"][0], warning);
    let json = ask(router, "/tempo/api/search?q=%7B%7D", "application/json")
        .await
        .json();
    assert_eq!(
        (&json["metrics"]["completedJobs"], &json["metrics"]["totalJobs"]),
        (&0.into(), &1.into())
    );
}

#[tokio::test]
async fn to_find_nothing_without_seeing_everything_is_no_answer() {
    let mut shop = Shop::open();
    shop.incomplete = true;
    let router = router_over(shop, Limits::default());
    for uri in [
        "/tempo/api/search?q=%7Bname%3D%22no%22%7D",
        "/jaeger/api/traces?service=nobody",
        "/jaeger/api/v3/traces?query.serviceName=nobody&query.startTimeMin=2026-11-22T03:00:00Z&query.startTimeMax=2026-11-22T05:00:00Z",
    ] {
        let answer = ask(router.clone(), uri, "application/json").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{uri}");
        let text = answer.text();
        assert!(
            text.contains("nothing was found in 4711 bytes, but the search did not see all"),
            "{uri}: {text}"
        );
    }
}

#[tokio::test]
async fn a_damaged_trace_is_500_and_not_a_crash() {
    let mut shop = Shop::open();
    shop.damaged = Some(Bytes::from_static(b"\x0a\xff\xff"));
    let router = router_over(shop, Limits::default());
    for uri in [
        "/tempo/api/traces/abcd",
        "/jaeger/api/traces/abcd",
        "/jaeger/api/v3/traces/abcd",
    ] {
        let answer = ask(router.clone(), uri, "application/json").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{uri}");
        assert!(
            answer.text().contains("a stored trace is damaged"),
            "{uri}: {}",
            answer.text()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_request_panics_or_is_our_fault(path in path(), query in query_string()) {
        static ROUTER: LazyLock<Router> = LazyLock::new(router);
        let uri = format!("{path}?{query}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let answer = runtime.block_on(ask(ROUTER.clone(), &uri, "application/json"));
        prop_assert!(answer.status.as_u16() < 500, "{} for {}: {}", answer.status, uri, answer.text());
        prop_assert!(!answer.body.is_empty() || answer.status.as_u16() >= 400);
    }
}

/// Anything at all, percent-encoded where it must be.
fn anything() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>(),
        Just("abcd".to_owned()),
        Just(r#"{"a":"b"}"#.to_owned()),
        Just(r#"{.a="b"}"#.to_owned()),
        Just("2026-11-22T04:05:06Z".to_owned()),
        Just("1s".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("-1e400".to_owned()),
        "[0-9]{1,20}",
    ];
    let raw = "[%a-f0-9]{0,9}";
    prop_oneof![text.prop_map(|text| super::encode(&text)), raw]
}

fn path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(&EVERY_ENDPOINT[..])
        .prop_map(|uri| uri.split('?').next().unwrap_or(uri).to_owned());
    let with_id = (
        prop::sample::select(vec![
            "/tempo/api/traces/",
            "/tempo/api/v2/traces/",
            "/tempo/api/search/tag/",
            "/tempo/api/v2/search/tag/",
            "/jaeger/api/traces/",
            "/jaeger/api/services/",
            "/jaeger/api/v3/traces/",
            "/jaeger/",
            "/tempo/",
        ]),
        anything(),
        prop::sample::select(vec!["", "/values", "/operations", "/"]),
    );
    prop_oneof![
        known,
        Just("/jaeger/api/v3/traces".to_owned()),
        Just("/jaeger/api/operations".to_owned()),
        with_id.prop_map(|(before, id, behind)| format!("{before}{id}{behind}")),
    ]
}

fn query_string() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "q",
        "tags",
        "tag",
        "limit",
        "spss",
        "start",
        "end",
        "minDuration",
        "maxDuration",
        "scope",
        "service",
        "operation",
        "traceID",
        "lookback",
        "endTs",
        "spanKind",
        "query.serviceName",
        "query.startTimeMin",
        "query.startTimeMax",
        "query.attributes",
        "query.searchDepth",
        "query.durationMin",
        "x",
    ]);
    let pairs = prop::collection::vec((name, anything()), 0..6);
    pairs.prop_map(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    })
}
