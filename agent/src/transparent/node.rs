//! What stands behind each listener for redirected connections, from the configuration.
//!
//! In: bound listeners with their keys, and the workloads. Out: a [`Transparent`] for each.
//! Left out on purpose: binding and accepting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Scheme;
use tokio::sync::watch;

use super::own_calls::OwnCalls;
use super::steered::Way;
use super::{Dial, NodeTable, Transparent, Whose, WorkloadTable};
use crate::bound::Bound;
use crate::config::{
    AgentConfig, Deliver, InboundConfig, ListenMode, NodeListenConfig, OutboundConfig, WorkloadConfig,
    own_host,
};
use crate::connect::Connector;
use crate::detect::Detected;
use crate::inbound::{Inbound, Upstream};
use crate::outbound::Outbound;
use crate::pods::PodWorkloads;
use crate::reload::Wanted;
use crate::run::AgentError;
use crate::start::Ways;
use crate::telemetry::{Direction, TlsSide};
use crate::tls::Origin;
use crate::workload::{Shared, Workload};

/// A listener as the configuration wants it; accepting depends on nothing but its direction.
pub(crate) type TransparentWanted = Wanted<Transparent, &'static str>;

/// What listeners are made of.
struct Parts<'a> {
    config: &'a AgentConfig,
    shared: &'a Arc<Shared>,
    /// At run time, in the order of `given`.
    workloads: &'a [Arc<Workload>],
    given: &'a [(WorkloadConfig, Detected)],
    /// Addresses of inbound and of outbound listeners.
    own: &'a (Vec<SocketAddr>, Vec<SocketAddr>),
    tls: Arc<Origin>,
    over: watch::Receiver<bool>,
    /// The workloads of pods, where these are watched.
    pods: Option<&'a PodWorkloads>,
}

/// The listeners of single workloads, and those of the node.
#[derive(Default)]
pub(crate) struct Redirecting {
    /// With the number of the workload.
    pub(crate) inbound: Vec<Bound<(usize, InboundConfig)>>,
    /// With the number of the workload.
    pub(crate) outbound: Vec<Bound<(usize, OutboundConfig)>>,
    pub(crate) node_inbound: Option<Bound<NodeListenConfig>>,
    pub(crate) node_outbound: Option<Bound<NodeListenConfig>>,
}

impl Redirecting {
    /// The addresses that were bound, the node's last.
    pub(crate) fn inbound_addresses(&self) -> Vec<SocketAddr> {
        let node = self.node_inbound.iter().map(|bound| bound.address);
        self.inbound
            .iter()
            .map(|bound| bound.address)
            .chain(node)
            .collect()
    }

    /// As [`Redirecting::inbound_addresses`].
    pub(crate) fn outbound_addresses(&self) -> Vec<SocketAddr> {
        let node = self.node_outbound.iter().map(|bound| bound.address);
        self.outbound
            .iter()
            .map(|bound| bound.address)
            .chain(node)
            .collect()
    }
}

impl Ways<'_> {
    /// What stands behind the listeners for redirected connections; and the tables of those of the node, which go on with
    /// `pods`, where these are watched.
    ///
    /// # Errors
    /// Those of TLS, which they do not use.
    pub(crate) fn redirected(
        &self,
        config: &AgentConfig,
        given: &[(WorkloadConfig, Detected)],
        shared: &Arc<Shared>,
        redirecting: Redirecting,
        pods: Option<&PodWorkloads>,
    ) -> Result<(Vec<TransparentWanted>, Vec<NodeTable>), AgentError> {
        let parts = Parts {
            config,
            shared,
            workloads: self.workloads,
            given,
            own: &self.own,
            tls: self.origin(None, TlsSide::Outbound, "agent.outbound")?,
            over: self.over.clone(),
            pods,
        };
        Ok(wanted(redirecting, &parts))
    }
}

fn wanted(redirecting: Redirecting, parts: &Parts<'_>) -> (Vec<TransparentWanted>, Vec<NodeTable>) {
    let dials = Dials::new(parts);
    let (mut out, mut tables) = (Vec::new(), Vec::new());
    for bound in redirecting.inbound {
        let Some(workload) = parts.workloads.get(bound.what.0) else {
            continue;
        };
        let way = &bound.what.1;
        let whose = Whose::One(dials.inbound(workload, way, bound.address));
        let kind = Kind {
            direction: Direction::Inbound,
            mode: way.mode,
            deliver: way.deliver,
            preserve_source: way.preserve_source,
        };
        out.push(dials.wanted(bound, &kind, whose));
    }
    for bound in redirecting.outbound {
        let Some(workload) = parts.workloads.get(bound.what.0) else {
            continue;
        };
        let whose = Whose::One(dials.outbound(workload, bound.what.1.mode, bound.address));
        let kind = Kind::of(Direction::Outbound, bound.what.1.mode);
        out.push(dials.wanted(bound, &kind, whose));
    }
    let node_inbound = redirecting.node_inbound.map(|bound| (Direction::Inbound, bound));
    let node_outbound = redirecting
        .node_outbound
        .map(|bound| (Direction::Outbound, bound));
    for (direction, bound) in node_inbound.into_iter().chain(node_outbound) {
        let (whose, table) = dials.node(direction, &bound);
        tables.push(table);
        let kind = Kind {
            preserve_source: bound.what.preserve_source,
            ..Kind::of(direction, bound.what.mode)
        };
        out.push(dials.wanted(bound, &kind, whose));
    }
    (out, tables)
}

