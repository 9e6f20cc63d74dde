//! Tempo's and Jaeger's APIs over a backend of a few recorded and written traces, asked as Grafana and Jaeger's user
//! interface ask.

mod bounds;
mod grafana;
mod jaeger;
mod jaeger_v3;
mod kept;
mod shop;
mod tempo;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use query::{Backend, Limits};
use serde_json::Value;
use tower::ServiceExt as _;

/// An answer with its body read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    kind: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn router() -> Router {
    query::router(Arc::new(shop::Shop::open()), Limits::default())
}

/// The same over the model and over the real store.
fn routers() -> [Router; 2] {
    [router(), router_over(kept::Kept::open(), Limits::default())]
}

fn router_over(backend: impl Backend, limits: Limits) -> Router {
    query::router(Arc::new(backend), limits)
}

async fn get(uri: &str) -> Answer {
    ask(router(), uri, "application/json").await
}

async fn get_protobuf(uri: &str) -> Answer {
    ask(router(), uri, "application/protobuf").await
}

async fn ask(router: Router, uri: &str, accept: &str) -> Answer {
    let request = Request::get(uri).header(header::ACCEPT, accept);
    let request = request.body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("routers do not fail");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.to_str().expect("text"));
    Answer {
        status,
        kind: kind.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    }
}

/// The JSON that a 200 answers with.
async fn ok(uri: &str) -> Value {
    let answer = get(uri).await;
    assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text());
    assert_eq!(answer.kind, "application/json", "{uri}");
    answer.json()
}

/// A query string's value.
fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
