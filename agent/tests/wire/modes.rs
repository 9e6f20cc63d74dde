//! Edges that are told of less than by spans, and traces of which only a share is recorded.

use std::path::Path;

use serde_json::Value;

use crate::edges::{Counting, cart};
use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn lines_of(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the log");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[tokio::test]
async fn an_edge_in_mode_log_leaves_lines_that_hang_together_and_no_span() {
    let counting = Counting::start().await;
    let log = tempfile::NamedTempFile::new().expect("a file");
    let more = format!(
        "routes: ['/orders/{{id}}'], edges: {{ mode: log, interval: 1h, access_log: '{}' }}",
        log.path().display()
    );
    let agent = cart(mirror().await, &counting.endpoint(), &more).await;
    let asked = format!(
        "GET /orders/7?card=4111 HTTP/1.1
         host: cart
         traceparent: 00-{TRACE}-{CALLER}-01
         tracestate: tm=c:shop/web;k:h;t:5;n:1
         x-request-id: order-7"
    );
    let inbound = ask(agent.inbound_addrs[0], &asked).await;
    let told = header(&inbound, "traceparent").expect("a context").to_owned();
    assert_eq!(
        header(&inbound, "tracestate"),
        Some("tm=c:shop/web;k:h;t:5;q:1;d:shop/cart"),
        "the parent is known to be quiet"
    );
    let (target, gone) = (mirror().await, nobody().await);
    let head = format!("GET http://{target}/stock/7 HTTP/1.1\ntraceparent: {told}");
    let outbound = ask(agent.outbound_addrs[0], &head).await;
    let state = header(&outbound, "tracestate").expect("a hint");
    assert!(
        state.starts_with("tm=c:shop/cart;k:h;t:") && state.ends_with(";q:1"),
        "{state}"
    );
    ask(agent.outbound_addrs[0], &format!("GET http://{gone}/ HTTP/1.1")).await;
    agent.stop().await;

    assert!(counting.spans().all().is_empty());
    counting
        .until(&[
            (&format!("shop/cart -> {target}"), (1, 0)),
            (&format!("shop/cart -> {gone}"), (0, 1)),
        ])
        .await;
    let lines = lines_of(log.path());
    let [served, called, failed] = lines.as_slice() else {
        panic!("three lines: {lines:?}");
    };
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    for (key, expected) in [
        ("trace_id", TRACE),
        ("parent_span_id", CALLER),
        ("correlation.id", "order-7"),
        ("direction", "inbound"),
        ("client", "shop/web"),
        ("server", "shop/cart"),
        ("http.request.method", "GET"),
        ("http.route", "/orders/{id}"),
    ] {
        assert_eq!(text(served, key), expected, "{key}");
    }
    assert_eq!(served["http.response.status_code"], 200);
    assert!(
        served["duration_seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert!(served.get("error.type").is_none());
    assert!(!served.to_string().contains("4111"));
    assert!(
        told.contains(&text(served, "span_id")),
        "the service was told the agent's id"
    );
    assert_eq!(text(called, "parent_span_id"), text(served, "span_id"));
    assert_eq!(
        (
            text(called, "direction"),
            text(called, "client"),
            text(called, "server")
        ),
        ("outbound".to_owned(), "shop/cart".to_owned(), target.to_string())
    );
    let parent = header(&outbound, "traceparent").expect("a context");
    assert!(
        parent.contains(&text(called, "span_id")),
        "the target was told the agent's id"
    );
    assert_eq!(text(failed, "error.type"), "connection_refused");
    assert!(failed.get("http.response.status_code").is_none());
}

#[tokio::test]
async fn a_quiet_request_whose_caller_is_not_counted_keeps_its_callers_span_as_parent() {
    let counting = Counting::start().await;
    let agent = cart(mirror().await, &counting.endpoint(), "edges: { mode: count }").await;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    for state in ["vendor=1", "tm=c:shop/web;k:h;t:5"] {
        let head = format!("GET / HTTP/1.1\nhost: cart\ntraceparent: {traceparent}\ntracestate: {state}");
        let answer = ask(agent.inbound_addrs[0], &head).await;
        assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
        assert_eq!(header(&answer, "tracestate"), Some(state));
    }
}

#[tokio::test]
async fn the_first_rule_for_a_peer_decides_and_in_mode_count_only_the_count_remains() {
    let counting = Counting::start().await;
    let (quiet, told) = (mirror().await, mirror().await);
    let more = format!(
        "edges: {{ interval: 100ms, mode: count, rules: [
            {{ direction: outbound, peer: '{told}', mode: span }},
            {{ direction: inbound, peer: 'shop/w*', mode: span }} ] }}"
    );
    let agent = cart(mirror().await, &counting.endpoint(), &more).await;
    for target in [quiet, told] {
        ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    }
    for caller in ["shop/web", "shop/front"] {
        let head = format!(
            "GET / HTTP/1.1\nhost: cart\ntraceparent: 00-{TRACE}-{CALLER}-01\ntracestate: tm=c:{caller};k:h;t:5;n:1"
        );
        ask(agent.inbound_addrs[0], &head).await;
    }
    counting
        .until(&[
            (&format!("shop/cart -> {quiet}"), (1, 0)),
            (&format!("shop/cart -> {told}"), (1, 0)),
        ])
        .await;
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"quiet\"}", 2.0).await;
    agent.stop().await;
    let spans = counting.spans().all();
    let mut seen: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.span.kind,
                span.get("server.port").unwrap_or_default().to_owned(),
            )
        })
        .collect();
    seen.sort();
    assert_eq!(seen, [(2, "80".to_owned()), (3, told.port().to_string())]);
    assert!(
        spans
            .iter()
            .any(|span| span.span.trace_state.contains("c:shop/web"))
    );
}

