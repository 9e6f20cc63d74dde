//! Callers that take more than their share: what they get, and that others are served meanwhile.
//!
//! In: slow, idle, huge and many connections. Out: which of them are cut, counted by reason, and answers for the others.
//! Left out on purpose: ten thousand connections at once, see `cargo xtask proof agent-faults`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent::Running;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::frames;
use crate::support::*;

fn cut(reason: &str) -> String {
    format!("tracemap_agent_connections_cut_total{{reason=\"{reason}\"}}")
}

async fn limited(upstream: SocketAddr, limits: &str) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, limits: {{ {limits} }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}' }}] }}"
    ))
    .await
}

async fn ended(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // Cut is cut, whether the system says so by an end or by a reset.
    let _ = soon("the end of the connection", stream.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}

const WHOLE: &str = "GET / HTTP/1.1\r\nhost: cart\r\n\r\n";

#[tokio::test]
async fn slow_headers_are_cut_and_a_slow_body_is_not() {
    let agent = limited(mirror().await, "header_timeout: 50ms").await;
    let head = "POST /slow HTTP/1.1\r\nhost: cart\r\ncontent-length: 4\r\n\r\nbo";
    let mut slow_body = open(agent.inbound_addrs[0], head).await;
    let mut slow_head = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nhost").await;
    let mut second_head = open(agent.inbound_addrs[0], WHOLE).await;
    read_until(&mut second_head, "x-correlation-id").await;
    second_head.write_all(b"GET / HT").await.expect("written");
    ended(&mut slow_head).await;
    ended(&mut second_head).await;
    until_metric(&agent, &cut("header_timeout"), 2.0).await;
    slow_body.write_all(b"dy").await.expect("still open");
    read_until(&mut slow_body, "POST /slow").await;
}

#[tokio::test]
async fn an_idle_connection_is_cut_and_neither_a_request_nor_a_tunnel_is_idle() {
    let may_end = Arc::new(Semaphore::new(0));
    let gate = may_end.clone();
    let upstream = raw_service(move |mut stream| {
        let gate = gate.clone();
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = if head.starts_with("GET /chat") {
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndo"
            };
            stream.write_all(answer.as_bytes()).await.expect("written");
            gate.acquire().await.expect("open").forget();
            stream.write_all(b"ne").await.expect("written");
            let _ = stream.read(&mut [0; 1]).await;
        }
    });
    let agent = limited(upstream.await, "idle_timeout: 50ms").await;
    let upgrade = "GET /chat HTTP/1.1\r\nhost: cart\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut tunnel = open(agent.inbound_addrs[0], upgrade).await;
    read_until(&mut tunnel, "\r\n\r\n").await;
    let mut busy = open(agent.inbound_addrs[0], WHOLE).await;
    read_until(&mut busy, "do").await;
    let mut never_used = open(agent.inbound_addrs[0], "").await;
    ended(&mut never_used).await;
    until_metric(&agent, &cut("idle_timeout"), 1.0).await;
    may_end.add_permits(2);
    read_until(&mut tunnel, "ne").await;
    read_until(&mut busy, "ne").await;
    ended(&mut busy).await;
    until_metric(&agent, &cut("idle_timeout"), 2.0).await;
}

#[tokio::test]
async fn more_headers_than_servers_take_are_refused_and_counted_and_as_many_as_they_take_pass() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("written");
    });
    let agent = sidecar(upstream.await, None).await;
    let many = |number: usize| "x: y\r\n".repeat(number);
    let large = |kib: usize| format!("x: {}\r\n", "y".repeat(kib << 10));
    for (headers, passes) in [
        (many(250), true),
        (many(300), false),
        (large(100), true),
        // The parser looks at its bound between reads, and a read may double what it holds.
        (large(1000), false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n{headers}\r\n");
        let mut stream = TcpStream::connect(agent.inbound_addrs[0])
            .await
            .expect("a connection");
        // Refused before all of it is read.
        let _ = stream.write_all(head.as_bytes()).await;
        let status = if passes { "HTTP/1.1 200 " } else { "HTTP/1.1 431 " };
        let mut answer = [0; 13];
        soon("a status", stream.read_exact(&mut answer))
            .await
            .expect("a status");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            status,
            "{} bytes",
            headers.len()
        );
    }
    until_metric(&agent, &cut("headers_too_large"), 2.0).await;
    let target = format!("GET /{} HTTP/1.1\nhost: cart", "y".repeat(70_000));
    assert!(
        ask(agent.inbound_addrs[0], &target)
            .await
            .starts_with("HTTP/1.1 414 ")
    );
}

