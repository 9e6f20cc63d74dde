//! The directory of one service: what its logging libraries take, and a page that says how.
//!
//! In: a service's id and language. Out: files. An id is what a stranger's SDK sent: what of it is more than letters, digits
//! and a few signs goes into no file but the page, and there as text.
//! Left out on purpose: the namespace or environment of an id of two parts, which may be either; the environment says it.

use std::fmt::Write as _;

use map::services::settings_of;
use map::{Language, LogLibrary, LoggingFacts, Node, NodeId, Services};
use sha2::{Digest, Sha256};

/// A directory's share of the id; file systems refuse names above 255 bytes.
const MAX_STEM: usize = 100;
const HASH_DIGITS: usize = 12;
/// Longer names stand in no file.
const MAX_NAME: usize = 200;
/// What OpenTelemetry calls a service without a name.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A service, and how it logs.
pub(super) struct Subject<'a> {
    pub(super) id: &'a NodeId,
    seen: Option<Language>,
    stated: Option<LoggingFacts>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(id: &'a NodeId, node: &Node, services: &Services) -> Self {
        Self {
            id,
            seen: node.language,
            stated: settings_of(services, id).and_then(|settings| settings.logging),
        }
    }

    pub(super) fn is_stated(&self) -> bool {
        self.stated.is_some()
    }

    /// What people state, else what the stated library is for, else what the SDK says.
    pub(super) fn language(&self) -> Option<Language> {
        let stated = self.stated.unwrap_or_default();
        let library = stated.library.map(LogLibrary::language);
        stated.language.or(library).or(self.seen)
    }

    /// The stated one, else all of the language.
    pub(super) fn libraries(&self) -> impl Iterator<Item = LogLibrary> {
        let language = self.language();
        let stated = self.stated.and_then(|stated| stated.library);
        LogLibrary::ALL.into_iter().filter(move |library| {
            Some(library.language()) == language && stated.is_none_or(|stated| stated == *library)
        })
    }

    /// The id as text that neither Markdown nor a comment takes for something else.
    pub(super) fn shown(&self) -> String {
        let plain = |c: char| {
            if c.is_alphanumeric() || "._/@ -".contains(c) {
                c
            } else {
                '_'
            }
        };
        let shown: String = self.id.as_str().chars().take(MAX_STEM).map(plain).collect();
        // Two of them end a comment in XML.
        format!("`{}`", shown.replace("--", "-_"))
    }

    pub(super) fn files(&self) -> Vec<(String, String)> {
        let directory = directory_name(self.id);
        let mut files = vec![(format!("logging/{directory}/README.md"), self.readme())];
        let mut templates: Vec<_> = self.libraries().flat_map(templates).copied().collect();
        templates.sort_unstable();
        templates.dedup();
        for (name, template) in templates {
            files.push((format!("logging/{directory}/{name}"), self.filled(template)));
        }
        files
    }

    fn filled(&self, template: &str) -> String {
        let (environment, namespace, name) = self.identity();
        let or_unknown = if name.is_empty() { UNKNOWN_SERVICE } else { name };
        let values = [
            ("@SERVICE@", self.shown()),
            ("@SERVICE_NAME_OR_UNKNOWN@", or_unknown.to_owned()),
            ("@SERVICE_NAME@", name.to_owned()),
            ("@SERVICE_NAMESPACE@", namespace.to_owned()),
            ("@ENVIRONMENT@", environment.to_owned()),
            (
                "@LOG4J_NAMESPACE@",
                log4j_field("service.namespace", "SERVICE_NAMESPACE", namespace),
            ),
            (
                "@LOG4J_ENVIRONMENT@",
                log4j_field(
                    "deployment.environment.name",
                    "DEPLOYMENT_ENVIRONMENT",
                    environment,
                ),
            ),
            (
                "\"@SERILOG_TEMPLATE@\"",
                serde_json::Value::from(SERILOG).to_string(),
            ),
        ];
        // No value holds what a later place is called, since names have no `@`.
        values.iter().fold(template.to_owned(), |text, (place, value)| {
            text.replace(place, value)
        })
    }

    /// Environment, namespace and name, empty where the id does not say them or not in plain signs.
    fn identity(&self) -> (&str, &str, &str) {
        let parts: Vec<&str> = self.id.as_str().split('/').collect();
        let (environment, namespace, name) = match parts.as_slice() {
            [environment, namespace, name] => (*environment, *namespace, *name),
            [.., name] => ("", "", *name),
            [] => ("", "", ""),
        };
        let plain = |part: &'a str| {
            let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if part.len() <= MAX_NAME && part.chars().all(legal) {
                part
            } else {
                ""
            }
        };
        (plain(environment), plain(namespace), plain(name))
    }

    fn readme(&self) -> String {
        let shown = self.shown();
        let mut text = format!("# Logs of {shown}\n\n");
        let language = self.language();
        let _ = match (language, language == self.seen) {
            (Some(language), true) => writeln!(text, "Written in {}, as its SDK says.", language.as_str()),
            (Some(language), false) => {
                writeln!(text, "Written in {}, as `services` states.", language.as_str())
            }
            (None, _) => writeln!(
                text,
                "Its language is not known: no SDK named it (`telemetry.sdk.language`). State it, and files for its libraries \
                 come here:\n\n```yaml\nservices:\n  {}:\n    logging: {{ language: java }}\n```",
                serde_json::Value::from(self.id.as_str())
            ),
        };
        let libraries: Vec<LogLibrary> = self.libraries().collect();
        if libraries.is_empty() {
            text.push_str(COMMON);
        } else {
            text.push_str("\n| library | take |\n|---|---|\n");
            for library in &libraries {
                let files: Vec<String> = templates(*library)
                    .iter()
                    .map(|(file, _)| format!("`{file}`"))
                    .collect();
                let _ = writeln!(text, "| {} | {} |", library.as_str(), files.join(" and "));
            }
            if !libraries.contains(&LogLibrary::Serilog) {
                text.push_str(
                    "\nEach file says at its top what it needs, how it is switched on, and how the correlation id comes to it.\n",
                );
            }
        }
        text.push_str(match libraries.first() {
            Some(LogLibrary::Logback | LogLibrary::Log4j2) => CONFIGURED_IDENTITY,
            Some(LogLibrary::Serilog) => SERILOG_IDENTITY,
            _ => IDENTITY,
        });
        let (_, _, name) = self.identity();
        if name.is_empty() {
            text.push_str(
                "\nThe name of this service has signs that no file should hold: set `OTEL_SERVICE_NAME`.\n",
            );
        }
        text.push_str(
            "\nThe form of a line is `../_schema/line.schema.json`; `../_pipelines` collects such lines. A line joins its trace where \
             a span is current when it is written.\n",
        );
        text
    }
}

