//! The text format `OpenMetrics` 1.0.
//!
//! In: a scrape. Out: text with exemplars, and with created timestamps where they are asked for.
//! Left out on purpose: native histograms, which it has no place for, and timestamps of samples: the scraper's clock
//! is the one that counts. The specification wants whole bucket counts; those weighted by sampling are not whole,
//! and Prometheus takes them.
//! Source: `OpenMetrics` 1.0, "Text format".

use std::fmt::Write as _;

use map::catalogue::{Series, Type};

use crate::lines::{BucketNames, push_escaped, push_labels, push_number};
use crate::model::{Encoder, Exemplar, Histogram, Labels, Sample};

/// Units that a name of the catalogue may end in.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// Writes `OpenMetrics` 1.0.
#[derive(Debug, Default)]
pub struct OpenMetricsEncoder {
    text: String,
    name: &'static str,
    counts: bool,
    created: bool,
    labels: String,
    buckets: BucketNames,
}

/// What a counter's samples end in, and its family must not.
const TOTAL: &str = "_total";

/// The name of the family, and its unit where the name ends in one.
pub(crate) fn family_name(series: &Series) -> (&'static str, Option<&'static str>) {
    let name = match series.kind {
        Type::Counter => series.name.strip_suffix(TOTAL).unwrap_or(series.name),
        _ => series.name,
    };
    let unit = name.rsplit_once('_').map(|(_, last)| last);
    (name, unit.filter(|unit| UNITS.contains(unit)))
}

impl OpenMetricsEncoder {
    /// An encoder that also writes `_created` samples where `created`.
    ///
    /// They are a series of their own for each counter and histogram, which few readers use: half as many series
    /// again for counters.
    pub fn new(created: bool) -> Self {
        Self {
            created,
            ..Self::default()
        }
    }

    /// The text of the whole scrape, with its end mark.
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    /// A sample up to its value.
    fn sample_of(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        if !labels.is_empty() {
            self.text.push('{');
            push_labels(&mut self.text, labels);
            self.text.push('}');
        }
        self.text.push(' ');
        push_value(&mut self.text, value);
    }

    fn created(&mut self, labels: Labels<'_>, created_ms: Option<i64>) {
        if let (true, Some(ms)) = (self.created, created_ms) {
            self.sample_of("_created", labels, seconds(ms));
            self.text.push('\n');
        }
    }
}

fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}

fn push_value(out: &mut String, value: f64) {
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        push_number(out, value);
    }
}

/// The exemplar, if there is one, and the end of the line.
fn end_line(out: &mut String, exemplar: Option<&Exemplar>) {
    if let Some(exemplar) = exemplar {
        out.push_str(" # {trace_id=\"");
        out.extend(exemplar.hex().map(char::from));
        out.push_str("\"} ");
        push_value(out, exemplar.value);
        let _ = write!(out, " {}", seconds(exemplar.unix_ms));
    }
    out.push('\n');
}

