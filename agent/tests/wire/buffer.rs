//! The agent's buffer on disk: the real binary, killed by SIGKILL again and again, against what it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink};
use otlp::view;
use tokio::task::JoinHandle;

use crate::relay::{post, post_to, sdk_request};
use crate::support::*;

/// How often the agent is killed. More by `AGENT_BUFFER_KILLS`; the figures are printed.
const KILLS: usize = 6;

/// A collector that remembers batches by their ids, as ours does, and the spans of those without one.
#[derive(Clone, Default)]
struct Counting(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    batches: BTreeMap<String, Vec<String>>,
    repeats: usize,
}

impl TraceSink for Counting {
    async fn export(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Refusal> {
        let mut names = Vec::new();
        view::for_each_span_unchecked(&body, |_, _, span| names.push(span.name.to_owned()));
        let id = batch.batch_id.expect("the agent names its batches");
        let mut counted = self.0.lock().expect("no panic in between");
        match counted.batches.get(&id) {
            Some(known) => {
                assert_eq!(*known, names, "batch `{id}` came again with other spans");
                counted.repeats += 1;
            }
            None => drop(counted.batches.insert(id, names)),
        }
        Ok(Accepted::default())
    }
}

impl Counting {
    /// How often each span came, by its name, repeats of batches not counted.
    fn spans(&self) -> BTreeMap<String, usize> {
        let counted = self.0.lock().expect("no panic in between");
        let mut spans = BTreeMap::new();
        for name in counted.batches.values().flatten() {
            *spans.entry(name.clone()).or_default() += 1;
        }
        spans
    }

    fn repeats(&self) -> usize {
        self.0.lock().expect("no panic in between").repeats
    }

    /// Serves at `address` until the task is aborted.
    async fn serve(&self, address: SocketAddr) -> JoinHandle<()> {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .expect("the port is free");
        let sink = self.clone();
        tokio::spawn(async move {
            let never = std::future::pending();
            let served = otlp::intake::serve_grpc(listener, sink, Limits::default(), Arc::new(()), never);
            served.await;
        })
    }
}

/// The program, with its ports chosen before it starts so that it has the same ones every time.
struct Program {
    file: tempfile::NamedTempFile,
    admin: SocketAddr,
    relay: SocketAddr,
    inbound: SocketAddr,
}

impl Program {
    async fn new(collector: SocketAddr, upstream: SocketAddr, export: &str) -> Self {
        let (admin, relay, inbound) = (nobody().await, nobody().await, nobody().await);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let yaml = format!(
            "agent:\n  service: cart\n  routes: ['/own/{{n}}']\n  admin: {{ listen: '{admin}' }}\n  \
             otlp: {{ http: '{relay}' }}\n  inbound: [{{ listen: '{inbound}', upstream: 'http://{upstream}' }}]\n  \
             export: {{ endpoint: 'http://{collector}', delay: 5ms, drain: 0s, {export} }}\n"
        );
        std::fs::write(file.path(), yaml).expect("written");
        Self {
            file,
            admin,
            relay,
            inbound,
        }
    }