const IDENTITY: &str = "
Who the service is comes from `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, as for its SDK, so that lines and spans agree; the
name on the map is used where they are silent. `service.version` is only there.
";

const CONFIGURED_IDENTITY: &str = "
Who the service is comes from the environment: `OTEL_SERVICE_NAME`, `SERVICE_NAMESPACE`, `DEPLOYMENT_ENVIRONMENT`, `SERVICE_VERSION`.
Say there what `OTEL_RESOURCE_ATTRIBUTES` says to its SDK, so that lines and spans agree; the name on the map is used where the
environment is silent.
";

const SERILOG_IDENTITY: &str = "
Who the service is comes from the properties at the end of the file, which the environment overrides: `Serilog__Properties__ServiceName`,
`…__ServiceNamespace`, `…__DeploymentEnvironment`, `…__ServiceVersion`. Say there what `OTEL_RESOURCE_ATTRIBUTES` says to its SDK, so that
lines and spans agree. The correlation id is the property `CorrelationId`: `LogContext.PushProperty` in the middleware. Needs Serilog 3.1,
Serilog.Expressions 5, Serilog.Settings.Configuration and Serilog.Sinks.Console. This file was checked by its form alone: try it first.
";

const COMMON: &str = "
There is no file for its logging library. Let it write one JSON object a line to standard output:

```json
{\"timestamp\": \"2026-01-02T03:04:05.678Z\", \"severity_text\": \"INFO\", \"body\": \"the message\", \"trace_id\": \"0af7651916cd43dd8448eb211c80319c\",
 \"span_id\": \"b7ad6b7169203331\", \"correlation.id\": \"as x-correlation-id has it\", \"service.name\": \"...\", \"attributes\": {}}
```

`trace_id` and `span_id` are those of the span that is current (lower-case hex, from the SDK's context), and absent outside of spans.
Whatever is not fixed goes below `attributes`, by a JSON encoder: a message put together by hand can forge a field.
";

/// The template of Serilog.Expressions: `rest()` is every property that it does not name.
const SERILOG: &str = concat!(
    "{ {timestamp: UtcDateTime(@t), ",
    "severity_text: if @l = 'Verbose' then 'TRACE' else if @l = 'Debug' then 'DEBUG' else if @l = 'Warning' then 'WARN' ",
    "else if @l = 'Error' then 'ERROR' else if @l = 'Fatal' then 'FATAL' else 'INFO', ",
    "body: @m, trace_id: @tr, span_id: @sp, 'correlation.id': CorrelationId, 'service.name': ServiceName, ",
    "'service.namespace': if ServiceNamespace = '' then undefined() else ServiceNamespace, ",
    "'deployment.environment.name': if DeploymentEnvironment = '' then undefined() else DeploymentEnvironment, ",
    "'service.version': if ServiceVersion = '' then undefined() else ServiceVersion, ",
    "'otel.scope.name': SourceContext, ",
    "'exception.type': if @x is null then undefined() else TypeOf(@x), ",
    "'exception.message': Inspect(@x).Message, ",
    "'exception.stacktrace': if @x is null then undefined() else ToString(@x), ",
    "attributes: rest()} }\n"
);

/// Files of a library, and what they are made from.
fn templates(library: LogLibrary) -> &'static [(&'static str, &'static str)] {
    const PYTHON: (&str, &str) = (
        "tracemap_logging.py",
        include_str!("../../templates/tracemap_logging.py"),
    );
    match library {
        LogLibrary::TracingSubscriber => &[(
            "tracemap_logging.rs",
            include_str!("../../templates/tracemap_logging.rs"),
        )],
        LogLibrary::Logback => &[("logback.xml", include_str!("../../templates/logback.xml"))],
        LogLibrary::Log4j2 => &[("log4j2.xml", include_str!("../../templates/log4j2.xml"))],
        LogLibrary::Logging => &[PYTHON],
        LogLibrary::Structlog => &[
            (
                "tracemap_structlog.py",
                include_str!("../../templates/tracemap_structlog.py"),
            ),
            PYTHON,
        ],
        LogLibrary::Pino => &[(
            "tracemap-pino.cjs",
            include_str!("../../templates/tracemap-pino.cjs"),
        )],
        LogLibrary::Slog => &[("tracemapslog/slog.go", include_str!("../../templates/slog.go"))],
        LogLibrary::Zap => &[("tracemapzap/zap.go", include_str!("../../templates/zap.go"))],
        LogLibrary::Serilog => &[(
            "appsettings.serilog.json",
            include_str!("../../templates/appsettings.serilog.json"),
        )],
    }
}

/// A field of Log4j's layout; one that has no default is there only where the variable is.
fn log4j_field(key: &str, variable: &str, default: &str) -> String {
    if default.is_empty() {
        return format!(
            "        <EnvironmentArbiter propertyName=\"{variable}\">\n          <EventTemplateAdditionalField key=\"{key}\" \
             value=\"${{env:{variable}}}\"/>\n        </EnvironmentArbiter>\n"
        );
    }
    format!(
        "        <EventTemplateAdditionalField key=\"{key}\" value=\"${{env:{variable}:-{default}}}\"/>\n"
    )
}

/// The name of a service's directory, which follows from its id alone and begins with a letter or digit: `_pipelines` is
/// nobody's. `--` stands before the hash and nowhere else, so that no id can take the name of another.
pub(super) fn directory_name(id: &NodeId) -> String {
    let id = id.as_str();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let begins = id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && id.len() <= MAX_STEM && id.chars().all(legal) && !id.contains("--") {
        return id.to_owned();
    }
    let stem: String = id
        .chars()
        .map(|c| if legal(c) { c } else { '-' })
        .take(MAX_STEM)
        .collect();
    let stem: Vec<&str> = stem
        .split(['-', '_', '.'])
        .filter(|part| !part.is_empty())
        .collect();
    let mut hash = String::new();
    for byte in Sha256::digest(id.as_bytes()) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash.truncate(HASH_DIGITS);
    let stem = if stem.is_empty() {
        "service".to_owned()
    } else {
        stem.join("-")
    };
    format!("{stem}--{hash}")
}
