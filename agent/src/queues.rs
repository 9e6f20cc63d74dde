//! Message queues: proxies before brokers that carry context in messages and tell of each.
//!
//! In: connections of a workload's clients, and the broker behind. Out: the same bytes, with context in the metadata of
//! messages where the protocol has a place for it; and spans of what was sent and received.
//! Left out on purpose: everything that a broker does. The agent keeps no message, repeats none, and answers none.

mod alike;
mod amqp;
mod check;
mod cloud_events;
mod connection;
mod courier;
mod destination;
mod kafka;
mod metrics;
mod mqtt;
mod nats;
mod redis;
mod splice;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use ::config::ByteSize;
use http::Uri;
use http::uri::{Authority, Scheme};
use otlp::tls::Listening;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub(crate) use check::{is_broker, problems};
pub(crate) use metrics::QueueMetrics;

use crate::config::{QueueConfig, QueueContext, QueueProtocol};
use crate::connect::Connector;
use crate::limits::{Admission, Guest};
use crate::peer::Peer;
use crate::reload::Current;
use crate::serve::{self, Place};
use crate::workload::Workload;
use connection::Between;
use courier::Messages;
use splice::Splice;
use ways::Ways;

/// A broker, as the connections of one listener meet it.
pub(crate) struct Queue {
    workload: Arc<Workload>,
    protocol: QueueProtocol,
    context: QueueContext,
    broker: Peer,
    scheme: Scheme,
    connector: Connector,
    max_message: ByteSize,
    broker_ports: Option<u16>,
    streams: Vec<String>,
    metrics: QueueMetrics,
}

impl Queue {
    /// `None` where `upstream` is no `host:port`.
    pub(crate) fn new(
        config: QueueConfig,
        workload: Arc<Workload>,
        connector: Connector,
        metrics: QueueMetrics,
    ) -> Option<Self> {
        let tls = config.upstream_tls.is_some();
        Some(Self {
            workload,
            protocol: config.protocol,
            context: config.context,
            broker: broker(&config.upstream)?,
            scheme: if tls { Scheme::HTTPS } else { Scheme::HTTP },
            connector,
            max_message: config.max_message,
            broker_ports: config.broker_ports,
            streams: config.inject_streams,
            metrics,
        })
    }

    /// Whether applications see what is added to a message.
    fn context_is_shown(&self) -> bool {
        self.protocol == QueueProtocol::Redis
    }

    fn splice(&self) -> Box<dyn Splice> {
        let max_message = usize::try_from(self.max_message.0).unwrap_or(usize::MAX);
        splicer(self.protocol, max_message)
    }

    fn admission(&self) -> Arc<Admission> {
        self.workload.shared.admission.clone()
    }

    /// Passes one connection on to `broker`, with word of its messages.
    async fn pass(
        self: Arc<Self>,
        client: TcpStream,
        broker: &Peer,
        ways: Arc<Ways>,
        mut cut: watch::Receiver<bool>,
    ) {
        serve::keep_alive(&client);
        // Small answers must not wait for the client's delayed acknowledgement; failing is harmless.
        let _ = client.set_nodelay(true);
        let Ok(here) = client.local_addr() else { return };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(broker.authority.as_str())
            .path_and_query("/")
            .build();
        let Ok(uri) = uri else { return };
        let link = match self.connector.clone().link(uri).await {
            Ok(link) => link.into_inner(),
            Err(error) => {
                debug!(%error, broker = %broker.authority, "broker not reached");
                // As a client sees it that finds no broker.
                let _ = client.set_zero_linger();
                return;
            }
        };
        let mut between = Between {
            splice: Some(self.splice()),
            messages: Messages::new(self.clone(), broker.clone(), ways, here),
        };
        let blind = |why| {
            debug!(%why, broker = %broker.authority, "connection passes unseen");
            self.metrics.not_understood(self.protocol, why);
        };
        tokio::select! {
            passed = connection::pass(client, link, &mut between, blind) => {
                if let Err(error) = passed {
                    debug!(%error, broker = %broker.authority, "connection broke off");
                }
            }
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }
}

fn splicer(protocol: QueueProtocol, max_message: usize) -> Box<dyn Splice> {
    match protocol {
        QueueProtocol::Kafka => Box::new(kafka::Kafka::new(max_message)),
        QueueProtocol::Amqp => Box::new(amqp::Amqp::new()),
        QueueProtocol::Nats => Box::new(nats::Nats::new()),
        QueueProtocol::Redis => Box::new(redis::Redis::new()),
        QueueProtocol::Mqtt => Box::new(mqtt::Mqtt::new()),
    }
}

/// `host:port` as a peer.
fn broker(upstream: &str) -> Option<Peer> {
    let authority: Authority = upstream.parse().ok()?;
    let port = authority.port_u16()?;
    (!authority.host().is_empty() && !upstream.contains('@')).then(|| Peer {
        authority: authority.to_string(),
        address: authority.host().trim_matches(['[', ']']).to_owned(),
        port,
    })
}

/// What whoever accepts connections needs.
#[derive(Clone)]
pub(crate) struct Accepting {
    pub(crate) current: Arc<Current<Queue>>,
    pub(crate) place: Place,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) drain: Duration,
}

