//! Jaeger's remote sampling, on both sides: what a collector of theirs tells us, and what SDKs on the node are told.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use crate::http2::{call, grpc};
use crate::support::*;

/// A collector of Jaeger's that records all of `cart` but what `/orders/{id}` begins.
async fn jaeger() -> SocketAddr {
    let answer = |request: axum::extract::Request| async move {
        assert_eq!(request.uri(), "/sampling?service=cart");
        "{\"strategyType\":\"PROBABILISTIC\",\"operationSampling\":{\"defaultSamplingProbability\":1,\
          \"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":[\
          {\"operation\":\"GET /orders/{id}\",\"probabilisticSampling\":{\"samplingRate\":0}}]}}"
    };
    service(axum::Router::new().fallback(answer)).await
}

async fn following(collector: &Collector) -> agent::Running {
    let agent = start(&format!(
        "{{ service: cart, routes: ['/orders/{{id}}'], admin: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }}, outbound: {{ listen: '127.0.0.1:0' }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}],
           sampling: {{ listen: '127.0.0.1:0', grpc: '127.0.0.1:0',
                        remote: {{ endpoint: 'http://{}', interval: 100ms }} }} }}",
        collector.endpoint(),
        mirror().await,
        jaeger().await
    ))
    .await;
    let learnt = "tracemap_agent_remote_sampling_polls_total{outcome=\"applied\"}";
    let polled = async { while metric(&agent, learnt).await < 1.0 {} };
    soon("a strategy", polled).await;
    agent
}

#[tokio::test]
async fn an_operation_with_a_share_of_its_own_is_sampled_by_that() {
    let collector = Collector::start().await;
    let agent = following(&collector).await;
    for path in ["/orders/7", "/carts/7"] {
        let head = format!("GET {path} HTTP/1.1\nhost: cart");
        let answer = ask(agent.inbound_addrs[0], &head).await;
        let told = header(&answer, "traceparent").expect("a context");
        assert_eq!(told.ends_with("-03"), path == "/carts/7", "{path}: {told}");
    }
    let target = mirror().await;
    let head = format!("GET http://{target}/orders/7 HTTP/1.1");
    let answer = ask(agent.outbound_addrs[0], &head).await;
    let told = header(&answer, "traceparent").expect("a context");
    assert!(
        told.ends_with("-03"),
        "a call has no route, so it is another operation: {told}"
    );
    let unsampled = "tracemap_agent_spans_total{outcome=\"unsampled\"}";
    until_metric(&agent, unsampled, 1.0).await;
    assert_eq!(collector.server_span().await.get("url.path"), Some("/carts/7"));
}

#[tokio::test]
async fn sdks_are_told_the_shares_of_operations_over_http() {
    let collector = Collector::start().await;
    let agent = following(&collector).await;
    let address = agent.sampling_addr.expect("an address");
    let answer = ask(address, "GET /sampling?service=cart HTTP/1.1\nhost: agent").await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let of_each = &body["operationSampling"]["perOperationStrategies"];
    assert_eq!(of_each[0]["operation"], "GET /orders/{id}");
    assert_eq!(of_each[0]["probabilisticSampling"]["samplingRate"], 0.0);
    assert_eq!(body["operationSampling"]["defaultSamplingProbability"], 1.0);
}

#[tokio::test]
async fn sdks_are_told_the_same_over_grpc() {
    let collector = Collector::start().await;
    let agent = following(&collector).await;
    let address = agent.sampling_grpc_addr.expect("an address");
    let asked = async |path: &str, message: &'static [u8]| {
        let request = grpc(&format!("http://agent{path}"));
        let body = Full::new(Bytes::from_static(message));
        let response = call(address, request.body(body).expect("a request")).await;
        let whole = response.into_body().collect().await.expect("the whole answer");
        let status = whole
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"))
            .cloned();
        (status.expect("a status"), whole.to_bytes())
    };
    let path = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy";
    let (status, answer) = asked(path, b"\0\0\0\0\x06\x0a\x04cart").await;
    assert_eq!(status, "0");
    let operation = b"\x0a\x10GET /orders/{id}\x12\0";
    assert!(
        answer.windows(operation.len()).any(|window| window == operation),
        "{answer:?}"
    );
    // An unknown service has the share of the configuration, which is all: `probabilisticSampling.samplingRate` 1.
    let (_, answer) = asked(path, b"\0\0\0\0\x05\x0a\x03pay").await;
    assert_eq!(answer.as_ref(), b"\0\0\0\0\x0b\x12\x09\x09\0\0\0\0\0\0\xf0\x3f");
    let (status, answer) = asked("/jaeger.api_v2.SamplingManager/Other", b"\0\0\0\0\0").await;
    assert_eq!((status.to_str().expect("text"), answer.len()), ("12", 0));
    let (status, _) = asked(path, b"\0\0").await;
    assert_eq!(status, "3");
}
