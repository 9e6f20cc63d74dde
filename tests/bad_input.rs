//! What the command says to input that it cannot use.
//!
//! In: files and configurations with one fault each. Out: exit code 2, one line on standard error that names the thing,
//! and no panic. Beside it what `generate` leaves alone, and what a running collector answers to garbage.
//! Left out on purpose: each format's own faults, which are tested beside the formats.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

const SPAN: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nowhere.json");
    refused(&["map", text(&file)], &["cannot open", "nowhere.json"]);
}

#[test]
fn a_directory_is_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    refused(&["map", text(dir.path())], &[text(dir.path())]);
}

#[test]
fn a_truncated_gzip_is_named_with_what_to_do() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(SPAN.repeat(50).as_bytes()).unwrap();
    let mut bytes = gzip.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let (_dir, file) = file("cut.json.gz", &bytes);
    refused(&["map", &file], &["cut.json.gz", "cut short"]);
}

#[test]
fn empty_files_and_empty_traces_are_told_apart() {
    let (_a, empty) = file("empty.json", b"");
    refused(&["map", &empty], &["empty.json", "is empty"]);
    let (_b, blank) = file("blank.json", b" \n\n");
    refused(&["map", &blank], &["blank.json", "is empty"]);
    let (_c, no_spans) = file("none.json", br#"{"data":[]}"#);
    refused(&["map", &no_spans], &["none.json", "no spans"]);
}

#[test]
fn an_unknown_format_is_shown_by_its_first_bytes() {
    let (_dir, file) = file("notes.txt", b"Dear diary, today nothing happened.");
    refused(&["map", &file], &["notes.txt", "Dear diary"]);
}

#[test]
fn a_broken_line_is_named_by_its_number() {
    let lines = format!("{SPAN}\n{SPAN}\n{{\"resourceSpans\":7}}\n{SPAN}\n");
    let (_dir, file) = file("spans.jsonl", lines.as_bytes());
    refused(&["map", &file], &["line 3", "spans.jsonl"]);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let (dir, file) = file("spans.json", SPAN.as_bytes());
    let out = dir.path().join("no/such/map.yaml");
    refused(&["map", &file, "-o", text(&out)], &["cannot write", "map.yaml"]);
}

#[test]
fn a_map_of_a_future_version_is_refused_by_its_version() {
    let (dir, file) = file("map.yaml", b"version: 7\nhyperedges: []\n");
    let out = dir.path().join("out");
    refused(
        &["generate", "--map", &file, "--out", text(&out)],
        &["map.yaml", "version 7"],
    );
    assert!(!out.exists(), "nothing is written from a map that was refused");
}

#[test]
fn a_map_that_is_no_map_is_named_with_its_fault() {
    let (dir, file) = file("map.yaml", b"version: 1\nedgse: []\n");
    refused(
        &["generate", "--map", &file, "--out", text(&dir.path().join("out"))],
        &["map.yaml", "edgse"],
    );
}

#[test]
fn generate_without_a_directory_says_how_to_give_one() {
    let (_dir, file) = file("map.yaml", b"version: 1\n");
    refused(&["generate", "--map", &file], &["--out", "generate.out"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_key() {
    let (_dir, file) = file("tracemap.yaml", b"collector:\n  web:\n    lisen: 127.0.0.1:1\n");
    refused(
        &["collector", "--config", &file],
        &["tracemap.yaml:3", "`lisen`", "`listen`"],
    );
}

#[test]
fn every_problem_of_a_configuration_has_a_line_of_its_own() {
    let (_dir, file) = file(
        "tracemap.yaml",
        b"collector:\n  web:\n    lisen: x\n  pairing: { wait: soon }\ngenerate:\n  owt: x\n",
    );
    let done = run(&["collector", "--config", &file]);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let said = stderr(&done);
    for key in ["`lisen`", "soon", "`owt`"] {
        assert_eq!(
            said.lines().filter(|line| line.contains(key)).count(),
            1,
            "{key} in {said}"
        );
    }
    no_panic(&said);
}

#[test]
fn a_configuration_that_is_no_yaml_is_refused_in_one_line() {
    let (_dir, file) = file("tracemap.yaml", b"\x00\xff{[}: - :\n\t- ");
    refused(&["collector", "--config", &file], &["tracemap.yaml"]);
    let (_dir, file) = self::file("tracemap.yaml", b"- a list\n- of things\n");
    refused(&["collector", "--config", &file], &["tracemap.yaml"]);
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    refused(
        &["collector", "--config", "nowhere/tracemap.yaml"],
        &["nowhere/tracemap.yaml"],
    );
}

#[test]
fn a_collector_endpoint_that_is_no_address_is_named_with_its_key() {
    let (_dir, file) = file("tracemap.yaml", b"collector:\n  otlp: { grpc: nonsense }\n");
    refused(
        &["collector", "--config", &file],
        &["nonsense", "collector.otlp.grpc"],
    );
}

#[test]
fn a_saved_state_that_is_garbage_is_named_and_left_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("snapshot"), "garbage").unwrap();
    let yaml = format!("{}  data_dir: {}\n", anywhere(), text(dir.path()));
    let (_dir, file) = file("tracemap.yaml", yaml.as_bytes());
    refused(&["collector", "--config", &file], &["snapshot", "damaged"]);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("snapshot")).unwrap(),
        "garbage"
    );
}

