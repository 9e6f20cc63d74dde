//! What a call becomes on its way out of the service, and which request it belongs to.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, watch};

use crate::support::*;

/// A service that calls `target` through the proxy it is told of later, passing on the headers in `passes`.
async fn calling_service(
    passes: &'static [&'static str],
    target: SocketAddr,
) -> (SocketAddr, watch::Sender<Option<SocketAddr>>) {
    let (told, proxy) = watch::channel(None);
    let call = move |request: axum::extract::Request| {
        let mut proxy = proxy.clone();
        async move {
            let proxy = crate::support::once_told(&mut proxy).await;
            let mut head = format!("GET http://{target}/stock/7?secret=1 HTTP/1.1\nhost: wrong\n");
            for name in passes {
                if let Some(value) = request.headers().get(*name) {
                    let _ = writeln!(head, "{name}: {}", value.to_str().expect("text"));
                }
            }
            ask(proxy, head.trim_end()).await
        }
    };
    (service(axum::Router::new().fallback(call)).await, told)
}

async fn through(passes: &'static [&'static str]) -> (Collector, String) {
    let collector = Collector::start().await;
    let (service, told) = calling_service(passes, mirror().await).await;
    let agent = sidecar(service, Some(collector.endpoint())).await;
    told.send_replace(Some(agent.outbound_addrs[0]));
    let answer = ask(
        agent.inbound_addrs[0],
        "GET /orders/1 HTTP/1.1\nhost: cart\nx-request-id: order-1",
    )
    .await;
    collector.server_span().await;
    collector.client_span().await;
    agent.stop().await;
    (collector, answer)
}

#[tokio::test]
async fn a_call_that_carries_the_context_it_got_is_a_child_of_the_request() {
    let (collector, answer) = through(&["traceparent"]).await;
    let (server, client) = (collector.server_span().await, collector.client_span().await);
    assert_eq!(
        (client.trace_id(), client.parent()),
        (server.trace_id(), server.span_id())
    );
    assert_eq!(client.get("correlation.method"), Some("context"));
    assert_eq!(client.get("correlation.confidence"), Some("1"));
    assert_eq!(
        client.get("correlation.id"),
        Some("order-1"),
        "restored, for the service did not pass it on"
    );
    let traceparent = format!("00-{}-{}-03", client.trace_id(), client.span_id());
    let (_, called) = answer.split_once("GET /stock/7").expect("what the target saw");
    assert_eq!(header(called, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(header(called, "x-correlation-id"), Some("order-1"));
}

#[tokio::test]
async fn a_call_that_carries_only_the_correlation_id_finds_the_request_in_flight() {
    for name in [&["x-correlation-id"], &["x-request-id"]] {
        let (collector, answer) = through(name).await;
        let (server, client) = (collector.server_span().await, collector.client_span().await);
        assert_eq!(
            (client.trace_id(), client.parent()),
            (server.trace_id(), server.span_id())
        );
        assert_eq!(client.get("correlation.method"), Some("id"));
        assert_eq!(client.get("correlation.confidence"), Some("1"));
        assert!(
            answer.contains(&client.span_id()),
            "the target got the client span as its parent: {answer}"
        );
    }
}

#[tokio::test]
async fn a_call_that_carries_nothing_belongs_to_the_only_request_in_flight() {
    let (collector, _) = through(&[]).await;
    let (server, client) = (collector.server_span().await, collector.client_span().await);
    assert_eq!(
        (client.trace_id(), client.parent()),
        (server.trace_id(), server.span_id())
    );
    assert_eq!(client.get("correlation.method"), Some("exclusive"));
    assert_eq!(client.get("correlation.id"), Some("order-1"));
}

#[tokio::test]
async fn an_id_that_two_requests_in_flight_share_explains_no_call() {
    let collector = Collector::start().await;
    let may_end = Arc::new(Semaphore::new(0));
    let gate = may_end.clone();
    let slow = raw_service(move |mut stream| {
        let gate = gate.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let _ = gate.acquire().await;
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .expect("written");
        }
    });
    let agent = sidecar(slow.await, Some(collector.endpoint())).await;
    let asks = "GET / HTTP/1.1\r\nhost: cart\r\nx-correlation-id: order-1\r\n\r\n";
    let _first = open(agent.inbound_addrs[0], asks).await;
    let _retry = open(agent.inbound_addrs[0], asks).await;
    until_metric(
        &agent,
        "tracemap_agent_context_total{direction=\"inbound\",source=\"none\"}",
        2.0,
    )
    .await;
    let head = format!(
        "GET http://{}/ HTTP/1.1\nx-correlation-id: order-1",
        mirror().await
    );
    ask(agent.outbound_addrs[0], &head).await;
    let client = collector.client_span().await;
    assert_eq!(
        (client.get("correlation.method"), client.parent().as_str()),
        (Some("none"), "")
    );
    assert_eq!(client.get("correlation.id"), Some("order-1"));
    until_metric(
        &agent,
        "tracemap_agent_context_skipped_total{format=\"none\",reason=\"correlation_id_ambiguous\"}",
        1.0,
    )
    .await;
    may_end.add_permits(2);
}

#[tokio::test]
async fn one_workloads_request_never_explains_anothers_call() {
    let collector = Collector::start().await;
    let waits = raw_service(|mut stream| async move {
        read_until(&mut stream, "never").await;
    });
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, export: {{ endpoint: '{}', delay: 0s }}, workloads: [
           {{ service: cart, inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}] }},
           {{ service: stock, outbound: {{ listen: '127.0.0.1:0' }} }}] }}",
        collector.endpoint(),
        waits.await
    ))
    .await;
    let asks = "GET / HTTP/1.1\r\nhost: cart\r\nx-correlation-id: order-1\r\n\r\n";
    let _in_flight = open(agent.inbound_addrs[0], asks).await;
    until_metric(
        &agent,
        "tracemap_agent_context_total{direction=\"inbound\",source=\"none\"}",
        1.0,
    )
    .await;
    let head = format!(
        "GET http://{}/ HTTP/1.1\nx-correlation-id: order-1",
        mirror().await
    );
    ask(agent.outbound_addrs[0], &head).await;
    let client = collector.client_span().await;
    assert_eq!(client.get("correlation.method"), Some("none"));
    assert_eq!(
        client.resource.get("service.name").map(String::as_str),
        Some("stock")
    );
}