impl Encoder for OpenMetricsEncoder {
    fn family(&mut self, series: &'static Series) {
        let (name, unit) = family_name(series);
        self.name = name;
        self.counts = series.kind == Type::Counter;
        let kind = match series.kind {
            Type::Counter => "counter",
            Type::Histogram => "histogram",
            Type::Gauge | Type::Recorded => "gauge",
        };
        let out = &mut self.text;
        for part in ["# TYPE ", name, " ", kind, "\n"] {
            out.push_str(part);
        }
        if let Some(unit) = unit {
            for part in ["# UNIT ", name, " ", unit, "\n"] {
                out.push_str(part);
            }
        }
        for part in ["# HELP ", name, " "] {
            out.push_str(part);
        }
        push_escaped(out, series.help);
        out.push('\n');
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        if self.name.is_empty() {
            return;
        }
        if self.counts {
            self.sample_of(TOTAL, labels, sample.value);
            end_line(&mut self.text, sample.exemplar.as_ref());
            self.created(labels, sample.created_ms);
        } else {
            self.sample_of("", labels, sample.value);
            self.text.push('\n');
        }
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        if self.name.is_empty() {
            return;
        }
        self.labels.clear();
        push_labels(&mut self.labels, labels);
        let separator = if labels.is_empty() { "" } else { "," };
        let mut count = 0.0;
        for (bucket, le) in histogram.buckets().zip(self.buckets.of(histogram.bounds)) {
            for part in [
                self.name,
                "_bucket{",
                &self.labels,
                separator,
                "le=\"",
                le,
                "\"} ",
            ] {
                self.text.push_str(part);
            }
            push_value(&mut self.text, bucket.at_or_below);
            end_line(&mut self.text, bucket.exemplar);
            count = bucket.at_or_below;
        }
        self.sample_of("_sum", labels, histogram.sum);
        self.text.push('\n');
        self.sample_of("_count", labels, count);
        self.text.push('\n');
        self.created(labels, histogram.created_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use expect_test::expect;
    use map::catalogue::{self as names, ALL};

    use super::*;
    use crate::sample::{family, write_sample};

    #[test]
    fn a_scrape_is_written_as_the_format_asks() {
        let mut out = OpenMetricsEncoder::default();
        write_sample(&mut out);
        expect![[r#"
            # TYPE traces_service_graph_request counter
            # HELP traces_service_graph_request Requests on an edge, producers leading to consumers directly. Tempo's name: Grafana's service graph reads it.
            traces_service_graph_request_total{client="say \"hi\"\\\n",server="cart",connection_type=""} 12.5 # {trace_id="abababababababababababababababab"} 1 1700000000.25
            # TYPE tracemap_own_seconds histogram
            # UNIT tracemap_own_seconds seconds
            # HELP tracemap_own_seconds Own seconds: of a visit without its outgoing calls, or of an edge without its callee (network and waiting).
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="0.5"} 1
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="1.0"} 3.5 # {trace_id="0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c"} 0.75 1700000000.25
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="+Inf"} 7.5 # {trace_id="fefefefefefefefefefefefefefefefe"} 2 1700000000.25
            tracemap_own_seconds_sum{id="cart",kind="service",client="",server=""} 9.25
            tracemap_own_seconds_count{id="cart",kind="service",client="",server=""} 7.5
            # TYPE tracemap_collector_trace_table_bytes gauge
            # UNIT tracemap_collector_trace_table_bytes bytes
            # HELP tracemap_collector_trace_table_bytes Bytes of spans in the trace table, as budgeted.
            tracemap_collector_trace_table_bytes 4096
            # TYPE tracemap_collector_spans counter
            # HELP tracemap_collector_spans Spans received by the collector, by what became of them.
            # EOF
        "#]]
        .assert_eq(&out.finish());
    }

    #[test]
    fn created_timestamps_are_written_where_they_are_asked_for() {
        let mut out = OpenMetricsEncoder::new(true);
        write_sample(&mut out);
        let text = out.finish();
        let created: Vec<&str> = text.lines().filter(|line| line.contains("_created")).collect();
        expect![[r#"
            traces_service_graph_request_created{client="say \"hi\"\\\n",server="cart",connection_type=""} 1600000000.5
            tracemap_own_seconds_created{id="cart",kind="service",client="",server=""} 1600000000"#]]
        .assert_eq(&created.join("\n"));
    }

    #[test]
    fn infinity_is_spelled_as_the_format_spells_it() {
        let mut out = OpenMetricsEncoder::default();
        out.family(family(names::COLLECTOR_TABLE_BYTES));
        out.sample(&[], f64::INFINITY.into());
        assert!(out.finish().ends_with("_bytes +Inf\n# EOF\n"));
    }

    #[test]
    fn no_two_families_of_the_catalogue_could_write_the_same_sample() {
        let mut samples = BTreeSet::new();
        for series in ALL.iter().filter(|series| series.kind != Type::Recorded) {
            let (name, _) = family_name(series);
            let suffixes: &[&str] = match series.kind {
                Type::Counter => &["_total", "_created"],
                Type::Histogram => &["_bucket", "_sum", "_count", "_created"],
                Type::Gauge | Type::Recorded => &[""],
            };
            for suffix in suffixes {
                assert!(samples.insert(format!("{name}{suffix}")), "{name}{suffix}");
            }
        }
    }
}
