//! Bodies and connections: what streams, breaks off, waits, upgrades or stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::support::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";

#[tokio::test]
async fn the_first_byte_arrives_before_the_last_is_sent_and_the_span_ends_with_the_body() {
    let collector = Collector::start().await;
    let may_end = Arc::new(Semaphore::new(0));
    let gate = may_end.clone();
    let upstream = raw_service(move |mut stream| {
        let gate = gate.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(format!("{CHUNKED}5\r\nfirst\r\n").as_bytes())
                .await
                .expect("written");
            let _ = gate.acquire().await;
            stream
                .write_all(b"4\r\nlast\r\n0\r\nx-sum: 9\r\n\r\n")
                .await
                .expect("written");
        }
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let mut stream = open(
        agent.inbound_addrs[0],
        "GET / HTTP/1.1\r\nhost: cart\r\nte: trailers\r\nconnection: te\r\n\r\n",
    )
    .await;
    read_until(&mut stream, "first").await;
    assert!(collector.all().is_empty(), "the response has not ended");
    may_end.add_permits(1);
    let rest = read_until(&mut stream, "x-sum: 9\r\n\r\n").await;
    assert!(rest.contains("last"), "{rest}");
    assert_eq!(collector.server_span().await.status(), 0);
}

#[tokio::test]
async fn a_request_body_streams_to_the_service_as_it_comes() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "first").await;
        stream
            .write_all(format!("{CHUNKED}3\r\ngot\r\n").as_bytes())
            .await
            .expect("written");
        read_until(&mut stream, "0\r\n\r\n").await;
        stream.write_all(b"0\r\n\r\n").await.expect("written");
    });
    let agent = sidecar(upstream.await, None).await;
    let head = "POST / HTTP/1.1\r\nhost: cart\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let mut stream = open(agent.inbound_addrs[0], head).await;
    read_until(&mut stream, "got").await;
    stream
        .write_all(b"4\r\nlast\r\n0\r\n\r\n")
        .await
        .expect("written");
    read_until(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_span_and_the_services_work() {
    let collector = Collector::start().await;
    let gone = Arc::new(Semaphore::new(0));
    let noticed = gone.clone();
    let upstream = raw_service(move |mut stream| {
        let noticed = noticed.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(format!("{CHUNKED}5\r\nfirst\r\n").as_bytes())
                .await
                .expect("written");
            let mut nothing = [0; 1];
            assert_eq!(stream.read(&mut nothing).await.unwrap_or(0), 0);
            noticed.add_permits(1);
        }
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let mut stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    read_until(&mut stream, "first").await;
    drop(stream);
    let seen = collector.server_span().await;
    assert_eq!(
        (seen.status(), seen.get("error.type")),
        (2, Some("client_disconnected"))
    );
    assert_eq!(seen.get("http.response.status_code"), Some("200"));
    let _ = soon("the end of the service's connection", gone.acquire()).await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_is_told_apart_from_a_failure() {
    let collector = Collector::start().await;
    let asked = Arc::new(Semaphore::new(0));
    let arrived = asked.clone();
    let upstream = raw_service(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            arrived.add_permits(1);
            let _ = stream.read(&mut [0; 1]).await;
        }
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    let _ = soon("the request", asked.acquire()).await;
    drop(stream);
    let seen = collector.server_span().await;
    assert_eq!(
        (seen.get("error.type"), seen.get("http.response.status_code")),
        (Some("client_disconnected"), None)
    );
}

#[tokio::test]
async fn a_service_that_breaks_off_is_not_passed_on_as_a_whole_answer() {
    let collector = Collector::start().await;
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .await
            .expect("written");
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let mut stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut answer)).await;
    assert!(answer.ends_with(b"half"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(
        collector.server_span().await.get("error.type"),
        Some("upstream_closed")
    );
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let upstream = raw_service(move |mut stream| {
        let counted = counted.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            if counted.fetch_add(1, Ordering::SeqCst) > 0 {
                return;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .expect("written");
            read_until(&mut stream, "\r\n\r\n").await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let agent = sidecar(upstream.await, None).await;
    let mut stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    read_until(&mut stream, "ok").await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: cart\r\ncontent-length: 0\r\n\r\n")
        .await
        .expect("written");
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn two_requests_on_one_connection_reach_the_service_on_one_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let upstream = raw_service(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            for _ in 0..2 {
                read_until(&mut stream, "\r\n\r\n").await;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .expect("written");
            }
        }
    });
    let agent = sidecar(upstream.await, None).await;
    let mut stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    read_until(&mut stream, "ok").await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: cart\r\n\r\n")
        .await
        .expect("written");
    read_until(&mut stream, "ok").await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_upgraded_connection_is_joined_and_its_span_ends_with_the_handshake() {
    let collector = Collector::start().await;
    let upstream = raw_service(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(
            (header(&head, "upgrade"), header(&head, "connection")),
            (Some("websocket"), Some("upgrade"))
        );
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello";
        stream.write_all(answer).await.expect("written");
        let said = read_until(&mut stream, "ping").await;
        stream
            .write_all(format!("{said} pong").as_bytes())
            .await
            .expect("written");
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let head =
        "GET /chat HTTP/1.1\r\nhost: cart\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut stream = open(agent.inbound_addrs[0], head).await;
    let answer = read_until(&mut stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(header(&answer, "upgrade"), Some("websocket"));
    let seen = collector.server_span().await;
    assert_eq!(
        (seen.get("http.response.status_code"), seen.status()),
        (Some("101"), 0)
    );
    stream.write_all(b"ping").await.expect("written");
    read_until(&mut stream, "ping pong").await;
}

#[tokio::test]
async fn a_body_that_waits_for_continue_is_sent_only_when_the_service_asks_for_it() {
    let upstream = raw_service(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(header(&head, "expect"), Some("100-continue"));
        assert!(head.ends_with("\r\n\r\n"), "no body yet: {head}");
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .expect("written");
        read_until(&mut stream, "body").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ntaken")
            .await
            .expect("written");
    });
    let agent = sidecar(upstream.await, None).await;
    let head = "POST / HTTP/1.1\r\nhost: cart\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let mut stream = open(agent.inbound_addrs[0], head).await;
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.expect("written");
    read_until(&mut stream, "taken").await;
}

#[tokio::test]
async fn a_body_that_the_service_refuses_is_never_asked_for() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo much";
        stream.write_all(answer).await.expect("written");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    });
    let agent = sidecar(upstream.await, None).await;
    let head = "POST / HTTP/1.1\r\nhost: cart\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let mut stream = open(agent.inbound_addrs[0], head).await;
    let answer = read_until(&mut stream, "too much").await;
    assert!(
        answer.starts_with("HTTP/1.1 413 "),
        "not asked to continue: {answer}"
    );
}

#[tokio::test]
async fn an_agent_that_stops_lets_a_request_in_flight_end() {
    let collector = Collector::start().await;
    let may_end = Arc::new(Semaphore::new(0));
    let gate = may_end.clone();
    let upstream = raw_service(move |mut stream| {
        let gate = gate.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let _ = gate.acquire().await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
                .await
                .expect("written");
        }
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    let (inbound, admin) = (agent.inbound_addrs[0], agent.admin_addr);
    let mut stream = open(inbound, "GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    until_metric(
        &agent,
        "tracemap_agent_context_total{direction=\"inbound\",source=\"none\"}",
        1.0,
    )
    .await;
    assert!(
        ask(admin, "GET /readyz HTTP/1.1\nhost: localhost")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let stopping = tokio::spawn(agent.stop());
    let not_ready = async {
        while !ask(admin, "GET /readyz HTTP/1.1\nhost: localhost")
            .await
            .starts_with("HTTP/1.1 503 ")
        {}
    };
    soon("a no from /readyz", not_ready).await;
    may_end.add_permits(1);
    read_until(&mut stream, "done").await;
    soon("the agent's end", stopping).await.expect("stopped");
    assert_eq!(
        collector.all().len(),
        1,
        "its span was handed over before the end"
    );
}
