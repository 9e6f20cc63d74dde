//! How often the agent asks for memory for one message, once it is warm: the part of its cost that no noise can move.
//!
//! In: a real agent before brokers that take everything, and clients that publish many messages at once, or one; these allocate
//! nothing while messages pass, and all are in this process, whose allocations are counted. Out: allocations a message, held
//! below a bound.
//! Left out on purpose: time, which is measured by hand, see `benches/queues`; what a span costs on its way to a collector, see
//! `allocations.rs`; brokers that keep messages.

use std::alloc::System;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use agent::{Agent, Detected, Running};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BODY: usize = 256;
/// So many of NATS stand in one read of the agent.
const STROKE: usize = 32;
/// Records of a Kafka batch.
const BATCH: usize = 100;
/// Strokes until every pool and table has what it needs.
const WARM_UP: usize = 200;
const MEASURED: usize = 1_000;

// One test, for everything in the process is counted.
#[test]
fn a_message_allocates_no_more_than_it_does_today() {
    check("NATS, one at a time", "nats", nats(1), 1, 30.0);
    check("NATS, many in one read", "nats", nats(STROKE), STROKE, 1.0);
    check("Kafka, a batch", "kafka", kafka(), BATCH, 0.4);
}

/// What one protocol's client says at once, and what it is answered.
struct Talk {
    /// What the broker says first.
    greeting: &'static [u8],
    /// What the client says first.
    hello: &'static [u8],
    stroke: Vec<u8>,
    /// How the broker knows that a stroke is over, by its last bytes and by its length.
    ends: &'static [u8],
    answer: Vec<u8>,
}

/// Fewer is progress: then the bound comes down.
fn check(what: &str, protocol: &str, talk: Talk, messages: usize, at_most: f64) {
    let (hello, stroke, greeting) = (talk.hello, talk.stroke.clone(), talk.greeting.len());
    let answer = talk.answer.len();
    let broker = broker(talk);
    let (runtime, agent) = agent(protocol, broker);
    let mut client =
        TcpStream::connect(agent.queue_addrs.first().expect("a listener")).expect("a connection");
    client.set_nodelay(true).expect("a socket");
    read(&mut client, greeting);
    client.write_all(hello).expect("a connection that lasts");
    let mut publish = |strokes| {
        for _ in 0..strokes {
            client.write_all(&stroke).expect("a connection that lasts");
            read(&mut client, answer);
        }
    };
    publish(WARM_UP);
    let region = Region::new(ALLOCATOR);
    publish(MEASURED);
    let each = region.change().allocations as f64 / (MEASURED * messages) as f64;
    let series = format!(
        "tracemap_agent_queue_messages_total{{direction=\"sent\",outcome=\"ok\",protocol=\"{protocol}\"}}"
    );
    assert_eq!(
        metric(agent.admin_addr, &series),
        (WARM_UP + MEASURED) * messages,
        "{what}: each is counted"
    );
    drop(client);
    runtime.block_on(agent.stop());
    println!("{what}: {each:.2} allocations a message");
    assert!(
        each <= at_most,
        "{what}: {each:.2} allocations a message, at most {at_most} are allowed"
    );
}

/// Spans are made, and dropped where they would be exported.
fn agent(protocol: &str, broker: SocketAddr) -> (Runtime, Running) {
    let runtime = Runtime::new().expect("a runtime");
    let agent = runtime.block_on(async {
        let yaml = format!(
            "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }},
               queues: [{{ protocol: {protocol}, listen: '127.0.0.1:0', upstream: '{broker}' }}] }}"
        );
        let config = ::config::load("test.yaml", &yaml, []).expect("a configuration");
        Agent::start_in(config, Detected::default())
            .await
            .expect("an agent")
    });
    (runtime, agent)
}

