//! `RabbitMQ` behind the agent; pika, aio-pika, lapin and bare sockets before it.
//!
//! In: messages with every property; kills; frames that are wrong. Out: what clients saw, beside what they see without an agent,
//! and the spans.
//! Left out on purpose: each frame and each cut of it, see `src/queues/amqp/tests.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};

use lapin::message::{BasicGetMessage, Delivery, DeliveryResult};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::brokers::{Broker, agent_process, before, free_port, program, python, spans};
use crate::support::{Collector, PATIENCE, Seen, soon};

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A broker, and the port mapper without which Erlang does not start: it would leave one running.
struct Rabbit {
    broker: Broker,
    mapper_port: u16,
    _mapper: (Child, TempDir),
}

impl Rabbit {
    async fn start() -> Self {
        let (dir, mapper_port) = (tempfile::tempdir().expect("a directory"), free_port());
        let mapper = program("epmd", dir.path())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .args(["-port", &mapper_port.to_string()])
            .spawn()
            .expect("`bash tests/run.sh` installs what tests need");
        let listens = async {
            while TcpStream::connect(("127.0.0.1", mapper_port)).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon("the port mapper", listens).await;
        Self {
            broker: Broker::start(|dir, port| command(dir, port, mapper_port)).await,
            mapper_port,
            _mapper: (mapper, dir),
        }
    }

    /// One for all tests that run at the same time and leave it as it is: it takes long to start.
    async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Rabbit>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(rabbit) = shared.upgrade() {
            return rabbit;
        }
        let rabbit = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&rabbit);
        rabbit
    }

    async fn restart(&mut self) {
        let mapper_port = self.mapper_port;
        self.broker
            .restart(|dir, port| command(dir, port, mapper_port))
            .await;
    }

    fn address(&self) -> SocketAddr {
        self.broker.address()
    }
}

