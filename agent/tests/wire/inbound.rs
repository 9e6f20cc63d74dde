//! What a request becomes on its way to the service.

use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_request_with_context_leaves_a_server_span_below_its_caller() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let answer = ask(
        agent.inbound_addrs[0],
        &format!(
            "GET /orders/17?card=4111 HTTP/1.1
             Host: cart.shop:8080
             User-Agent: probe/1
             Traceparent: 00-{TRACE}-{CALLER}-03
             Tracestate: vendor=1
             X-Request-Id: order-17
             X-Forwarded-For: 192.0.2.7"
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let seen = collector.server_span().await;
    let traceparent = format!("00-{TRACE}-{}-03", seen.span_id());
    assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(header(&answer, "tracestate"), Some("vendor=1"));
    assert_eq!(header(&answer, "x-correlation-id"), Some("order-17"));
    assert_eq!(header(&answer, "x-request-id"), Some("order-17"));
    assert_eq!(header(&answer, "host"), Some("cart.shop:8080"));
    assert!(answer.contains("GET /orders/17?card=4111\n"), "{answer}");

    assert_eq!(
        (seen.trace_id().as_str(), seen.parent().as_str()),
        (TRACE, CALLER)
    );
    assert_eq!((seen.span.name.as_str(), seen.span.kind), ("GET /orders/{id}", 2));
    assert_eq!(
        (seen.span.trace_state.as_str(), seen.span.flags),
        ("vendor=1", 0x303)
    );
    assert!(seen.span.end_time_unix_nano > seen.span.start_time_unix_nano);
    assert_eq!((seen.status(), seen.scope.as_str()), (0, "tracemap-agent"));
    let port = agent.inbound_addrs[0].port().to_string();
    let expected = [
        ("client.address", "192.0.2.7"),
        ("correlation.id", "order-17"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/orders/{id}"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("server.address", "cart.shop"),
        ("server.port", "8080"),
        ("tracemap.agent", "true"),
        ("url.path", "/orders/17"),
        ("url.scheme", "http"),
        ("user_agent.original", "probe/1"),
    ];
    let mut attributes = seen.attributes.clone();
    let peer_port = attributes.remove("network.peer.port").expect("the peer's port");
    assert_ne!(peer_port, port, "the peer is the caller, not the listener");
    let attributes: Vec<_> = attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(attributes, expected);
    // What is detected of the machine has tests of its own.
    let of_machine = |key: &str| {
        ["host.", "os.", "container."]
            .iter()
            .any(|prefix| key.starts_with(prefix))
    };
    let resource: Vec<_> = seen
        .resource
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .filter(|(key, _)| !of_machine(key))
        .collect();
    let expected = [
        ("deployment.environment.name", "test"),
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("service.version", "7"),
    ];
    assert_eq!(resource, expected);
}

#[tokio::test]
async fn a_request_without_context_begins_a_trace_and_gets_its_id_as_correlation_id() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let answer = ask(agent.inbound_addrs[0], "GET /somewhere/else HTTP/1.1\nhost: cart").await;
    let seen = collector.server_span().await;
    let traceparent = format!("00-{}-{}-03", seen.trace_id(), seen.span_id());
    assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(
        (seen.parent().as_str(), seen.span.name.as_str()),
        ("", "GET"),
        "a path is no name"
    );
    let correlation = header(&answer, "x-correlation-id").expect("a correlation id");
    assert_eq!(correlation.replace('-', ""), seen.trace_id());
    assert_eq!(seen.get("correlation.id"), Some(correlation));
}

#[tokio::test]
async fn an_unsampled_request_passes_as_it_came_and_makes_no_span() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let traceparent = format!("00-{TRACE}-{CALLER}-00");
    let head = format!("GET / HTTP/1.1\nhost: cart\ntraceparent: {traceparent}\ntracestate: a=1,b=2");
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(header(&answer, "tracestate"), Some("a=1,b=2"));
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"unsampled\"}", 1.0).await;
    agent.stop().await;
    assert!(collector.all().is_empty());
}

