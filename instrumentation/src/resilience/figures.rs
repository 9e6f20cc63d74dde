//! Numbers as files have them: two figures, and still while little changes.
//!
//! In: a number, and the one before. Out: the number to write.
//! Left out on purpose: units.

/// A change of up to this share of the number before is no change.
const HYSTERESIS: f64 = 0.2;

/// `value` to two figures; 0 where it is no positive finite number.
pub(super) fn two_figures(value: f64) -> f64 {
    rounded(value, f64::round)
}

/// The number before where the new one is within 20 % of it, else the new one to two figures.
pub(super) fn held(value: f64, before: Option<f64>) -> f64 {
    let still =
        |before: &f64| before.is_finite() && *before >= 0.0 && (value - before).abs() <= HYSTERESIS * before;
    before.filter(still).unwrap_or_else(|| two_figures(value))
}

/// Whole milliseconds to two figures, never less than `value` and at least 1.
pub(super) fn up(value: f64) -> u64 {
    rounded(value.max(1.0).ceil(), f64::ceil) as u64
}

/// Whole milliseconds to two figures, never more than `value` unless that is below 1.
pub(super) fn down(value: f64) -> u64 {
    rounded(value.max(1.0).floor(), f64::floor) as u64
}

fn rounded(value: f64, how: fn(f64) -> f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 0.0;
    }
    let exponent = value.log10().floor() as i32 - 1;
    if exponent >= 0 {
        let unit = 10_f64.powi(exponent);
        return how(value / unit) * unit;
    }
    // By a power of ten that is a whole number, so that 0.3 stays 0.3.
    let unit = 10_f64.powi(-exponent);
    how(value * unit) / unit
}

/// Milliseconds as people read them: `0.4ms`, `12ms`, `1.5s`.
pub(super) fn millis(value: f64) -> String {
    if value >= 1000.0 {
        format!("{}s", (value / 10.0).round() / 100.0)
    } else if value >= 10.0 {
        format!("{}ms", value.round())
    } else {
        format!("{}ms", two_figures(value))
    }
}

/// A share as people read it: `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", two_figures(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_figures_and_timeouts_are_never_rounded_the_wrong_way() {
        let told = [0.0, f64::NAN, 0.123, 9.96, 1234.0, 0.3].map(two_figures);
        assert_eq!(
            told.map(|n| n.to_string()),
            ["0", "0", "0.12", "10", "1200", "0.3"]
        );
        assert_eq!(
            [0.0, 0.2, 9.1, 99.0, 121.0, 130.0, 1201.0].map(up),
            [1, 1, 10, 99, 130, 130, 1300]
        );
        assert_eq!(
            [0.0, 0.9, 9.9, 99.9, 129.9, 1299.0].map(down),
            [1, 1, 9, 99, 120, 1200]
        );
    }

    #[test]
    fn a_number_stays_until_it_moves_by_a_fifth() {
        assert_eq!(held(119.0, Some(100.0)).to_bits(), 100.0_f64.to_bits());
        assert_eq!(held(121.0, Some(100.0)).to_bits(), 120.0_f64.to_bits());
        assert_eq!(held(5.0, Some(0.0)).to_bits(), 5.0_f64.to_bits());
        assert_eq!(held(5.0, Some(f64::NAN)).to_bits(), 5.0_f64.to_bits());
    }

    #[test]
    fn people_read_units() {
        assert_eq!(
            [0.4, 9.0, 12.4, 1500.0].map(millis),
            ["0.4ms", "9ms", "12ms", "1.5s"]
        );
        assert_eq!(percent(0.0042), "0.42 %");
    }
}