/// The broker in the process that is started, without the script around it, which would not pass on a kill.
fn command(dir: &Path, port: u16, mapper_port: u16) -> Command {
    std::fs::write(dir.join("enabled_plugins"), "[].").expect("a file");
    std::fs::write(dir.join("rabbitmq.conf"), "").expect("a file");
    let mut command = program("/usr/lib/rabbitmq/bin/rabbitmq-server", dir);
    let place = |name: &str| dir.join(name);
    command
        .env("HOME", dir)
        .env("LANG", "C.UTF-8")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", mapper_port.to_string())
        .env("RABBITMQ_ALLOW_INPUT", "true")
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        .env("RABBITMQ_NODENAME", format!("rabbit{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", free_port().to_string())
        .env("RABBITMQ_MNESIA_BASE", place("data"))
        .env("RABBITMQ_LOG_BASE", place("logs"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", place("enabled_plugins"))
        .env("RABBITMQ_CONFIG_FILE", place("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", place("none"))
        .env("RABBITMQ_CONF_ENV_FILE", place("none"));
    command
}

/// What a client of Python got of what it sent; `name` begins the names of its exchange and queue.
async fn exchange(client: &str, port: u16, name: &str) -> Vec<Value> {
    let told = python("amqp_peer.py", &[client, &port.to_string(), name]).await;
    serde_json::from_str(&told).expect("a list")
}

/// Takes what was added from behind the message's own headers.
fn take_added(message: &mut Value) -> BTreeMap<String, String> {
    let headers = message["headers"].as_array_mut().expect("a list");
    let is_added = |pair: &Value| {
        matches!(
            pair[0].as_str(),
            Some("traceparent" | "tracestate" | "x-correlation-id")
        )
    };
    let own = headers.iter().take_while(|pair| !is_added(pair)).count();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let added = headers.split_off(own);
    added
        .iter()
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

fn told<'a>(seen: &'a Seen, keys: &[&str]) -> Vec<&'a str> {
    keys.iter().map(|key| seen.get(key).unwrap_or("-")).collect()
}

/// Of four messages `of_four` bear a name.
async fn messages_of(client: &str, of_four: usize) {
    let (rabbit, collector) = (Rabbit::shared().await, Collector::start().await);
    let agent = before("amqp", rabbit.address(), "", &collector).await;
    let name = format!("{client}-with");
    let mut with = exchange(client, agent.queue_addrs[0].port(), &name).await;
    let without = exchange(client, rabbit.address().port(), &format!("{client}-without")).await;
    let added: Vec<_> = with.iter_mut().map(take_added).collect();
    assert_eq!(with, without);

    let sent = spans(&collector, 4, |seen| seen.span.kind == PRODUCER).await;
    let received = spans(&collector, 4, |seen| seen.span.kind == CONSUMER).await;
    for pairs in added {
        let parent = pairs.get("traceparent").expect("it was added");
        let is_it = |seen: &&Seen| parent.starts_with(&format!("00-{}-{}-", seen.trace_id(), seen.span_id()));
        let producer = sent.iter().find(is_it).expect("its span");
        let of_it =
            |seen: &&Seen| seen.parent() == producer.span_id() && seen.trace_id() == producer.trace_id();
        assert_eq!(
            received.iter().filter(of_it).count(),
            1,
            "{parent} was processed once"
        );
        let correlation = pairs.get("x-correlation-id").map(String::as_str);
        assert_eq!(correlation, producer.get("correlation.id"));
    }
    let keys = [
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.destination.name",
        "messaging.rabbitmq.destination.routing_key",
        "server.address",
        "error.type",
    ];
    let producer = format!("{name}-shop:orders.new");
    let consumer = format!("{producer}:{name}-till");
    for (all, operation, kind, destination) in [
        (&sent, "publish", "send", &producer),
        (&received, "deliver", "process", &consumer),
    ] {
        let common = ["orders.new", "127.0.0.1", "-"];
        let expected = [&["rabbitmq", operation, kind, destination][..], &common].concat();
        let mut each = Vec::new();
        for seen in all {
            assert_eq!(seen.span.name, format!("{operation} {destination}"));
            assert_eq!(told(seen, &keys), expected);
            each.push(told(
                seen,
                &[
                    "messaging.message.id",
                    "messaging.message.conversation_id",
                    "messaging.message.body.size",
                ],
            ));
        }
        each.sort_by_key(|told| told[2].len());
        let ids = each.iter().filter(|told| told[0].starts_with("m-")).count();
        assert_eq!(ids, of_four, "{each:?}");
        assert!(each.contains(&vec!["m-2", "request-7", "300000"]), "{each:?}");
        assert!(each.contains(&vec!["m-1", "-", "0"]), "{each:?}");
    }
    let mut tags = received
        .iter()
        .map(|seen| seen.get("messaging.rabbitmq.message.delivery_tag").unwrap_or("-"))
        .collect::<Vec<_>>();
    tags.sort_unstable();
    assert_eq!(tags, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn messages_of_pika_arrive_as_they_were_but_for_context_and_are_one_trace_each() {
    messages_of("pika", 3).await;
}

#[tokio::test]
async fn messages_of_aio_pika_arrive_as_they_were_but_for_context_and_are_one_trace_each() {
    messages_of("aio-pika", 4).await;
}

/// A connection made with lapin, and a channel with confirms.
async fn connected(address: SocketAddr) -> lapin::Result<(Connection, Channel)> {
    let uri = format!("amqp://guest:guest@{address}/%2f?heartbeat=0");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn declared(channel: &Channel, queue: &str) {
    channel
        .queue_declare(
            queue.into(),
            QueueDeclareOptions {
                durable: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await
        .expect("a queue");
}

/// Publishes by the default exchange and waits for the confirm.
async fn publish(channel: &Channel, queue: &str, payload: &[u8]) -> lapin::Result<bool> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let kept = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), queue.into(), options, payload, kept)
        .await?;
    Ok(sent.await?.take_message().is_none())
}

/// What a consumer gets, as long as this is kept.
type Deliveries = UnboundedReceiver<Delivery>;

async fn consume(channel: &Channel, queue: &str, no_ack: bool) -> Deliveries {
    let options = BasicConsumeOptions {
        no_ack,
        ..Default::default()
    };
    let consumer = channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await
        .expect("a consumer");
    let (sender, deliveries) = unbounded_channel();
    consumer.set_delegate(move |delivery: DeliveryResult| {
        let sender = sender.clone();
        async move {
            if let Ok(Some(delivery)) = delivery {
                // Nobody listens any more where the test is over.
                let _ = sender.send(delivery);
            }
        }
    });
    deliveries
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    soon("a message", deliveries.recv()).await.expect("one more")
}

async fn get(channel: &Channel, queue: &str) -> Option<BasicGetMessage> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await;
    got.expect("an answer")
}

fn parent_in(message: &Delivery) -> Option<String> {
    let headers = message.properties.headers().as_ref()?;
    let value = headers.inner().get("traceparent")?;
    value.as_long_string().map(ToString::to_string)
}

#[tokio::test]
async fn what_a_consumer_publishes_while_it_works_belongs_to_the_message() {
    let (rabbit, collector) = (Rabbit::shared().await, Collector::start().await);
    // Of different services: whom a service calls without a request as well, its requests do not explain.
    let of_till = before("amqp", rabbit.address(), "", &collector).await;
    let of_cart = before("amqp", rabbit.address(), "", &collector).await;
    let (_till, till) = connected(of_till.queue_addrs[0]).await.expect("a connection");
    let (_cart, cart) = connected(of_cart.queue_addrs[0]).await.expect("a connection");
    for queue in ["work-orders", "work-bills", "work-rests"] {
        declared(&till, queue).await;
    }
    let mut orders = consume(&till, "work-orders", false).await;
    assert!(publish(&cart, "work-orders", b"x").await.expect("a confirm"));

    let order = next(&mut orders).await;
    assert!(publish(&till, "work-bills", b"x").await.expect("a confirm"));
    order.ack(BasicAckOptions::default()).await.expect("a connection");
    assert!(publish(&till, "work-rests", b"x").await.expect("a confirm"));

    let named = |name: &'static str| move |seen: &Seen| seen.span.name == name;
    let work = collector.span(named("deliver work-orders")).await;
    let bill = collector.span(named("publish work-bills")).await;
    let rest = collector.span(named("publish work-rests")).await;
    let order_sent = collector.span(named("publish work-orders")).await;
    assert!(parent_in(&order).is_some_and(|parent| parent.contains(&order_sent.span_id())));
    assert_eq!(
        (work.parent(), bill.parent()),
        (order_sent.span_id(), work.span_id())
    );
    assert_eq!(
        (rest.parent(), rest.trace_id() == work.trace_id()),
        (String::new(), false)
    );
}

#[tokio::test]
async fn spans_tell_how_a_message_ended() {
    let (rabbit, collector) = (Rabbit::shared().await, Collector::start().await);
    let agent = before("amqp", rabbit.address(), "", &collector).await;
    let (_connection, channel) = connected(agent.queue_addrs[0]).await.expect("a connection");
    for queue in ["end-acks", "end-blind", "end-gets"] {
        declared(&channel, queue).await;
    }
    assert!(!publish(&channel, "end-nowhere", b"x").await.expect("a confirm"));
    for queue in ["end-acks", "end-acks", "end-blind", "end-gets", "end-gets"] {
        assert!(publish(&channel, queue, b"x").await.expect("a confirm"));
    }
    let mut acks = consume(&channel, "end-acks", false).await;
    let (first, second) = (next(&mut acks).await, next(&mut acks).await);
    second
        .reject(BasicRejectOptions::default())
        .await
        .expect("a connection");
    let again = BasicNackOptions {
        requeue: true,
        ..Default::default()
    };
    first.nack(again).await.expect("a connection");
    let redelivered = next(&mut acks).await;
    assert_eq!(parent_in(&redelivered), parent_in(&first));
    redelivered
        .ack(BasicAckOptions::default())
        .await
        .expect("a connection");
    let mut blind = consume(&channel, "end-blind", true).await;
    let unseen = next(&mut blind).await;
    let got = get(&channel, "end-gets").await.expect("a message");
    got.ack(BasicAckOptions::default()).await.expect("a connection");
    let left = get(&channel, "end-gets").await.expect("another");
    assert!(get(&channel, "end-gets").await.is_none());
    channel.close(200, "done".into()).await.expect("a connection");
    drop(left);

    let all = spans(&collector, 12, |_| true).await;
    let mut ends = all
        .iter()
        .map(|seen| {
            format!(
                "{} {} {}",
                seen.span.kind,
                seen.span.name,
                seen.get("error.type").unwrap_or("-")
            )
        })
        .collect::<Vec<_>>();
    ends.sort_unstable();
    let expected = [
        &format!("{CLIENT} deliver end-blind -"),
        &format!("{PRODUCER} publish end-acks -"),
        &format!("{PRODUCER} publish end-acks -"),
        &format!("{PRODUCER} publish end-blind -"),
        &format!("{PRODUCER} publish end-gets -"),
        &format!("{PRODUCER} publish end-gets -"),
        &format!("{PRODUCER} publish end-nowhere NO_ROUTE"),
        &format!("{CONSUMER} deliver end-acks -"),
        &format!("{CONSUMER} deliver end-acks rejected"),
        &format!("{CONSUMER} deliver end-acks requeued"),
        &format!("{CONSUMER} get end-gets -"),
        &format!("{CONSUMER} get end-gets closed"),
    ];
    assert_eq!(ends.iter().collect::<Vec<_>>(), expected);
    // Who acknowledges nothing is linked to the sender instead.
    let blind = all.iter().find(|seen| seen.span.name == "deliver end-blind");
    let links = &blind.expect("just seen").span.links;
    let link = links.first().expect("a link");
    let parent = parent_in(&unseen).expect("it was added");
    assert!(parent.contains(&crate::support::hex(&link.span_id)));
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("small");
    let head = [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes()].concat();
    [&head, payload, &[0xCE]].concat()
}

fn method(channel: u16, class: u8, number: u8, args: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&[0, class, 0, number], args].concat())
}

/// One frame of the broker; `None` at its end.
async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let size = u32::from_be_bytes(head[3..].try_into().expect("4 bytes"));
    let mut rest = vec![0; size as usize + 1];
    stream.read_exact(&mut rest).await.ok()?;
    Some([&head[..], &rest].concat())
}

/// A connection with frames of at most 4,096 bytes, and channel 1.
async fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let start_ok = [
        &[0, 0, 0, 0][..],
        b"\x05PLAIN",
        b"\0\0\0\x0c\0guest\0guest",
        b"\x05en_US",
    ]
    .concat();
    let steps = [
        b"AMQP\0\0\x09\x01".to_vec(),
        method(0, 10, 11, &start_ok),
        [
            method(0, 10, 31, &[0, 10, 0, 0, 0x10, 0, 0, 0]),
            method(0, 10, 40, b"\x01/\0\0"),
        ]
        .concat(),
        method(1, 20, 10, &[0]),
    ];
    for step in steps {
        stream.write_all(&step).await.expect("a connection");
        let frame = soon("an answer", read_frame(&mut stream)).await;
        assert!(frame.is_some(), "the broker refuses {step:?}");
    }
    stream
}

