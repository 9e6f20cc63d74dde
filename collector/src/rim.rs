//! The collector on sockets, with a clock and files: the pipeline, and intakes and pages around it.
//!
//! In: settings and a signal to stop. Out: a running collector, and the addresses it got.
//! Left out on purpose: what is done with spans (`pipeline`), and how a restart finds its way back (`restart`).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use exposition::Format;
use exposition::remote::{RemoteWriteSettings, StatsReader};
use instrumentation::plan::PlanSettings;
use journal::Journal;
use map::catalogue as names;
use map::{Map, Services};
use otlp::access::{Access, TokenError};
use otlp::intake::{IntakeObserver, Limits, Sinks};
use otlp::serve::{Bounds, serve};
use otlp::tls::{Listening, TlsError};
use sampling::Predicates;
use store::TraceStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::cluster::{ClusterCounts, KubernetesPublishSettings};
use crate::door::{self, Doors};
use crate::families;
use crate::generate::SyncError;
use crate::intake::{ObservedCounts, Observer, Sink};
use crate::keeper::{Batches, KeeperCounts, packed};
use crate::ledger::{EdgeCounts, Ledger};
use crate::pipeline::{Mark, Pipeline, Routes};
use crate::planner::{self, PlanState, Told};
use crate::process;
use crate::publish::{Published, Publisher};
use crate::read::Extracted;
use crate::restart::{self, Replay, RestartError};
use crate::scrape::Scrape;
use crate::settings::{
    CollectorSettings, GenerateSettings, SAVE, SAVE_WITH_JOURNAL, TICK, TlsSettings, WebSettings,
};
use crate::skew::Waits;
use crate::tail::Tail;
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
    pub(crate) shared: Arc<Shared>,
    grpc: Listening,
    http: Listening,
    web: Listening,
    publisher: Publisher,
    limits: Limits,
    pipeline: Pipeline,
    keeper: Option<JoinHandle<()>>,
    replay: Option<Replay>,
    remote_write: Option<RemoteWriteSettings>,
    cluster: Option<(KubernetesPublishSettings, GenerateSettings)>,
    plan: PlanSettings,
}

/// What intake, ticks and pages share.
#[derive(Debug)]
pub(crate) struct Shared {
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
    /// Where the listeners have TLS.
    pub(crate) tls: Option<Arc<TlsCounts>>,
    pub(crate) doors: Doors,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Where objects are published to Kubernetes.
    pub(crate) cluster: Option<Arc<ClusterCounts>>,
    pub(crate) ready: AtomicBool,
    /// What tail sampling wants to know of every span.
    pub(crate) predicates: Arc<Predicates>,
    /// What is traced, and who follows it.
    pub(crate) plan: PlanState,
    /// What remote write did, where a receiver is configured.
    pub(crate) pushed: OnceLock<StatsReader>,
}

impl Shared {
    /// Nanoseconds since 1970, on a clock that does not go back, not even over a restart.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Whether it is time for a snapshot: with a journal seldom, but soon where it fills up.
    fn needs_cut(&self, last: Instant) -> bool {
        let fills_up = |journal: &Arc<Journal>| journal.stats().bytes > self.journal_max / 2;
        self.journal
            .as_ref()
            .is_none_or(|journal| last.elapsed() >= SAVE_WITH_JOURNAL || fills_up(journal))
    }

