//! Files that Grafana reads when it starts: where the dashboards lie, and the data sources that they need.
//!
//! In: settings. Out: a provider and data sources, as `GF_PATHS_PROVISIONING` or a mount takes them.
//! Left out on purpose: Grafana's own settings, alerting (ours is Prometheus'), and passwords: the data sources ask for none.
//! Source: Grafana documentation, "Provision Grafana", "Configure the Tempo data source", "Jaeger data source".

use map::catalogue as names;
use serde_json::Value;

use crate::Files;
use crate::dashboard::ascii;
use crate::settings::GrafanaSettings;

/// The provider, below the output directory.
pub const PROVIDER_FILE: &str = "grafana/provisioning/dashboards/tracemap.yaml";
/// The data sources, below the output directory.
pub const DATASOURCES_FILE: &str = "grafana/provisioning/datasources/tracemap.yaml";

/// How much earlier and later than a span its metrics are looked at.
const AROUND_A_SPAN: &str = "5m";

pub(crate) fn files(settings: &GrafanaSettings, web_url: &str) -> Files {
    Files::from([
        (PROVIDER_FILE.to_owned(), provider(settings)),
        (DATASOURCES_FILE.to_owned(), datasources(settings, web_url)),
    ])
}

fn provider(settings: &GrafanaSettings) -> String {
    let (folder, path) = (quoted(&settings.folder), quoted(&settings.dashboards_path));
    format!(
        "# Dashboards from the directory that tracemap keeps generated. Start Grafana with GF_PATHS_PROVISIONING set to the
# directory above this one's, or mount what `generate.out` names and set it so in the container. The uids stay the same,
# so links and stars survive each generation.
apiVersion: 1
providers:
  - name: tracemap
    folder: {folder}
    type: file
    # Generated files are overwritten when the map changes; save a copy under another name to edit one.
    allowUiUpdates: false
    disableDeletion: false
    updateIntervalSeconds: 30
    options:
      # As Grafana sees it (generate.grafana.dashboards_path).
      path: {path}
"
    )
}

fn datasources(settings: &GrafanaSettings, web_url: &str) -> String {
    let prometheus = quoted(settings.prometheus_url.trim_end_matches('/'));
    let web = settings
        .collector_url
        .as_deref()
        .unwrap_or(web_url)
        .trim_end_matches('/');
    let (tempo, jaeger) = (quoted(&format!("{web}/tempo")), quoted(&format!("{web}/jaeger")));
    let interval = settings.scrape_interval;
    let loki = settings.loki_url.as_deref();
    let links = trace_to_metrics() + if loki.is_some() { TRACE_TO_LOGS } else { "" };
    let loki = loki.map(loki_datasource).unwrap_or_default();
    format!(
        "# The Prometheus that scrapes tracemap (generate.grafana.prometheus_url), and tracemap's own traces. Grafana replaces
# `$NAME` by its environment, and `$$` is a dollar.
apiVersion: 1
datasources:
  - name: Prometheus (tracemap)
    uid: tracemap-prometheus
    type: prometheus
    access: proxy
    url: {prometheus}
    jsonData:
      httpMethod: POST
      # The scrape interval of that Prometheus: the shortest step that a panel asks for.
      timeInterval: {interval}
      # From an exemplar in a panel to its trace. Prometheus keeps them with --enable-feature=exemplar-storage.
      exemplarTraceIdDestinations:
        - {{ name: trace_id, datasourceUid: tracemap-tempo }}
  # The collector answers as Tempo and as Jaeger; one of the two is enough.
  - name: Traces (tracemap)
    uid: tracemap-tempo
    type: tempo
    access: proxy
    url: {tempo}
    jsonData:
      # Streaming is gRPC, which the collector does not speak.
      streamingEnabled: {{ search: false, metrics: false }}
      serviceMap: {{ datasourceUid: tracemap-prometheus, histogramType: classic }}
      nodeGraph: {{ enabled: true }}
{links}  - name: Traces as in Jaeger (tracemap)
    uid: tracemap-jaeger
    type: jaeger
    access: proxy
    url: {jaeger}
    jsonData:
      nodeGraph: {{ enabled: true }}
{links}{loki}"
    )
}