/// What the broker says to `bytes`, until it closes channel or connection or answers `channel.flow`, which comes after them.
async fn answer(mut stream: TcpStream, bytes: &[u8], end: bool) -> Vec<u8> {
    const CLOSE: [&[u8]; 3] = [&[0, 10, 0, 50], &[0, 20, 0, 40], &[0, 20, 0, 21]];
    let mut said = Vec::new();
    let speak = async {
        // It may have been cut off before it had said all.
        let _ = stream.write_all(bytes).await;
        if end {
            let _ = stream.shutdown().await;
        } else {
            let _ = stream.write_all(&method(1, 20, 20, &[1])).await;
        }
        while let Some(frame) = read_frame(&mut stream).await {
            let is_last = CLOSE.iter().any(|close| frame.get(7..11) == Some(close));
            said.extend(frame);
            if is_last {
                break;
            }
        }
    };
    soon("the end", speak).await;
    said
}

#[tokio::test]
async fn what_is_wrong_ends_as_with_the_broker_alone() {
    let (rabbit, collector) = (Rabbit::shared().await, Collector::start().await);
    let agent = before("amqp", rabbit.address(), "", &collector).await;
    let publish = |exchange: &[u8]| {
        let name = [&[exchange.len() as u8], exchange].concat();
        method(1, 60, 40, &[&[0, 0], &name[..], b"\x07nowhere\0"].concat())
    };
    let header = |size: u8, flags: u16, rest: &[u8]| {
        let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, size];
        frame(2, 1, &[&fixed, &flags.to_be_bytes()[..], rest].concat())
    };
    let endless = |mut frame: Vec<u8>| {
        *frame.last_mut().expect("its end") = 0;
        frame
    };
    let table = b"\0\0\0\x04\x01kV?";
    let wrong: [(&str, Vec<u8>); 16] = [
        (
            "a message",
            [publish(b""), header(1, 0, b""), frame(3, 1, b"x")].concat(),
        ),
        (
            "no such exchange",
            [publish(b"none"), header(1, 0, b""), frame(3, 1, b"x")].concat(),
        ),
        ("a method without its end", endless(publish(b""))),
        (
            "a body without its end",
            [publish(b""), header(1, 0, b""), endless(frame(3, 1, b"x"))].concat(),
        ),
        (
            "a body that is too large",
            [publish(b""), header(1, 0, b""), frame(3, 1, &[0; 4089])].concat(),
        ),
        ("a method that is too large", frame(1, 1, &[0; 9000])),
        (
            "more body than said",
            [publish(b""), header(1, 0, b""), frame(3, 1, b"xyz")].concat(),
        ),
        (
            "a method amid a message",
            [publish(b""), header(1, 0, b""), publish(b"")].concat(),
        ),
        ("a header without a message", header(0, 0, b"")),
        ("a body without a message", frame(3, 1, b"x")),
        (
            "a table that is cut",
            [publish(b""), header(0, 1 << 13, b"\0\0\0\x09\x01k")].concat(),
        ),
        (
            "a field of no type",
            [publish(b""), header(0, 1 << 13, table)].concat(),
        ),
        ("further flags", [publish(b""), header(0, 1, b"\0\0")].concat()),
        ("a frame of no kind", frame(9, 1, b"what")),
        ("a method of no class", method(1, 77, 1, b"")),
        ("a channel that is not open", method(7, 60, 40, b"\0\0\0\0\0")),
    ];
    for (what, bytes) in wrong {
        let alone = answer(open(rabbit.address()).await, &bytes, false).await;
        let with = answer(open(agent.queue_addrs[0]).await, &bytes, false).await;
        assert_eq!(with, alone, "{what}");
    }
    let cut = [publish(b""), header(1, 0, b""), frame(3, 1, b"x")].concat();
    for len in [1, 7, 12, cut.len() - 12, cut.len() - 1] {
        let alone = answer(open(rabbit.address()).await, &cut[..len], true).await;
        let with = answer(open(agent.queue_addrs[0]).await, &cut[..len], true).await;
        assert_eq!(with, alone, "cut after {len} bytes");
    }
}