#[tokio::test]
async fn a_b3_caller_is_continued_and_gets_b3_on_its_way_beside_traceparent() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let head = format!("GET / HTTP/1.1\nhost: cart\nb3: {TRACE}-{CALLER}-1");
    let answer = ask(agent.inbound_addrs[0], &head).await;
    let seen = collector.server_span().await;
    assert_eq!(
        (seen.trace_id().as_str(), seen.parent().as_str()),
        (TRACE, CALLER)
    );
    let b3 = format!("{TRACE}-{}-1", seen.span_id());
    assert_eq!(header(&answer, "b3"), Some(b3.as_str()));
    assert!(header(&answer, "traceparent").is_some());
    until_metric(
        &agent,
        "tracemap_agent_context_total{direction=\"inbound\",source=\"b3\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn malformed_context_does_not_stop_the_request_and_is_counted() {
    let agent = sidecar(mirror().await, None).await;
    let answer = ask(
        agent.inbound_addrs[0],
        "GET / HTTP/1.1
         host: cart
         traceparent: 00-zz
         baggage: ,,=,
         x-correlation-id: two words",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let skipped = |format: &str, reason: &str| {
        format!("tracemap_agent_context_skipped_total{{format=\"{format}\",reason=\"{reason}\"}}")
    };
    until_metric(&agent, &skipped("tracecontext", "traceparent_malformed"), 1.0).await;
    until_metric(&agent, &skipped("correlation", "correlation_id_malformed"), 1.0).await;
    until_metric(
        &agent,
        "tracemap_agent_spans_dropped_total{reason=\"no_endpoint\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn a_servers_own_failure_is_an_error_and_a_callers_mistake_is_none() {
    let collector = Collector::start().await;
    let status = |code: u16| {
        axum::routing::get(move || async move { http::StatusCode::from_u16(code).expect("a code") })
    };
    let router = axum::Router::new()
        .route("/fails", status(503))
        .route("/missing", status(404));
    let agent = sidecar(service(router).await, Some(collector.endpoint())).await;
    let answer = ask(agent.inbound_addrs[0], "GET /fails HTTP/1.1\nhost: cart").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let failed = collector
        .span(|seen| seen.get("url.path") == Some("/fails"))
        .await;
    assert_eq!((failed.status(), failed.get("error.type")), (2, Some("503")));
    ask(agent.inbound_addrs[0], "GET /missing HTTP/1.1\nhost: cart").await;
    let missing = collector
        .span(|seen| seen.get("url.path") == Some("/missing"))
        .await;
    assert_eq!((missing.status(), missing.get("error.type")), (0, None));
    assert_eq!(missing.get("http.response.status_code"), Some("404"));
}

#[tokio::test]
async fn a_service_that_is_down_is_a_502_in_one_line_and_the_span_says_so() {
    let collector = Collector::start().await;
    let agent = sidecar(nobody().await, Some(collector.endpoint())).await;
    let answer = ask(
        agent.inbound_addrs[0],
        "POST / HTTP/1.1\nhost: cart\ncontent-length: 0",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(
        body.starts_with("tracemap-agent: ") && body.lines().count() == 1,
        "{body}"
    );
    let seen = collector.server_span().await;
    assert_eq!(
        (seen.status(), seen.get("error.type")),
        (2, Some("connection_refused"))
    );
    assert_eq!(seen.get("http.response.status_code"), Some("502"));
    until_metric(
        &agent,
        "tracemap_agent_requests_total{direction=\"inbound\",outcome=\"unreachable\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn large_and_many_headers_pass() {
    let large = "x".repeat(60_000);
    let many = (0..150).fold(String::new(), |text, n| text + &format!("x-{n}: {n}\n"));
    let head = format!("GET / HTTP/1.1\nhost: cart\ncookie: {large}\n{many}")
        .trim_end()
        .to_owned();
    let upstream = raw_service(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let found = header(&head, "cookie").map_or(0, str::len) + head.matches("\r\nx-").count();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{found}",
            found.to_string().len()
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes())
            .await
            .expect("written");
    });
    let agent = sidecar(upstream.await, None).await;
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert!(
        answer.ends_with("\r\n\r\n60151"),
        "151 headers beginning with x-, ours included: {answer}"
    );
}

#[tokio::test]
async fn a_connect_request_is_not_for_a_service() {
    let agent = sidecar(mirror().await, None).await;
    let answer = ask(agent.inbound_addrs[0], "CONNECT cart:80 HTTP/1.1\nhost: cart:80").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
