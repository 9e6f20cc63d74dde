//! What succeeds directly succeeds through the agent, whatever else is broken: each request twice, and both answers alike.
//!
//! In: seeded requests with random bytes in every context header, services that answer in every way, and a collector that
//! is gone, hangs, or has no name. Out: the same status and body both ways, and counters that add up.
//! Left out on purpose: length; `cargo xtask proof agent-faults` does it for longer, and with a full disk.

use std::net::SocketAddr;

use agent::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::pairs::{Random, pair, speak};
use crate::support::*;

/// Sends each request directly and through the agent.
async fn pairs(agent: &Running, service: SocketAddr, seed: u64, number: usize) {
    let mut random = Random(seed);
    for round in 0..number {
        if let Err(difference) = pair(&mut random, service, agent.inbound_addrs[0]).await {
            panic!("seed {seed}, round {round}: {difference}");
        }
    }
}

/// Every request in one outcome, and every span in one.
async fn adds_up(agent: &Running, requests: f64) {
    let text = ask(agent.admin_addr, "GET /metrics HTTP/1.1\nhost: localhost").await;
    let sum = |series: &str| -> f64 {
        let values = text.lines().filter(|line| line.starts_with(series));
        values
            .filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok())
            .sum()
    };
    assert!(
        (sum("tracemap_agent_requests_total{") - requests).abs() < 0.5,
        "{text}"
    );
    assert!(
        (sum("tracemap_agent_context_total{") - requests).abs() < 0.5,
        "{text}"
    );
}

async fn with_collector(endpoint: &str, seed: u64) {
    let service = raw_service(speak).await;
    let agent = sidecar(service, Some(endpoint.to_owned())).await;
    pairs(&agent, service, seed, 60).await;
    adds_up(&agent, 60.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_succeeds_directly_fails_where_there_is_no_collector() {
    with_collector(&format!("http://{}", nobody().await), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_succeeds_directly_fails_where_the_collectors_name_has_no_address() {
    with_collector("http://collector.invalid:4317", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_succeeds_directly_fails_where_the_collector_takes_and_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let hanging = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    with_collector(&endpoint, 3).await;
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_succeeds_directly_fails_and_every_span_arrives_where_the_collector_is_well() {
    let collector = Collector::start().await;
    let service = raw_service(speak).await;
    let agent = sidecar(service, Some(collector.endpoint())).await;
    pairs(&agent, service, 4, 60).await;
    let spans = async {
        while collector.all().len() < 60 {
            tokio::task::yield_now().await;
        }
    };
    soon("every span", spans).await;
    adds_up(&agent, 60.0).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_service_never_ends_well_at_the_caller() {
    let collector = Collector::start().await;
    let upstream = raw_service(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let answer = match head.split(' ').nth(1) {
            Some("/sized") => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            _ => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        };
        stream.write_all(answer.as_bytes()).await.expect("written");
        // Closed with bytes unread, or told to, the system sends a reset.
        stream.set_zero_linger().expect("an option");
    });
    let agent = sidecar(upstream.await, Some(collector.endpoint())).await;
    for path in ["/sized", "/chunked"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n");
        let mut stream = open(agent.inbound_addrs[0], &head).await;
        let mut answer = Vec::new();
        let ended = soon("the end", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let clean =
            answer.ends_with("0\r\n\r\n") || answer.starts_with("HTTP/1.1 200 ") && answer.contains("half!");
        assert!(!clean, "{path}: {ended:?} {answer}");
        let seen = collector.span(|seen| seen.get("url.path") == Some(path)).await;
        assert_eq!(
            (seen.status(), seen.get("error.type")),
            (2, Some("upstream_closed")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_caller_that_still_sends() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(answer).await.expect("written");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let agent = sidecar(upstream.await, None).await;
    let head = "POST / HTTP/1.1\r\nhost: cart\r\ncontent-length: 1000000\r\n\r\nonly the beginning";
    let mut stream = open(agent.inbound_addrs[0], head).await;
    let answer = read_until(&mut stream, "big").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_headers_and_the_connection() {
    let upstream = raw_service(|mut stream| async move {
        loop {
            let mut head = [0; 2048];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let answer: &[u8] = match &head[..n] {
                [] => return,
                head if head.starts_with(b"HEAD") => b"HTTP/1.1 200 OK\r\ncontent-length: 123\r\n\r\n",
                head if head.starts_with(b"GET /cached") => {
                    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"
                }
                head if head.starts_with(b"GET /none") => b"HTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast",
            };
            stream.write_all(answer).await.expect("written");
        }
    });
    let agent = sidecar(upstream.await, None).await;
    let mut stream = open(agent.inbound_addrs[0], "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(header(&head, "content-length"), Some("123"));
    for (path, status) in [("/cached", "304"), ("/none", "204")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    stream
        .write_all(b"GET /last HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("written");
    read_until(&mut stream, "last").await;
}

#[tokio::test]
async fn a_slow_reader_holds_back_the_service_and_not_the_agents_memory() {
    const TOTAL: usize = 64 << 20;
    let (sent, progress) = tokio::sync::watch::channel(0_usize);
    let upstream = raw_service(move |mut stream| {
        let sent = sent.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("written");
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..TOTAL / piece.len() {
                stream.write_all(&piece).await.expect("written");
                sent.send_modify(|sent| *sent += piece.len());
            }
        }
    });
    let agent = sidecar(upstream.await, None).await;
    let mut stream = open(
        agent.inbound_addrs[0],
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.expect("a byte");
    // It stands still once the sockets' buffers are full; that it got nowhere near the end is what matters.
    let mut watched = progress.clone();
    while tokio::time::timeout(std::time::Duration::from_millis(500), watched.changed())
        .await
        .is_ok()
    {}
    let held = *progress.borrow();
    assert!(
        held < TOTAL / 2,
        "{held} bytes left the service although nobody reads"
    );
    let mut rest = Vec::new();
    soon("all of it", stream.read_to_end(&mut rest))
        .await
        .expect("a body");
    assert!(rest.len() > TOTAL);
}
