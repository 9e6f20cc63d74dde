//! The collector on sockets: its listeners, and the tenants behind them.
//!
//! In: settings and a signal to stop. Out: a running collector, and the addresses it got.
//! Left out on purpose: what runs for each tenant (`tenant`), of which there is one where none are configured.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use exposition::Format;
use exposition::remote::StatsReader;
use journal::Journal;
use map::catalogue as names;
use map::{Map, Services};
use otlp::access::{HostNames, TokenError};
use otlp::intake::Limits;
use otlp::serve::{Bounds, serve};
use otlp::tls::{Listening, TlsError};
use sampling::Predicates;
use store::TraceStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::cluster::ClusterCounts;
use crate::door::{self, Doors};
use crate::families;
use crate::generate::SyncError;
use crate::intake::ObservedCounts;
use crate::keeper::{Batches, KeeperCounts};
use crate::ledger::{EdgeCounts, Ledger};
use crate::names::Share;
use crate::pipeline::Routes;
use crate::planner::PlanState;
use crate::process;
use crate::publish::Published;
use crate::read::Extracted;
use crate::restart::RestartError;
use crate::scrape::Scrape;
use crate::settings::{CollectorSettings, GenerateSettings, SAVE_WITH_JOURNAL, TlsSettings};
use crate::skew::Waits;
use crate::tail::Tail;
use crate::tenant::Tenant;
use crate::tls::TlsCounts;

/// The collector cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or is no address.
    #[error("cannot listen on `{address}` ({key}): choose another address there")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address as written.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What an earlier run left cannot be used.
    #[error("cannot go on from `{dir}`")]
    Restart {
        /// `data_dir`.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RestartError,
    },
    /// A file of the listeners' TLS cannot be used.
    #[error("cannot speak TLS by `{key}`")]
    Tls {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: TlsError,
    },
    /// A file of tokens cannot be used.
    #[error("cannot ask for tokens by `{key}`")]
    Token {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: TokenError,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A collector whose listeners are bound.
#[derive(Debug)]
pub struct Collector {
    /// At least one.
    pub(crate) tenants: Vec<Tenant>,
    common: Arc<Common>,
    grpc: Listening,
    http: Listening,
    web: Listening,
    limits: Limits,
}

/// What is no tenant's: the listeners, and what came to them before it was known whose it is. Everybody's series tell it.
#[derive(Debug)]
pub(crate) struct Common {
    /// Where the listeners have TLS.
    pub(crate) tls: Option<Arc<TlsCounts>>,
    pub(crate) doors: Doors,
    pub(crate) observed: Arc<ObservedCounts>,
}

/// What intake, ticks and pages of one tenant share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its index; 0 where there are no tenants.
    pub(crate) tenant: usize,
    pub(crate) common: Arc<Common>,
    pub(crate) routes: Routes,
    pub(crate) clock: Clock,
    pub(crate) journal: Option<Arc<Journal>>,
    /// Bytes that it may take.
    pub(crate) journal_max: u64,
    /// True while a cut is on its way through the journal. A tick that overtook it would close traces of which the
    /// snapshot knows, and a replay, whose time ends at the cut, would close and count them again.
    pub(crate) cutting: AtomicBool,
    /// Bytes of spans that the trace tables may hold.
    pub(crate) table_max: usize,
    pub(crate) store: Option<Arc<TraceStore>>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) kept: Arc<KeeperCounts>,
    pub(crate) observed: ObservedCounts,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Where objects are published to Kubernetes.
    pub(crate) cluster: Option<Arc<ClusterCounts>>,
    pub(crate) ready: AtomicBool,
    /// What tail sampling wants to know of every span.
    pub(crate) predicates: Arc<Predicates>,
    /// What is traced, and who follows it.
    pub(crate) plan: PlanState,
    /// How many new names its spans may bring.
    pub(crate) names: Arc<Share>,
    /// What remote write did, where a receiver is configured.
    pub(crate) pushed: OnceLock<StatsReader>,
}

