//! The text format 0.0.4.
//!
//! In: a scrape. Out: text that every tool reads.
//! Left out on purpose: exemplars, native histograms and created timestamps, which it has no place for.
//! Source: Prometheus, "Exposition formats", text-based format.

use map::catalogue::Series;

use crate::lines::{Lines, push_all, type_name};
use crate::model::{Encoder, Histogram, Labels, Sample};

/// Writes the text format 0.0.4.
#[derive(Debug, Default)]
pub struct TextEncoder {
    lines: Lines,
}

impl TextEncoder {
    /// The text of the whole scrape.
    pub fn finish(self) -> String {
        self.lines.text
    }
}

impl Encoder for TextEncoder {
    fn family(&mut self, series: &'static Series) {
        self.lines.begin(series.name);
        let help = series.help.replace('\\', "\\\\").replace('\n', "\\n");
        let out = &mut self.lines.text;
        push_all(out, &["# HELP ", series.name, " ", &help, "\n"]);
        push_all(out, &["# TYPE ", series.name, " ", type_name(series.kind), "\n"]);
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        if self.lines.is_begun() {
            self.lines.sample("", labels, sample.value, None);
        }
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        if self.lines.is_begun() {
            self.lines.histogram(labels, histogram, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::sample::write_sample;

    #[test]
    fn a_scrape_is_written_as_the_format_asks() {
        let mut out = TextEncoder::default();
        write_sample(&mut out);
        expect![[r#"
            # HELP traces_service_graph_request_total Requests on an edge, producers leading to consumers directly. Tempo's name: Grafana's service graph reads it.
            # TYPE traces_service_graph_request_total counter
            traces_service_graph_request_total{client="say \"hi\"\\\n",server="cart",connection_type=""} 12.5
            # HELP tracemap_own_seconds Own seconds: of a visit without its outgoing calls, or of an edge without its callee (network and waiting).
            # TYPE tracemap_own_seconds histogram
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="0.5"} 1
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="1.0"} 3.5
            tracemap_own_seconds_bucket{id="cart",kind="service",client="",server="",le="+Inf"} 7.5
            tracemap_own_seconds_sum{id="cart",kind="service",client="",server=""} 9.25
            tracemap_own_seconds_count{id="cart",kind="service",client="",server=""} 7.5
            # HELP tracemap_collector_trace_table_bytes Bytes of spans in the trace table, as budgeted.
            # TYPE tracemap_collector_trace_table_bytes gauge
            tracemap_collector_trace_table_bytes 4096
            # HELP tracemap_collector_spans_total Spans received by the collector, by what became of them.
            # TYPE tracemap_collector_spans_total counter
        "#]]
        .assert_eq(&out.finish());
    }

    /// The same lines, each put together by itself.
    fn lines(labels: &[(&str, &str)], counts: &[f64], sum: f64) -> String {
        let mut text = String::new();
        let mut line = |suffix: &str, le: Option<&str>, value: f64| {
            let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
            let escaped = |value: &str| {
                value
                    .replace('\\', r"\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n")
            };
            let all: Vec<String> = all
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let braced = if all.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", all.join(","))
            };
            let _ = writeln!(text, "tracemap_own_seconds{suffix}{braced} {value}");
        };
        let mut below = 0.0;
        for (le, count) in ["0.0005", "1.0", "2.048", "+Inf"].into_iter().zip(counts) {
            below += count;
            line("_bucket", Some(le), below);
        }
        line("_sum", None, sum);
        line("_count", None, below);
        text
    }

    proptest! {
        #[test]
        fn any_histogram_is_written_as_line_by_line(
            values in prop::collection::vec("[a-z\"\\\\\n é]{0,12}", 0..4),
            counts in prop::array::uniform4(0.0..1e18f64),
            whole in any::<bool>(),
            sum in any::<f64>(),
        ) {
            let names = ["id", "kind", "client", "server"];
            let labels: Vec<(&'static str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
            let counts = counts.map(|count| if whole { count.floor() } else { count });
            let mut out = TextEncoder::default();
            out.family(crate::sample::family(map::catalogue::OWN_SECONDS));
            let begun = out.lines.text.len();
            let histogram = Histogram {
                bounds: &[0.0005, 1.0, 2.048],
                counts: &counts,
                sum,
                native: None,
                exemplars: &[],
                created_ms: None,
            };
            out.histogram(&labels, &histogram);
            prop_assert_eq!(&out.finish()[begun..], lines(&labels, &counts, sum));
        }
    }

    #[test]
    fn what_belongs_to_no_family_is_not_written() {
        let mut out = TextEncoder::default();
        out.sample(&[], 1.0.into());
        assert_eq!(out.finish(), "");
    }
}
