//! Mosquitto behind the agent; paho-mqtt, rumqttc and bare sockets before it.
//!
//! In: messages of every `QoS`, of MQTT 5 and 3.1.1; kills; packets that are wrong. Out: what clients saw, beside what they see
//! without an agent, and the spans.
//! Left out on purpose: each field of a packet, see `src/queues/mqtt/tests.rs`.

use std::net::SocketAddr;
use std::path::Path;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::brokers::{Broker, Progress, agent_process, before, free_port, program, python, run, spans};
use crate::support::{Collector, Seen, soon};

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A broker that keeps what it has across restarts; `more` are lines of its configuration.
async fn mosquitto(more: &str) -> Broker {
    Broker::start(|dir, port| command(dir, port, more)).await
}

fn command(dir: &Path, port: u16, more: &str) -> Command {
    let file = dir.join("mosquitto.conf");
    let lines = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n\
         persistence true\npersistence_location {}/\npid_file {}\n{more}\n",
        dir.display(),
        dir.join("pid").display(),
    );
    std::fs::write(&file, lines).expect("a configuration");
    let mut command = program("mosquitto", dir);
    command.arg("-c").arg(file);
    command
}

/// What paho-mqtt's subscriber got of what its publisher sent.
async fn exchange(port: u16, level: &str) -> Vec<Value> {
    let port = port.to_string();
    let told = python("mqtt_peer.py", &["exchange", &port, &port, level]).await;
    serde_json::from_str(&told).expect("a list")
}

/// Takes what was added from behind the message's own user properties.
fn take_added(message: &mut Value) -> Vec<(String, String)> {
    let own = message["properties"]["UserProperty"]
        .as_array_mut()
        .expect("some are its own");
    let added = own.split_off(3);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    added
        .iter()
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

fn told<'a>(seen: &'a Seen, keys: &[&str]) -> Vec<&'a str> {
    keys.iter().map(|key| seen.get(key).unwrap_or("-")).collect()
}

#[tokio::test]
async fn messages_of_mqtt_5_arrive_as_they_were_but_for_context_and_are_one_trace_each() {
    let (broker, collector) = (mosquitto("").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let mut with = exchange(agent.queue_addrs[0].port(), "5").await;
    let without = exchange(broker.port, "5").await;
    let added: Vec<_> = with.iter_mut().map(take_added).collect();
    assert_eq!(with, without);

    let sent = spans(&collector, 4, |seen| seen.span.kind == PRODUCER).await;
    let received = spans(&collector, 4, |seen| seen.span.kind == CONSUMER).await;
    for pairs in added {
        let parents: Vec<_> = pairs.iter().filter(|(key, _)| key == "traceparent").collect();
        let [(_, parent)] = parents[..] else {
            panic!("{pairs:?}")
        };
        let is_it = |seen: &&Seen| parent.starts_with(&format!("00-{}-{}-", seen.trace_id(), seen.span_id()));
        let producer = sent
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no span of {parent}"));
        let of_it =
            |seen: &&Seen| seen.parent() == producer.span_id() && seen.trace_id() == producer.trace_id();
        assert_eq!(
            received.iter().filter(of_it).count(),
            1,
            "{parent} was processed once"
        );
        let correlation = pairs.iter().find(|(key, _)| key == "x-correlation-id");
        assert_eq!(
            correlation.map(|(_, id)| id.as_str()),
            producer.get("correlation.id")
        );
    }
    let keys = [
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.destination.name",
        "messaging.client.id",
        "messaging.message.conversation_id",
        "network.protocol.name",
        "network.protocol.version",
        "server.address",
        "error.type",
    ];
    let common = ["request-7", "mqtt", "5.0", "127.0.0.1", "-"];
    let of_sender = [&["mqtt", "publish", "send", "shop/orders/+", "cart"][..], &common].concat();
    let of_receiver = [
        &["mqtt", "deliver", "process", "shop/orders/+", "till"][..],
        &common,
    ]
    .concat();
    for (all, name, expected) in [
        (&sent, "publish shop/orders/+", of_sender),
        (&received, "deliver shop/orders/+", of_receiver),
    ] {
        let mut sizes = Vec::new();
        for seen in all {
            assert_eq!(
                (seen.span.name.as_str(), told(seen, &keys)),
                (name, expected.clone())
            );
            assert_eq!(seen.get("server.port"), Some(broker.port.to_string().as_str()));
            sizes.push(seen.get("messaging.message.body.size").unwrap_or_default());
        }
        sizes.sort_unstable();
        assert_eq!(sizes, ["0", "2", "5", "76800"], "{name}");
    }
}

#[tokio::test]
async fn messages_of_mqtt_3_1_1_arrive_as_they_were_and_have_spans() {
    let (broker, collector) = (mosquitto("").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let with = exchange(agent.queue_addrs[0].port(), "4").await;
    assert_eq!(with, exchange(broker.port, "4").await);

    // Nothing travels with them, so that sending them is a call like others.
    let sent = spans(&collector, 4, |seen| seen.span.kind == CLIENT).await;
    let received = spans(&collector, 4, |seen| seen.span.kind == CONSUMER).await;
    let keys = [
        "messaging.destination.name",
        "network.protocol.version",
        "error.type",
    ];
    for seen in sent.iter().chain(&received) {
        assert_eq!(
            told(seen, &keys),
            ["shop/orders/+", "3.1.1", "-"],
            "{}",
            seen.span.name
        );
    }
}

/// A client made with rumqttc, whose acknowledgements are the test's.
async fn rumqttc(name: &str, agent: SocketAddr) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, agent.ip().to_string(), agent.port());
    options.set_manual_acks(true);
    let (client, mut events) = AsyncClient::new(options, 10);
    packet(&mut events, |packet| {
        matches!(packet, Packet::ConnAck(_)).then_some(())
    })
    .await;
    (client, events)
}