impl Shared {
    /// Nanoseconds since 1970, on a clock that does not go back, not even over a restart.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Whether it is time for a snapshot: with a journal seldom, but soon where it fills up.
    pub(crate) fn needs_cut(&self, last: Instant) -> bool {
        let fills_up = |journal: &Arc<Journal>| journal.stats().bytes > self.journal_max / 2;
        self.journal
            .as_ref()
            .is_none_or(|journal| last.elapsed() >= SAVE_WITH_JOURNAL || fills_up(journal))
    }

    /// How long halves are to be waited for from the next cut on: as was learned, or no longer than any where the
    /// traces that wait would fill the memory that new ones need.
    pub(crate) async fn wanted_waits(&self) -> Arc<Waits> {
        if self.routes.tables().open_bytes() > self.table_max / 2 {
            return Arc::default();
        }
        self.routes.wanted_waits().await.unwrap_or_default().into()
    }

    /// Hands a request's spans to the shards, unless its batch came before.
    pub(crate) fn take(&self, extracted: Extracted, batch: Option<&str>, time: u64, position: u64) {
        if batch.is_some_and(|id| !id.is_empty() && !self.batches.is_new(id)) {
            self.routes.repeat(&extracted);
            self.routes.know(extracted);
        } else {
            self.routes.take(extracted, time, position);
        }
    }

    /// Hands an agent's counts to the ledger, unless their batch came before.
    pub(crate) fn count(&self, edges: Vec<EdgeCounts>, batch: Option<&str>, time: u64) {
        if batch.is_none_or(|id| id.is_empty() || self.batches.is_new(id)) {
            self.routes.count(edges, time);
        }
    }

    /// The map as it stands; `None` while the collector ends.
    pub(crate) async fn map(&self) -> Option<Map> {
        self.routes.ask(|ledger| ledger.map()).await
    }

    /// The answer to a scraper.
    pub(crate) async fn metrics(self: Arc<Self>, format: Format) -> Option<Vec<u8>> {
        let shared = Arc::clone(&self);
        let write = move |ledger: &mut Ledger, tail: Option<&Tail>| {
            let mut encoder = exposition::ScrapeEncoder::new(format);
            shared.write_metrics(ledger, tail, &mut encoder);
            encoder.finish()
        };
        self.routes.ask_all(write).await
    }

    /// Everything that is scraped, process figures included.
    pub(crate) fn write_metrics(
        &self,
        ledger: &Ledger,
        tail: Option<&Tail>,
        encoder: &mut dyn exposition::Encoder,
    ) {
        let mut out = Scrape::new(encoder);
        families::write(ledger, &mut out);
        let common = &self.common;
        self.observed.write(&common.observed, &mut out);
        if let Some(tls) = &common.tls {
            tls.write(&mut out);
        }
        common.doors.write(self.tenant, &mut out);
        self.published.borrow().write_metrics(&mut out);
        if let Some(cluster) = &self.cluster {
            cluster.write(&mut out);
        }
        self.plan.write(self.now(), &mut out);
        tail.inspect(|tail| tail.write(&mut out));
        self.write_resources(&mut out);
        if let Some(pushed) = self.pushed.get() {
            crate::push::write(&pushed.stats(), &mut out);
        }
        process::write(&mut out);
    }

    /// What tables, journal and store occupy, and what they lost.
    fn write_resources(&self, out: &mut Scrape<'_>) {
        families::tables(self.routes.tables(), out);
        out.single(
            names::COLLECTOR_NAMES_BEYOND,
            (self.names.beyond() + crate::names::beyond_budget()) as f64,
        );
        let stored = [("stored", &self.kept.stored), ("lost", &self.kept.lost)];
        out.family(names::COLLECTOR_STORED_SPANS);
        for (outcome, count) in stored {
            out.sample(&[("outcome", outcome)], count.load(Ordering::Relaxed) as f64);
        }
        let snapshots = [
            ("written", &self.kept.snapshots),
            ("failed", &self.kept.failed_snapshots),
        ];
        out.family(names::COLLECTOR_SNAPSHOTS);
        for (outcome, count) in snapshots {
            out.sample(&[("outcome", outcome)], count.load(Ordering::Relaxed) as f64);
        }
        if let Some(journal) = &self.journal {
            write_journal(&journal.stats(), out);
        }
        if let Some(store) = &self.store {
            let stats = store.stats();
            out.single(names::COLLECTOR_STORE_BYTES, stats.disk_bytes as f64);
            out.single(names::COLLECTOR_STORE_REMOVED_SPANS, stats.removed_spans as f64);
            out.single(names::COLLECTOR_STORE_DAMAGED_READS, stats.damaged_reads as f64);
            out.single(
                names::COLLECTOR_STORE_MERGED_SEGMENTS,
                stats.merged_segments as f64,
            );
            out.single(names::COLLECTOR_STORE_MERGED_BYTES, stats.merged_bytes as f64);
            out.family(names::COLLECTOR_STORE_MERGES);
            for (outcome, count) in [("done", stats.merges), ("failed", stats.failed_merges)] {
                out.sample(&[("outcome", outcome)], count as f64);
            }
        }
    }
}