/// Links from a span to the lines of its trace, as the pipelines of `instrumentation::logging` write them: the service is a
/// label, the trace is structured metadata. A line may come before its span and after it.
const TRACE_TO_LOGS: &str = "      # From a span to the lines of its trace.
      tracesToLogsV2:
        datasourceUid: tracemap-loki
        spanStartTimeShift: -5m
        spanEndTimeShift: 5m
        tags:
          - { key: service.name, value: service_name }
        customQuery: true
        query: '{$${__tags}} | trace_id=\"$${__trace.traceId}\"'
";

/// The Loki that pipelines write to, with links from a line to its trace and to the other lines of its request.
fn loki_datasource(url: &str) -> String {
    let url = quoted(url.trim_end_matches('/'));
    format!(
        "  # Log lines (generate.grafana.loki_url), from the pipelines in logging/_pipelines.
  - name: Logs (tracemap)
    uid: tracemap-loki
    type: loki
    access: proxy
    url: {url}
    jsonData:
      derivedFields:
        # Structured metadata of a line, so no text in a message can make such a link.
        - name: Trace
          matcherType: label
          matcherRegex: trace_id
          datasourceUid: tracemap-tempo
          url: '$${{__value.raw}}'
          urlDisplayLabel: Trace
        - name: Request
          matcherType: label
          matcherRegex: correlation_id
          datasourceUid: tracemap-loki
          url: '{{service_name=~\".+\"}} | correlation_id=\"$${{__value.raw}}\"'
          urlDisplayLabel: All lines of the request
"
    )
}

/// Links from a span to the rate, the failures and the latency of its service; a span's name is no attribute, so its
/// operation cannot be asked for.
fn trace_to_metrics() -> String {
    let (calls, latency) = (names::SPAN_CALLS, names::SPAN_LATENCY);
    // `$$__tags` is Grafana's, kept from being read as a variable of the environment.
    let queries = [
        ("Requests", format!("sum(rate({calls}{{$$__tags}}[5m]))")),
        (
            "Failures",
            format!("sum(rate({calls}{{$$__tags,status_code=\"STATUS_CODE_ERROR\"}}[5m]))"),
        ),
        (
            "Latency, p95",
            format!("histogram_quantile(0.95, sum by (le) (rate({latency}_bucket{{$$__tags}}[5m])))"),
        ),
    ];
    let queries = queries.map(|(name, query)| {
        let (name, query) = (quoted(name), quoted(&query));
        format!("          - {{ name: {name}, query: {query} }}")
    });
    let queries = queries.join("\n");
    format!(
        "      # From a span to the series of its service.
      tracesToMetrics:
        datasourceUid: tracemap-prometheus
        spanStartTimeShift: -{AROUND_A_SPAN}
        spanEndTimeShift: {AROUND_A_SPAN}
        tags:
          - {{ key: service.name, value: service }}
        queries:
{queries}
"
    )
}

