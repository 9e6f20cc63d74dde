//! How one configuration takes over from another, without a moment in which a request has none.
//!
//! In: a checked configuration. Out: listeners, handlers, exporters and followers as it says. A request that began before
//! ends under the configuration that it began with.
//! Left out on purpose: anything that fails halfway. What can fail comes first and changes nothing that requests see.
//!
//! What lasts longer than a configuration is [`Kept`]; what one configuration makes for requests is a [`Generation`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ::config::HumanDuration;
use otlp::export::rewrite::Rules;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::doors::{Doors, Wanted};
use super::export::{Ledger, Outlet, Surroundings};
use super::metrics::ReloadMetrics;
use super::planned::Planned;
use crate::admin::Admin;
use crate::bound::{Bound, Listeners};
use crate::config::{
    AdminConfig, AgentConfig, InboundConfig, Kubernetes, LimitsConfig, OtlpConfig, OutboundConfig,
    ServerTlsConfig, WorkloadConfig,
};
use crate::detect::{Detected, Host};
use crate::door::{Door, Own};
use crate::edges::EdgeCounts;
use crate::edges::report::unix_nano;
use crate::export_counts::Cargo;
use crate::export_rules;
use crate::inbound::Inbound;
use crate::limits::Admission;
use crate::outbound::Outbound;
use crate::peer::PeerNames;
use crate::pipeline::{Finished, SpanQueue};
use crate::plan::Plan;
use crate::pods::{Known, PodMetrics, PodWorkloads};
use crate::queues::{Accepting, Queue, QueueMetrics, serve_queue};
use crate::relay::{self, Relay};
use crate::run::{AgentError, Running};
use crate::sampling_server::SamplingServer;
use crate::serve::{Place, serve};
use crate::start::{self, Ways};
use crate::telemetry::Metrics;
use crate::transparent::{NodeTable, Transparent, TransparentWanted, follow_pods, serve_transparent};
use crate::workers::Workers;
use crate::workload::{Before, Shared, Workload};

/// Bounds on readers of the agent's own metrics: a few scrapers and probes.
const READERS: LimitsConfig = LimitsConfig {
    max_connections: Some(128),
    header_timeout: HumanDuration(Duration::from_secs(10)),
    idle_timeout: HumanDuration(Duration::from_mins(5)),
};

/// What lasts as long as the agent.
pub(crate) struct Kept {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reloads: ReloadMetrics,
    pub(crate) pods: PodMetrics,
    pub(crate) queues: QueueMetrics,
    pub(crate) spans: SpanQueue,
    pub(crate) outlet: Outlet,
    pub(crate) counts: Arc<EdgeCounts>,
    pub(crate) callers: Arc<PeerNames>,
    pub(crate) callees: Arc<PeerNames>,
    pub(crate) ledger: Ledger,
    pub(crate) admission: Arc<Admission>,
    /// Of whom the agent speaks of itself to: a crowd of callers must not keep them out.
    pub(crate) readers: Arc<Admission>,
    pub(crate) workers: Arc<Workers>,
}

impl Kept {
    /// With the end of the queue that finished spans come out of.
    ///
    /// # Errors
    /// The metrics library refuses a series.
    pub(crate) fn new(
        config: &AgentConfig,
        metrics: Arc<Metrics>,
        workers: Workers,
    ) -> Result<(Self, mpsc::Receiver<Finished>), prometheus::Error> {
        let (spans, queue) = SpanQueue::new(metrics.clone());
        let most = config.edges.max_peers;
        let kept = Self {
            reloads: ReloadMetrics::new(metrics.registry())?,
            pods: PodMetrics::new(metrics.registry())?,
            queues: QueueMetrics::new(metrics.registry())?,
            workers: Arc::new(workers),
            admission: Admission::open(&config.limits, metrics.clone()),
            readers: Admission::open(&READERS, metrics.clone()),
            metrics,
            spans,
            outlet: Outlet::default(),
            counts: Arc::new(EdgeCounts::new(most, unix_nano())),
            callers: Arc::new(PeerNames::new(most)),
            callees: Arc::new(PeerNames::new(most)),
            ledger: Ledger::default(),
        };
        Ok((kept, queue))
    }
}

/// What requests meet that begin under one configuration.
#[derive(Default)]
pub(crate) struct Generation {
    shared: Option<Arc<Shared>>,
    workloads: Vec<Arc<Workload>>,
    /// Those of pods, where these are watched.
    pods: Option<Arc<Mutex<PodWorkloads>>>,
    /// Keeps them as the pods are.
    following: JoinSet<()>,
    /// Those before, as long as requests of theirs are in flight.
    earlier: Vec<Weak<Shared>>,
    /// How often what the relays hold has changed.
    relays: u64,
    rules: Arc<Rules>,
    otlp: OtlpConfig,
}