impl Collector {
    /// Binds all listeners and takes up what an earlier run left; nothing runs yet but the pipeline's threads.
    pub async fn bind(
        settings: &CollectorSettings,
        generate: &GenerateSettings,
        services: Services,
    ) -> Result<Self, StartError> {
        let grpc = listen("collector.otlp.grpc", &settings.otlp.grpc).await?;
        let http = listen("collector.otlp.http", &settings.otlp.http).await?;
        let web = listen("collector.web.listen", &settings.web.listen).await?;
        let tenants = settings.tenants.len().max(1);
        let (doors, counts) = (Doors::new(tenants), Arc::<TlsCounts>::default());
        let secured = |key, tls: &Option<TlsSettings>| {
            let tls = tls.as_ref().map(|tls| tls.server(counts.clone()));
            tls.transpose().map_err(|source| StartError::Tls { key, source })
        };
        let tls = secured("collector.otlp.tls", &settings.otlp.tls)?;
        let web_tls = secured("collector.web.tls", &settings.web.tls)?;
        let counts = [&tls, &web_tls]
            .into_iter()
            .any(Option::is_some)
            .then_some(counts);
        let (senders, readers) = (settings.senders(), settings.readers());
        let is_at_loopback = |listener: &TcpListener| {
            let bound = listener.local_addr();
            bound.is_ok_and(|bound| bound.ip().is_loopback())
        };
        let hosts = if is_at_loopback(&http) {
            HostNames::OfBrowsers(&settings.otlp.hosts)
        } else {
            HostNames::Any
        };
        let access = door::access(&settings.otlp.access, senders.as_ref(), hosts, doors.otlp.clone());
        let access = access.map_err(|source| StartError::Token {
            key: "collector.otlp.access.tokens",
            source,
        })?;
        let hosts = if is_at_loopback(&web) {
            HostNames::Only(&settings.web.hosts)
        } else {
            HostNames::Any
        };
        let readers = door::access(&settings.web.access, readers.as_ref(), hosts, doors.page.clone());
        let readers = readers.map_err(|source| StartError::Token {
            key: "collector.web.access.tokens",
            source,
        })?;
        let common = Arc::new(Common {
            tls: counts,
            doors,
            observed: Arc::default(),
        });
        let bound = web.local_addr().ok();
        let parts = settings.parts(generate, &services);
        let tenants = parts.into_iter().enumerate();
        let tenants = tenants.map(|(index, part)| Tenant::start(index, part, bound, &common));
        let tenants = tenants.collect::<Result<_, _>>()?;
        let limits = Limits {
            max_request_bytes: settings.otlp.max_request_size.as_usize(),
            ..Limits::default()
        };
        Ok(Self {
            tenants,
            common,
            grpc: Listening {
                tcp: grpc,
                tls: tls.clone(),
                access: access.clone(),
            },
            http: Listening {
                tcp: http,
                tls,
                access,
            },
            web: Listening {
                tcp: web,
                tls: web_tls,
                access: readers,
            },
            limits,
        })
    }

    /// Where OTLP/gRPC is taken.
    pub fn grpc_addr(&self) -> io::Result<SocketAddr> {
        self.grpc.tcp.local_addr()
    }

