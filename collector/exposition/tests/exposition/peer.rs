//! A real Prometheus, and waiting for states.
//!
//! In: a configuration. Out: what its HTTP API answers. A missing binary fails the test that needs it.
//! Left out on purpose: assertions. Each test says itself what it expects.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longest wait for any one state: shorter than the five minutes after which Prometheus forgets a series anyway.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Asks again until `look` gives something, for at most `limit`; `what` names it if it never comes.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A Prometheus that takes native histograms, exemplars and remote write; killed when dropped.
pub(crate) struct Prometheus {
    pub(crate) url: String,
    process: Child,
    dir: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with these scrape configurations, as YAML list items, and waits until it is ready.
    pub(crate) async fn start(scrape_configs: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{scrape_configs}]\n");
        std::fs::write(path("prometheus.yml"), config).expect("the directory is ours");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        drop(listener);
        let log = File::create(path("log")).expect("the directory is ours");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", path("tsdb")))
            .arg(format!("--web.listen-address={address}"))
            .args([
                "--web.enable-remote-write-receiver",
                "--enable-feature=native-histograms,exemplar-storage",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run `prometheus` ({error}): install the Debian package"));
        let mut started = Self {
            url: format!("http://{address}"),
            process,
            dir,
        };
        let ready = format!("{}/-/ready", started.url);
        until("Prometheus", PATIENCE, async || {
            started.assert_running();
            (get(&ready).await?.0 == 200).then_some(())
        })
        .await;
        started
    }

    /// What it complained of.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.process.try_wait() {
            panic!("Prometheus ended with {status}:\n{}", self.log());
        }
    }

    /// The result of an instant query.
    pub(crate) async fn query(&self, expr: &str) -> Vec<Value> {
        let answer = self.api(&format!("query?query={}", encoded(expr))).await;
        answer["result"].as_array().cloned().unwrap_or_default()
    }

    /// The value of a query whose answer is one sample.
    pub(crate) async fn value(&self, expr: &str) -> Option<f64> {
        let result = self.query(expr).await;
        assert!(result.len() < 2, "`{expr}` gives {} series", result.len());
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// The trace ids of the exemplars that a selector matches.
    pub(crate) async fn traces(&self, selector: &str) -> Vec<String> {
        let answer = self
            .api(&format!(
                "query_exemplars?start=0&end=9999999999&query={}",
                encoded(selector)
            ))
            .await;
        let series = answer.as_array().cloned().unwrap_or_default();
        let exemplars = series
            .iter()
            .flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default());
        exemplars
            .filter_map(|exemplar| Some(exemplar["labels"]["trace_id"].as_str()?.to_owned()))
            .collect()
    }

    async fn api(&self, path: &str) -> Value {
        let (status, body) = get(&format!("{}/api/v1/{path}", self.url))
            .await
            .unwrap_or_default();
        assert_eq!(status, 200, "`{path}`: {body}");
        let answer: Value = serde_json::from_str(&body).expect("Prometheus answers JSON");
        answer["data"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn get(url: &str) -> Option<(u16, String)> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client
        .get(url.parse().expect("a test's URL is valid"))
        .await
        .ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}