/// A double-quoted scalar: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    ascii(&Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "http://127.0.0.1:7070";

    fn yaml(settings: &GrafanaSettings, file: &str) -> Value {
        serde_yaml::from_str(&files(settings, WEB)[file]).unwrap()
    }

    /// Every value below a key of this name.
    fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
            Value::Object(object) => {
                found.extend(object.get(key));
                object.values().for_each(|value| all(value, key, found));
            }
            _ => {}
        }
    }

    #[test]
    fn the_examples_are_what_is_generated_without_settings() {
        let files = files(&GrafanaSettings::default(), WEB);
        let of = |file: &str| files[file].as_str();
        expect_test::expect_file!["../../deploy/examples/grafana/provisioning/dashboards/tracemap.yaml"]
            .assert_eq(of(PROVIDER_FILE));
        expect_test::expect_file!["../../deploy/examples/grafana/provisioning/datasources/tracemap.yaml"]
            .assert_eq(of(DATASOURCES_FILE));
    }

    #[test]
    fn every_data_source_that_is_linked_to_is_in_the_file() {
        let datasources = yaml(&GrafanaSettings::default(), DATASOURCES_FILE);
        let (mut uids, mut linked) = (Vec::new(), Vec::new());
        all(&datasources, "uid", &mut uids);
        all(&datasources, "datasourceUid", &mut linked);
        assert_eq!((uids.len(), linked.len()), (3, 4));
        assert!(linked.iter().all(|uid| uids.contains(uid)), "{linked:?} {uids:?}");
    }

    #[test]
    fn with_a_loki_lines_link_to_their_trace_and_spans_to_their_lines() {
        let settings = GrafanaSettings {
            loki_url: Some("http://loki:3100/".to_owned()),
            ..GrafanaSettings::default()
        };
        let datasources = yaml(&settings, DATASOURCES_FILE);
        let (mut uids, mut linked, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        all(&datasources, "uid", &mut uids);
        all(&datasources, "datasourceUid", &mut linked);
        all(&datasources, "derivedFields", &mut fields);
        assert_eq!((uids.len(), linked.len()), (4, 8));
        assert!(linked.iter().all(|uid| uids.contains(uid)), "{linked:?} {uids:?}");
        let trace = &fields[0][0];
        assert_eq!(
            (&trace["matcherType"], &trace["matcherRegex"]),
            (&"label".into(), &"trace_id".into())
        );
        assert_eq!(
            (&trace["datasourceUid"], &trace["url"]),
            (&"tracemap-tempo".into(), &"$${__value.raw}".into())
        );
        let tempo = datasources
            .pointer("/datasources/1/jsonData/tracesToLogsV2")
            .unwrap();
        assert_eq!(tempo["query"], "{$${__tags}} | trace_id=\"$${__trace.traceId}\"");
        assert_eq!(tempo["tags"][0]["value"], "service_name");
        assert_eq!(
            datasources.pointer("/datasources/3/url"),
            Some(&"http://loki:3100".into())
        );
    }

    #[test]
    fn queries_name_series_of_the_catalogue_and_keep_grafanas_variable_from_the_environment() {
        let datasources = yaml(&GrafanaSettings::default(), DATASOURCES_FILE);
        let mut queries = Vec::new();
        all(&datasources, "query", &mut queries);
        assert_eq!(queries.len(), 6);
        for query in queries.iter().map(|query| query.as_str().unwrap()) {
            let series = query
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .find(|word| word.starts_with("traces_"));
            assert!(names::find(series.unwrap()).is_some(), "{query}");
            assert!(query.contains("{$$__tags"), "{query}");
        }
    }

    #[test]
    fn settings_go_in_as_they_are_whatever_signs_they_have() {
        let settings = GrafanaSettings {
            folder: "Team \"Shop\": #1 - ü".to_owned(),
            dashboards_path: "/a: b/#c".to_owned(),
            prometheus_url: "https://prometheus/".to_owned(),
            collector_url: Some("http://collector:7070/".to_owned()),
            ..GrafanaSettings::default()
        };
        let provider = yaml(&settings, PROVIDER_FILE);
        assert_eq!(
            provider.pointer("/providers/0/folder"),
            Some(&Value::from("Team \"Shop\": #1 - ü"))
        );
        assert_eq!(
            provider.pointer("/providers/0/options/path"),
            Some(&Value::from("/a: b/#c"))
        );
        let mut urls = Vec::new();
        let datasources = yaml(&settings, DATASOURCES_FILE);
        all(&datasources, "url", &mut urls);
        assert_eq!(
            urls,
            [
                "https://prometheus",
                "http://collector:7070/tempo",
                "http://collector:7070/jaeger"
            ]
        );
    }
}
