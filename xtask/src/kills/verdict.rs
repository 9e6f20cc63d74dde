//! What the last collector knows, beside what was sent.
//!
//! In: its pages and its traces. Out: every difference, in words.
//! Left out on purpose: latencies. Counts say whether a span was lost or counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, TracesData};
use prost::Message as _;
use tokio::task::JoinSet;

use super::Failure;
use super::load::{EdgeKey, Load, Truth};

/// How long after the last trace has closed everything must be there.
const PATIENCE: Duration = Duration::from_mins(3);
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Traces that are read at a time.
const READERS: usize = 8;
/// Differences beyond these are counted only.
const TOLD: usize = 20;

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) edges: usize,
    pub(crate) calls: usize,
    pub(crate) read_back: u64,
    /// Spans that the collector counted as repeats of others.
    pub(crate) duplicates: u64,
    /// Every difference; nothing may be here.
    pub(crate) differences: Vec<String>,
}

/// What a collector is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    load: &'a Load,
    traces: u64,
    web: SocketAddr,
    /// How long a trace stays open.
    wait: Duration,
    /// Whose names begin so are others' business.
    others: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// The first `traces` of `load`, and whether there is nothing else.
    pub(crate) fn of(load: &'a Load, traces: u64, web: SocketAddr, wait: Duration) -> Self {
        Self {
            load,
            traces,
            web,
            wait,
            others: None,
        }
    }

    /// The same where others send too, whose services' names all begin with `others`.
    pub(crate) fn beside(self, others: &'a str) -> Self {
        let others = Some(others);
        Self { others, ..self }
    }

    /// Waits until all traces are closed, and compares; `running` fails where the collector has ended.
    pub(crate) async fn until(
        self,
        mut running: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Verdict, Failure> {
        let Self {
            load,
            traces,
            web,
            wait,
            ..
        } = self;
        let truth = Load::truth(traces);
        let deadline = Instant::now() + wait + PATIENCE;
        let mut verdict = loop {
            running()?;
            let verdict = self.counts(&truth).await?;
            if verdict.differences.is_empty() || Instant::now() > deadline {
                break verdict;
            }
            tokio::time::sleep(ASK_EVERY).await;
        };
        let stored = loop {
            let stored = read_back(load, traces, web).await?;
            if stored.is_empty() || Instant::now() > deadline {
                break stored;
            }
            tokio::time::sleep(ASK_EVERY).await;
        };
        verdict.read_back = traces;
        verdict.differences.extend(stored);
        let more = verdict.differences.len().saturating_sub(TOLD);
        verdict.differences.truncate(TOLD);
        if more > 0 {
            verdict.differences.push(format!("and {more} more"));
        }
        Ok(verdict)
    }

    /// Series and map against the truth.
    async fn counts(self, truth: &Truth) -> Result<Verdict, Failure> {
        let text = async |path| {
            Ok::<_, Failure>(String::from_utf8(
                get(self.web, path, "text/plain").await?.into(),
            )?)
        };
        let (page, map) = (text("/metrics").await?, text("/api/v1/map?format=csv").await?);
        let mut verdict = Verdict {
            edges: truth.edges.len(),
            calls: truth.calls.len(),
            ..Verdict::default()
        };
        let told = &mut verdict.differences;
        let (requests, failed) = truth.requests();
        let edges = |family| self.ours(samples(&page, family, ["client", "server", "connection_type"]));
        let edge_requests = edges("traces_service_graph_request_total");
        compare(
            "traces_service_graph_request_total",
            &requests,
            &edge_requests,
            told,
        );
        let edge_failed = edges("traces_service_graph_request_failed_total");
        compare(
            "traces_service_graph_request_failed_total",
            &failed,
            &edge_failed,
            told,
        );
        let call = ["service", "span_name", "span_kind", "status_code"];
        let calls = self.ours(samples(&page, "traces_spanmetrics_calls_total", call));
        compare("traces_spanmetrics_calls_total", &truth.calls, &calls, told);
        compare("map, requests", &requests, &self.ours(rows(&map, 3)), told);
        compare("map, failed", &failed, &self.ours(rows(&map, 4)), told);
        let outcome = samples(&page, "tracemap_collector_spans_total", ["outcome"]);
        let of = |name: &str| outcome.get(&[name.to_owned()]).copied().unwrap_or_default();
        if self.others.is_none() && of("mapped") != truth.spans {
            let mapped = of("mapped");
            told.push(format!("spans mapped: {} sent, {mapped} counted", truth.spans));
        }
        verdict.duplicates = of("duplicate");
        Ok(verdict)
    }

    /// Without what is others' business.
    fn ours<const N: usize>(self, mut counts: BTreeMap<[String; N], u64>) -> BTreeMap<[String; N], u64> {
        if let Some(others) = self.others {
            counts.retain(|key, _| !key.iter().any(|name| name.starts_with(others)));
        }
        counts
    }
}

/// What differs; absent and 0 are the same.
fn compare<K: Ord + Debug>(
    what: &str,
    sent: &BTreeMap<K, u64>,
    known: &BTreeMap<K, u64>,
    told: &mut Vec<String>,
) {
    let keys: BTreeSet<&K> = sent.keys().chain(known.keys()).collect();
    for key in keys {
        let [sent, known] = [sent, known].map(|counts| counts.get(key).copied().unwrap_or_default());
        if sent != known {
            told.push(format!("{what} of {key:?}: {sent} sent, {known} counted"));
        }
    }
}

