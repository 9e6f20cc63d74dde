//! A sink that keeps what it is given and answers by script, and requests to give it.

use bytes::Bytes;
use otlp::encode::{self, Attributes, SpanRecord};
use otlp::intake::{
    Accepted, BatchMeta, IntakeObserver, Limits, Observed, Refusal, Sinks, TraceSink, serve_grpc, serve_http,
};
use otlp::{Kind, StatusCode, view};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything takes on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sink and observer in one. Answers by its script, then accepts everything.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    script: VecDeque<Result<Accepted, Refusal>>,
    batches: Vec<(Bytes, BatchMeta)>,
    observed: Vec<Observed>,
}

impl Recorder {
    pub(crate) fn answering(script: impl IntoIterator<Item = Result<Accepted, Refusal>>) -> Self {
        let recorder = Self::default();
        recorder.lock().script = script.into_iter().collect();
        recorder
    }

    pub(crate) fn batches(&self) -> Vec<(Bytes, BatchMeta)> {
        self.lock().batches.clone()
    }

    pub(crate) fn observed(&self) -> Vec<Observed> {
        self.lock().observed.clone()
    }

    /// Names of all spans that came, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .batches()
            .iter()
            .flat_map(|(body, _)| span_names(body))
            .collect();
        names.sort();
        names
    }

    pub(crate) fn batch_ids(&self) -> Vec<String> {
        self.batches()
            .into_iter()
            .map(|(_, batch)| batch.batch_id.unwrap_or_default())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.0.lock().expect("no test panics while it holds the records")
    }
}

impl TraceSink for Recorder {
    async fn export(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Refusal> {
        let mut records = self.lock();
        records.batches.push((body, batch));
        records
            .script
            .pop_front()
            .unwrap_or_else(|| Ok(Accepted::default()))
    }
}

impl IntakeObserver for Recorder {
    fn request(&self, request: &Observed) {
        self.lock().observed.push(*request);
    }
}

/// An intake on a port of its own.
pub(crate) struct Intake {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Intake {
    pub(crate) async fn grpc(sink: &Recorder, limits: Limits) -> Self {
        Self::grpc_on(listen("127.0.0.1:0").await, sink, limits)
    }

    pub(crate) fn grpc_on(listener: TcpListener, sink: &Recorder, limits: Limits) -> Self {
        Self::grpc_to(listener, sink.clone(), sink, limits)
    }

    /// Before other sinks than the recorder, which observes.
    pub(crate) fn grpc_to<S: TraceSink>(
        listener: TcpListener,
        sinks: impl Into<Sinks<S>>,
        observer: &Recorder,
        limits: Limits,
    ) -> Self {
        let address = listener.local_addr().expect("a bound listener");
        let (stop, stopped) = oneshot::channel();
        let (sinks, observer) = (sinks.into(), Arc::new(observer.clone()));
        let server = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or_default() };
            serve_grpc(listener, sinks, limits, observer, shutdown).await;
        });
        Self {
            address,
            stop,
            server,
        }
    }

    pub(crate) async fn http(sink: &Recorder, limits: Limits) -> Self {
        Self::http_to(sink.clone(), sink, limits).await
    }

    /// Before other sinks than the recorder, which observes.
    pub(crate) async fn http_to<S: TraceSink>(
        sinks: impl Into<Sinks<S>>,
        observer: &Recorder,
        limits: Limits,
    ) -> Self {
        let listener = listen("127.0.0.1:0").await;
        let address = listener.local_addr().expect("a bound listener");
        let (stop, stopped) = oneshot::channel();
        let (sinks, observer) = (sinks.into(), Arc::new(observer.clone()));
        let server = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or_default() };
            serve_http(listener, sinks, limits, observer, shutdown).await;
        });
        Self {
            address,
            stop,
            server,
        }
    }

    /// Shuts it down and waits until its port is free.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.expect("the server ends well");
    }
}

pub(crate) async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.expect("a free port")
}

/// A request with a span for each name.
pub(crate) fn request_of(names: &[&str]) -> Bytes {
    let mut attributes = Attributes::default();
    attributes.push("http.route", "/cart");
    let span = |name: &&str| SpanRecord {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent_span_id: None,
        trace_state: String::new(),
        name: (*name).to_owned(),
        kind: Kind::Server,
        start_unix_nano: 1,
        end_unix_nano: 2,
        flags: 1,
        status: StatusCode::Unset,
        status_message: String::new(),
        attributes: attributes.clone(),
        links: Vec::new(),
    };
    let resource = [("service.name".to_owned(), "cart".to_owned().into())];
    encode::request(
        &resource,
        ("test", "1"),
        &names.iter().map(span).collect::<Vec<_>>(),
    )
}

pub(crate) fn span_names(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    view::for_each_span(body, |_, _, span| names.push(span.name.to_owned())).expect("the intake checked it");
    names
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("a vector takes all")
}

/// Waits until `reached` holds; fails after a time in which it surely should.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < give_up, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
