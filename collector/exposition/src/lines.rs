//! What both text formats write alike: label pairs, numbers, names of buckets.
//!
//! In: labels and numbers. Out: text appended to a buffer.
//! Left out on purpose: whole lines, in which the formats differ.

use std::fmt::Write as _;

use crate::model::Labels;

/// `name="value"` pairs with commas between and no braces.
pub(crate) fn push_labels(out: &mut String, labels: Labels<'_>) {
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

/// The shortest decimal that reads back as `value`; whole numbers have no point.
pub(crate) fn push_number(out: &mut String, value: f64) {
    /// Up to here every whole number is exact, and integers are written faster than floats.
    const EXACT: f64 = 9_007_199_254_740_992.0;
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
    fn numbers_are_written_as_rust_displays_them() {
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
            f64::INFINITY,
        ] {
            let mut out = String::new();
            push_number(&mut out, value);
            assert_eq!(out, value.to_string());
        }
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
