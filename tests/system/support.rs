//! What whole-system tests need: real processes on free ports, a receiver of notifications, and waiting for states.
//!
//! In: programs and configuration. Out: handles that end their process when dropped.
//! Left out on purpose: assertions. Each test says itself what it expects.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// A child process whose output goes to a file; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts `program`, with its output in `dir/NAME.log`.
    pub(crate) fn start(name: &str, program: &str, args: &[String], dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).expect("the test's directory is writable");
        let errors = file.try_clone().expect("a file handle can be cloned");
        let child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("cannot start `{program}` ({e}): `bash tests/run.sh` installs what tests need")
            });
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with the output if the process has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("`{}` ended with {status}:\n{}", self.name, self.output());
        }
    }

    /// Asks it to end by SIGTERM and waits; the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("`kill` runs");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "`{}` did not end:\n{}",
                self.name,
                self.output()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tracemap collector`, ready, on ports of its own.
pub(crate) struct Collector {
    /// The process.
    pub(crate) process: Process,
    /// OTLP/gRPC.
    pub(crate) grpc: u16,
    /// Page, API and metrics.
    pub(crate) web: u16,
}

impl Collector {
    /// Starts it with these further lines of the section `collector`, each indented by two spaces.
    pub(crate) async fn start(dir: &Path, settings: &str) -> Self {
        let [grpc, http, web] = std::array::from_fn(|_| free_port());
        let config = dir.join("tracemap.yaml");
        let text = format!(
            "collector:\n  otlp: {{ grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}' }}\n  \
             web: {{ listen: '127.0.0.1:{web}' }}\n{settings}"
        );
        std::fs::write(&config, text).expect("the test's directory is writable");
        let args = ["collector", "--config", &config.display().to_string()].map(str::to_owned);
        let mut process = Process::start("collector", env!("CARGO_BIN_EXE_tracemap"), &args, dir);
        let ready = format!("http://127.0.0.1:{web}/readyz");
        until("the collector", Duration::from_mins(2), async || {
            process.assert_running();
            (get(&ready).await?.0 == 200).then_some(())
        })
        .await;
        Self { process, grpc, web }
    }

    /// The body of a page that is there.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        let (status, body) = get(&format!("http://127.0.0.1:{}{path}", self.web)).await?;
        (status == 200).then_some(body)
    }

    /// A client that sends it spans.
    pub(crate) async fn client(&self) -> TraceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.grpc));
        let channel = endpoint.expect("a test's URL is valid").connect().await;
        TraceServiceClient::new(channel.expect("a ready collector takes connections"))
    }
}

/// Asks again until `look` gives something, for at most `limit`; `what` names it if it never comes.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Status and body of a GET; `None` where nobody answers.
pub(crate) async fn get(url: &str) -> Option<(u16, String)> {
    ask("GET", url).await
}

/// Status and body of a request without a body; `None` where nobody answers.
pub(crate) async fn ask(method: &str, url: &str) -> Option<(u16, String)> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = hyper::Request::builder().method(method).uri(url);
    let request = request.body(Full::default()).expect("a test's URL is valid");
    let answer = client.request(request).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The JSON of a GET that answers 200.
pub(crate) async fn get_json(url: &str) -> Option<Value> {
    let (status, body) = get(url).await?;
    (status == 200)
        .then(|| serde_json::from_str(&body).ok())
        .flatten()
}

/// Text for a query string.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Asks a Prometheus.
pub(crate) struct Prometheus {
    /// `http://host:port`.
    pub(crate) url: String,
}

impl Prometheus {
    /// The result vector of an instant query.
    ///
    /// # Panics
    /// Where Prometheus refuses the query.
    pub(crate) async fn query(&self, expr: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query?query={}", self.url, encoded(expr));
        let (status, body) = get(&url).await.unwrap_or_default();
        assert_eq!(status, 200, "`{expr}`: {body}");
        let answer: Value = serde_json::from_str(&body).expect("Prometheus answers JSON");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The value of a query whose answer is one sample.
    pub(crate) async fn value(&self, expr: &str) -> Option<f64> {
        let result = self.query(expr).await;
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// How many series a selector matches within the last hour.
    pub(crate) async fn series(&self, selector: &str) -> usize {
        let url = format!("{}/api/v1/series?match[]={}", self.url, encoded(selector));
        let answer = get_json(&url).await.unwrap_or_default();
        answer["data"].as_array().map_or(0, Vec::len)
    }
}

/// One notification as Alertmanager posted it.
#[derive(Clone, Debug)]
pub(crate) struct Notification {
    /// The last part of the URL: `page`, `ticket` or `info`.
    pub(crate) receiver: String,
    /// The body.
    pub(crate) body: Value,
}

/// Takes Alertmanager's webhooks.
pub(crate) struct Webhook {
    /// `http://host:port`.
    pub(crate) url: String,
    taken: Arc<Mutex<Vec<Notification>>>,
}

impl Webhook {
    /// Listens on a free port until the test ends.
    pub(crate) async fn start() -> Self {
        let taken: Arc<Mutex<Vec<Notification>>> = Arc::default();
        let app = axum::Router::new()
            .route("/{receiver}", axum::routing::post(take))
            .with_state(Arc::clone(&taken));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("a bound listener has an address")
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, taken }
    }

    /// Everything that came so far.
    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.taken.lock().expect("no holder panics").clone()
    }
}

async fn take(
    State(taken): State<Arc<Mutex<Vec<Notification>>>>,
    UrlPath(receiver): UrlPath<String>,
    Json(body): Json<Value>,
) {
    taken
        .lock()
        .expect("no holder panics")
        .push(Notification { receiver, body });
}