#[test]
fn a_replay_of_nothing_useful_fails_before_it_sends() {
    let (_dir, file) = file("notes.txt", b"Dear diary");
    refused(&["replay", &file, "--to", "http://127.0.0.1:9"], &["notes.txt"]);
}

#[test]
fn a_check_says_no_until_generate_has_run_and_yes_after() {
    let (dir, map) = shop();
    let out = dir.path().join("out");
    let args = ["generate", "--map", &map, "--out", text(&out)];
    let check = [&args[..], &["--check"]].concat();
    let before = run(&check);
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    assert!(!out.exists(), "a look writes nothing");
    assert_eq!(run(&args).status.code(), Some(0));
    assert_eq!(run(&check).status.code(), Some(0));
    std::fs::write(&map, SHOP.replace("cart", "basket")).unwrap();
    assert_eq!(run(&check).status.code(), Some(1), "the map has changed");
}

#[test]
fn a_service_that_only_the_configuration_knows_is_named_and_nothing_is_written() {
    let (dir, map) = shop();
    let config = dir.path().join("tracemap.yaml");
    std::fs::write(&config, "services:\n  nobody: { team: ghosts }\n").unwrap();
    let out = dir.path().join("out");
    let done = run(&[
        "generate",
        "--map",
        &map,
        "--out",
        text(&out),
        "--config",
        text(&config),
    ]);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(
        stderr(&done).contains("tracemap.yaml:2: `nobody` is no node of the map"),
        "{done:?}"
    );
    assert!(!out.exists(), "nothing is written");
}

#[test]
fn generating_twice_gives_the_same_bytes() {
    let (dir, map) = shop();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for out in [&one, &two, &one] {
        assert_eq!(
            run(&["generate", "--map", &map, "--out", text(out)])
                .status
                .code(),
            Some(0)
        );
    }
    let (one, two) = (contents(&one), contents(&two));
    assert!(
        one.len() > 5,
        "{:?}",
        one.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    assert_eq!(one, two);
}

#[test]
fn files_of_others_and_edited_ones_are_left_alone_and_told() {
    let (dir, map) = shop();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("map.yaml"), "somebody else's").unwrap();
    std::fs::write(out.join("notes.md"), "mine").unwrap();
    let done = run(&["generate", "--map", &map, "--out", text(&out)]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        said.lines()
            .any(|line| line.starts_with("left alone") && line.contains("map.yaml")),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(out.join("map.yaml")).unwrap(),
        "somebody else's"
    );
    assert_eq!(std::fs::read_to_string(out.join("notes.md")).unwrap(), "mine");
}

#[test]
fn garbage_over_http_is_answered_with_400_and_a_reason_and_the_collector_goes_on() {
    let collector = Collector::start();
    let garbage = post(collector.http, "application/x-protobuf", b"\xff\xff\xffgarbage");
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    assert!(
        garbage.contains("malformed"),
        "the answer tells the reason: {garbage}"
    );
    let json = post(collector.http, "application/json", b"{\"resourceSpans\": 7}");
    assert!(json.starts_with("HTTP/1.1 400"), "{json}");
    let unknown = post(collector.http, "text/plain", b"hello");
    assert!(unknown.starts_with("HTTP/1.1 415"), "{unknown}");
    let good = post(collector.http, "application/json", SPAN.as_bytes());
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
}

const SHOP: &str = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n";

fn shop() -> (TempDir, String) {
    file("shop.yaml", SHOP.as_bytes())
}

/// The collector section with ports that the system chooses.
fn anywhere() -> String {
    "collector:\n  otlp: { grpc: '127.0.0.1:0', http: '127.0.0.1:0' }\n  web: { listen: '127.0.0.1:0' }\n"
        .to_owned()
}

fn file(name: &str, content: &[u8]) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    let path = text(&path).to_owned();
    (dir, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// All files below a directory, with their bytes.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

fn stderr(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn no_panic(said: &str) {
    assert!(!said.contains("panicked"), "{said}");
}

/// Runs the command: exit code 2, one line on standard error that holds all of `named`, nothing on standard output.
fn refused(args: &[&str], named: &[&str]) {
    let done = run(args);
    let said = stderr(&done);
    no_panic(&said);
    assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(
        done.stdout.is_empty(),
        "{args:?}: {}",
        String::from_utf8_lossy(&done.stdout)
    );
    for name in named {
        assert!(said.contains(name), "`{name}` is not in: {said}");
    }
}

/// A running collector; dropped, it is ended.
struct Collector {
    child: Child,
    http: SocketAddr,
    _dir: TempDir,
}

impl Collector {
    fn start() -> Self {
        let [grpc, http, web] = [free(), free(), free()];
        let yaml = format!(
            "collector:\n  otlp: {{ grpc: '{grpc}', http: '{http}' }}\n  web: {{ listen: '{web}' }}\n"
        );
        let (dir, config) = file("tracemap.yaml", yaml.as_bytes());
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracemap"))
            .args(["collector", "--config", &config])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the command starts");
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(http).is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                let said = child.stderr.take().map(|e| {
                    BufReader::new(e)
                        .lines()
                        .map_while(Result::ok)
                        .collect::<Vec<_>>()
                });
                panic!("the collector ended with {status}: {said:?}");
            }
            assert!(
                Instant::now() < patience,
                "the collector does not listen on {http}"
            );
            std::thread::yield_now();
        }
        Self {
            child,
            http,
            _dir: dir,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that is free at the moment.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}

/// Sends a trace request as it stands; returns the answer, head and body.
fn post(to: SocketAddr, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).expect("the collector listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: {to}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the collector answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}