/// Every listener that accepts.
#[derive(Default)]
pub(crate) struct AllDoors {
    inbound: Doors<Inbound, InboundConfig>,
    outbound: Doors<Outbound, OutboundConfig>,
    queues: Doors<Queue, ()>,
    redirected: Doors<Transparent, &'static str>,
    grpc: Doors<(), u64>,
    http: Doors<(), u64>,
    sampling: Doors<SamplingServer, Option<ServerTlsConfig>>,
    pub(crate) admin: Doors<Admin, AdminConfig>,
}

impl AllDoors {
    /// No more connections are taken, except by whom the agent speaks of itself.
    pub(crate) fn stop(&self) {
        self.inbound.stop();
        self.outbound.stop();
        self.queues.stop();
        self.redirected.stop();
        self.grpc.stop();
        self.http.stop();
        self.sampling.stop();
    }
}

impl Generation {
    /// Waits until the lines of all access logs are written.
    pub(crate) async fn flush_logs(&self) {
        let earlier = self.earlier.iter().filter_map(Weak::upgrade);
        for shared in earlier.chain(self.shared.clone()) {
            if let Some(log) = &shared.access_log {
                log.flush().await;
            }
        }
    }

    /// What requests meet from now on. Of several workloads with one node id each goes on with the state of one.
    fn next(
        &self,
        (before, config): (&AgentConfig, &AgentConfig),
        planned: &Planned,
        given: &[(WorkloadConfig, Detected)],
        kept: &Kept,
    ) -> Result<(Arc<Shared>, Vec<Arc<Workload>>), AgentError> {
        let (plan, earlier) = (planned.plan.as_deref(), planned.in_force.as_deref());
        let shares = |plan: Option<&Plan>, node: &str| plan.and_then(|plan| plan.shares_of(node));
        let shared = Arc::new(start::shared(config, plan, kept)?);
        let mut known: HashMap<&str, Vec<&Workload>> = HashMap::new();
        for workload in self.workloads.iter().rev() {
            known.entry(&workload.node).or_default().push(workload);
        }
        let workloads = start::workloads(given, config, &shared, |node| Before {
            workload: known.get_mut(node).and_then(Vec::pop),
            same_correlation: before.correlation == config.correlation,
            same_sampling: before.sampling == config.sampling && shares(plan, node) == shares(earlier, node),
            plan,
        })?;
        Ok((shared, workloads))
    }

    fn replace(&mut self, shared: Arc<Shared>, workloads: Vec<Arc<Workload>>) {
        self.workloads = workloads;
        self.earlier.retain(|earlier| earlier.strong_count() > 0);
        let before = self.shared.replace(shared);
        self.earlier.extend(before.as_ref().map(Arc::downgrade));
    }

    /// Keeps `tables` as the pods are from now on.
    fn follow(
        &mut self,
        pods: Option<PodWorkloads>,
        tables: Vec<NodeTable>,
        known: watch::Receiver<Arc<Known>>,
    ) {
        self.following = JoinSet::new();
        self.pods = pods.map(|pods| Arc::new(Mutex::new(pods)));
        if let Some(pods) = &self.pods {
            self.following.spawn(follow_pods(pods.clone(), tables, known));
        }
    }
}