/// What `is_it` finds among the packets that come.
async fn packet<T>(events: &mut EventLoop, is_it: impl Fn(Packet) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.expect("a connection")
                && let Some(found) = is_it(packet)
            {
                return found;
            }
        }
    };
    soon("the packet", found).await
}

async fn subscribed(client: &AsyncClient, events: &mut EventLoop, topic: &str) {
    client
        .subscribe(topic, QoS::AtLeastOnce)
        .await
        .expect("room for it");
    packet(events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
}

async fn message(events: &mut EventLoop) -> Publish {
    packet(events, |packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    })
    .await
}

async fn published(client: &AsyncClient, events: &mut EventLoop, topic: &str, payload: &[u8], retain: bool) {
    client
        .publish(topic, QoS::AtLeastOnce, retain, payload.to_vec())
        .await
        .expect("room for it");
    packet(events, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
}

fn parent_in(message: &Publish) -> Option<&str> {
    let pairs = &message.properties.as_ref()?.user_properties;
    let found = pairs.iter().find(|(key, _)| key == "traceparent");
    found.map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn what_a_consumer_publishes_while_it_works_belongs_to_the_message() {
    let (broker, collector) = (mosquitto("").await, Collector::start().await);
    // Of different services: whom a service calls without a request as well, its requests do not explain.
    let of_till = before("mqtt", broker.address(), "", &collector).await;
    let of_cart = before("mqtt", broker.address(), "", &collector).await;
    let (till, mut at_till) = rumqttc("till", of_till.queue_addrs[0]).await;
    subscribed(&till, &mut at_till, "orders").await;
    let (cart, mut at_cart) = rumqttc("cart", of_cart.queue_addrs[0]).await;
    published(&cart, &mut at_cart, "orders", b"x", false).await;

    let order = message(&mut at_till).await;
    published(&till, &mut at_till, "bills", b"x", false).await;
    till.ack(&order).await.expect("room for it");
    published(&till, &mut at_till, "rests", b"x", false).await;

    let named = |name: &'static str| move |seen: &Seen| seen.span.name == name;
    let work = collector.span(named("deliver orders")).await;
    let bill = collector.span(named("publish bills")).await;
    let rest = collector.span(named("publish rests")).await;
    let order_sent = collector.span(named("publish orders")).await;
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
async fn a_retained_message_is_linked_to_whoever_sent_it() {
    let (broker, collector) = (mosquitto("").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let (cart, mut at_cart) = rumqttc("cart", agent.queue_addrs[0]).await;
    published(&cart, &mut at_cart, "state", b"x", true).await;
    let (till, mut at_till) = rumqttc("till", agent.queue_addrs[0]).await;
    till.subscribe("state", QoS::AtLeastOnce)
        .await
        .expect("room for it");
    let state = message(&mut at_till).await;
    till.ack(&state).await.expect("room for it");
    at_till.poll().await.expect("a connection");

    let sent = collector.span(|seen| seen.span.name == "publish state").await;
    let received = collector.span(|seen| seen.span.name == "deliver state").await;
    let links: Vec<_> = received.span.links.iter().map(|link| &link.span_id).collect();
    assert_eq!(links, [&sent.span.span_id]);
    assert_eq!((received.span.kind, received.parent()), (CLIENT, String::new()));
}

/// CONNECT of MQTT 5 or 3.1.1 with a session that ends with the connection.
fn connect(level: u8) -> Vec<u8> {
    let name = b"\0\x04MQTT";
    let rest: &[u8] = if level == 5 {
        b"\x02\0\0\0\0\x05probe"
    } else {
        b"\x02\0\0\0\x05probe"
    };
    let body = [&name[..], &[level], rest].concat();
    [&[0x10, body.len() as u8], &body[..]].concat()
}

/// All that comes back to a client that says `bytes` and no more.
async fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let speak = async {
        // It may have been cut off before it had said all.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    soon("the end of the connection", speak).await;
    answer
}

#[tokio::test]
async fn what_is_wrong_ends_as_with_the_broker_alone() {
    let (broker, collector) = (mosquitto("max_packet_size 2000").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let with_topic = |first: u8, rest: &[u8]| {
        let body = [b"\0\x01t", rest].concat();
        [&[first, body.len() as u8][..], &body].concat()
    };
    let large = [&[0x30, 0xb8, 0x17, 0, 1, b't', 0][..], &[b'x'; 2996]].concat();
    let wrong: [(&str, Vec<u8>); 14] = [
        ("QoS 3", with_topic(0x36, b"\0\x01\0")),
        ("no kind", vec![0, 0]),
        ("reserved flags", vec![0x41, 2, 0, 1]),
        ("a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1]),
        ("a topic beyond the packet", vec![0x30, 3, 0, 9, b't']),
        ("properties beyond the packet", with_topic(0x30, &[9])),
        ("a property that there is not", with_topic(0x30, &[1, 0x7f])),
        ("half a property", with_topic(0x30, &[6, 0x26, 0, 1, b'k', 0, 9])),
        ("an alias that there is not", vec![0x30, 6, 0, 0, 3, 0x23, 0, 9]),
        ("a topic with a wildcard", vec![0x30, 4, 0, 1, b'#', 0]),
        ("a topic that is not text", vec![0x30, 4, 0, 1, 0xff, 0]),
        ("a packet that is too large", large),
        ("a second CONNECT", connect(5)),
        ("a packet for brokers only", vec![0x20, 3, 0, 0, 0]),
    ];
    for (what, bytes) in wrong {
        let bytes = [connect(5), bytes].concat();
        let alone = answer(broker.address(), &bytes).await;
        assert_eq!(answer(agent.queue_addrs[0], &bytes).await, alone, "{what}");
    }
    let cut = [connect(5), with_topic(0x32, b"\0\x01\0payload")].concat();
    for len in 0..cut.len() {
        let bytes = &cut[..len];
        let alone = answer(broker.address(), bytes).await;
        assert_eq!(
            answer(agent.queue_addrs[0], bytes).await,
            alone,
            "cut after {len} bytes"
        );
    }
    for first in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &connect(6),
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let alone = answer(broker.address(), first).await;
        assert_eq!(answer(agent.queue_addrs[0], first).await, alone, "{first:?}");
    }
}

#[tokio::test]
async fn a_message_that_fits_only_without_context_goes_without() {
    let (broker, collector) = (mosquitto("max_packet_size 2000").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let (cart, mut at_cart) = rumqttc("cart", agent.queue_addrs[0]).await;
    // 12 bytes stand before the payload.
    for (topic, payload) in [("full", 1988), ("room", 1600)] {
        published(&cart, &mut at_cart, topic, &vec![b'x'; payload], false).await;
    }
    let full = collector.span(|seen| seen.span.name == "publish full").await;
    let room = collector.span(|seen| seen.span.name == "publish room").await;
    assert_eq!((full.span.kind, room.span.kind), (CLIENT, PRODUCER));
}

/// paho-mqtt's numbered messages while `meanwhile` happens to agent or broker; it is given the way to learn of progress.
async fn stream<F: Future<Output = ()>>(
    port: u16,
    qos: &str,
    dir: &Path,
    meanwhile: impl FnOnce(Progress) -> F,
) -> Value {
    let progress = Progress::new(dir);
    let (port, place) = (port.to_string(), dir.display().to_string());
    let arguments = ["stream", &port, &port, "5", qos, &place];
    let happen = async {
        meanwhile(progress).await;
        std::fs::write(dir.join("stop"), "").expect("a file");
    };
    let (told, ()) = tokio::join!(python("mqtt_peer.py", &arguments), happen);
    serde_json::from_str(&told).expect("an object")
}

fn nothing_lost(told: &Value) {
    assert_eq!(told["lost"], serde_json::json!([]), "{told}");
    assert_eq!(told["acknowledged"], told["sent"], "{told}");
}

#[tokio::test]
async fn no_acknowledged_message_is_lost_where_the_agent_is_killed() {
    let broker = mosquitto("").await;
    for qos in ["1", "2"] {
        let dir = tempfile::tempdir().expect("a directory");
        let queue: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let config = dir.path().join("agent.yaml");
        let yaml = format!(
            "agent:\n  service: cart\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
             queues: [{{ protocol: mqtt, listen: '{queue}', upstream: '{}' }}]\n",
            broker.address()
        );
        std::fs::write(&config, yaml).expect("a configuration");
        let mut agent = agent_process(&config, queue).await;
        let (running, config) = (&mut agent, &config);
        let told = stream(queue.port(), qos, dir.path(), |progress| async move {
            for _ in 0..3 {
                progress.goes_on_by(100).await;
                running.kill().await.expect("it can be killed");
                *running = agent_process(config, queue).await;
            }
            progress.goes_on_by(100).await;
        })
        .await;
        // What comes twice at QoS 2 does so without an agent as well, with these two; see the test below.
        nothing_lost(&told);
    }
}

/// Says `bytes`, and waits for a packet of `kind`.
async fn asks(stream: &mut TcpStream, bytes: &[u8], kind: u8) {
    stream.write_all(bytes).await.expect("a connection");
    let answer = async {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await?;
        stream.read_exact(&mut vec![0; usize::from(head[1])]).await?;
        Ok::<_, std::io::Error>(head[0])
    };
    let answer = soon("the answer", answer).await.expect("a connection");
    assert_eq!(answer, kind);
}

#[tokio::test]
async fn a_message_of_qos_2_that_is_continued_through_another_agent_arrives_once() {
    const PUBREC: u8 = 0x50;
    const PUBCOMP: u8 = 0x70;
    let (broker, collector) = (mosquitto("").await, Collector::start().await);
    let (till, mut at_till) = rumqttc("till", broker.address()).await;
    subscribed(&till, &mut at_till, "t").await;
    let through = async || {
        let agent = before("mqtt", broker.address(), "", &collector).await;
        let mut stream = TcpStream::connect(agent.queue_addrs[0])
            .await
            .expect("a connection");
        // With a session that outlives the connection.
        let connect = b"\x10\x17\0\x04MQTT\x05\0\0\0\x05\x11\0\0\x0e\x10\0\x05probe";
        asks(&mut stream, connect, 0x20).await;
        (agent, stream)
    };
    for step in 0..3 {
        let publish = |first| [first, 7, 0, 1, b't', 0, step + 1, 0, b'0' + step];
        let release = [0x62, 2, 0, step + 1];
        let (_agent, mut stream) = through().await;
        // The connection ends before PUBREC has come, before PUBREL was sent, before PUBCOMP has come.
        if step == 0 {
            stream.write_all(&publish(0x34)).await.expect("a connection");
        } else {
            asks(&mut stream, &publish(0x34), PUBREC).await;
        }
        if step == 2 {
            stream.write_all(&release).await.expect("a connection");
        }
        drop(stream);
        let (_agent, mut stream) = through().await;
        if step == 0 {
            asks(&mut stream, &publish(0x3c), PUBREC).await;
        }
        asks(&mut stream, &release, PUBCOMP).await;
    }
    for expected in [b"0", b"1", b"2"] {
        let came = message(&mut at_till).await;
        assert_eq!(
            (&came.payload[..], parent_in(&came).is_some()),
            (&expected[..], true)
        );
        till.ack(&came).await.expect("room for it");
    }
    till.publish("t", QoS::AtMostOnce, false, "end")
        .await
        .expect("room for it");
    assert_eq!(&message(&mut at_till).await.payload[..], b"end");
}

#[tokio::test]
async fn no_acknowledged_message_is_lost_where_the_broker_is_restarted() {
    let (mut broker, collector) = (mosquitto("").await, Collector::start().await);
    let agent = before("mqtt", broker.address(), "", &collector).await;
    let dir = tempfile::tempdir().expect("a directory");
    let broker = &mut broker;
    let told = stream(
        agent.queue_addrs[0].port(),
        "1",
        dir.path(),
        |progress| async move {
            for _ in 0..2 {
                progress.goes_on_by(100).await;
                // It writes down what it has before it ends.
                let pid = std::fs::read_to_string(broker.dir.path().join("pid")).expect("its process id");
                run(Command::new("kill").args(["-TERM", pid.trim()])).await;
                soon("the end of the broker", ended(pid.trim())).await;
                broker.restart(|dir, port| command(dir, port, "")).await;
            }
            progress.goes_on_by(100).await;
        },
    )
    .await;
    nothing_lost(&told);
}

/// Until there is no process, or only what its parent has not asked for.
async fn ended(pid: &str) {
    let state = Path::new("/proc").join(pid).join("stat");
    while std::fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::task::yield_now().await;
    }
}
