//! Generated logging files in their languages: what programs write through them joins the traces of the same programs.
//!
//! In: programs that log while they have a span (`log.py`, `log.js`, `Log.java`, `go-logs`, and one here for Rust), files that are
//! generated for a map with their services, a collector that takes their spans. Out: lines, each held against the schema and against
//! the trace that it names.
//! Left out on purpose: Serilog. There is no .NET among what a fresh machine can install; `instrumentation` checks its file by form alone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use instrumentation::logging::{LoggingSettings, SCHEMA_FILE, directory, generate};
use map::{Language as Written, Map, Node, NodeId};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::client::{Client, Language, run};
use crate::story::Collector;
use crate::support::{get_json, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// A message by which somebody tries to write lines and fields of their own.
pub(crate) const EVIL: &str = "he said \"hi\"\n{\"timestamp\":\"2026-01-01T00:00:00Z\",\"severity_text\":\"INFO\",\"body\":\"forged\",\
    \"trace_id\":\"00000000000000000000000000000bad\"}\r\n\", \"trace_id\": \"forged\\\", \u{1}\u{1b}[31m\u{7f}\u{85}\u{2028} ${env:PATH} %d {} {0} ü 🦀";

/// A line; a name that stands in it twice is refused, since readers differ in which they take.
#[derive(Debug)]
pub(crate) struct Line(pub(crate) BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Line, A::Error> {
                let mut line = BTreeMap::new();
                while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                    if line.insert(name.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("`{name}` stands there twice")));
                    }
                }
                Ok(Line(line))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Line {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Holds a line against the words of the schema that it uses; another word is a failure, not a line that passes.
fn breaks(schema: &Value, line: &Line) -> Vec<String> {
    let mut found = Vec::new();
    let object = |key: &str| schema[key].as_object().expect("the schema is an object");
    for name in schema["required"].as_array().expect("a list") {
        let name = name.as_str().expect("a name");
        if !line.0.contains_key(name) {
            found.push(format!("`{name}` is missing"));
        }
    }
    for (name, others) in object("dependentRequired") {
        let missing = others
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str);
        let missing = missing.filter(|other| line.0.contains_key(name) && !line.0.contains_key(*other));
        found.extend(missing.map(|other| format!("`{name}` is there without `{other}`")));
    }
    for (name, value) in &line.0 {
        let Some(rules) = object("properties").get(name) else {
            found.push(format!("`{name}` is no field"));
            continue;
        };
        for (rule, told) in rules.as_object().expect("rules") {
            let keeps = match (rule.as_str(), told.as_str()) {
                ("description", _) => true,
                ("type", Some("string")) => value.is_string(),
                ("type", Some("object")) => value.is_object(),
                ("enum", _) => told.as_array().expect("a list").contains(value),
                ("minLength", _) => value
                    .as_str()
                    .is_some_and(|text| text.len() as u64 >= told.as_u64().expect("a number")),
                ("pattern", Some(pattern)) => {
                    let pattern = regex::Regex::new(pattern).expect("a pattern");
                    value.as_str().is_some_and(|text| pattern.is_match(text))
                }
                _ => panic!("the schema says `{rule}: {told}`, which this test does not know"),
            };
            if !keeps {
                found.push(format!("`{name}` is {value}, against {rule} {told}"));
            }
        }
    }
    found
}

/// A service on the map, what is generated for it, and where its programs find that.
struct Subject {
    id: NodeId,
    files: BTreeMap<String, String>,
}

impl Subject {
    fn new(id: &str, language: Written) -> Self {
        let id = NodeId::from(id);
        let node = Node {
            language: Some(language),
            ..Node::default()
        };
        let map = Map {
            nodes: [(id.clone(), node)].into(),
            ..Map::default()
        };
        let files = generate(&map, &LoggingSettings::default());
        Self { id, files }
    }

    /// A file of the service's directory.
    fn file(&self, name: &str) -> &str {
        &self.files[&format!("{}/{name}", directory(&self.id))]
    }

    /// Puts files where a program finds them.
    fn put(&self, names: &[&str], into: &Path) {
        for name in names {
            std::fs::write(into.join(name), self.file(name)).expect("the test's directory is writable");
        }
    }

