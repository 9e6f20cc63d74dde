//! A configuration that changes while clients are connected to a broker.
//!
//! In: an agent before NATS, whose `context` a reload changes. Out: what a subscriber at the broker itself gets from connections
//! that were open before and from those that are made after.
//! Left out on purpose: other protocols and keys. All of them are read when a connection begins, in one place.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::brokers::free_port;
use crate::nats::nats_server;
use crate::support::{Collector, config, soon, start};

/// A connection of a client that takes headers.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut client = Self(BufReader::new(stream));
        client.says("CONNECT {\"headers\":true,\"verbose\":false}").await;
        client
    }

    /// Says a line, and waits until it has been read.
    async fn says(&mut self, line: &str) {
        let both = format!("{line}\r\nPING\r\n");
        self.0.get_mut().write_all(both.as_bytes()).await.expect("open");
        while self.line().await != "PONG" {}
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = soon("a line", self.0.read_line(&mut line)).await;
        assert_ne!(read.expect("open"), 0, "the connection ended");
        line.trim_end().to_owned()
    }

    /// Whether the next message has headers: nobody else but the agent adds them here.
    async fn has_headers(&mut self) -> bool {
        loop {
            let line = self.line().await;
            match line.split_once(' ') {
                Some(("HMSG", _)) => return true,
                Some(("MSG", _)) => return false,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_is_done_on_new_connections_and_open_ones_go_on_as_they_began() {
    let (broker, collector, listen) = (nats_server("").await, Collector::start().await, free_port());
    let with = |context: &str| {
        format!(
            "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, outbound: {{ listen: '127.0.0.1:0' }},
               export: {{ endpoint: '{}', delay: 0s }},
               queues: [{{ protocol: nats, listen: '127.0.0.1:{listen}', upstream: '{}', context: {context} }}] }}",
            collector.endpoint(),
            broker.address()
        )
    };
    let mut agent = start(&with("inject")).await;
    let mut subscriber = Client::at(broker.address()).await;
    subscriber.says("SUB orders 1").await;
    let address = agent.queue_addrs[0];
    let mut before = Client::at(address).await;
    before.says("PUB orders 1\r\na").await;
    assert!(subscriber.has_headers().await);

    let reloaded = agent
        .reload(config(&with("join")))
        .await
        .expect("a configuration");
    assert!(reloaded.needs_restart.is_empty(), "{reloaded:?}");
    assert_eq!(agent.queue_addrs[0], address, "the listener stays");
    let mut after = Client::at(address).await;
    after.says("PUB orders 1\r\nb").await;
    assert!(!subscriber.has_headers().await, "new connections add nothing");
    before.says("PUB orders 1\r\nc").await;
    assert!(subscriber.has_headers().await, "an open one goes on as it began");
    agent.stop().await;
}
