//! What both text formats write alike: the lines of samples and histograms.
//!
//! In: labels, numbers, exemplars. Out: text appended to a buffer.
//! Left out on purpose: how a family begins, in which the formats differ, and whether exemplars may be written.

use std::fmt::Write as _;

use map::catalogue::Type;

use crate::model::{Exemplar, Histogram, Labels};

/// The text of a scrape as it grows.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What was written.
    pub(crate) text: String,
    name: &'static str,
    labels: String,
    buckets: BucketNames,
}

impl Lines {
    /// Samples are called `name`, with a suffix, from now on.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.name = name;
    }

    /// False before the first family.
    pub(crate) fn is_begun(&self) -> bool {
        !self.name.is_empty()
    }

    /// One line.
    pub(crate) fn sample(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        push_all(&mut self.text, &[self.name, suffix]);
        if !labels.is_empty() {
            self.text.push('{');
            push_labels(&mut self.text, labels);
            self.text.push('}');
        }
        push_end(&mut self.text, value, exemplar);
    }

    /// The buckets, with their exemplars where `exemplars`, then the sum and the count.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>, exemplars: bool) {
        self.labels.clear();
        push_labels(&mut self.labels, labels);
        let separator = if labels.is_empty() { "" } else { "," };
        let mut count = 0.0;
        for (bucket, le) in histogram.buckets().zip(self.buckets.of(histogram.bounds)) {
            let parts = [self.name, "_bucket{", &self.labels, separator, "le=\"", le, "\"}"];
            push_all(&mut self.text, &parts);
            let exemplar = bucket.exemplar.filter(|_| exemplars);
            push_end(&mut self.text, bucket.at_or_below, exemplar);
            count = bucket.at_or_below;
        }
        self.sample("_sum", labels, histogram.sum, None);
        self.sample("_count", labels, count, None);
    }
}

/// The type of a family as both formats call it.
pub(crate) fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Counter => "counter",
        Type::Histogram => "histogram",
        Type::Gauge | Type::Recorded => "gauge",
    }
}

/// Unix milliseconds in the unit of the formats.
pub(crate) fn seconds(unix_ms: i64) -> f64 {
    unix_ms as f64 / 1000.0
}

/// Each part after the other.
pub(crate) fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// What comes after name and labels.
fn push_end(out: &mut String, value: f64, exemplar: Option<&Exemplar>) {
    out.push(' ');
    push_number(out, value);
    if let Some(exemplar) = exemplar {
        out.push_str(" # {trace_id=\"");
        out.extend(exemplar.hex().map(char::from));
        out.push_str("\"} ");
        push_number(out, exemplar.value);
        let _ = write!(out, " {}", seconds(exemplar.unix_ms));
    }
    out.push('\n');
}

/// `name="value"` pairs with commas between and no braces.
fn push_labels(out: &mut String, labels: Labels<'_>) {
    for (i, (label, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(label);
        out.push_str("=\"");
        push_escaped(out, value);
        out.push('"');
    }
}

/// Text between double quotes.
pub(crate) fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        out.push('\\');
        out.push(match special.as_bytes().first() {
            Some(b'\n') => 'n',
            Some(b'"') => '"',
            _ => '\\',
        });
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The shortest decimal that reads back as `value`; whole numbers have no point, infinities a sign.
fn push_number(out: &mut String, value: f64) {
    /// Up to here every whole number is exact, and integers are written faster than floats.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        return;
    }
    let _ = if value.fract() == 0.0 && (0.0..EXACT).contains(&value) && value.is_sign_positive() {
        write!(out, "{}", value as u64)
    } else {
        write!(out, "{value}")
    };
}

/// The values of `le`, written once for as long as the bounds are the same.
#[derive(Debug, Default)]
pub(crate) struct BucketNames {
    bounds: Vec<f64>,
    names: Vec<String>,
}

impl BucketNames {
    /// One for each bound, then the infinite one.
    pub(crate) fn of(&mut self, bounds: &[f64]) -> &[String] {
        if self.names.is_empty() || self.bounds != bounds {
            self.bounds = bounds.to_vec();
            self.names = bounds.iter().map(|&bound| le(bound)).collect();
            self.names.push("+Inf".to_owned());
        }
        &self.names
    }
}

/// A bound as Prometheus 3 normalises it: with a decimal point, so that a bucket has one name everywhere.
fn le(bound: f64) -> String {
    if bound.fract() == 0.0 {
        format!("{bound:.1}")
    } else {
        bound.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_numbers_are_written_as_rust_displays_them() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            1e15,
            9e15,
            1e16,
            1e300,
            5e-324,
            f64::NAN,
        ] {
            let mut out = String::new();
            push_number(&mut out, value);
            assert_eq!(out, value.to_string());
        }
    }

    #[test]
    fn infinities_are_written_with_their_sign() {
        let mut out = Lines::default();
        out.begin("x");
        out.sample("", &[], f64::INFINITY, None);
        out.sample("_sum", &[], f64::NEG_INFINITY, None);
        assert_eq!(out.text, "x +Inf\nx_sum -Inf\n");
    }

    #[test]
    fn quotes_backslashes_and_newlines_are_escaped_wherever_they_stand() {
        let mut out = String::new();
        push_escaped(&mut out, "\"köln\"\\\n\\");
        assert_eq!(out, "\\\"köln\\\"\\\\\\n\\\\");
    }

    #[test]
    fn a_bucket_has_the_same_name_as_in_every_other_scrape() {
        let mut names = BucketNames::default();
        assert_eq!(names.of(&[0.5, 1.0]), ["0.5", "1.0", "+Inf"]);
        assert_eq!(names.of(&[]), ["+Inf"]);
    }
}
