//! How often the agent asks for memory for one request, once it is warm: the part of its cost that no noise can move.
//!
//! In: a real agent, and a client and a service that allocate nothing while requests pass, all in this process, whose
//! allocations are counted. Out: allocations a request, held below a bound.
//! Left out on purpose: time, which is measured by hand, see `benches/proxy`; and HTTP/2, where no client does without memory.

use std::alloc::System;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use agent::{Agent, Detected, Running};
use bytes::Bytes;
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BODY: usize = 1024;
/// Until every pool and table has what it needs.
const WARM_UP: u64 = 1_000;
const MEASURED: u64 = 5_000;

/// Connections that are kept open, and bytes that the agent may hold for each between requests.
const RESTING: usize = 200;
const BYTES_AT_REST: f64 = 10_240.0;

// One test, for everything in the process is counted.
#[test]
fn a_request_allocates_no_more_than_it_does_today_and_a_resting_connection_holds_little() {
    check("without a span", None, 35.0);
    check("with a span", Some(collector()), 43.0);
    rest();
}

/// What is held for connections that had a request each, once nothing has passed on them for a moment.
fn rest() {
    let (runtime, agent) = agent(None);
    let to = *agent.inbound_addrs.first().expect("a listener");
    let mut first = TcpStream::connect(to).expect("a connection");
    (0..WARM_UP).for_each(|number| request(&mut first, number));
    let region = Region::new(ALLOCATOR);
    let mut connections = Vec::with_capacity(RESTING);
    for number in 0..RESTING as u64 {
        connections.push(TcpStream::connect(to).expect("a connection"));
        let last = connections.last_mut().expect("just made");
        request(last, number);
    }
    let until = Instant::now() + Duration::from_secs(20);
    let held = || {
        let change = region.change();
        (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / RESTING as f64
    };
    while held() > BYTES_AT_REST && Instant::now() < until {
        thread::yield_now();
    }
    let each = held();
    println!("at rest: {each:.0} bytes a connection");
    assert!(
        each <= BYTES_AT_REST,
        "{each:.0} bytes a connection, at most {BYTES_AT_REST}"
    );
    drop(connections);
    runtime.block_on(agent.stop());
}

fn agent(collector: Option<SocketAddr>) -> (Runtime, Running) {
    let runtime = Runtime::new().expect("a runtime");
    let agent = runtime.block_on(async {
        let config = ::config::load("test.yaml", &config(service(), collector), []).expect("a configuration");
        Agent::start_in(config, Detected::default())
            .await
            .expect("an agent")
    });
    (runtime, agent)
}

/// Fewer is progress: then the bound comes down.
fn check(what: &str, collector: Option<SocketAddr>, at_most: f64) {
    let (runtime, agent) = agent(collector);
    let mut client =
        TcpStream::connect(agent.inbound_addrs.first().expect("a listener")).expect("a connection");
    client.set_nodelay(true).expect("a socket");
    for number in 0..WARM_UP {
        request(&mut client, number);
    }
    let region = Region::new(ALLOCATOR);
    for number in WARM_UP..WARM_UP + MEASURED {
        request(&mut client, number);
    }
    let each = region.change().allocations as f64 / MEASURED as f64;
    drop(client);
    runtime.block_on(agent.stop());
    println!("{what}: {each:.2} allocations a request");
    assert!(
        each <= at_most,
        "{what}: {each:.2} allocations a request, at most {at_most} are allowed"
    );
}

fn config(service: SocketAddr, collector: Option<SocketAddr>) -> String {
    let tells = collector.map_or("edges: { mode: count }".to_owned(), |collector| {
        format!("export: {{ endpoint: 'http://{collector}' }}")
    });
    format!(
        "{{ service: cart, routes: ['/orders/{{id}}'], admin: {{ listen: '127.0.0.1:0' }}, {tells},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{service}' }}] }}"
    )
}

/// A service that answers every request with the same.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let serve = |mut connection: TcpStream| -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut answer = [b'x'; 64 + BODY];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\nserver: ");
        let padding = 60 - head.len();
        let head = format!("{head}{}\r\n\r\n", "s".repeat(padding));
        answer[..64].copy_from_slice(head.as_bytes());
        loop {
            read_message(&mut connection)?;
            connection.write_all(&answer)?;
        }
    };
    thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.expect("a connection");
            thread::spawn(move || serve(connection));
        }
    });
    address
}

/// A collector that forgets; what it allocates for a batch counts, spread over the batch's requests.
fn collector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let never = std::future::pending();
            otlp::intake::serve_grpc(listener, Forgetful, Limits::default(), Arc::new(()), never).await;
        });
    });
    address
}

#[derive(Clone)]
struct Forgetful;

impl TraceSink for Forgetful {
    async fn export(&self, _: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        Ok(Accepted::default())
    }
}

/// A request with a parent of its own, and its answer.
fn request(connection: &mut TcpStream, number: u64) {
    let mut message = [b'x'; 512 + BODY];
    let mut rest = message.as_mut_slice();
    write!(
        rest,
        "POST /orders/{number} HTTP/1.1\r\nhost: cart\r\nuser-agent: test\r\ncontent-type: text/plain\r\n\
         content-length: {BODY}\r\ntraceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
        u128::from(number) + 1,
        number + 1
    )
    .expect("room");
    let head = 512 + BODY - rest.len();
    connection
        .write_all(&message[..head + BODY])
        .expect("a connection that lasts");
    let (status, answer) = read_message(connection).expect("an answer");
    assert_eq!((&status, answer), (b"HTTP/1.1 200", BODY));
}

/// Its first bytes, and those of its body.
fn read_message(connection: &mut TcpStream) -> io::Result<([u8; 12], usize)> {
    let mut message = [0; 4 * BODY];
    let mut filled = 0;
    loop {
        let read = connection.read(&mut message[filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let end = message[..filled].windows(4).position(|four| four == b"\r\n\r\n");
        let body = end.map(|end| filled - end - 4);
        if let Some(body) = body.filter(|body| *body >= BODY) {
            let mut start = [0; 12];
            start.copy_from_slice(&message[..12]);
            return Ok((start, body));
        }
    }
}
