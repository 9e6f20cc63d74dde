//! Generated pipelines, run: lines in, what reaches a Loki out.
//!
//! In: a file of lines, with and without what a container's runtime puts before them. Out: what the OpenTelemetry Collector posts,
//! and what the language of Vector makes of each line; and whether Alloy's own parser reads its file.
//! Left out on purpose: Vector's source and sink, Fluent Bit, and Alloy itself, none of which a registry of packages has in a form that a test
//! could build in its time. `instrumentation` holds their files to what they must say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use instrumentation::logging::{LoggingSettings, PIPELINES, generate};
use map::Map;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use serde_json::{Value, json};

use crate::client::{Client, Language, run};
use crate::logs::EVIL;
use crate::support::{Process, until};

const PATIENCE: Duration = Duration::from_mins(1);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A line within a span, whose message and attributes try to be more.
fn line() -> String {
    let line = json!({
        "timestamp": "2026-01-02T03:04:05.678901Z", "severity_text": "WARN", "body": EVIL, "trace_id": TRACE, "span_id": SPAN,
        "trace_flags": "01", "correlation.id": "c-4711", "service.name": "cart", "service.namespace": "shop",
        "deployment.environment.name": "prod", "service.version": "1.2.3", "otel.scope.name": "shop",
        "attributes": {"trace_id": "forged", "service.name": "forged", "correlation.id": "forged", "n": 1},
    });
    line.to_string()
}

/// A line outside of spans, one of a program that knows nothing of all this, and one that is cut off.
const OUTSIDE: &str = r#"{"timestamp":"2026-01-02T03:04:06Z","severity_text":"INFO","body":"outside","service.name":"cart","attributes":{}}"#;
const PLAIN: &str = "listening on :8080";
const CUT: &str = r#"{"timestamp":"2026-01-02T03:04:07Z","severity_text":"INFO","body":"half of"#;

/// What a container's runtime makes of a line.
fn contained(line: &str, part: &str) -> String {
    format!("2026-01-02T03:04:08.123456789Z stdout {part} {line}")
}

fn pipelines(settings: &LoggingSettings) -> BTreeMap<String, String> {
    let files = generate(&Map::default(), settings);
    let ours = files.into_iter().filter_map(|(path, text)| {
        let name = path.strip_prefix(PIPELINES)?.strip_prefix('/')?;
        Some((name.to_owned(), text))
    });
    ours.collect()
}

type Posted = Arc<Mutex<Vec<ExportLogsServiceRequest>>>;

/// Takes what a collector posts to Loki's OTLP endpoint; its address and what came.
async fn loki() -> (String, Posted) {
    async fn take(State(posted): State<Posted>, headers: axum::http::HeaderMap, body: Bytes) {
        let mut plain = body.to_vec();
        if headers
            .get("content-encoding")
            .is_some_and(|coding| coding == "gzip")
        {
            plain.clear();
            std::io::copy(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain).expect("it is gzip");
        }
        let request = ExportLogsServiceRequest::decode(&plain[..]).expect("it is OTLP");
        posted.lock().expect("nobody panics with it").push(request);
    }
    let posted = Posted::default();
    let app = axum::Router::new()
        .route("/otlp/v1/logs", post(take))
        .with_state(Arc::clone(&posted));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), posted)
}

/// Attributes of texts; others as their debug form.
fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), text(attribute)))
        .collect()
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("a body of {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_opentelemetry_collector_keeps_ids_and_identity_of_a_line() {
    let collector = Client::build(Language::Collector).await;
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (url, posted) = loki().await;
    let settings = LoggingSettings {
        paths: vec![format!("{}/*.log", dir.path().display())],
        loki_url: url,
        ..LoggingSettings::default()
    };
    let config = dir.path().join("otel-collector.yaml");
    std::fs::write(&config, &pipelines(&settings)["otel-collector.yaml"])
        .expect("the test's directory is writable");
    let program = collector.dir().join("client").display().to_string();
    let args = ["--config", &config.display().to_string()].map(str::to_owned);
    // Its own output is no line of a service: it goes where the pipeline does not look.
    let output = tempfile::tempdir().expect("there is room for a directory");
    let mut process = Process::start("otelcol", &program, &args, output.path());
    until("the collector to watch", PATIENCE, async || {
        process.assert_running();
        process.output().contains("Everything is ready").then_some(())
    })
    .await;
    // It begins at the end of a file that is there, so the lines come once it watches.
    let long = line();
    let (first, rest) = long.split_at(100);
    let lines = [
        line(),
        OUTSIDE.to_owned(),
        PLAIN.to_owned(),
        CUT.to_owned(),
        contained(&line(), "F"),
        contained(first, "P"),
        contained(rest, "F"),
        contained(PLAIN, "F"),
    ];
    until("the lines to be read", PATIENCE, async || {
        process.assert_running();
        append(&dir.path().join("cart.log"), &lines);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let posted = posted.lock().expect("nobody panics with it");
        let all = || posted.iter().flat_map(records);
        let of_cart = || all().filter(|(resource, _)| resource.contains_key("service.version"));
        let contained =
            of_cart().filter(|(_, record)| texts(&record.attributes).contains_key("log.iostream"));
        let (contained, plain) = (
            contained.count(),
            all().filter(|(_, record)| body(record) == PLAIN).count(),
        );
        // One of them in two parts; a plain line is there as often as the plain one that is contained.
        (contained >= 2 && of_cart().count() > contained && plain >= 2).then_some(())
    })
    .await;

    let posted = posted.lock().expect("nobody panics with it");
    let all: Vec<_> = posted.iter().flat_map(records).collect();
    let of_cart: Vec<_> = all
        .iter()
        .filter(|(resource, _)| resource.contains_key("service.version"))
        .collect();
    for (resource, record) in of_cart {
        let identity = [
            "deployment.environment.name",
            "service.namespace",
            "service.name",
            "service.version",
        ];
        assert_eq!(
            identity.map(|key| resource[key].as_str()),
            ["prod", "shop", "cart", "1.2.3"]
        );
        assert_eq!(
            (hex(&record.trace_id), hex(&record.span_id), record.flags),
            (TRACE.to_owned(), SPAN.to_owned(), 1)
        );
        assert_eq!(body(record), EVIL);
        assert_eq!(
            (record.severity_text.as_str(), record.severity_number),
            ("WARN", 13)
        );
        assert_eq!(record.time_unix_nano, 1_767_323_045_678_901_000);
        let attributes = texts(&record.attributes);
        assert_eq!(attributes["correlation.id"], "c-4711");
        assert!(
            !attributes.contains_key("trace_id"),
            "a line's attributes stay in theirs: {attributes:?}"
        );
    }
    let with = |text: &str| {
        all.iter()
            .filter(|(_, record)| body(record) == text)
            .collect::<Vec<_>>()
    };
    let outside = with("outside");
    assert_eq!((outside[0].1.trace_id.len(), outside[0].1.span_id.len()), (0, 0));
    assert_eq!(outside[0].0["service.name"], "cart");
    assert!(
        with(PLAIN).len() >= 2 && !with(CUT).is_empty(),
        "what is no line passes as it is: {all:?}"
    );
}