#[tokio::test]
async fn a_call_leaves_a_client_span_without_secrets_and_reaches_its_target_unharmed() {
    let collector = Collector::start().await;
    let agent = sidecar(nobody().await, Some(collector.endpoint())).await;
    let target = mirror().await;
    let answer = ask(
        agent.outbound_addrs[0],
        &format!(
            "DELETE http://ann:s3cret@{target}/stock/7?token=s3cret HTTP/1.1
             Host: somebody.else
             Proxy-Authorization: Basic c2VjcmV0
             Proxy-Connection: keep-alive"
        ),
    )
    .await;
    assert!(answer.contains("DELETE /stock/7?token=s3cret\n"), "{answer}");
    assert_eq!(header(&answer, "host"), Some(target.to_string().as_str()));
    assert_eq!(
        (
            header(&answer, "proxy-authorization"),
            header(&answer, "proxy-connection")
        ),
        (None, None)
    );
    let seen = collector.client_span().await;
    let (full, port) = (
        format!("http://REDACTED:REDACTED@{target}/stock/7"),
        target.port().to_string(),
    );
    let correlation = seen.get("correlation.id").expect("a correlation id").to_owned();
    let expected = [
        ("correlation.id", correlation.as_str()),
        ("correlation.method", "none"),
        ("http.request.method", "DELETE"),
        ("http.response.status_code", "200"),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", &port),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("tracemap.agent", "true"),
        ("url.full", &full),
    ];
    let attributes: Vec<_> = seen
        .attributes
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(attributes, expected);
    assert_eq!(
        (seen.span.name.as_str(), seen.span.kind, seen.span.flags),
        ("DELETE", 3, 0x103)
    );
}