    /// Starts it, and waits until it answers.
    async fn start(&self) -> Killed {
        let child = Command::new(env!("CARGO_BIN_EXE_tracemap-agent"))
            .arg("--config")
            .arg(self.file.path())
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .expect("the agent starts");
        let killed = Killed(child);
        let ready = async {
            while tokio::net::TcpStream::connect(self.admin).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon("the agent", ready).await;
        killed
    }

    async fn buffered(&self) -> f64 {
        series(self.admin, "tracemap_agent_buffered_bytes").await
    }
}

async fn series(admin: SocketAddr, series: &str) -> f64 {
    let text = ask(admin, "GET /metrics HTTP/1.1\nhost: localhost").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

/// A process that is killed where it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL; one that has ended by itself is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn buffer(path: &Path, more: &str) -> String {
    format!("buffer: {{ path: '{}', {more} }}", path.display())
}

#[tokio::test]
async fn what_was_acknowledged_before_a_sigkill_arrives_once_the_collector_is_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let collector = nobody().await;
    let program = Program::new(collector, mirror().await, &buffer(directory.path(), "")).await;
    let running = program.start().await;
    let mut expected = BTreeMap::new();
    for n in 0..20 {
        let name = format!("sdk {n}");
        let answer = post(program.relay, &sdk_request(&name)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        expected.insert(name, 1);
    }
    for n in 0..3 {
        let before = program.buffered().await;
        let answer = ask(program.inbound, &format!("GET /own/{n} HTTP/1.1\nhost: cart")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let encoded = async { while program.buffered().await <= before {} };
        soon("the agent's own span in the buffer", encoded).await;
        *expected.entry("GET /own/{n}".to_owned()).or_default() += 1;
    }
    drop(running);

    let counting = Counting::default();
    let served = counting.serve(collector).await;
    let _running = program.start().await;
    let delivered = async {
        while program.buffered().await > 0.0 || counting.spans().values().sum::<usize>() < 23 {
            tokio::task::yield_now().await;
        }
    };
    soon("every span", delivered).await;
    assert_eq!(counting.spans(), expected);
    served.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_killed_each_acknowledged_span_counts_once() {
    let kills = std::env::var("AGENT_BUFFER_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let directory = tempfile::tempdir().expect("a directory");
    let (address, counting) = (nobody().await, Counting::default());
    let program = Program::new(
        address,
        mirror().await,
        &buffer(directory.path(), "max_size: 64MiB"),
    )
    .await;
    let mut acknowledged = BTreeSet::new();
    let (mut unanswered, mut served) = (0, None::<JoinHandle<()>>);
    for round in 0..kills {
        // Away for two rounds of five: what piles up then is delivered while it is killed again.
        match (round % 5 < 2, served.take()) {
            (true, Some(serving)) => {
                serving.abort();
                let _ = serving.await;
            }
            (false, None) => served = Some(counting.serve(address).await),
            (_, same) => served = same,
        }
        let running = Arc::new(Mutex::new(Some(program.start().await)));
        let senders = (0..4).map(|sender| {
            let (relay, running) = (program.relay, running.clone());
            let fatal = 15 + (round * 7) % 23;
            tokio::spawn(async move {
                let (mut taken, mut left) = (Vec::new(), 0);
                for n in 0.. {
                    let name = format!("{round}/{sender}/{n}");
                    if sender == 0 && n == fatal {
                        drop(running.lock().expect("no panic in between").take());
                    }
                    match try_post(relay, &sdk_request(&name)).await {
                        Some(answer) if answer.starts_with("HTTP/1.1 200 ") => taken.push(name),
                        Some(answer) => panic!("refused below the budget: {answer}"),
                        None => {
                            left += 1;
                            break;
                        }
                    }
                }
                (taken, left)
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            let (taken, left) = sender.await.expect("a sender");
            acknowledged.extend(taken);
            unanswered += left;
        }
    }
    if served.is_none() {
        served = Some(counting.serve(address).await);
    }
    let _running = program.start().await;
    let empty = async {
        while program.buffered().await > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    soon("an empty buffer", empty).await;

    let spans = counting.spans();
    let missing: Vec<_> = acknowledged
        .iter()
        .filter(|name| !spans.contains_key(*name))
        .collect();
    let twice: Vec<_> = spans.iter().filter(|(_, times)| **times != 1).collect();
    let dropped = series(program.admin, "tracemap_agent_spans_total{outcome=\"dropped\"}").await;
    println!(
        "kills {kills}; spans acknowledged {}; requests cut off {unanswered}; spans delivered {}; batches sent again {}; \
         missing {}; counted twice {}; dropped {dropped}",
        acknowledged.len(),
        spans.len(),
        counting.repeats(),
        missing.len(),
        twice.len(),
    );
    assert!(
        missing.is_empty() && twice.is_empty(),
        "missing {missing:?}, twice {twice:?}"
    );
    assert!(acknowledged.len() > 10 * kills && dropped < f64::EPSILON);
    if let Some(serving) = served {
        serving.abort();
    }
}

/// The answer; `None` where the agent went away before the end of it.
async fn try_post(address: SocketAddr, body: &[u8]) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.contains("\r\n\r\n").then_some(answer)
}

#[tokio::test]
async fn a_full_disk_makes_sdks_wait_and_a_directory_that_cannot_be_had_breaks_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: 'http://{}', drain: 0s, {} }} }}",
        nobody().await,
        buffer(directory.path(), "max_size: 16KiB")
    ))
    .await;
    let relay = agent.otlp_http_addr.expect("HTTP is on");
    let mut answer = String::new();
    for n in 0..500 {
        answer = post(relay, &sdk_request(&format!("{n}"))).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
    }
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(header(&answer, "retry-after"), Some("1"));
    assert!(metric(&agent, "tracemap_agent_spans_total{outcome=\"dropped\"}").await < f64::EPSILON);