    /// How long halves are to be waited for from the next cut on: as was learned, or no longer than any where the
    /// traces that wait would fill the memory that new ones need.
    async fn wanted_waits(&self) -> Arc<Waits> {
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
        self.observed.write(&mut out);
        if let Some(tls) = &self.tls {
            tls.write(&mut out);
        }
        self.doors.write(&mut out);
        self.published.borrow().write_metrics(&mut out);
        if let Some(cluster) = &self.cluster {
            cluster.write(&mut out);
        }
        self.plan.write(&mut out);
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
            crate::names::beyond_budget() as f64,
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
        let (doors, counts) = (Doors::default(), Arc::<TlsCounts>::default());
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
        let access = Access::new(&settings.otlp.access, None, doors.otlp.clone()).map_err(|source| {
            StartError::Token {
                key: "collector.otlp.access.tokens",
                source,
            }
        })?;
        let readers = door::of_page(
            &settings.web.access,
            &settings.web.hosts,
            web.local_addr().ok(),
            doors.page.clone(),
        )
        .map_err(|source| StartError::Token {
            key: "collector.web.access.tokens",
            source,
        })?;
        let restarted = restart::take_up(settings, services).map_err(|source| StartError::Restart {
            dir: settings.data_dir.clone().unwrap_or_default(),
            source,
        })?;
        let generate = linked_to(generate, &settings.web, web.local_addr().ok());
        let cluster = settings
            .publish
            .kubernetes
            .clone()
            .map(|to| (to, generate.clone()));
        let plan = generate.plan.clone();
        let (publisher, published) = Publisher::new(generate);
        let started = restarted.start(settings).map_err(StartError::Thread)?;
        let shared = Shared {
            routes: started.pipeline.routes.clone(),
            clock: Clock::after(started.time),
            journal_max: settings.journal.max_size.0,
            cutting: AtomicBool::new(false),
            table_max: settings.pairing.max_memory.as_usize(),
            journal: started.disk.as_ref().and_then(|disk| disk.journal.clone()),
            store: started.disk.as_ref().and_then(|disk| disk.store.clone()),
            batches: started.batches,
            kept: started.counts,
            observed: ObservedCounts::default(),
            plan: PlanState::default(),
            tls: counts,
            doors,
            published,
            cluster: cluster.as_ref().map(|_| Arc::default()),
            ready: AtomicBool::new(false),
            predicates: started.predicates,
            pushed: OnceLock::new(),
        };
        let limits = Limits {
            max_request_bytes: settings.otlp.max_request_size.as_usize(),
            ..Limits::default()
        };
        Ok(Self {
            shared: Arc::new(shared),
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
            publisher,
            limits,
            pipeline: started.pipeline,
            keeper: started.keeper,
            replay: started.replay,
            remote_write: settings.remote_write.clone(),
            cluster,
            plan,
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
        let mut tasks = JoinSet::new();
        let Self {
            shared,
            grpc,
            http,
            web,
            mut publisher,
            limits,
            mut pipeline,
            keeper,
            replay,
            remote_write,
            cluster,
            plan,
        } = self;
        let pages = crate::web::router(&shared, web.access.clone());
        tasks.spawn(serve(web, pages, Bounds::default(), until(stopped.clone())));
        tokio::pin!(shutdown);
        if let Some(replay) = replay {
            // Spans that come meanwhile wait in the listeners' queues.
            let (routes, batches) = (shared.routes.clone(), Arc::clone(&shared.batches));
            let replayed = tokio::task::spawn_blocking(move || replay.run(&routes, &batches));
            if let Err(error) = replayed.await {
                error!(%error, "replay ended early; what it had not reached is in no counter");
            }
        }
        serve_otlp(&mut tasks, &shared, grpc, http, limits, &stopped);
        if let Some(settings) = remote_write {
            let pushing = crate::push::run(Arc::clone(&shared), settings, until(stopped.clone()));
            tasks.spawn(pushing);
        }
        if let Some(((settings, generate), counts)) = cluster.zip(shared.cluster.clone()) {
            let files = shared.published.clone();
            let stop = until(stopped.clone());
            tasks.spawn(crate::cluster::run(settings, generate, files, counts, stop));
        }
        let planning = planner::run(Arc::clone(&shared), plan, until(stopped.clone()));
        tasks.spawn(planning);
        shared.ready.store(true, Ordering::Relaxed);
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut saver = tokio::time::interval_at(tokio::time::Instant::now() + SAVE, SAVE);
        let (mut saved, mut waits) = (Instant::now(), Arc::<Waits>::default());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticker.tick() => {
                    if !shared.cutting.load(Ordering::Acquire) {
                        shared.routes.advance(shared.now());
                    }
                    if publisher.is_due(Instant::now()) && let Some(map) = shared.map().await {
                        publisher = publish(publisher, map, shared.plan.told()).await;
                    }
                }
                _ = saver.tick() => {
                    let wanted = shared.wanted_waits().await;
                    let must_shorten = wanted.is_empty() && !waits.is_empty();
                    if keeper.is_none() {
                        shared.routes.set_waits(&wanted);
                    } else if shared.needs_cut(saved) || must_shorten {
                        waits = wanted;
                        cut(&shared, &waits);
                        saved = Instant::now();
                    }
                },
            }
        }
        info!("collector is stopping");
        let _ = stop.send(true);
        let in_time = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(5), in_time)
            .await
            .is_err()
        {
            warn!("connections were still open after 5 s and were cut");
        }
        let last = Mark {
            time: shared.now(),
            position: shared.journal.as_ref().map_or(0, |journal| packed(journal.end())),
            waits,
        };
        shared.batches.cut(last.position);
        // With a journal the open traces stay open over the restart.
        let close = shared.journal.is_none();
        let ended = tokio::task::spawn_blocking(move || {
            pipeline.end_shards(&last, close);
            pipeline
        });
        let pipeline = ended.await.expect("shards end without a panic");
        if let Some(map) = shared.map().await {
            publisher.force();
            publish(publisher, map, shared.plan.told()).await;
        }
        let written = tokio::task::spawn_blocking(move || {
            pipeline.end();
            keeper.map(JoinHandle::join)
        });
        if !matches!(written.await, Ok(None | Some(Ok(())))) {
            error!("the last snapshot may not have been written");
        }
        if let Some(journal) = &shared.journal {
            journal.close();
        }
    }
}

