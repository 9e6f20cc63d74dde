//! The text format `OpenMetrics` 1.0.
//!
//! In: a scrape. Out: text with exemplars, and with created timestamps where they are asked for.
//! Left out on purpose: native histograms, which it has no place for, and timestamps of samples: the scraper's clock
//! is the one that counts. The specification wants whole bucket counts; those weighted by sampling are not whole,
//! and Prometheus takes them.
//! Source: `OpenMetrics` 1.0, "Text format".

use map::catalogue::{Series, Type};

use crate::lines::{Lines, push_all, push_escaped, seconds, type_name};
use crate::model::{Encoder, Histogram, Labels, Sample};

/// Units that a name of the catalogue may end in.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// Writes `OpenMetrics` 1.0.
#[derive(Debug, Default)]
pub struct OpenMetricsEncoder {
    lines: Lines,
    counts: bool,
    created: bool,
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
        self.lines.text.push_str("# EOF\n");
        self.lines.text
    }

    fn created(&mut self, labels: Labels<'_>, created_ms: Option<i64>) {
        if let (true, Some(ms)) = (self.created, created_ms) {
            self.lines.sample("_created", labels, seconds(ms), None);
        }
    }
}

impl Encoder for OpenMetricsEncoder {
    fn family(&mut self, series: &'static Series) {
        let (name, unit) = family_name(series);
        self.lines.begin(name);
        self.counts = series.kind == Type::Counter;
        let out = &mut self.lines.text;
        push_all(out, &["# TYPE ", name, " ", type_name(series.kind), "\n"]);
        if let Some(unit) = unit {
            push_all(out, &["# UNIT ", name, " ", unit, "\n"]);
        }
        push_all(out, &["# HELP ", name, " "]);
        push_escaped(out, series.help);
        out.push('\n');
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        if !self.lines.is_begun() {
            return;
        }
        if self.counts {
            let exemplar = sample.exemplar.as_ref();
            self.lines.sample(TOTAL, labels, sample.value, exemplar);
            self.created(labels, sample.created_ms);
        } else {
            self.lines.sample("", labels, sample.value, None);
        }
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        if self.lines.is_begun() {
            self.lines.histogram(labels, histogram, true);
            self.created(labels, histogram.created_ms);
        }
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