impl Running {
    /// Goes on as `config` says, which must have been checked.
    ///
    /// # Errors
    /// What cannot be had of it. Then everything goes on as before.
    pub(crate) async fn apply(&mut self, config: AgentConfig) -> Result<(), AgentError> {
        let given = served(&config, &self.detected);
        let metrics = (&self.kept.reloads, &self.kept.metrics);
        self.planned.follow(config.plan.as_ref(), metrics);
        let (listeners, sockets) = Listeners::bind(&config, &given, &self.sockets).await?;
        let next = self
            .generation
            .next((&self.config, &config), &self.planned, &given, &self.kept)?;
        let ways = Ways {
            over: self.ending.over.clone(),
            workloads: &next.1,
            metrics: &self.kept.metrics,
            own: (
                [
                    Listeners::addresses(&listeners.inbound),
                    listeners.redirecting.inbound_addresses(),
                ]
                .concat(),
                [
                    Listeners::addresses(&listeners.outbound),
                    listeners.redirecting.outbound_addresses(),
                ]
                .concat(),
            ),
        };
        let inbound = ways.inbound(listeners.inbound)?;
        let outbound = ways.outbound(listeners.outbound)?;
        let queue_addrs = Listeners::addresses(&listeners.queues);
        let queues = ways.queues(listeners.queues, &self.kept.queues)?;
        let mut known = self.pods.known();
        let pods = self.pod_workloads(&config, &next.0, &known.borrow_and_update());
        let (redirected, tables) =
            ways.redirected(&config, &given, &next.0, listeners.redirecting, pods.as_ref())?;
        let (inbound_addrs, outbound_addrs) = ways.own;
        let (otlp, admin) = (&config.otlp, &config.admin);
        let metrics = &self.kept.metrics;
        let senders = Door::new(
            Own::Otlp,
            (otlp.tls.as_ref(), &otlp.access),
            (address(listeners.http.as_ref()), &otlp.hosts),
            metrics,
        )?;
        let bound = Some(listeners.admin.address);
        let readers = Door::new(
            Own::Admin,
            (admin.tls.as_ref(), &admin.access),
            (bound, &[]),
            metrics,
        )?;
        let sampling = &config.sampling;
        let sampling = (sampling.tls.as_ref(), &sampling.access);
        let askers = Door::new(Own::Sampling, sampling, (None, &[]), metrics)?;
        let rules = Arc::new(export_rules::rules(
            &config,
            &given,
            |name| std::env::var(name).ok(),
            &Host::of_process(),
        ));
        let around = Surroundings {
            outlet: &self.kept.outlet,
            counts: &self.kept.counts,
            metrics: &self.kept.metrics,
            ledger: &self.kept.ledger,
            ending: &self.ending,
            retiring: &mut self.retiring,
        };
        let exporters = self.export.renew(&config, rules.clone(), around).await?;

        // From here on nothing can fail.
        let relays_differ =
            exporters || rules != self.generation.rules || config.otlp != self.generation.otlp;
        self.generation.relays += u64::from(relays_differ);
        (self.generation.rules, self.generation.otlp) = (rules, config.otlp.clone());
        self.generation.replace(next.0, next.1);
        self.generation.follow(pods, tables, known);
        self.planned.in_force.clone_from(&self.planned.plan);
        let workloads = self.generation.workloads.clone();
        self.planned
            .stands_before(workloads, self.generation.pods.clone());
        *self.config = config;
        self.sockets = sockets;
        self.open_ways(inbound, outbound);
        self.open_queues(queues);
        self.open_redirected(redirected);
        self.open_relays(listeners.grpc, listeners.http, &senders);
        self.open_sampling(listeners.sampling, &askers);
        self.open_admin(listeners.admin, &readers);
        (self.inbound_addrs, self.outbound_addrs) = (inbound_addrs, outbound_addrs);
        self.queue_addrs = queue_addrs;
        let (config, workloads) = (&self.config, &self.generation.workloads);
        self.followers = start::follow_shares(config, workloads, &self.ending);
        let metrics = (&self.kept.pods, &self.kept.metrics);
        let variable = |name: &str| std::env::var(name).ok();
        let pods = &self.config.kubernetes.pods;
        self.pods.follow(pods, metrics, variable, &self.ending.stopping);
        self.retire_ended();
        Ok(())
    }

    /// The workloads of pods under `config`, with the state of those before.
    fn pod_workloads(
        &self,
        config: &AgentConfig,
        shared: &Arc<Shared>,
        known: &Known,
    ) -> Option<PodWorkloads> {
        let shared_by_pods = config.node.inbound.is_some() || config.node.outbound.is_some();
        if !(config.kubernetes.pods.watch && shared_by_pods) {
            return None;
        }
        let plan = self.planned.plan.clone();
        let mut pods = PodWorkloads::new(config, shared.clone(), plan, self.ending.clone());
        let earlier = self.generation.pods.as_ref();
        let earlier = earlier.map(|pods| pods.lock().unwrap_or_else(PoisonError::into_inner));
        pods.renew(known, earlier.as_deref());
        Some(pods)
    }

    fn open_ways(
        &mut self,
        inbound: Vec<Wanted<Inbound, InboundConfig>>,
        outbound: Vec<Wanted<Outbound, OutboundConfig>>,
    ) {
        let drain = self.config.export.drain.0;
        let (servers, place) = (&mut self.servers, Place::Workers(self.kept.workers.clone()));
        self.doors.inbound.renew(inbound, |listener, current, _, stop| {
            servers.spawn(serve(listener, current, place.clone(), stop, drain));
        });
        self.doors.outbound.renew(outbound, |listener, current, _, stop| {
            servers.spawn(serve(listener, current, place.clone(), stop, drain));
        });
    }

    fn open_queues(&mut self, wanted: Vec<Wanted<Queue, ()>>) {
        let drain = self.config.export.drain.0;
        let (servers, place) = (&mut self.servers, Place::Workers(self.kept.workers.clone()));
        self.doors.queues.renew(wanted, |listener, current, (), stop| {
            let accepting = Accepting {
                current,
                place: place.clone(),
                stop,
                drain,
            };
            servers.spawn(serve_queue(listener, accepting));
        });
    }