#[tokio::test]
async fn a_share_of_new_traces_is_recorded_and_tells_how_large_it_is() {
    let counting = Counting::start().await;
    let more = "edges: { interval: 100ms }, sampling: { type: parent_based_traceidratio, ratio: 0.5 }";
    let agent = cart(nobody().await, &counting.endpoint(), more).await;
    let target = mirror().await;
    let mut sampled = 0;
    for _ in 0..40 {
        let answer = ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
        let parent = header(&answer, "traceparent").expect("a context");
        let state = header(&answer, "tracestate").expect("a hint");
        let above = u8::from_str_radix(&parent[21..23], 16).expect("hex") >= 0x80;
        assert_eq!(
            parent.ends_with("-03"),
            above,
            "by the right-most 56 bits: {parent}"
        );
        assert_eq!(state.contains("ot=th:8"), above, "{parent} {state}");
        assert_eq!(state.contains("q:1"), !above, "{state}");
        sampled += u64::from(above);
    }
    counting
        .until(&[(&format!("shop/cart -> {target}"), (40, 0))])
        .await;
    agent.stop().await;
    assert_eq!(counting.spans().all().len() as u64, sampled);
}

#[tokio::test]
async fn sdks_that_ask_as_jaegers_do_are_told_the_agents_share() {
    let agent = start(
        "{ admin: { listen: '127.0.0.1:0' },
           sampling: { type: parent_based_traceidratio, ratio: 0.25, listen: '127.0.0.1:0' } }",
    )
    .await;
    let address = agent.sampling_addr.expect("an address");
    for (path, status, body) in [
        (
            "/sampling?service=cart",
            "200 OK",
            "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.25}}",
        ),
        ("/sampling", "400 Bad Request", "`service` must be given once"),
        (
            "/baggageRestrictions?service=cart",
            "404 Not Found",
            "here is `/sampling",
        ),
    ] {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\nhost: agent")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        let (_, said) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(said.starts_with(body), "{answer}");
    }
}

#[tokio::test]
async fn a_share_set_afar_is_followed_without_a_restart_and_told_on() {
    let (set, share) = tokio::sync::watch::channel("0.0");
    let answer = move |request: axum::extract::Request| {
        let share = *share.borrow();
        async move {
            assert_eq!(request.uri(), "/sampling?service=cart");
            format!(
                "{{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{{\"samplingRate\":{share}}}}}"
            )
        }
    };
    let jaeger = service(axum::Router::new().fallback(answer)).await;
    let collector = Collector::start().await;
    let more = format!(
        "sampling: {{ listen: '127.0.0.1:0', remote: {{ endpoint: 'http://{jaeger}', interval: 100ms }} }}"
    );
    let agent = cart(mirror().await, &collector.endpoint(), &more).await;
    let told = agent.sampling_addr.expect("an address");
    for (ratio, flags) in [("0.0", "-02"), ("1.0", "-03"), ("0.0", "-02")] {
        set.send_replace(ratio);
        let followed = async {
            let expected = format!("\"samplingRate\":{ratio}}}}}");
            while !ask(told, "GET /sampling?service=cart HTTP/1.1\nhost: agent")
                .await
                .contains(&expected)
            {
                tokio::task::yield_now().await;
            }
        };
        soon("the share", followed).await;
        let answer = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
        let parent = header(&answer, "traceparent").expect("a context");
        assert!(parent.ends_with(flags), "{ratio}: {parent}");
    }
}

#[tokio::test]
async fn a_decision_that_came_is_kept_with_the_share_that_came_with_it() {
    let counting = Counting::start().await;
    let more = "sampling: { type: parent_based_traceidratio, ratio: 0 }";
    let agent = cart(mirror().await, &counting.endpoint(), more).await;
    let head =
        format!("GET / HTTP/1.1\nhost: cart\ntraceparent: 00-{TRACE}-{CALLER}-01\ntracestate: ot=th:c");
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert_eq!(header(&answer, "tracestate"), Some("ot=th:c"));
    let span = counting.spans().server_span().await;
    assert_eq!(span.span.trace_state, "ot=th:c");
    let answer = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    let parent = header(&answer, "traceparent").expect("a context");
    assert!(
        parent.ends_with("-02"),
        "nobody had decided, and the share is none: {parent}"
    );
}