/// Reads the head of a request and answers it, for as long as there are any.
async fn answers_each(mut stream: TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nserved";
    while read_until(&mut stream, "\r\n\r\n").await.contains("\r\n\r\n") {
        stream.write_all(answer).await.expect("written");
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_rest_wherever_its_next_request_was_cut_in_two() {
    let agent = limited(raw_service(answers_each).await, "").await;
    let head = "GET /next HTTP/1.1\r\nhost: cart\r\n\r\n";
    let mut stream = open(agent.inbound_addrs[0], WHOLE).await;
    read_until(&mut stream, "served").await;
    for cut in [1, 3, 20, head.len() - 1] {
        let (first, rest) = head.split_at(cut);
        for part in [first, rest] {
            // Longer than it takes to be at rest.
            tokio::time::sleep(Duration::from_millis(60)).await;
            stream.write_all(part.as_bytes()).await.expect("still open");
        }
        read_until(&mut stream, "served").await;
    }
    until_metric(&agent, &cut("malformed"), 0.0).await;
}

#[tokio::test]
async fn a_caller_that_talks_on_hears_why_its_connection_is_ended() {
    let agent = limited(mirror().await, "").await;
    let mut stream = open(agent.inbound_addrs[0], "GET / HTTP/1.1\r\nnot a header\r\n\r\n").await;
    for _ in 0..512 {
        // Refused before all of it is read.
        let _ = stream.write_all(&[b'y'; 8 << 10]).await;
    }
    let answer = ended(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection_and_nobody_elses() {
    let agent = sidecar(mirror().await, None).await;
    let mut stream = frames::dial(agent.inbound_addrs[0]).await;
    let get = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "cart"),
        (":path", "/"),
    ];
    let block = frames::literals(&get);
    let flags = frames::END_HEADERS | frames::END_STREAM;
    let flood = (0..5_000_u32).flat_map(|number| {
        let opened = frames::frame(frames::HEADERS, flags, 2 * number + 1, &block);
        [
            opened,
            frames::frame(frames::RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    let flood: Vec<u8> = flood.collect();
    let (mut read, mut write) = stream.split();
    let mut answers = Vec::new();
    let writing = async {
        // The agent hangs up before the end of it.
        let _ = write.write_all(&flood).await;
    };
    let reading = async {
        let _ = read.read_to_end(&mut answers).await;
    };
    soon("the end of the flood", async { tokio::join!(writing, reading) }).await;
    until_metric(&agent, &cut("http2_flood"), 1.0).await;
    let answer = ask(agent.inbound_addrs[0], "GET /other HTTP/1.1\nhost: cart").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn at_the_bound_of_connections_the_idle_make_room_and_the_busy_are_waited_for() {
    let (may_end, busy_ones) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (gate, begun) = (may_end.clone(), busy_ones.clone());
    let answer = move |request: axum::extract::Request| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            if request.uri().path() == "/busy" {
                begun.add_permits(1);
                gate.acquire().await.expect("open").forget();
            }
            "served"
        }
    };
    let upstream = service(axum::Router::new().fallback(answer)).await;
    let agent = limited(upstream, "max_connections: 2").await;
    let mut idle = open(agent.inbound_addrs[0], WHOLE).await;
    read_until(&mut idle, "served").await;
    let busy = "GET /busy HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n";
    let mut first = open(agent.inbound_addrs[0], busy).await;
    let mut second = open(agent.inbound_addrs[0], busy).await;
    ended(&mut idle).await;
    until_metric(&agent, &cut("too_many_connections"), 1.0).await;
    let both = soon("both requests at the service", busy_ones.acquire_many(2)).await;
    drop(both.expect("open"));
    let mut waiting = open(agent.inbound_addrs[0], WHOLE).await;
    may_end.add_permits(1);
    read_until(&mut waiting, "served").await;
    may_end.add_permits(1);
    let (first, second) = (ended(&mut first).await, ended(&mut second).await);
    assert!(
        first.ends_with("served") && second.ends_with("served"),
        "{first} {second}"
    );
}

/// An agent of its own, with few files.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_agent_without_files_counts_what_it_cannot_accept_and_serves_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let upstream = mirror().await;
    let [inbound, admin] = [nobody().await, nobody().await];
    let yaml = format!(
        "agent: {{ service: cart, admin: {{ listen: '{admin}' }}, limits: {{ max_connections: 1000 }},
           inbound: [{{ listen: '{inbound}', upstream: 'http://{upstream}' }}] }}"
    );
    let path = dir.path().join("agent.yaml");
    std::fs::write(&path, yaml).expect("written");
    let limited = format!(
        "ulimit -n 48 && exec '{}' --config '{}'",
        env!("CARGO_BIN_EXE_tracemap-agent"),
        path.display()
    );
    let child = Command::new("sh")
        .args(["-c", &limited])
        .stderr(Stdio::null())
        .spawn();
    let _process = Process(child.expect("an agent"));
    let mut ready = None;
    let connected = async {
        while ready.is_none() {
            ready = TcpStream::connect(admin).await.ok();
            tokio::task::yield_now().await;
        }
    };
    soon("the agent", connected).await;
    let mut ready = ready.expect("just connected");
    let mut half_open = Vec::new();
    for _ in 0..60 {
        half_open.push(open(inbound, "GET / HTTP/1.1\r\nhost").await);
    }
    let accept_failed = cut("accept_failed");
    let counted = async {
        loop {
            ready
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await
                .expect("written");
            let head = read_until(&mut ready, "\r\n\r\n").await;
            let (head, begun) = head.split_once("\r\n\r\n").expect("a head");
            let length: usize = header(head, "content-length")
                .and_then(|length| length.parse().ok())
                .expect("a length");
            let mut rest = vec![0; length - begun.len()];
            ready.read_exact(&mut rest).await.expect("the rest");
            if format!("{begun}{}", String::from_utf8_lossy(&rest)).contains(&accept_failed) {
                break;
            }
        }
    };
    soon("a count", Box::pin(counted)).await;
    let answer = ask(inbound, "GET /still HTTP/1.1\nhost: cart").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "the half-open made room: {answer}"
    );
}

/// A service that takes few streams on a connection, each waiting for `may_end`; says how many connections there were.
async fn few_streams(may_end: Arc<Semaphore>, connections: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let may_end = may_end.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let may_end = may_end.clone();
                async move {
                    may_end.acquire().await.expect("open").forget();
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("served"))))
                }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(2);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