/// Serves until `stop`, then lets connections end for at most `drain`: messages on them may be under way, and their clients
/// find another agent, or none, when they are cut.
pub(crate) async fn serve_queue(listener: Listening, accepting: Accepting) {
    let ways = Ways::new(accepting.clone());
    accept(listener, accepting, None, ways).await;
}

/// `broker` is the one that clients find here, where it is not the configured one.
async fn accept(listener: Listening, accepting: Accepting, broker: Option<Peer>, ways: Arc<Ways>) {
    let Accepting {
        current,
        place,
        mut stop,
        drain,
    } = accepting;
    let cut = watch::Sender::new(false);
    loop {
        let admission = current.get().admission();
        let accepted = tokio::select! {
            accepted = serve::accept(&listener.tcp, Some(admission.clone())) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let queue = current.get();
                let broker = broker.clone().unwrap_or_else(|| queue.broker.clone());
                let (ways, cut) = (ways.clone(), cut.subscribe());
                place.spawn(stream, move |stream| async move {
                    let guest = Guest::of(Some(&admission));
                    guest.passes_unseen();
                    queue.pass(stream, &broker, ways, cut).await;
                    drop(guest);
                });
            }
            Err(error) => {
                warn!(%error, "connection for a broker not accepted");
                admission.not_accepted();
                tokio::time::sleep(serve::AFTER_ACCEPT_ERROR).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, cut.closed()).await.is_err() {
        info!("connections to a broker are still open and are cut: their clients connect again");
        cut.send_replace(true);
        cut.closed().await;
    }
}

/// A splicer for the fuzzer.
#[cfg(fuzzing)]
pub(crate) struct Fuzzed {
    splice: Box<dyn Splice>,
    notes: splice::testing::Notes,
    protocol: QueueProtocol,
}

#[cfg(fuzzing)]
impl Fuzzed {
    pub(crate) fn new(protocol: u8, context: bool) -> Self {
        const ALL: [QueueProtocol; 5] = [
            QueueProtocol::Kafka,
            QueueProtocol::Amqp,
            QueueProtocol::Nats,
            QueueProtocol::Redis,
            QueueProtocol::Mqtt,
        ];
        let protocol = ALL[usize::from(protocol) % ALL.len()];
        let mut notes = if context {
            splice::testing::Notes::injecting()
        } else {
            splice::testing::Notes::default()
        };
        notes.joins = true;
        Self {
            splice: splicer(protocol, 1 << 20),
            notes,
            protocol,
        }
    }

    /// Whether the protocol goes on understanding it.
    pub(crate) fn take(
        &mut self,
        from_client: bool,
        input: &mut bytes::BytesMut,
        out: &mut bytes::BytesMut,
    ) -> bool {
        self.notes.lines.clear();
        let taken = if from_client {
            self.splice.client_said(input, out, &mut self.notes)
        } else {
            self.splice.broker_said(input, out, &mut self.notes)
        };
        taken.is_ok()
    }

    /// Kafka's brokers are made to offer no more than is read.
    pub(crate) fn changes_nothing(&self, from_client: bool) -> bool {
        self.notes.add.is_empty() && (from_client || self.protocol != QueueProtocol::Kafka)
    }
}