    let collector = Collector::start().await;
    let other = start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s, {} }} }}",
        collector.endpoint(),
        buffer(directory.path(), "")
    ))
    .await;
    let answer = post(
        other.otlp_http_addr.expect("HTTP is on"),
        &sdk_request("in memory"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    collector.span(|seen| seen.span.name == "in memory").await;
    let on_disk = "tracemap_agent_buffer_on_disk";
    assert!((metric(&agent, on_disk).await, metric(&other, on_disk).await) == (1.0, 0.0));
    until_metric(&other, "tracemap_agent_buffer_fallback_spans_total", 1.0).await;
}

#[tokio::test]
async fn what_must_not_leave_is_taken_out_and_the_pod_is_named_for_own_spans_and_those_of_sdks() {
    let collector = Collector::start().await;
    let agent = start(&format!(
        "{{ service: cart, resource: {{ k8s.pod.name: cart-0, secret.resource: x }}, admin: {{ listen: '127.0.0.1:0' }},
           otlp: {{ http: '127.0.0.1:0' }}, inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}],
           export: {{ endpoint: '{}', delay: 0s, redact: ['secret.*', 'url.path'], max_attribute_length: 12 }} }}",
        mirror().await,
        collector.endpoint(),
    ))
    .await;
    let answer = post(agent.otlp_http_addr.expect("HTTP is on"), &sdk_request("sdk")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    ask(
        agent.inbound_addrs[0],
        "GET /a/private/place HTTP/1.1\nhost: cart",
    )
    .await;
    let own = collector.server_span().await;
    assert_eq!(own.get("url.path"), Some("[redacted]"));
    assert_eq!(own.resource["secret.resource"], "[redacted]");
    assert!(
        own.attributes.values().all(|value| value.len() <= 12),
        "{:?}",
        own.attributes
    );
    let relayed = collector.span(|seen| seen.span.name == "sdk").await;
    assert_eq!(
        (
            relayed.resource["service.name"].as_str(),
            relayed.resource["k8s.pod.name"].as_str()
        ),
        ("sdk", "cart-0")
    );
    assert!(
        !relayed.resource.contains_key("secret.resource"),
        "only the place is handed on"
    );
}

#[tokio::test]
async fn metrics_of_sdks_go_where_the_configuration_says_and_nowhere_else() {
    let metrics = MetricsCollector::default();
    let address = metrics.serve().await;
    let with = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ metrics_endpoint: 'http://{address}', delay: 0s }} }}"
    ))
    .await;
    let body = metrics_request();
    let answer = post_to(with.otlp_http_addr.expect("HTTP is on"), "/v1/metrics", &body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let arrived = async {
        while metrics.0.lock().expect("no panic in between").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the metrics", arrived).await;
    let seen = metrics.0.lock().expect("no panic in between").clone();
    assert_eq!(
        seen.iter().map(prost::Message::encode_to_vec).collect::<Vec<_>>(),
        std::slice::from_ref(&body)
    );

    let without = start("{ admin: { listen: '127.0.0.1:0' }, otlp: { http: '127.0.0.1:0' } }").await;
    let answer = post_to(without.otlp_http_addr.expect("HTTP is on"), "/v1/metrics", &body).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

/// Something else that takes metrics.
#[derive(Clone, Default)]
struct MetricsCollector(Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

impl MetricsCollector {
    async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a listener");
        let address = listener.local_addr().expect("its address");
        let sinks = otlp::intake::Sinks::new(Counting::default()).with_metrics(self.clone());
        let never = std::future::pending();
        tokio::spawn(async move {
            otlp::intake::serve_grpc(listener, sinks, Limits::default(), Arc::new(()), never).await;
        });
        address
    }
}

impl otlp::intake::MetricsSink for MetricsCollector {
    async fn export_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        _: BatchMeta,
    ) -> Result<otlp::intake::AcceptedMetrics, Refusal> {
        self.0.lock().expect("no panic in between").push(request);
        Ok(otlp::intake::AcceptedMetrics::default())
    }
}

fn metrics_request() -> Vec<u8> {
    use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
    let metric = Metric {
        name: "jobs".to_owned(),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    prost::Message::encode_to_vec(&request)
}