    fn open_redirected(&mut self, wanted: Vec<TransparentWanted>) {
        let drain = self.config.export.drain.0;
        let (servers, place) = (&mut self.servers, Place::Workers(self.kept.workers.clone()));
        self.doors.redirected.renew(wanted, |listener, current, _, stop| {
            servers.spawn(serve_transparent(
                listener.tcp,
                current,
                place.clone(),
                stop,
                drain,
            ));
        });
    }

    fn open_relays(&mut self, grpc: Option<Bound<()>>, http: Option<Bound<()>>, senders: &Door) {
        (self.otlp_grpc_addr, self.otlp_http_addr) = (address(grpc.as_ref()), address(http.as_ref()));
        let relay = Relay {
            exporter: self.export.exporter().cloned(),
            rules: self.generation.rules.clone(),
            spans: self.kept.spans.clone(),
            pods: (self.config.otlp.kubernetes != Kubernetes::Off).then(|| self.pods.known()),
        };
        let (passed_metrics, passed_logs) = (
            self.export.passed(Cargo::Metrics),
            self.export.passed(Cargo::Logs),
        );
        let sinks = relay::sinks(relay, passed_metrics, passed_logs);
        let (metrics, servers, number) = (&self.kept.metrics, &mut self.servers, self.generation.relays);
        let wanted = |bound: Option<Bound<()>>| {
            bound.map(|bound| Wanted {
                listener: senders.before(bound.listener),
                address: bound.address,
                handler: Arc::new(()),
                fixed: number,
            })
        };
        self.doors.grpc.renew(wanted(grpc), |listener, _, _, stop| {
            servers.spawn(start::relay_grpc(listener, sinks.clone(), metrics.clone(), stop));
        });
        self.doors.http.renew(wanted(http), |listener, _, _, stop| {
            servers.spawn(start::relay_http(listener, sinks.clone(), metrics.clone(), stop));
        });
    }

    fn open_sampling(&mut self, sampling: [Option<Bound<()>>; 2], askers: &Door) {
        let drain = std::time::Duration::ZERO;
        [self.sampling_addr, self.sampling_grpc_addr] =
            sampling.each_ref().map(|bound| address(bound.as_ref()));
        let access = askers.access.clone();
        let strategies = Arc::new(SamplingServer::new(
            &self.config,
            &self.generation.workloads,
            access,
        ));
        let (servers, fixed) = (&mut self.servers, &self.config.sampling.tls);
        let sampling = sampling.into_iter().flatten();
        let sampling = sampling.map(|bound| Wanted {
            listener: askers.before(bound.listener),
            address: bound.address,
            handler: strategies.clone(),
            fixed: fixed.clone(),
        });
        self.doors.sampling.renew(sampling, |listener, current, _, stop| {
            servers.spawn(serve(listener, current, Place::Here, stop, drain));
        });
    }

    fn open_admin(&mut self, admin: Bound<()>, readers: &Door) {
        let drain = std::time::Duration::ZERO;
        self.admin_addr = admin.address;
        let about = Admin {
            metrics: self.kept.metrics.clone(),
            ledger: self.kept.ledger.clone(),
            stop: self.ending.leaving.clone(),
            access: readers.access.clone(),
            admission: self.kept.readers.clone(),
        };
        let admins = &mut self.admins;
        let admin = [Wanted {
            listener: readers.before(admin.listener),
            address: admin.address,
            handler: Arc::new(about),
            fixed: self.config.admin.clone(),
        }];
        self.doors.admin.renew(admin, |listener, current, _, stop| {
            admins.spawn(serve(listener, current, Place::Here, stop, drain));
        });
    }

    /// Lets go of tasks that have ended.
    fn retire_ended(&mut self) {
        for tasks in [&mut self.servers, &mut self.admins, &mut self.retiring] {
            while tasks.try_join_next().is_some() {}
        }
    }
}

fn address(bound: Option<&Bound<()>>) -> Option<SocketAddr> {
    bound.map(|bound| bound.address)
}

/// Every workload with what its environment says: the flat one has the agent's own.
fn served(config: &AgentConfig, detected: &Detected) -> Vec<(WorkloadConfig, Detected)> {
    let detected = detected.clone().with_host(&config.detect.0, &Host::of_process());
    let flat = config.flat_workload().map(|flat| (flat, detected));
    let listed = config.workloads.iter().cloned();
    let listed = listed.map(|workload| (workload, Detected::default()));
    flat.into_iter().chain(listed).collect()
}