fn serve_otlp(
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    grpc: Listening,
    http: Listening,
    limits: Limits,
    stopped: &watch::Receiver<bool>,
) {
    let sink = Sink(Arc::clone(shared));
    let sinks = Sinks::new(sink.clone()).with_metrics(sink);
    let observer: Arc<dyn IntakeObserver> = Arc::new(Observer(Arc::clone(shared)));
    let (watched, counted, taken) = (stopped.clone(), Arc::clone(&observer), sinks.clone());
    tasks.spawn(async move {
        otlp::intake::serve_grpc(grpc, taken, limits, counted, until(watched)).await;
    });
    let watched = stopped.clone();
    tasks.spawn(async move {
        otlp::intake::serve_http(http, sinks, limits, observer, until(watched)).await;
    });
}

/// Cuts the stream for a snapshot: with a journal at a record of its own, so that every shard is cut at the same place.
fn cut(shared: &Arc<Shared>, waits: &Arc<Waits>) {
    let waits = Arc::clone(waits);
    let Some(journal) = &shared.journal else {
        let (time, position) = (shared.now(), 0);
        shared.routes.mark(&Mark {
            time,
            position,
            waits,
        });
        return;
    };
    let (cutting, whole, time) = (Cutting::begin(shared), Arc::clone(journal), shared.now());
    let record = journal::NewRecord {
        time,
        ..Default::default()
    };
    let handed_in = journal.append(record, move |appended| {
        // A journal without room takes no record, and gets room only by being cut: completions are in order, so its end
        // is as good a place.
        let position = appended.map_or_else(|_| whole.end(), |appended| appended.position);
        let position = packed(position);
        cutting.0.batches.cut(position);
        cutting.0.routes.mark(&Mark {
            time,
            position,
            waits,
        });
    });
    if let Err(error) = handed_in {
        warn!(%error, "no snapshot this time");
    }
}

/// Holds back ticks until it is dropped, which a cut's completion does, or whoever gives the cut up.
struct Cutting(Arc<Shared>);

impl Cutting {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.cutting.store(true, Ordering::Release);
        Self(Arc::clone(shared))
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        self.0.cutting.store(false, Ordering::Release);
    }
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

async fn publish(mut publisher: Publisher, map: Map, told: Option<Arc<Told>>) -> Publisher {
    // Rendering and writing take milliseconds to seconds; they must not hold up a worker of the runtime.
    let done = tokio::task::spawn_blocking(move || {
        let plan = told.as_ref().map(|told| &told.plan);
        publisher.publish(&map, plan, Instant::now());
        publisher
    });
    done.await.expect("generators do not panic")
}

/// Generated files link to the page at its real address, unless people wrote another one.
fn linked_to(generate: &GenerateSettings, web: &WebSettings, bound: Option<SocketAddr>) -> GenerateSettings {
    let mut generate = generate.clone();
    let default = GenerateSettings::default();
    if let Some(bound) = bound.filter(|_| *web != WebSettings::default()) {
        let scheme = if web.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{bound}");
        if generate.alerts.web_url == default.alerts.web_url {
            generate.alerts.web_url.clone_from(&url);
        }
        if generate.dashboards.web_url == default.dashboards.web_url {
            generate.dashboards.web_url = url;
        }
    }
    generate
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

async fn until(mut stopped: watch::Receiver<bool>) {
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
