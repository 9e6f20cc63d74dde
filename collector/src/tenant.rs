//! What runs for one tenant: the pipeline, its place on disk, and what is generated, published and pushed from its map.
//!
//! In: its part of the settings; spans and questions, from listeners that all tenants share. Out: a map, series, traces and
//! files that no other tenant is told of.
//! Left out on purpose: what is done with spans (`pipeline`), how a restart finds its way back (`restart`), and whose a request
//! is (`door`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use exposition::remote::RemoteWriteSettings;
use instrumentation::plan::{Plan, PlanSettings};
use map::Map;
use otlp::intake::{Behind, Limits, Sinks};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::cluster::KubernetesPublishSettings;
use crate::intake::{ObservedCounts, Observer, Sink};
use crate::keeper::packed;
use crate::names::Share;
use crate::pipeline::{Mark, Pipeline};
use crate::planner::{self, PlanState, Told};
use crate::publish::Publisher;
use crate::restart::{self, Replay};
use crate::rim::{Common, Shared, StartError, until};
use crate::settings::{GenerateSettings, Part, SAVE, TICK, WebSettings};
use crate::skew::Waits;

/// A tenant whose threads run; where no tenants are configured all is one's.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) shared: Arc<Shared>,
    /// Requests that it may have in work at a listener, of all that there may be.
    share: (u64, u64),
    publisher: Publisher,
    pipeline: Pipeline,
    keeper: Option<JoinHandle<()>>,
    replay: Option<Replay>,
    remote_write: Option<RemoteWriteSettings>,
    cluster: Option<(KubernetesPublishSettings, GenerateSettings)>,
    plan: (PlanSettings, Option<Plan>),
}

/// A tenant that takes nothing any more, before it is saved.
#[derive(Debug)]
pub(crate) struct Ending {
    shared: Arc<Shared>,
    publisher: Publisher,
    pipeline: Pipeline,
    keeper: Option<JoinHandle<()>>,
    waits: Arc<Waits>,
}

impl Tenant {
    /// Takes up what an earlier run left; nothing runs yet but the pipeline's threads. `bound` is where the page is.
    pub(crate) fn start(
        index: usize,
        part: Part,
        bound: Option<SocketAddr>,
        common: &Arc<Common>,
    ) -> Result<Self, StartError> {
        let Part {
            collector: settings,
            generate,
            services,
            share,
        } = part;
        let restarted = restart::take_up(&settings, services).map_err(|source| StartError::Restart {
            dir: settings.data_dir.clone().unwrap_or_default(),
            source,
        })?;
        let generate = linked_to(generate, &settings.web, bound);
        let cluster = settings.publish.kubernetes.clone();
        let cluster = cluster.map(|to| (to, generate.clone()));
        let plan = (generate.plan.clone(), planner::before(generate.out.as_deref()));
        let (publisher, published) = Publisher::new(generate);
        let names = if share.0 == share.1 {
            Share::whole()
        } else {
            Arc::new(Share::new(share.0, share.1))
        };
        let started = restarted.start(&settings, &names).map_err(StartError::Thread)?;
        let shared = Shared {
            tenant: index,
            common: Arc::clone(common),
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
            published,
            cluster: cluster.as_ref().map(|_| Arc::default()),
            ready: AtomicBool::new(false),
            predicates: started.predicates,
            names,
            pushed: OnceLock::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            share,
            publisher,
            pipeline: started.pipeline,
            keeper: started.keeper,
            replay: started.replay,
            remote_write: settings.remote_write,
            cluster,
            plan,
        })
    }

    /// Reads the journal back, where there is one.
    pub(crate) async fn replay(mut self) -> Self {
        if let Some(replay) = self.replay.take() {
            let (routes, batches) = (self.shared.routes.clone(), Arc::clone(&self.shared.batches));
            let replayed = tokio::task::spawn_blocking(move || replay.run(&routes, &batches));
            if let Err(error) = replayed.await {
                error!(%error, "replay ended early; what it had not reached is in no counter");
            }
        }
        self
    }

    /// What takes its requests at a listener.
    pub(crate) fn behind(&self, limits: Limits) -> Behind<Sink> {
        let sink = Sink(Arc::clone(&self.shared));
        let (part, all) = self.share;
        let requests = limits.max_requests as u64 * part / all.max(1);
        Behind {
            sinks: Sinks::new(sink.clone()).with_metrics(sink),
            max_requests: usize::try_from(requests.max(1)).unwrap_or(limits.max_requests),
            observer: Arc::new(Observer(Arc::clone(&self.shared))),
        }
    }

    /// Begins to push, to publish and to plan.
    pub(crate) fn serve(&self, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let shared = &self.shared;
        if let Some(settings) = self.remote_write.clone() {
            let pushing = crate::push::run(Arc::clone(shared), settings, until(stopped.clone()));
            tasks.spawn(pushing);
        }
        if let Some(((settings, generate), counts)) = self.cluster.clone().zip(shared.cluster.clone()) {
            let files = shared.published.clone();
            let stop = until(stopped.clone());
            tasks.spawn(crate::cluster::run(settings, generate, files, counts, stop));
        }
        let stop = until(stopped.clone());
        tasks.spawn(planner::run(Arc::clone(shared), self.plan.clone(), stop));
    }

    /// Ticks, generates and saves until `stop` is done.
    pub(crate) async fn run(self, stop: impl Future<Output = ()> + Send) -> Ending {
        let Self {
            shared,
            mut publisher,
            pipeline,
            keeper,
            ..
        } = self;
        tokio::pin!(stop);
        shared.ready.store(true, Ordering::Relaxed);
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut saver = tokio::time::interval_at(tokio::time::Instant::now() + SAVE, SAVE);
        let (mut saved, mut waits) = (Instant::now(), Arc::<Waits>::default());
        loop {
            tokio::select! {
                () = &mut stop => break,
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
        Ending {
            shared,
            publisher,
            pipeline,
            keeper,
            waits,
        }
    }
}

impl Ending {
    /// Publishes once more, and leaves what a restart needs. Nobody sends any more by now.
    pub(crate) async fn end(self) {
        let Self {
            shared,
            mut publisher,
            mut pipeline,
            keeper,
            waits,
        } = self;
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
fn linked_to(
    mut generate: GenerateSettings,
    web: &WebSettings,
    bound: Option<SocketAddr>,
) -> GenerateSettings {
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
