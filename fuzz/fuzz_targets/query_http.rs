//! Requests to the query APIs from anywhere: every one has an answer that is not our fault.
//!
//! In: a path with its query string, and whether protobuf is asked for. Out: a panic where the answer is a 500, or says
//! that it is JSON and is none.
//! Left out on purpose: HTTP itself, which is hyper's.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use exposition::negotiate;
use fuzz::kept::backend;
use http::{Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use query::{Limits, router};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

static ROUTER: LazyLock<Router> = LazyLock::new(|| router(backend(), Limits::default()));
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .build()
        .expect("a runtime of one thread")
});

/// Beginnings that luck would take long to find.
const BASES: [&str; 16] = [
    "/tempo/api/search?q=",
    "/tempo/api/search?tags=",
    "/tempo/api/search?",
    "/tempo/api/traces/",
    "/tempo/api/v2/traces/",
    "/tempo/api/v2/search/tags?",
    "/tempo/api/search/tags?",
    "/tempo/api/v2/search/tag/",
    "/tempo/api/search/tag/",
    "/jaeger/api/traces?service=cart&",
    "/jaeger/api/traces/",
    "/jaeger/api/services/",
    "/jaeger/api/dependencies?",
    "/jaeger/api/v3/traces?query.service_name=cart&",
    "/jaeger/api/v3/traces/",
    "/",
];

libfuzzer_sys::fuzz_target!(|input: (u8, u8, &str)| {
    let (base, accept, rest) = input;
    negotiate(rest);
    let Ok(uri) = format!("{}{rest}", BASES[usize::from(base) % BASES.len()]).parse::<Uri>() else {
        return;
    };
    let accept = ["application/protobuf", "application/json", "*/*"][usize::from(accept) % 3];
    let request = Request::builder()
        .uri(uri)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .expect("a URI that was parsed");
    let (parts, body) = RUNTIME.block_on(async {
        let response = ROUTER
            .clone()
            .oneshot(request)
            .await
            .expect("a router always answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the answer is in memory");
        (parts, body.to_bytes())
    });
    assert_ne!(
        parts.status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "{}",
        String::from_utf8_lossy(&body)
    );
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind == "application/json") {
        serde_json::from_slice::<serde::de::IgnoredAny>(&body).expect("it says that it is JSON");
    }
});