fn append(path: &Path, lines: &[String]) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.expect("the test's directory is writable");
    file.write_all((lines.join("\n") + "\n").as_bytes())
        .expect("there is room");
}

fn records(request: &ExportLogsServiceRequest) -> impl Iterator<Item = (BTreeMap<&str, String>, &LogRecord)> {
    request.resource_logs.iter().flat_map(|logs| {
        let resource = logs
            .resource
            .as_ref()
            .map(|resource| texts(&resource.attributes))
            .unwrap_or_default();
        let records = logs.scope_logs.iter().flat_map(|scope| &scope.log_records);
        records.map(move |record| (resource.clone(), record))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_own_runtime_keeps_ids_and_identity_of_a_line() {
    let client = Client::build(Language::Python).await;
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let vector: Value =
        serde_yaml::from_str(&pipelines(&LoggingSettings::default())["vector.yaml"]).expect("YAML");
    let program = vector["transforms"]["parsed"]["source"]
        .as_str()
        .expect("a program");
    let lines = [
        line(),
        contained(&line(), "F"),
        OUTSIDE.to_owned(),
        PLAIN.to_owned(),
        CUT.to_owned(),
    ];
    let file = dir.path().join("lines");
    append(&file, &lines);
    let file = file.display().to_string();
    let told = run(&["venv/bin/python", "remap.py", program, &file], client.dir()).await;
    let told = told.unwrap_or_else(|told| panic!("{told}"));
    let events: Vec<Value> = told
        .lines()
        .map(|event| serde_json::from_str(event).expect("JSON"))
        .collect();
    assert_eq!(events.len(), lines.len());
    assert_eq!(
        events[0], events[1],
        "with and without what the runtime puts before it"
    );
    let event = &events[0];
    assert_eq!(
        (&event["trace_id"], &event["span_id"]),
        (&TRACE.into(), &SPAN.into())
    );
    assert_eq!(
        (&event["message"], &event["correlation.id"]),
        (&EVIL.into(), &"c-4711".into())
    );
    assert_eq!(
        (&event["service.name"], &event["service.version"]),
        (&"cart".into(), &"1.2.3".into())
    );
    assert_eq!(
        event["attributes"]["trace_id"], "forged",
        "it stays where it was put"
    );
    assert!(
        event["timestamp"]
            .as_str()
            .is_some_and(|at| at.starts_with("2026-01-02 03:04:05.678901")),
        "{event}"
    );
    assert_eq!(
        (&events[2]["trace_id"], &events[2]["message"]),
        (&Value::Null, &"outside".into())
    );
    assert_eq!(
        (&events[3]["message"], &events[4]["message"]),
        (&PLAIN.into(), &CUT.into())
    );
    // What the sink asks of an event is there.
    let sink = &vector["sinks"]["loki"];
    for part in ["labels", "structured_metadata"] {
        for template in sink[part].as_object().expect("names").values() {
            let field = template
                .as_str()
                .expect("a template")
                .trim_matches(['{', '}', ' ', '"']);
            assert!(!event[field].is_null(), "{template}: {event}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alloys_own_parser_reads_its_pipeline() {
    let client = Client::build(Language::AlloySyntax).await;
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let file = dir.path().join("config.alloy");
    let text = &pipelines(&LoggingSettings::default())["config.alloy"];
    let program = file.display().to_string();
    std::fs::write(&file, text).expect("the test's directory is writable");
    let told = run(&["./client", &program], client.dir()).await;
    let blocks = "local.file_match lines\nloki.source.file lines\nloki.process lines\nloki.write loki\n";
    assert_eq!(told.as_deref(), Ok(blocks));
    std::fs::write(&file, text.replacen('}', "", 1)).expect("the test's directory is writable");
    assert!(
        run(&["./client", &program], client.dir()).await.is_err(),
        "a file that lacks a brace is refused"
    );
}