/// The samples of a family by some of their labels; those that agree in them are added up.
fn samples<const N: usize>(page: &str, family: &str, labels: [&str; N]) -> BTreeMap<[String; N], u64> {
    let mut found = BTreeMap::new();
    for line in page
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'))
    {
        let Some((own, value)) = line.rsplit_once("} ") else {
            continue;
        };
        let key = labels.map(|label| label_of(own, label).unwrap_or_default().to_owned());
        *found.entry(key).or_default() += value.parse::<f64>().unwrap_or(f64::NAN) as u64;
    }
    found
}

/// The value of a label; none of ours has a quote in it.
fn label_of<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split("\",").find_map(|label| {
        let (key, value) = label.split_once("=\"")?;
        (key == name).then(|| value.trim_end_matches('"'))
    })
}

/// One column of the map's flat form, by caller, callee and connection type.
fn rows(csv: &str, column: usize) -> BTreeMap<EdgeKey, u64> {
    let rows = csv.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let key = [0, 1, 2].map(|at| fields.get(at).copied().unwrap_or_default().to_owned());
        Some((key, fields.get(column)?.parse().ok()?))
    });
    rows.collect()
}

/// Reads every trace back by its id; what is not as it was sent.
async fn read_back(load: &Load, traces: u64, web: SocketAddr) -> Result<Vec<String>, Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (load, next) = (*load, Arc::clone(&next));
        readers.spawn(async move {
            let (client, mut told) = (client(), Vec::new());
            loop {
                let trace = next.fetch_add(1, Relaxed);
                if trace >= traces {
                    return Ok::<_, Failure>(told);
                }
                told.extend(difference(&load, trace, &client, web).await?);
            }
        });
    }
    let mut told = Vec::new();
    while let Some(reader) = readers.join_next().await {
        told.extend(reader??);
    }
    Ok(told)
}

async fn difference(
    load: &Load,
    trace: u64,
    client: &HttpClient,
    web: SocketAddr,
) -> Result<Option<String>, Failure> {
    let id = format!("{:032x}", u128::from_be_bytes(load.trace_id(trace)));
    let path = format!("/tempo/api/traces/{id}");
    let Ok(body) = fetch(client, web, &path, "application/protobuf").await else {
        return Ok(Some(format!("trace {trace} ({id}) is not in the store")));
    };
    let found = TracesData::decode(body)?;
    let ids: Vec<&Vec<u8>> = spans(&found.resource_spans).map(|span| &span.span_id).collect();
    let expected = load.span_ids(trace);
    let missing = expected.iter().filter(|id| !ids.contains(id)).count();
    if missing > 0 || ids.len() != expected.len() {
        let (sent, stored) = (expected.len(), ids.len());
        return Ok(Some(format!(
            "trace {trace} ({id}): {sent} spans sent, {stored} stored, {missing} missing"
        )));
    }
    Ok(None)
}

/// All spans below some resources.
pub(crate) fn spans(resources: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// How many of these traces, by their ids in hexadecimal digits, have nothing in the store. Asked on one connection: one for
/// each would use up the ports of a host.
#[allow(dead_code, reason = "only where others than the senders make traces")]
pub(crate) async fn traces_not_stored<'a>(
    web: SocketAddr,
    ids: impl Iterator<Item = &'a String>,
) -> Result<usize, Failure> {
    let (client, mut missing) = (client(), 0);
    for id in ids {
        let request = hyper::Request::get(format!("http://{web}/tempo/api/traces/{id}"))
            .header("accept", "application/protobuf")
            .body(Empty::new())?;
        let answer = client.request(request).await?;
        match answer.status().as_u16() {
            200 => {}
            404 => missing += 1,
            other => return Err(format!("trace {id}: the store answered {other}, not 200 or 404").into()),
        }
        answer.into_body().collect().await?;
    }
    Ok(missing)
}

/// The body of a GET that is answered with 200.
pub(crate) async fn get(web: SocketAddr, path: &str, accept: &str) -> Result<Bytes, Failure> {
    fetch(&client(), web, path, accept).await
}

async fn fetch(client: &HttpClient, web: SocketAddr, path: &str, accept: &str) -> Result<Bytes, Failure> {
    let request = hyper::Request::get(format!("http://{web}{path}"))
        .header("accept", accept)
        .body(Empty::new())?;
    let answer = client.request(request).await?;
    if answer.status() != 200 {
        return Err(format!("`{path}` answered {}, not 200", answer.status()).into());
    }
    Ok(answer.into_body().collect().await?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_by_their_labels() {
        let page = "a_total{x=\"1\",y=\"a b\"} 2\na_total{x=\"1\",y=\"c\"} 3\na_total_other{x=\"1\"} 9\n";
        assert_eq!(
            samples(page, "a_total", ["x"]),
            BTreeMap::from([(["1".to_owned()], 5)])
        );
        let both = samples(page, "a_total", ["y", "x"]);
        assert_eq!(both.get(&["a b".to_owned(), "1".to_owned()]), Some(&2));
    }

    #[test]
    fn one_lost_and_one_doubled_are_two_differences() {
        let (sent, known) = (
            BTreeMap::from([("a", 2), ("b", 1)]),
            BTreeMap::from([("a", 1), ("b", 2)]),
        );
        let mut told = Vec::new();
        compare("edge", &sent, &known, &mut told);
        assert_eq!(
            told,
            [
                "edge of \"a\": 2 sent, 1 counted",
                "edge of \"b\": 1 sent, 2 counted"
            ]
        );
    }

    #[test]
    fn a_count_that_nobody_sent_is_a_difference() {
        let mut told = Vec::new();
        compare("edge", &BTreeMap::new(), &BTreeMap::from([("a", 1)]), &mut told);
        assert_eq!(told.len(), 1);
    }
}
