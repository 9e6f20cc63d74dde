//! Context of other formats, and of events, in messages: NATS behind the agent, async-nats before it.
//!
//! In: a configuration that writes B3; messages that bear context in other words than W3C's. Out: what a subscriber sees who
//! does not go through the agent, and the spans.
//! Left out on purpose: the other protocols. Where each keeps its metadata is its module's test, and what stands in it is the same.

use agent::Running;
use async_nats::HeaderMap;
use tokio_stream::StreamExt as _;

use crate::brokers::spans;
use crate::nats::nats_server;
use crate::support::{Collector, Seen, soon, start};

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn agent(broker: std::net::SocketAddr, keys: &str, collector: &Collector) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, outbound: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }}, {keys}
           queues: [{{ protocol: nats, listen: '127.0.0.1:0', upstream: '{broker}' }}] }}",
        collector.endpoint()
    ))
    .await
}

/// Sends a message with `headers` through the agent; what a subscriber of the broker itself gets.
async fn sent(agent: &Running, broker: std::net::SocketAddr, headers: HeaderMap) -> HeaderMap {
    let through = async_nats::connect(agent.queue_addrs[0].to_string())
        .await
        .expect("a connection");
    let beside = async_nats::connect(broker.to_string())
        .await
        .expect("a connection");
    let mut messages = beside.subscribe("orders").await.expect("a subscription");
    // Its own message comes back once the server knows the subscription.
    beside.publish("orders", "0".into()).await.expect("a message");
    soon("its own message", messages.next()).await.expect("no end");
    let published = through.publish_with_headers("orders", headers, "1".into()).await;
    published.expect("a message");
    through.flush().await.expect("the server has it");
    let message = soon("the message", messages.next()).await.expect("no end");
    message.headers.unwrap_or_default()
}

fn text(headers: &HeaderMap, key: &str) -> Option<String> {
    headers.get(key).map(ToString::to_string)
}

#[tokio::test]
async fn context_is_written_in_the_formats_that_are_configured() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = agent(
        broker.address(),
        "propagation: { inject: [b3, b3multi] },",
        &collector,
    )
    .await;
    let headers = sent(&agent, broker.address(), HeaderMap::new()).await;
    let span = &spans(&collector, 1, |seen| seen.span.kind == PRODUCER).await[0];
    let (trace, id) = (span.trace_id(), span.span_id());
    assert_eq!(text(&headers, "b3"), Some(format!("{trace}-{id}-1")));
    assert_eq!(text(&headers, "x-b3-traceid").as_deref(), Some(trace.as_str()));
    assert_eq!(text(&headers, "x-b3-spanid").as_deref(), Some(id.as_str()));
    assert_eq!(text(&headers, "traceparent"), None);
}

#[tokio::test]
async fn context_of_another_format_and_of_an_event_is_read_and_left_as_it_is() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = agent(broker.address(), "", &collector).await;
    let mut links = Vec::new();
    for (key, value) in [
        ("b3", format!("{TRACE}-{PARENT}-1")),
        ("ce-traceparent", format!("00-{TRACE}-{PARENT}-01")),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(key, value.as_str());
        let seen = sent(&agent, broker.address(), headers).await;
        assert_eq!(text(&seen, key), Some(value));
        assert_eq!(text(&seen, "traceparent"), None, "{key}");
        let is_it = |seen: &Seen| seen.span.kind == CLIENT && seen.span.name.starts_with("publish");
        let span = spans(&collector, links.len() + 1, is_it)
            .await
            .pop()
            .expect("one more");
        assert_eq!(span.trace_id(), TRACE, "{key}");
        links.push(span.span.links.len());
    }
    assert_eq!(links, [1, 1]);
}
