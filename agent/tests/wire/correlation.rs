//! Calls that carry nothing, and parents that gather too much.

use agent::Running;
use tokio::net::TcpStream;

use crate::edges::cart;
use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const CARRIED: &str = "{direction=\"inbound\",source=\"tracecontext\"}";

/// An agent before a service that never answers.
async fn waiting(collector: &Collector, more: &str) -> Running {
    let waits = raw_service(|mut stream| async move {
        read_until(&mut stream, "never").await;
    });
    cart(waits.await, &collector.endpoint(), more).await
}

/// One more request in flight, of a trace that is `byte` throughout.
async fn in_flight(agent: &Running, byte: u8, so_far: f64) -> TcpStream {
    let trace = format!("{byte:02x}").repeat(16);
    let asks = format!("GET / HTTP/1.1\r\nhost: cart\r\ntraceparent: 00-{trace}-{CALLER}-01\r\n\r\n");
    let stream = open(agent.inbound_addrs[0], &asks).await;
    until_metric(agent, &format!("tracemap_agent_context_total{CARRIED}"), so_far).await;
    stream
}

async fn call(agent: &Running, target: std::net::SocketAddr, headers: &str) -> String {
    ask(
        agent.outbound_addrs[0],
        &format!("GET http://{target}/ HTTP/1.1{headers}"),
    )
    .await
}

fn edge(target: std::net::SocketAddr, format: &str, result: &str) -> String {
    format!(
        "tracemap_agent_edge_context_total{{direction=\"outbound\",format=\"{format}\",peer=\"{target}\",result=\"{result}\"}}"
    )
}

#[tokio::test]
async fn a_call_that_carries_nothing_belongs_to_the_only_request_there_was_since_it_began() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "").await;
    let _request = in_flight(&agent, 0xaa, 1.0).await;
    let target = mirror().await;
    let answer = call(&agent, target, "").await;
    let client = collector.client_span().await;
    assert_eq!(client.trace_id(), "aa".repeat(16));
    assert_eq!(client.get("correlation.method"), Some("exclusive"));
    assert_eq!(
        client.get("correlation.confidence"),
        Some("0.5"),
        "nothing was measured yet"
    );
    assert!(answer.contains(&client.span_id()), "{answer}");
    until_metric(&agent, &edge(target, "none", "restored"), 1.0).await;
}

#[tokio::test]
async fn confidence_is_what_calls_with_exact_evidence_say_of_the_rule() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "").await;
    let _request = in_flight(&agent, 0xaa, 1.0).await;
    let target = mirror().await;
    for _ in 0..8 {
        let own = format!("\ntraceparent: 00-{}-1111111111111111-01", "aa".repeat(16));
        call(&agent, target, &own).await;
    }
    call(&agent, target, "").await;
    let is_it = |seen: &Seen| seen.get("correlation.method") == Some("exclusive");
    let client = collector.span(is_it).await;
    assert_eq!(client.get("correlation.confidence"), Some("0.9"));
    let agreed = "tracemap_agent_exclusive_audited_total{result=\"agreed\",service=\"shop/cart\"}";
    until_metric(&agent, agreed, 8.0).await;
}

#[tokio::test]
async fn a_rule_that_exact_evidence_contradicts_is_switched_off_and_says_so() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "correlation: { min_audited: 3 }").await;
    let _request = in_flight(&agent, 0xaa, 1.0).await;
    let target = mirror().await;
    let enabled = "tracemap_agent_exclusive_enabled{service=\"shop/cart\"}";
    until_metric(&agent, enabled, 1.0).await;
    for _ in 0..3 {
        let foreign = format!("\ntraceparent: 00-{TRACE}-1111111111111111-01");
        call(&agent, target, &foreign).await;
    }
    until_metric(&agent, enabled, 0.0).await;
    let off = "tracemap_agent_exclusive_switched_off_total{service=\"shop/cart\"}";
    until_metric(&agent, off, 1.0).await;
    call(&agent, target, "").await;
    let is_it = |seen: &Seen| seen.get("correlation.method") == Some("none");
    let client = collector.span(is_it).await;
    assert_ne!(client.trace_id(), "aa".repeat(16));
    until_metric(&agent, &edge(target, "none", "lost"), 1.0).await;
    until_metric(&agent, &edge(target, "tracecontext", "carried"), 3.0).await;
}