fn get(address: SocketAddr) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{address}/"))
        .body(Empty::new())
        .expect("a request")
}

#[tokio::test]
async fn callers_that_share_a_connection_to_the_service_do_not_share_its_bound_of_streams() {
    let (may_end, connections) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let agent = limited(few_streams(may_end.clone(), connections.clone()).await, "").await;
    let inbound = agent.inbound_addrs[0];
    // By the third it is known how many streams the service takes.
    for _ in 0..3 {
        may_end.add_permits(1);
        crate::http2::call(inbound, get(inbound)).await;
    }
    let calls: Vec<_> = (0..6)
        .map(|_| tokio::spawn(crate::http2::call(inbound, get(inbound))))
        .collect();
    let spread = async {
        while connections.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
    };
    soon("three connections of two streams each", spread).await;
    may_end.add_permits(6);
    for call in calls {
        let response = call.await.expect("a response");
        assert_eq!(
            response.into_body().collect().await.expect("a body").to_bytes(),
            "served"
        );
    }
}

#[tokio::test]
async fn slow_readers_do_not_hold_up_others_on_the_same_connection_to_the_service() {
    let answer = |request: axum::extract::Request| async move {
        let length = if request.uri().path() == "/large" {
            8 << 20
        } else {
            3
        };
        "x".repeat(length)
    };
    let agent = sidecar(service(axum::Router::new().fallback(answer)).await, None).await;
    let inbound = agent.inbound_addrs[0];
    let mut unread = Vec::new();
    for _ in 0..12 {
        let large = Request::get(format!("http://{inbound}/large")).body(Empty::<Bytes>::new());
        unread.push(crate::http2::call(inbound, large.expect("a request")).await);
    }
    let small = crate::http2::call(inbound, get(inbound)).await;
    let body = soon("a small body", small.into_body().collect()).await;
    assert_eq!(body.expect("a body").to_bytes(), "xxx");
    assert_eq!(unread.len(), 12, "held to the end");
}