/// What a listener is told of its connections.
struct Kind {
    direction: Direction,
    mode: ListenMode,
    deliver: Deliver,
    preserve_source: bool,
}

impl Kind {
    fn of(direction: Direction, mode: ListenMode) -> Self {
        Self {
            direction,
            mode,
            deliver: Deliver::Destination,
            preserve_source: false,
        }
    }
}

/// How connections onward are made, in both directions.
struct Dials<'a> {
    parts: &'a Parts<'a>,
    inbound: Dial,
    outbound: Dial,
}

impl<'a> Dials<'a> {
    /// A call may go to an inbound listener; only an outbound one that calls an outbound one is a loop.
    fn new(parts: &'a Parts<'a>) -> Self {
        let own = Arc::new(OwnCalls::default());
        let mark = parts.config.transparent.mark;
        let all = parts.own.0.iter().chain(&parts.own.1).copied().collect();
        Self {
            inbound: Dial::new(mark, own.clone(), all),
            outbound: Dial::new(mark, own, parts.own.1.as_slice().into()),
            parts,
        }
    }

    fn inbound(&self, workload: &Arc<Workload>, way: &InboundConfig, listener: SocketAddr) -> Way {
        let making = self.making(Direction::Inbound, way.mode, listener);
        making.inbound(workload, way)
    }

    fn connector(&self, direction: Direction) -> Connector {
        let connector = Connector::new(Arc::new([]), self.parts.tls.clone());
        connector.dialled(self.dial(direction).clone())
    }

    fn dial(&self, direction: Direction) -> &Dial {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    fn outbound(&self, workload: &Arc<Workload>, mode: ListenMode, listener: SocketAddr) -> Way {
        self.making(Direction::Outbound, mode, listener).way(workload)
    }

    fn making(&self, direction: Direction, mode: ListenMode, listener: SocketAddr) -> Making {
        let connector = if direction == Direction::Inbound || mode.is_transparent() {
            self.connector(direction)
        } else {
            let node = self.parts.config.node.outbound.as_ref();
            let deny = node.and_then(|way| way.deny.clone()).unwrap_or_else(own_host);
            Connector::new(self.parts.own.1.as_slice().into(), self.parts.tls.clone()).denying(&deny)
        };
        Making {
            direction,
            mode,
            listener,
            connector,
            over: self.parts.over.clone(),
        }
    }

    fn node(&self, direction: Direction, bound: &Bound<NodeListenConfig>) -> (Whose, NodeTable) {
        let making = self.making(direction, bound.what.mode, bound.address);
        let mut fixed = Vec::new();
        for (workload, (given, _)) in self.parts.workloads.iter().zip(self.parts.given) {
            if given.addresses.is_empty() {
                continue;
            }
            let way = making.way(workload);
            fixed.extend(given.addresses.iter().map(|network| (*network, way.clone())));
        }
        let mut table = NodeTable {
            table: Arc::new(WorkloadTable::new(fixed.iter().cloned())),
            fixed,
            making,
            ways: HashMap::new(),
        };
        if let Some(pods) = self.parts.pods {
            table.replace(pods);
        }
        let whose = Whose::Node {
            table: table.table.clone(),
            allow: bound.what.allow.clone(),
        };
        (whose, table)
    }

    fn wanted<T>(&self, bound: Bound<T>, kind: &Kind, whose: Whose) -> TransparentWanted {
        let (config, shared) = (&self.parts.config.transparent, self.parts.shared);
        let transparent = Transparent {
            direction: kind.direction,
            mode: kind.mode,
            own: bound.address,
            patience: config.detect_timeout.0,
            blind_ports: config.blind_ports.as_slice().into(),
            dial: self.dial(kind.direction).clone(),
            connector: self.connector(kind.direction),
            deliver: kind.deliver,
            preserve_source: kind.preserve_source.then_some(config.source_mark),
            whose,
            metrics: shared.metrics.clone(),
            admission: shared.admission.clone(),
            over: self.parts.over.clone(),
        };
        Wanted {
            listener: bound.listener.into(),
            address: bound.address,
            handler: Arc::new(transparent),
            fixed: kind.direction.as_str(),
        }
    }
}

/// What makes the way of a workload through one listener.
pub(super) struct Making {
    direction: Direction,
    mode: ListenMode,
    listener: SocketAddr,
    connector: Connector,
    over: watch::Receiver<bool>,
}

impl Making {
    /// Of a workload whose way has no configuration of its own.
    pub(super) fn way(&self, workload: &Arc<Workload>) -> Way {
        if self.direction == Direction::Inbound {
            let plain = InboundConfig {
                mode: self.mode,
                ..InboundConfig::default()
            };
            return self.inbound(workload, &plain);
        }
        let (connector, over) = (
            self.connector.clone().on_behalf_of(&workload.shared.admission),
            self.over.clone(),
        );
        Way::Out(Arc::new(Outbound::new(workload.clone(), connector, over)))
    }

    fn inbound(&self, workload: &Arc<Workload>, way: &InboundConfig) -> Way {
        let connector = self.connector.clone().on_behalf_of(&workload.shared.admission);
        // Redirected connections say where they go; nothing is ever sent to the listener itself.
        let upstream = Upstream {
            scheme: Scheme::HTTP,
            authority: super::Onward::new(self.listener, connector.clone(), false)
                .authority()
                .clone(),
            connector,
        };
        let over = self.over.clone();
        Way::In(Arc::new(Inbound::new(workload.clone(), upstream, way, over)))
    }
}
