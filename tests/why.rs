//! Why there is an edge, or why there is none: `tracemap check --why` and `/api/v1/why`.
//!
//! In: map files, and a running collector that is sent spans. Out: what both say of two names.
//! Left out on purpose: the reasons one by one, which are tested beside them in `map`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const MAP: &str = "version: 1\nnodes:\n  idle: {kind: service}\nedges:\n\
    - {client: web, server: cart}\n- {client: cart, server: stock}\n";

/// `web` calls `cart`: a CLIENT span and the SERVER span below it.
const SPANS: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET","kind":3,"startTimeUnixNano":"1000","endTimeUnixNano":"9000"}]}]},{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b175","parentSpanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"2000","endTimeUnixNano":"8000"}]}]}]}"#;

#[test]
fn an_edge_of_a_map_file_is_explained_with_the_statistics_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let [spans, map] = ["spans.json", "map.yaml"].map(|name| dir.path().join(name));
    std::fs::write(&spans, SPANS).unwrap();
    let drawn = run(&["map", text(&spans), "-o", text(&map)]);
    assert_eq!(drawn.status.code(), Some(0), "{drawn:?}");
    check(
        text(&map),
        ["web", "cart"],
        "`web` calls `cart`: 1 requests, 0 failed; 1 paired",
    );
    std::fs::remove_file(dir.path().join("map.stats.yaml")).unwrap();
    check(text(&map), ["web", "cart"], "`web` calls `cart`: 0 requests");
}

#[test]
fn the_absence_of_an_edge_is_explained_too() {
    let (_dir, map) = map_file();
    check(&map, ["cart", "web"], "the edge leads the other way");
    check(&map, ["web", "stock"], "`web` -> `cart` -> `stock`");
    check(&map, ["idle", "cart"], "`idle` reports no span of kind CLIENT");
    check(
        &map,
        ["web", "cort"],
        "no node `cort`; the nearest names are `cart`",
    );
}

#[test]
fn a_check_of_a_file_that_is_no_map_names_the_file() {
    let (dir, _) = map_file();
    let other = dir.path().join("other.yaml");
    std::fs::write(&other, "version: 1\nedgse: []\n").unwrap();
    refused(
        &["check", "--map", text(&other), "--why", "web", "cart"],
        "other.yaml",
    );
}

#[test]
fn a_collector_explains_the_map_as_it_stands() {
    let collector = Collector::start();
    let answered = collector.post_spans();
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    let said = collector.asked_until("/api/v1/why?from=web&to=cart", "1 requests");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(
        said.to_ascii_lowercase().contains("content-type: text/plain"),
        "{said}"
    );
    assert!(
        said.contains("`web` calls `cart`") && said.contains("1 paired"),
        "{said}"
    );
    let reversed = collector.get("/api/v1/why?from=cart&to=web");
    assert!(reversed.contains("the other way"), "{reversed}");
}

#[test]
fn a_collector_refuses_a_question_that_names_one_end_only() {
    let collector = Collector::start();
    for (question, missing) in [
        ("", "`from` is missing"),
        ("?to=cart", "`from` is missing"),
        ("?from=web", "`to` is missing"),
        ("?from=web&to=", "`to` is missing"),
    ] {
        let said = collector.get(&format!("/api/v1/why{question}"));
        assert!(said.starts_with("HTTP/1.1 400"), "{question}: {said}");
        assert!(said.contains(missing), "{question}: {said}");
    }
}

fn map_file() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map.yaml");
    std::fs::write(&path, MAP).unwrap();
    let path = text(&path).to_owned();
    (dir, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

/// Asks about two names: exit code 0, and an answer in one line that holds `said`.
fn check(map: &str, [from, to]: [&str; 2], said: &str) {
    let done = run(&["check", "--map", map, "--why", from, to]);
    let answer = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(answer.lines().count(), 1, "{answer}");
    assert!(answer.contains(said), "`{said}` is not in: {answer}");
}

/// Runs the command: exit code 2, one line on standard error that holds `named`, nothing on standard output.
fn refused(args: &[&str], named: &str) {
    let done = run(args);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(
        done.stdout.is_empty() && said.lines().count() == 1,
        "{args:?}: {done:?}"
    );
    assert!(said.contains(named), "`{named}` is not in: {said}");
}

/// A running collector; dropped, it is ended.
struct Collector {
    child: Child,
    http: SocketAddr,
    web: SocketAddr,
    _dir: TempDir,
}

impl Collector {
    fn start() -> Self {
        let [grpc, http, web] = [free(), free(), free()];
        let yaml = format!(
            "collector:\n  otlp: {{ grpc: '{grpc}', http: '{http}' }}\n  web: {{ listen: '{web}' }}\n  pairing: {{ wait: 100ms }}\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("tracemap.yaml");
        std::fs::write(&config, yaml).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracemap"))
            .args(["collector", "--config", text(&config)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let patience = Instant::now() + Duration::from_secs(30);
        while !answers_ready(web) {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "the collector ended");
            assert!(Instant::now() < patience, "the collector is not ready on {web}");
            std::thread::yield_now();
        }
        Self {
            child,
            http,
            web,
            _dir: dir,
        }
    }

    fn post_spans(&self) -> String {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            SPANS.len()
        );
        answer(self.http, &head, SPANS).expect("the collector takes spans")
    }

    fn get(&self, path: &str) -> String {
        answer(self.web, &format!("GET {path} HTTP/1.1\r\n"), "").expect("the collector answers")
    }

    /// Asks until the answer holds `said`.
    fn asked_until(&self, path: &str, said: &str) -> String {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            let answered = self.get(path);
            if answered.contains(said) {
                return answered;
            }
            assert!(Instant::now() < patience, "no `{said}` in: {answered}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers_ready(web: SocketAddr) -> bool {
    answer(web, "GET /readyz HTTP/1.1\r\n", "").is_ok_and(|said| said.starts_with("HTTP/1.1 200"))
}

/// An address that is free at the moment.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}

/// Sends a request whose head lacks only its end; returns the answer, head and body.
fn answer(to: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "{head}Host: {to}\r\nConnection: close\r\n\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