#[tokio::test]
async fn a_4xx_and_an_unreachable_target_are_errors_of_the_call() {
    let collector = Collector::start().await;
    let agent = sidecar(nobody().await, Some(collector.endpoint())).await;
    let missing = service(axum::Router::new()).await;
    ask(
        agent.outbound_addrs[0],
        &format!("GET http://{missing}/missing HTTP/1.1"),
    )
    .await;
    let seen = collector.client_span().await;
    assert_eq!((seen.status(), seen.get("error.type")), (2, Some("404")));
    let answer = ask(
        agent.outbound_addrs[0],
        &format!("GET http://{}/ HTTP/1.1", nobody().await),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let seen = collector
        .span(|seen| seen.get("error.type") == Some("connection_refused"))
        .await;
    assert_eq!(
        (seen.status(), seen.get("http.response.status_code")),
        (2, None),
        "no server answered"
    );
}

#[tokio::test]
async fn connect_opens_a_tunnel_that_nobody_looks_into() {
    let agent = sidecar(nobody().await, None).await;
    let target = raw_service(|mut stream| async move {
        let said = read_until(&mut stream, "not http").await;
        stream
            .write_all(format!("heard {said}").as_bytes())
            .await
            .expect("written");
    });
    let head = format!("CONNECT {} HTTP/1.1\r\nhost: x\r\n\r\n", target.await);
    let mut stream = open(agent.outbound_addrs[0], &head).await;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stream.write_all(b"not http").await.expect("written");
    read_until(&mut stream, "heard not http").await;
    assert!(
        (metric(
            &agent,
            "tracemap_agent_requests_total{direction=\"outbound\",outcome=\"tunnel\"}"
        )
        .await
            - 1.0)
            .abs()
            < f64::EPSILON
    );
    let refused = ask(
        agent.outbound_addrs[0],
        &format!("CONNECT {} HTTP/1.1", nobody().await),
    )
    .await;
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
}

#[tokio::test]
async fn what_would_come_back_for_ever_is_refused_and_counted() {
    let agent = sidecar(nobody().await, None).await;
    let own = agent.outbound_addrs[0];
    let port = own.port();
    for head in [
        format!("GET http://{own}/ HTTP/1.1"),
        format!("GET http://localhost:{port}/ HTTP/1.1"),
        format!("CONNECT {own} HTTP/1.1"),
    ] {
        let answer = ask(own, &head).await;
        assert!(answer.starts_with("HTTP/1.1 508 "), "{head}: {answer}");
    }
    until_metric(
        &agent,
        "tracemap_agent_requests_total{direction=\"outbound\",outcome=\"loop\"}",
        3.0,
    )
    .await;
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_refused_with_what_would_be_right() {
    let agent = sidecar(nobody().await, None).await;
    for head in [
        "GET / HTTP/1.1\nhost: cart",
        "GET ftp://cart/ HTTP/1.1",
        "CONNECT cart HTTP/1.1",
    ] {
        let answer = ask(agent.outbound_addrs[0], head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert!(
            answer.contains("absolute `http://` or `https://` target"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_proxy_serves_those_alone_who_are_named() {
    let target = mirror().await;
    let yaml = |allow: &str| {
        format!(
            "service: cart\nadmin: {{ listen: '127.0.0.1:0' }}\noutbound: {{ listen: '0.0.0.0:0', allow: [{allow}], deny: [] }}\n"
        )
    };
    let refused = start(&yaml("10.0.0.0/8, '::1'")).await;
    let proxy = SocketAddr::from(([127, 0, 0, 1], refused.outbound_addrs[0].port()));
    for request in [
        format!("GET http://{target}/stock HTTP/1.1\nhost: {target}"),
        format!("CONNECT {target} HTTP/1.1\nhost: {target}"),
    ] {
        let answer = ask(proxy, &request).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{request}: {answer}");
        assert!(answer.contains("agent.outbound.allow"), "{answer}");
    }
    let counted = "tracemap_agent_requests_total{direction=\"outbound\",outcome=\"refused\"}";
    until_metric(&refused, counted, 2.0).await;
    refused.stop().await;

    let served = start(&yaml("127.0.0.0/8")).await;
    let proxy = SocketAddr::from(([127, 0, 0, 1], served.outbound_addrs[0].port()));
    let answer = ask(
        proxy,
        &format!("GET http://{target}/stock HTTP/1.1\nhost: {target}"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.stop().await;
}