/// All that comes back to a client that says no more than `bytes`, until the broker ends the connection.
async fn greeting(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let speak = async {
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    soon("the end of the connection", speak).await;
    answer
}

#[tokio::test]
async fn other_protocols_are_answered_by_the_broker() {
    let (rabbit, collector) = (Rabbit::shared().await, Collector::start().await);
    let agent = before("amqp", rabbit.address(), "", &collector).await;
    for first in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"AMQP\0\x01\0\0",
        b"AMQP\x01\x01\x00\x0a",
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let alone = greeting(rabbit.address(), first).await;
        assert_eq!(greeting(agent.queue_addrs[0], first).await, alone, "{first:?}");
    }
}

/// Connects until it works: whoever was killed comes back.
async fn connected_again(address: SocketAddr) -> (Connection, Channel) {
    let connecting = async {
        loop {
            if let Ok(connected) = connected(address).await {
                return connected;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = PATIENCE * 6;
    tokio::time::timeout(patience, connecting)
        .await
        .expect("a connection")
}

#[tokio::test]
async fn no_confirmed_message_is_lost_where_agent_or_broker_is_killed() {
    const MESSAGES: u32 = 600;
    let mut rabbit = Rabbit::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let queue: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let config = dir.path().join("agent.yaml");
    let yaml = format!(
        "agent:\n  service: cart\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
         queues: [{{ protocol: amqp, listen: '{queue}', upstream: '{}' }}]\n",
        rabbit.address()
    );
    std::fs::write(&config, yaml).expect("a configuration");
    let mut agent = agent_process(&config, queue).await;

    let (mut connection, mut channel) = connected_again(queue).await;
    declared(&channel, "kept").await;
    let mut repeated = 0;
    for number in 0..MESSAGES {
        let payload = number.to_be_bytes();
        let sent = publish(&channel, "kept", &payload);
        // A message is on its way while agent or broker is killed.
        let confirmed = match number {
            150 | 450 => {
                let (sent, killed) = tokio::join!(sent, agent.kill());
                killed.expect("it can be killed");
                agent = agent_process(&config, queue).await;
                sent
            }
            300 => {
                let (sent, ()) = tokio::join!(sent, rabbit.restart());
                sent
            }
            _ => sent.await,
        };
        if confirmed.is_err() {
            repeated += 1;
            (connection, channel) = connected_again(queue).await;
            let again = async {
                while !publish(&channel, "kept", &payload)
                    .await
                    .expect("nobody is killed meanwhile")
                {
                    // A broker that has just come back may still answer that it has no such queue, and then keeps nothing.
                    assert_eq!(number, 300, "the broker has had its queue all along");
                }
            };
            soon("a confirmed message", again).await;
        }
    }
    drop(connection);

    let (_connection, channel) = connected_again(rabbit.address()).await;
    let mut came = BTreeMap::<u32, usize>::new();
    while let Some(message) = get(&channel, "kept").await {
        let number = message.delivery.data.as_slice().try_into().expect("4 bytes");
        *came.entry(u32::from_be_bytes(number)).or_default() += 1;
        message
            .ack(BasicAckOptions::default())
            .await
            .expect("a connection");
    }
    assert!(came.keys().copied().eq(0..MESSAGES), "{came:?}");
    let twice = came.values().filter(|&&times| times > 1).count();
    assert!(
        twice <= repeated,
        "{twice} came twice, {repeated} were sent twice"
    );
    assert!(came.values().all(|&times| times <= 2), "{came:?}");
}