#[tokio::test]
async fn context_that_contradicts_itself_or_says_nothing_legal_is_told_by_edge() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "").await;
    let target = mirror().await;
    let conflict = format!(
        "\ntraceparent: 00-{TRACE}-{CALLER}-01\nb3: {}-{CALLER}-1",
        "1".repeat(32)
    );
    call(&agent, target, &conflict).await;
    until_metric(&agent, &edge(target, "tracecontext", "conflicting"), 1.0).await;
    call(&agent, target, "\ntraceparent: 00-0-0-00").await;
    until_metric(&agent, &edge(target, "none", "invalid"), 1.0).await;
    call(&agent, target, "\nx-request-id: not what is meant").await;
    until_metric(&agent, &edge(target, "none", "absent"), 1.0).await;
}

#[tokio::test]
async fn nothing_is_guessed_where_it_is_turned_off_or_others_were_there_or_the_call_says_otherwise() {
    for (more, others, headers) in [
        ("correlation: { exclusive: false }", false, ""),
        ("", true, ""),
        ("", false, "\nx-request-id: somebody-elses"),
        ("", false, "\nb3: 1"),
    ] {
        let collector = Collector::start().await;
        let agent = waiting(&collector, more).await;
        let _request = in_flight(&agent, 0xaa, 1.0).await;
        if others {
            drop(in_flight(&agent, 0xbb, 2.0).await);
            until_metric(
                &agent,
                "tracemap_agent_requests_total{direction=\"inbound\",outcome=\"client_disconnected\"}",
                1.0,
            )
            .await;
        }
        call(&agent, mirror().await, headers).await;
        let client = collector.client_span().await;
        assert_eq!(client.get("correlation.method"), Some("none"), "{more} {headers}");
        assert_eq!(client.get("correlation.confidence"), None);
        assert_eq!(client.parent(), "");
    }
}

#[tokio::test]
async fn a_host_that_is_called_without_a_request_too_is_never_explained_by_one() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "").await;
    let (clock, stock) = (mirror().await, mirror().await);
    call(&agent, clock, "").await;
    until_metric(&agent, &edge(clock, "none", "absent"), 1.0).await;
    let request = in_flight(&agent, 0xaa, 1.0).await;
    call(&agent, clock, "").await;
    call(&agent, stock, "").await;
    drop(request);
    let stock = stock.port().to_string();
    let to_stock = collector
        .span(|seen| seen.get("server.port") == Some(&stock))
        .await;
    assert_eq!(to_stock.get("correlation.method"), Some("exclusive"));
    agent.stop().await;
    let clock = clock.port().to_string();
    let all = collector.all();
    let to_clock: Vec<_> = all
        .iter()
        .filter(|seen| seen.get("server.port") == Some(&clock))
        .collect();
    assert_eq!(to_clock.len(), 2);
    assert!(
        to_clock
            .iter()
            .all(|seen| seen.get("correlation.method") == Some("none"))
    );
}

#[tokio::test]
async fn a_parent_that_has_gathered_enough_gets_a_link_instead_of_a_child() {
    let collector = Collector::start().await;
    let agent = waiting(&collector, "correlation: { max_children: 2 }").await;
    let target = mirror().await;
    let stale = format!("\ntraceparent: 00-{TRACE}-{CALLER}-01\ntracestate: vendor=1");
    for _ in 0..3 {
        call(&agent, target, &stale).await;
    }
    let own = collector.span(|seen| seen.trace_id() != TRACE).await;
    assert_eq!(
        (own.parent().as_str(), own.get("correlation.method")),
        ("", Some("none"))
    );
    let [link] = own.span.links.as_slice() else {
        panic!("one link: {:?}", own.span.links);
    };
    assert_eq!(
        (hex(&link.trace_id).as_str(), hex(&link.span_id).as_str()),
        (TRACE, CALLER)
    );
    assert_eq!(attributes(&link.attributes)["reason"], "merge_cap_children");
    assert!(
        !own.span.trace_state.contains("vendor"),
        "another trace's: {}",
        own.span.trace_state
    );
    until_metric(
        &agent,
        "tracemap_agent_restarted_traces_total{cap=\"children\"}",
        1.0,
    )
    .await;
    agent.stop().await;
    let below = collector.all().into_iter().filter(|seen| seen.parent() == CALLER);
    assert_eq!(below.filter(|seen| seen.trace_id() == TRACE).count(), 2);
}