/// The value of a series on `/metrics`.
fn metric(admin: SocketAddr, series: &str) -> usize {
    let mut stream = TcpStream::connect(admin).expect("a connection");
    let asked = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(asked).expect("a connection that lasts");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    value.expect("the series").trim().parse().expect("a number")
}

fn read(stream: &mut TcpStream, len: usize) {
    let mut bytes = [0; 1024];
    stream.read_exact(&mut bytes[..len]).expect("an answer");
}

/// A broker that takes what it is sent, and answers each stroke with the same.
fn broker(talk: Talk) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let serve = move |mut connection: TcpStream| -> io::Result<()> {
        connection.set_nodelay(true)?;
        connection.write_all(talk.greeting)?;
        let (mut bytes, mut held) = (vec![0; 1 << 20], 0);
        loop {
            let read = connection.read(&mut bytes[held..])?;
            if read == 0 {
                return Ok(());
            }
            held += read;
            if held >= talk.stroke.len() && bytes[..held].ends_with(talk.ends) {
                held = 0;
                connection.write_all(&talk.answer)?;
            }
        }
    };
    thread::spawn(move || {
        let (connection, _) = listener.accept().expect("a connection");
        // The client goes first.
        let _ = serve(connection);
    });
    address
}

fn nats(messages: usize) -> Talk {
    let message = format!("PUB orders.new {BODY}\r\n{}\r\n", "x".repeat(BODY));
    Talk {
        greeting: b"INFO {\"headers\":true,\"max_payload\":1048576}\r\n",
        hello: b"CONNECT {\"headers\":true}\r\n",
        stroke: (message.repeat(messages) + "PING\r\n").into_bytes(),
        ends: b"PING\r\n",
        answer: b"PONG\r\n".to_vec(),
    }
}

/// A Produce request of version 3 and its response.
fn kafka() -> Talk {
    let correlation = 7_i32.to_be_bytes();
    let batch = batch();
    let request = [
        &[0, 0, 0, 3],
        correlation.as_slice(),
        &[0, 4],
        b"shop",
        // No transaction, all acknowledgements, a second, one topic.
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 3, 0xe8, 0, 0, 0, 1, 0, 6],
        b"orders",
        &[0, 0, 0, 1, 0, 0, 0, 0],
        &(batch.len() as u32).to_be_bytes(),
        &batch,
    ];
    let response = [
        correlation.as_slice(),
        &[0, 0, 0, 1, 0, 6],
        b"orders",
        // One partition without an error, at offset 0; no time, no throttling.
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &[0; 8],
        &[0xff; 8],
        &[0; 4],
    ];
    Talk {
        greeting: b"",
        hello: b"",
        stroke: sized(&request.concat()),
        ends: b"",
        answer: sized(&response.concat()),
    }
}

fn sized(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

/// Records that bear nothing, not compressed.
fn batch() -> Vec<u8> {
    let mut records = Vec::new();
    for number in 0..BATCH as u8 {
        // No attributes, time, place in the batch (zigzag), no key, value, no headers.
        let mut body = vec![0, 0];
        varint(&mut body, 2 * u32::from(number));
        body.push(1);
        varint(&mut body, 2 * BODY as u32);
        body.extend_from_slice(&[b'x'; BODY]);
        body.push(0);
        varint(&mut records, 2 * body.len() as u32);
        records.extend_from_slice(&body);
    }
    let count = BATCH as u32;
    let checked = [
        // Attributes, the last record's place, first and last time, no producer.
        [0, 0].as_slice(),
        &(count - 1).to_be_bytes(),
        &[0; 16],
        &[0xff; 8 + 2 + 4],
        &count.to_be_bytes(),
        &records,
    ]
    .concat();
    let length = 4 + 1 + 4 + checked.len() as u32;
    [
        [0; 8].as_slice(),
        &length.to_be_bytes(),
        &[0, 0, 0, 0, 2],
        &crc32c::crc32c(&checked).to_be_bytes(),
        &checked,
    ]
    .concat()
}

fn varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