    /// Where OTLP/HTTP is taken.
    pub fn http_addr(&self) -> io::Result<SocketAddr> {
        self.http.tcp.local_addr()
    }

    /// Where the page is.
    pub fn web_addr(&self) -> io::Result<SocketAddr> {
        self.web.tcp.local_addr()
    }

    /// Runs until `shutdown` is done; then publishes, and leaves what a restart needs.
    ///
    /// # Panics
    /// Where a shard did before: a bug of ours.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut replays, mut running) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let Self {
            tenants,
            common,
            grpc,
            http,
            web,
            limits,
        } = self;
        let each: Vec<_> = tenants.iter().map(|tenant| Arc::clone(&tenant.shared)).collect();
        let pages = crate::web::router(&each, web.access.clone());
        tasks.spawn(serve(web, pages, Bounds::default(), until(stopped.clone())));
        // Spans that come meanwhile wait in the listeners' queues.
        for tenant in tenants {
            replays.spawn(tenant.replay());
        }
        let mut tenants = replays.join_all().await;
        // They end as they may; listeners know them by their index.
        tenants.sort_by_key(|tenant| tenant.shared.tenant);
        serve_otlp(&mut tasks, &tenants, &common, [grpc, http], limits, &stopped);
        for tenant in tenants {
            tenant.serve(&mut tasks, &stopped);
            running.spawn(tenant.run(until(stopped.clone())));
        }
        tokio::select! {
            () = shutdown => {}
            // None ends by itself.
            Some(Err(broken)) = running.join_next() => std::panic::resume_unwind(broken.into_panic()),
        }
        info!("collector is stopping");
        let _ = stop.send(true);
        let ending = running.join_all().await;
        let in_time = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(5), in_time)
            .await
            .is_err()
        {
            warn!("connections were still open after 5 s and were cut");
        }
        let mut ended = JoinSet::new();
        for tenant in ending {
            ended.spawn(tenant.end());
        }
        ended.join_all().await;
    }
}

fn serve_otlp(
    tasks: &mut JoinSet<()>,
    tenants: &[Tenant],
    common: &Arc<Common>,
    [grpc, http]: [Listening; 2],
    limits: Limits,
    stopped: &watch::Receiver<bool>,
) {
    let behind = || {
        tenants
            .iter()
            .map(|tenant| tenant.behind(limits))
            .collect::<Vec<_>>()
    };
    let (taken, counted, watched) = (behind(), Arc::clone(&common.observed), stopped.clone());
    tasks.spawn(async move {
        otlp::intake::serve_grpc_of(grpc, taken, limits, counted, until(watched)).await;
    });
    let (taken, counted, watched) = (behind(), Arc::clone(&common.observed), stopped.clone());
    tasks.spawn(async move {
        otlp::intake::serve_http_of(http, taken, limits, counted, until(watched)).await;
    });
}

/// Until somebody asks the process to end, by SIGINT or SIGTERM.
pub async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal ends the process itself.
    let _ = interrupt.await;
}

async fn listen(key: &'static str, address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            key,
            address: address.to_owned(),
            source,
        })
}

pub(crate) async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Says once what a failed synchronisation means.
pub(crate) fn report_sync_error(error: &SyncError) {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    error!(%error, cause, "generated files are not in step with the map");
}

fn write_journal(stats: &journal::Stats, out: &mut Scrape<'_>) {
    out.single(names::COLLECTOR_JOURNAL_BYTES, stats.bytes as f64);
    out.single(names::COLLECTOR_JOURNAL_SYNCS, stats.syncs as f64);
    out.family(names::COLLECTOR_JOURNAL_RECORDS);
    let outcomes = [
        ("appended", stats.appended_records),
        ("queue_full", stats.refused_queue_full),
        ("budget_full", stats.refused_budget_full),
        ("no_space", stats.refused_no_space),
        ("write_failed", stats.refused_write),
        ("sync_failed", stats.refused_sync),
        ("other", stats.refused_other),
        ("damaged", stats.damaged_records),
    ];
    for (outcome, count) in outcomes {
        out.sample(&[("outcome", outcome)], count as f64);
    }
}
