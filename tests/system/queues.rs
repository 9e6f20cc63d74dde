//! Messages from one service to another, through an agent beside each, a real broker between them and a collector: three
//! nodes and two edges with the right counts, whether context travels in the message or only the broker names it.
//!
//! The services know nothing of tracing; they speak the broker's protocol and no more.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{Collector, Process, free_port, get, until};

const PATIENCE: Duration = Duration::from_mins(2);
const MESSAGES: usize = 40;

/// An agent beside `service`, before the broker at port `broker`; its own port for it.
async fn agent(dir: &Path, service: &str, collector: &Collector, queue: &str) -> (Process, u16) {
    let [listen, admin] = std::array::from_fn(|_| free_port());
    let config = dir.join(format!("{service}.yaml"));
    let text = format!(
        "agent:\n  service: {service}\n  admin: {{ listen: '127.0.0.1:{admin}' }}\n  \
         export: {{ endpoint: 'http://127.0.0.1:{}', delay: 0s }}\n  \
         queues: [{{ listen: '127.0.0.1:{listen}', {queue} }}]\n",
        collector.grpc
    );
    std::fs::write(&config, text).unwrap();
    let args = ["agent", "--config", &config.display().to_string()].map(str::to_owned);
    let mut process = Process::start(service, env!("CARGO_BIN_EXE_tracemap"), &args, dir);
    let ready = format!("http://127.0.0.1:{admin}/readyz");
    until("the agent", PATIENCE, async || {
        process.assert_running();
        (get(&ready).await?.0 == 200).then_some(())
    })
    .await;
    (process, listen)
}

async fn broker(dir: &Path, program: &str, args: &[&str], port: u16) -> Process {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let mut process = Process::start(program, program, &args, dir);
    until(program, PATIENCE, async || {
        process.assert_running();
        TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
    process
}

fn dial(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// The flat map, once it holds what is expected: `shop` sends, `mail` receives.
async fn told(collector: &Collector) {
    let expected = format!("shop,mail,messaging_system,{MESSAGES},0");
    until(&expected, PATIENCE, async || {
        let map = collector.get("/api/v1/map?format=csv").await?;
        map.lines().any(|line| line == expected).then_some(())
    })
    .await;
    let map = collector.get("/api/v1/map?format=yaml").await.unwrap();
    for edge in ["shop", "mail", "orders"] {
        assert!(map.contains(edge), "{edge} is not on the map:\n{map}");
    }
    let why = collector
        .get("/api/v1/why?from=shop&to=mail")
        .await
        .unwrap_or_default();
    assert!(!why.contains("unknown"), "{why}");
}

/// The lengths of a reply's bulk strings are read, and so it ends where it ends.
fn reply(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let head = line(stream);
    let (kind, rest) = head.split_at(1);
    match kind {
        "*" => {
            let number = rest.parse().unwrap_or(0);
            (0..number).flat_map(|_| reply(stream)).collect()
        }
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut text).unwrap();
            text.truncate(text.len() - 2);
            vec![String::from_utf8(text).unwrap()]
        }
        _ => vec![head],
    }
}

fn command(words: &[&str]) -> String {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n{word}\r\n", word.len());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_nothing_was_added_to_are_joined_by_the_names_that_the_broker_gave_them() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path(), "  pairing: { wait: 500ms }\n").await;
    let port = free_port();
    let args = ["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"];
    let _broker = broker(dir.path(), "redis-server", &args, port).await;
    let queue = format!("protocol: redis, upstream: '127.0.0.1:{port}', context: join");
    let (_shop, to_send) = agent(dir.path(), "shop", &collector, &queue).await;
    let (_mail, to_receive) = agent(dir.path(), "mail", &collector, &queue).await;
    let mut shop = dial(to_send);
    for number in 0..MESSAGES {
        let add = command(&["XADD", "orders", "*", "number", &number.to_string()]);
        shop.get_mut().write_all(add.as_bytes()).unwrap();
        let id = reply(&mut shop);
        assert!(id[0].contains('-'), "{id:?}");
    }
    let (mut mail, mut last, mut received) = (dial(to_receive), "0".to_owned(), 0);
    while received < MESSAGES {
        let read = command(&["XREAD", "COUNT", "7", "STREAMS", "orders", &last]);
        mail.get_mut().write_all(read.as_bytes()).unwrap();
        let entries = reply(&mut mail);
        // The stream's name, then for each entry its id, the field and the value, and nothing that nobody sent.
        let entries = entries[1..].chunks(3);
        for entry in entries {
            assert_eq!(entry[1..], ["number".to_owned(), received.to_string()]);
            last.clone_from(&entry[0]);
            received += 1;
        }
    }
    told(&collector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_context_was_added_to_are_of_one_trace_from_end_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path(), "  pairing: { wait: 500ms }\n").await;
    let port = free_port();
    let args = ["-a", "127.0.0.1", "-p", &port.to_string()];
    let _broker = broker(dir.path(), "nats-server", &args, port).await;
    let queue = format!("protocol: nats, upstream: '127.0.0.1:{port}'");
    let (_shop, to_send) = agent(dir.path(), "shop", &collector, &queue).await;
    let (_mail, to_receive) = agent(dir.path(), "mail", &collector, &queue).await;
    let [mut mail, mut shop] = [to_receive, to_send].map(|port| {
        let mut stream = dial(port);
        let hello = b"CONNECT {\"headers\":true,\"verbose\":false}\r\nPING\r\n";
        stream.get_mut().write_all(hello).unwrap();
        while line(&mut stream) != "PONG" {}
        stream
    });
    mail.get_mut().write_all(b"SUB orders 1\r\nPING\r\n").unwrap();
    while line(&mut mail) != "PONG" {}
    for number in 0..MESSAGES {
        let text = number.to_string();
        let publish = format!("PUB orders {}\r\n{text}\r\n", text.len());
        shop.get_mut().write_all(publish.as_bytes()).unwrap();
    }
    for number in 0..MESSAGES {
        let head = line(&mut mail);
        assert!(head.starts_with("HMSG orders 1 "), "{head}");
        let mut carried = Vec::new();
        loop {
            match line(&mut mail) {
                end if end.is_empty() => break,
                header => carried.push(header),
            }
        }
        assert!(
            carried.iter().any(|header| header.starts_with("traceparent:")),
            "{carried:?}"
        );
        assert_eq!(line(&mut mail), number.to_string());
    }
    told(&collector).await;
}
