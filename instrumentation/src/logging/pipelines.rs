//! Pipelines that collect the lines: for the OpenTelemetry Collector, Vector, Fluent Bit and Grafana Alloy.
//!
//! In: where lines lie and where they go. Out: a file for each collector. They are the same for all services, since the lines
//! are, so nothing is to be rolled out again when services come and go.
//! Left out on purpose: what runs them, credentials, and lines that are no JSON: these pass as they are.

use std::collections::BTreeMap;

use super::PIPELINES;
use super::settings::{Address, LoggingSettings};

const OTEL_COLLECTOR: &str = include_str!("../../templates/pipelines/otel-collector.yaml");
const VECTOR: &str = include_str!("../../templates/pipelines/vector.yaml");
const VRL: &str = include_str!("../../templates/pipelines/vector.vrl");
const FLUENT_BIT: &str = include_str!("../../templates/pipelines/fluent-bit.yaml");
const ALLOY: &str = include_str!("../../templates/pipelines/config.alloy");

/// Where a line's identity stands.
const IDENTITY: [&str; 4] = [
    "service.name",
    "service.namespace",
    "deployment.environment.name",
    "service.version",
];
/// What becomes a part of the record itself.
const OF_THE_RECORD: [&str; 5] = ["timestamp", "severity_text", "trace_id", "span_id", "trace_flags"];

/// Pipelines by path. None where the settings are not what [`LoggingSettings::check`] lets pass.
pub(super) fn files(settings: &LoggingSettings) -> BTreeMap<String, String> {
    let Some(loki) = Address::of(&settings.loki_url).filter(|_| settings.check("").is_empty()) else {
        return BTreeMap::new();
    };
    let base = settings.loki_url.trim_end_matches('/');
    let each = |form: fn(&str) -> String| {
        let paths = settings.paths.iter().map(|path| form(path));
        paths.collect::<Vec<_>>().join("\n")
    };
    let moves = IDENTITY.map(|key| {
        let from = format!("attributes[\"{key}\"]");
        format!("      - {{ type: move, if: '{from} != nil', from: '{from}', to: 'resource[\"{key}\"]' }}")
    });
    let removes = OF_THE_RECORD.map(|key| {
        let field = format!("attributes[\"{key}\"]");
        format!("      - {{ type: remove, if: '{field} != nil', field: '{field}' }}")
    });
    let vrl: Vec<String> = VRL.lines().map(|line| format!("      {line}")).collect();
    let values = [
        ("@PATHS_YAML@", each(|path| format!("      - '{path}'"))),
        ("@PATHS_COMMAS@", format!("'{}'", settings.paths.join(","))),
        (
            "@PATHS_ALLOY@",
            each(|path| format!("    {{ __path__ = \"{path}\" }},")),
        ),
        ("@RESOURCE_MOVES@", moves.join("\n")),
        ("@FIELD_REMOVES@", removes.join("\n")),
        ("@VRL@", vrl.join("\n")),
        ("@LOKI_YAML@", format!("'{base}'")),
        ("@LOKI_OTLP_YAML@", format!("'{base}/otlp'")),
        ("@LOKI_PUSH_ALLOY@", format!("\"{base}/loki/api/v1/push\"")),
        ("@LOKI_PUSH_PATH@", format!("'{}/loki/api/v1/push'", loki.prefix)),
        ("@LOKI_HOST@", format!("'{}'", loki.host)),
        ("@LOKI_PORT@", loki.port.to_string()),
        ("@LOKI_TLS@", if loki.tls { "on" } else { "off" }.to_owned()),
    ];
    let files = [
        ("otel-collector.yaml", OTEL_COLLECTOR),
        ("vector.yaml", VECTOR),
        ("fluent-bit.yaml", FLUENT_BIT),
        ("config.alloy", ALLOY),
    ];
    let written = files.map(|(name, template)| {
        let filled = values.iter().fold(template.to_owned(), |text, (place, value)| {
            text.replace(place, value)
        });
        (format!("{PIPELINES}/{name}"), filled)
    });
    written.into()
}
