//! Times of day as `api_v3` writes them.
//!
//! In: RFC 3339 such as `2026-11-22T04:05:06.789Z`. Out: nanoseconds since 1970, UTC.
//! Left out on purpose: years before 1970 and leap seconds, which no span has.

/// Nanoseconds since 1970 of an RFC 3339 time; `None` where it is none, or before 1970 or after 2554.
///
/// A space is read as the `+` of the offset: clients put times into query strings without escaping them.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_at_checked(1)?;
    let (clock, rest) = rest.split_at_checked(8)?;
    if !matches!(separator, "T" | "t" | " ") {
        return None;
    }
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, offset) = fraction(rest)?;
    let seconds =
        days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds(offset)?;
    u64::try_from(seconds)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
}

fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, which must exist.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The nanoseconds behind a point, and what follows them; digits beyond the ninth are cut.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(digits) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = digits.split_at_checked(end)?;
    let nine: String = digits.chars().chain(std::iter::repeat('0')).take(9).collect();
    (!digits.is_empty()).then_some((nine.parse().ok()?, rest))
}

fn offset_seconds(text: &str) -> Option<i64> {
    if let "Z" | "z" = text {
        return Some(0);
    }
    let (sign, clock) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" | " " => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let [hours, minutes, _] = numbers(&format!("{hours}:{minutes}:00"), ':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_every_form_are_read() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-22T04:05:06Z", 1_795_320_306_000_000_000),
            ("2026-11-22T04:05:06.789Z", 1_795_320_306_789_000_000),
            ("2026-11-22T04:05:06.123456789123Z", 1_795_320_306_123_456_789),
            ("2026-11-22T06:05:06+02:00", 1_795_320_306_000_000_000),
            ("2026-11-22T06:05:06 02:00", 1_795_320_306_000_000_000),
            ("2026-11-21T23:05:06-05:00", 1_795_320_306_000_000_000),
            ("2024-02-29t12:00:00z", 1_709_208_000_000_000_000),
        ] {
            assert_eq!(rfc3339(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T04:05:06",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T04:05:06.Z",
            "2026-11-22T04:05:06+2:00",
            "1969-12-31T23:59:59Z",
            "2026-11-22T04:05:06+02:00:00",
            "9999-11-22T04:05:06Z",
            "２026-11-22T04:05:06Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn consecutive_days_are_a_day_apart(day in 0_i64..200_000) {
            // A day's number goes up by one over every end of a month, found by trying the three possible successors.
            let (mut year, mut month, mut date) = (1970, 1, 1);
            for _ in 0..day % 2_000 {
                let here = days(year, month, date).expect("a day that exists");
                let next = [(year, month, date + 1), (year, month + 1, 1), (year + 1, 1, 1)];
                let (y, m, d) = next.into_iter().find(|(y, m, d)| days(*y, *m, *d).is_some()).expect("a successor");
                prop_assert_eq!(days(y, m, d), Some(here + 1));
                (year, month, date) = (y, m, d);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", looks in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.+Z0-9:-]{0,12}") {
            let _ = (rfc3339(&text), rfc3339(&looks));
        }
    }
}