    /// Holds four lines against the schema, the service, the message of no good intent, and the trace in the collector.
    async fn joins(&self, library: &str, collector: &Collector, told: &str) {
        let schema: Value = serde_json::from_str(&self.files[SCHEMA_FILE]).expect("the schema is JSON");
        let lines: Vec<Line> = told
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{library}: {e}: {line}")))
            .collect();
        assert_eq!(
            lines.len(),
            4,
            "{library}: no message makes a line of its own: {told}"
        );
        for line in &lines {
            assert_eq!(
                breaks(&schema, line),
                <[String; 0]>::default(),
                "{library}: {line:?}"
            );
        }
        let parts: Vec<&str> = self.id.as_str().split('/').collect();
        let identity = match parts.as_slice() {
            [environment, namespace, name] => [*environment, *namespace, *name, "1.2.3+b"],
            _ => ["", "", self.id.name(), ""],
        };
        let keys = [
            "deployment.environment.name",
            "service.namespace",
            "service.name",
            "service.version",
        ];
        for line in &lines {
            assert_eq!(keys.map(|key| line.text(key)), identity, "{library}");
        }
        let severities = ["INFO", "WARN", "ERROR", "INFO"];
        let bodies = ["placed 1", EVIL, "failed", "outside"];
        for ((line, severity), body) in lines.iter().zip(severities).zip(bodies) {
            assert_eq!(
                (line.text("severity_text"), line.text("body")),
                (severity, body),
                "{library}"
            );
        }
        let orders = &lines[0].0["attributes"]["orders"];
        assert!(orders == 1 || orders == "1", "{library}: {orders}");
        if library != "tracing-subscriber" {
            assert_eq!(lines[1].0["attributes"]["user"], EVIL, "{library}");
        }
        let failure = serde_json::to_string(&lines[2].0).expect("JSON");
        let evil = serde_json::to_string(EVIL).expect("JSON");
        assert!(
            failure.contains(&evil[1..40]),
            "{library}: the error says what it says: {failure}"
        );
        assert!(
            !lines[3].0.contains_key("trace_id"),
            "{library}: outside of spans no id"
        );

        let (trace, span) = (lines[0].text("trace_id"), lines[0].text("span_id"));
        for line in &lines[..3] {
            assert_eq!(
                (line.text("trace_id"), line.text("span_id")),
                (trace, span),
                "{library}"
            );
            assert_eq!(line.text("correlation.id"), "c-4711", "{library}");
        }
        let url = format!("http://127.0.0.1:{}/jaeger/api/traces/{trace}", collector.web);
        let found = until(&format!("the trace of {library}'s lines"), PATIENCE, async || {
            let answer = get_json(&url).await?;
            answer["data"][0]["spans"].is_array().then_some(answer)
        })
        .await;
        let spans = found["data"][0]["spans"].as_array().expect("spans");
        let found_span = spans.iter().find(|told| told["spanID"] == span);
        let found_span = found_span.unwrap_or_else(|| panic!("{library}: no span {span} in {found}"));
        let process = found_span["processID"].as_str().expect("a process");
        assert_eq!(
            found["data"][0]["processes"][process]["serviceName"],
            self.id.name(),
            "{library}: {found}"
        );
    }

    /// The collector has learned the language from the SDK.
    async fn is_known_as(&self, language: &str, collector: &Collector) {
        let known = async || {
            let map: Value = serde_yaml::from_str(&collector.get("/api/v1/map?format=yaml").await?).ok()?;
            map["nodes"][self.id.as_str()]["language"]
                .as_str()
                .map(str::to_owned)
        };
        let known = until(&format!("the language of {}", self.id), PATIENCE, known).await;
        assert_eq!(known, language);
    }
}

