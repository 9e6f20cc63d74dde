//! The collector on sockets, with a clock: one engine behind a lock, intakes and pages around it.
//!
//! In: settings and a signal to stop. Out: a running collector, and the addresses it got.
//! Left out on purpose: what is done with spans. That is [`Engine`]'s.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use map::Services;
use otlp::intake::{IntakeObserver, Limits};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::engine::{Engine, RestoreError};
use crate::exposition::Exposition;
use crate::generate::{SyncError, replace};
use crate::intake::{ObservedCounts, Observer, Sink};
use crate::publish::{Published, Publisher};
use crate::settings::{CollectorSettings, GenerateSettings, SAVE, TICK, WebSettings};

/// The file in `data_dir` that holds map, counters and baselines.
const STATE_FILE: &str = "state.json";

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
    /// The saved state cannot be read.
    #[error("cannot read the saved state `{path}`")]
    ReadState {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The saved state is not ours.
    #[error("cannot use the saved state `{path}`: move it away to begin with an empty map")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RestoreError,
    },
}

/// A collector whose listeners are bound.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
    grpc: TcpListener,
    http: TcpListener,
    web: TcpListener,
    publisher: Publisher,
    limits: Limits,
    state_file: Option<PathBuf>,
}

/// What intake, ticks and pages share.
#[derive(Debug)]
pub(crate) struct Shared {
    engine: Mutex<Engine>,
    started: Instant,
    pub(crate) observed: ObservedCounts,
    pub(crate) published: watch::Receiver<Arc<Published>>,
}

impl Shared {
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        // A panic while the lock was held is a bug of ours; the map so far is still worth serving.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the start, on a clock that does not go back.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// The text for `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let mut out = Exposition::default();
        self.engine().write_metrics(&mut out);
        self.observed.write(&mut out);
        self.published.borrow().write_metrics(&mut out);
        out.finish() + &process_metrics()
    }
}

impl Collector {
    /// Binds all listeners and restores the state; nothing runs yet.
    pub async fn bind(
        settings: &CollectorSettings,
        generate: &GenerateSettings,
        services: Services,
    ) -> Result<Self, StartError> {
        let grpc = listen("collector.otlp.grpc", &settings.otlp.grpc).await?;
        let http = listen("collector.otlp.http", &settings.otlp.http).await?;
        let web = listen("collector.web.listen", &settings.web.listen).await?;
        let state_file = settings.data_dir.as_ref().map(|dir| dir.join(STATE_FILE));
        let engine = match &state_file {
            Some(path) => restored(settings, services, path)?,
            None => Engine::new(settings.engine(services)),
        };
        let generate = linked_to(generate, &settings.web, web.local_addr().ok());
        let (publisher, published) = Publisher::new(generate);
        let shared = Shared {
            engine: Mutex::new(engine),
            started: Instant::now(),
            observed: ObservedCounts::default(),
            published,
        };
        let limits = Limits {
            max_request_bytes: settings.otlp.max_request_size.as_usize(),
            ..Limits::default()
        };
        Ok(Self {
            shared: Arc::new(shared),
            grpc,
            http,
            web,
            publisher,
            limits,
            state_file,
        })
    }

    /// Where OTLP/gRPC is taken.
    pub fn grpc_addr(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where OTLP/HTTP is taken.
    pub fn http_addr(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where the page is.
    pub fn web_addr(&self) -> io::Result<SocketAddr> {
        self.web.local_addr()
    }

    /// Runs until `shutdown` is done; then closes what is open, publishes and saves.
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
            state_file,
        } = self;
        let sink = Sink(Arc::clone(&shared));
        let observer: Arc<dyn IntakeObserver> = Arc::new(Observer(Arc::clone(&shared)));
        let (watched, counted) = (stopped.clone(), Arc::clone(&observer));
        let grpc_sink = sink.clone();
        tasks.spawn(async move {
            if let Err(error) =
                otlp::intake::serve_grpc(grpc, grpc_sink, limits, counted, until(watched)).await
            {
                error!(%error, "OTLP/gRPC intake ended");
            }
        });
        let watched = stopped.clone();
        tasks.spawn(async move {
            if let Err(error) = otlp::intake::serve_http(http, sink, limits, observer, until(watched)).await {
                error!(%error, "OTLP/HTTP intake ended");
            }
        });
        let (watched, pages) = (stopped.clone(), crate::web::router(Arc::clone(&shared)));
        tasks.spawn(async move {
            if let Err(error) = axum::serve(web, pages)
                .with_graceful_shutdown(until(watched))
                .await
            {
                error!(%error, "web listener ended");
            }
        });
        let mut ticker = tokio::time::interval(TICK);
        let mut saver = tokio::time::interval_at(tokio::time::Instant::now() + SAVE, SAVE);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticker.tick() => {
                    let map = {
                        let mut engine = shared.engine();
                        engine.tick(shared.now());
                        publisher.is_due(Instant::now()).then(|| engine.map().clone())
                    };
                    if let Some(map) = map {
                        publisher = publish(publisher, map).await;
                    }
                }
                _ = saver.tick() => save(&shared, state_file.as_deref()).await,
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
        let map = {
            let mut engine = shared.engine();
            engine.finish(shared.now());
            engine.map().clone()
        };
        publisher.force();
        publish(publisher, map).await;
        save(&shared, state_file.as_deref()).await;
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

async fn publish(mut publisher: Publisher, map: map::Map) -> Publisher {
    // Rendering and writing take milliseconds to seconds; they must not hold up a worker of the runtime.
    let done = tokio::task::spawn_blocking(move || {
        publisher.publish(&map, Instant::now());
        publisher
    });
    done.await.expect("generators do not panic")
}

async fn save(shared: &Arc<Shared>, path: Option<&Path>) {
    let Some(path) = path.map(Path::to_owned) else {
        return;
    };
    let state = shared.engine().save();
    let written = tokio::task::spawn_blocking(move || replace(&path, state)).await;
    if let Ok(Err(error)) = written {
        let cause = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(%error, cause, "state not saved; a restart now would go back to the last one that was");
    }
}

/// Generated files link to the page at its real address, unless people wrote another one.
fn linked_to(generate: &GenerateSettings, web: &WebSettings, bound: Option<SocketAddr>) -> GenerateSettings {
    let mut generate = generate.clone();
    let default = GenerateSettings::default();
    if let Some(bound) = bound.filter(|_| *web != WebSettings::default()) {
        let url = format!("http://{bound}");
        if generate.alerts.web_url == default.alerts.web_url {
            generate.alerts.web_url.clone_from(&url);
        }
        if generate.dashboards.web_url == default.dashboards.web_url {
            generate.dashboards.web_url = url;
        }
    }
    generate
}

fn restored(settings: &CollectorSettings, services: Services, path: &Path) -> Result<Engine, StartError> {
    let engine_settings = settings.engine(services);
    match std::fs::read(path) {
        Ok(saved) => Engine::restore(engine_settings, &saved).map_err(|source| StartError::State {
            path: path.to_owned(),
            source,
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Engine::new(engine_settings)),
        Err(source) => Err(StartError::ReadState {
            path: path.to_owned(),
            source,
        }),
    }
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

/// CPU, memory and files of this process, as the `prometheus` crate reads them.
fn process_metrics() -> String {
    prometheus::TextEncoder::new()
        .encode_to_string(&prometheus::gather())
        .unwrap_or_else(|error| {
            warn!(%error, "process metrics not encoded");
            String::new()
        })
}

/// Says once what a failed synchronisation means.
pub(crate) fn report_sync_error(error: &SyncError) {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    error!(%error, cause, "generated files are not in step with the map");
}