/// A collector, and where programs send spans.
async fn collector(dir: &Path) -> (Collector, String) {
    let collector = Collector::start(dir).await;
    let endpoint = collector.endpoint("http/protobuf");
    (collector, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_pythons_logging_and_of_structlog_join_their_traces() {
    let client = Client::build(Language::Python).await;
    let subject = Subject::new("prod/shop/logs-python", Written::Python);
    let dir = tempfile::tempdir().expect("there is room for a directory");
    subject.put(&["tracemap_logging.py", "tracemap_structlog.py"], dir.path());
    let (collector, endpoint) = collector(dir.path()).await;
    let path = format!("PYTHONPATH={}", dir.path().display());
    for library in ["logging", "structlog"] {
        let program = [
            "venv/bin/python",
            "log.py",
            library,
            &endpoint,
            "logs-python",
            EVIL,
        ];
        let words = [
            &["env", "OTEL_RESOURCE_ATTRIBUTES=service.version=1.2.3%2Bb", &path][..],
            &program,
        ]
        .concat();
        let told = run(&words, client.dir())
            .await
            .unwrap_or_else(|told| panic!("{library}: {told}"));
        subject.joins(library, &collector, &told).await;
    }
    subject.is_known_as("python", &collector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_pino_join_their_traces() {
    let client = Client::build(Language::Node).await;
    let subject = Subject::new("prod/shop/logs-node", Written::Nodejs);
    // Beside the modules that it needs.
    subject.put(&["tracemap-pino.cjs"], client.dir());
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (collector, endpoint) = collector(dir.path()).await;
    let words = [
        "env",
        "OTEL_RESOURCE_ATTRIBUTES=service.version=1.2.3%2Bb",
        "node",
        "log.js",
        &endpoint,
        "logs-node",
        EVIL,
    ];
    let told = run(&words, client.dir())
        .await
        .unwrap_or_else(|told| panic!("{told}"));
    subject.joins("pino", &collector, &told).await;
    subject.is_known_as("nodejs", &collector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_logback_and_of_log4j_join_their_traces() {
    let client = Client::build(Language::JavaLogs).await;
    let subject = Subject::new("prod/shop/logs-java", Written::Java);
    let dir = tempfile::tempdir().expect("there is room for a directory");
    subject.put(&["logback.xml", "log4j2.xml"], dir.path());
    let (collector, endpoint) = collector(dir.path()).await;
    let file = |name: &str| dir.path().join(name).display().to_string();
    let logback = format!("-Dlogback.configurationFile={}", file("logback.xml"));
    let log4j = format!("-Dlog4j2.configurationFile={}", file("log4j2.xml"));
    for library in ["logback", "log4j2"] {
        let java = [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-Dfile.encoding=UTF-8",
            "-Dsun.jnu.encoding=UTF-8",
            &logback,
            &log4j,
        ];
        let program = [
            "-cp",
            "jars/*:classes",
            "Log",
            library,
            &endpoint,
            "logs-java",
            EVIL,
        ];
        let words = [
            &["env", "LC_ALL=C.UTF-8", "SERVICE_VERSION=1.2.3+b"][..],
            &java,
            &program,
        ]
        .concat();
        let told = run(&words, client.dir())
            .await
            .unwrap_or_else(|told| panic!("{library}: {told}"));
        subject.joins(library, &collector, &told).await;
    }
    subject.is_known_as("java", &collector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_slog_and_of_zap_join_their_traces() {
    let subject = Subject::new("prod/shop/logs-go", Written::Go);
    let packages = ["tracemapslog/slog.go", "tracemapzap/zap.go"].map(|name| (name, subject.file(name)));
    let client = Client::build_with(Language::GoLogs, &packages).await;
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (collector, endpoint) = collector(dir.path()).await;
    for library in ["slog", "zap"] {
        let program = ["./client", library, &endpoint, "logs-go", EVIL];
        // `env` looks for a program where it is run.
        let words = [
            &["env", "OTEL_RESOURCE_ATTRIBUTES=service.version=1.2.3%2Bb"][..],
            &program,
        ]
        .concat();
        let told = run(&words, client.dir())
            .await
            .unwrap_or_else(|told| panic!("{library}: {told}"));
        subject.joins(library, &collector, &told).await;
    }
    subject.is_known_as("go", &collector).await;
}

/// The file as it is generated for the service `ledger`; the test fails where it differs.
#[path = "../../instrumentation/tests/golden/logging.ledger.tracemap_logging.rs.golden"]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "it is written for any program"
)]
#[rustfmt::skip]
mod tracemap_logging;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panics with it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_tracing_subscriber_join_their_traces() {
    use opentelemetry::Context;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::WithExportConfig as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    let subject = Subject::new("ledger", Written::Rust);
    let compiled =
        include_str!("../../instrumentation/tests/golden/logging.ledger.tracemap_logging.rs.golden");
    assert_eq!(
        subject.file("tracemap_logging.rs"),
        compiled,
        "what is generated is what is compiled here"
    );
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (collector, _) = collector(dir.path()).await;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://127.0.0.1:{}", collector.grpc))
        .build()
        .expect("the endpoint is an address");
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(
            opentelemetry_sdk::Resource::builder()
                .with_service_name("ledger")
                .build(),
        )
        .build();
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("tracemap.test")))
        .with(
            tracing_subscriber::fmt::layer()
                .event_format(tracemap_logging::Lines::new())
                .with_writer(move || writer.clone()),
        );
    tracing::subscriber::with_default(subscriber, || {
        let parent = tracemap_logging::with_correlation_id(&Context::new(), "c-4711");
        let span = tracing::info_span!("GET /cart", otel.kind = "server");
        span.set_parent(parent).expect("a span that did not begin");
        span.in_scope(|| {
            tracing::info!(orders = 1, "placed {}", 1);
            tracing::warn!(
                user = EVIL,
                trace_id = "forged",
                "service.name" = "forged",
                "{EVIL}"
            );
            tracing::error!(error = EVIL, "failed");
        });
        tracing::info!("outside");
    });
    tokio::task::spawn_blocking(move || provider.shutdown())
        .await
        .expect("it does not panic")
        .expect("the spans are sent");
    let told = String::from_utf8(kept.0.lock().expect("nobody panics with it").clone()).expect("UTF-8");
    subject.joins("tracing-subscriber", &collector, &told).await;
    subject.is_known_as("rust", &collector).await;
}

#[test]
fn a_line_that_breaks_the_schema_is_seen_to_break_it() {
    let schema = Subject::new("a", Written::Go).files[SCHEMA_FILE].clone();
    let schema = serde_json::from_str(&schema).expect("JSON");
    let good = "\"timestamp\":\"2026-01-02T03:04:05Z\",\"severity_text\":\"INFO\",\"body\":\"\",\"service.name\":\"a\"";
    let of = |more: &str| {
        let line = serde_json::from_str::<Line>(&format!("{{{good}{more}}}"));
        line.map_or_else(|e| vec![e.to_string()], |line| breaks(&schema, &line))
    };
    assert_eq!(of(""), <[String; 0]>::default());
    for more in [
        ",\"body\":\"twice\"",
        ",\"extra\":1",
        ",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"",
        ",\"span_id\":\"xyz\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"",
        ",\"correlation.id\":\"a b\"",
        ",\"attributes\":\"text\"",
    ] {
        assert_eq!(of(more).len(), 1, "{more}: {:?}", of(more));
    }
}
