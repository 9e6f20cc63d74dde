//! Labelled faults: what really happened, and when.
//!
//! In: CSV with a header. Out: [`Fault`]s in the order of time, or what is wrong with a line.
//! Left out on purpose: quoted fields. None of the columns that are read has a use for them.

use std::ops::Range;

/// A label may be so much too late, nanoseconds: what happens from then on is the fault's.
const EARLY: u64 = 60_000_000_000;
/// And so much after it, nanoseconds.
const LATE: u64 = 300_000_000_000;
/// Kinds of faults that change no latency.
const CONTROLS: [&str; 3] = ["return", "exception", "control"];
/// A disturbance that is known and was not injected.
const EPISODE: &str = "episode";
/// An effect below this is no fault that anybody has to be woken for.
const FELT: f64 = 2.0;
/// So many calls during a fault are enough for any rule.
const BUSY: u64 = 50;

/// One label.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it began, nanoseconds since 1970.
    pub at: u64,
    /// The node that it was put into.
    pub service: String,
    /// What was done to it, in the label's own word; empty where it does not say.
    pub kind: String,
    /// How many calls the node had during the fault, where the label says.
    pub calls: Option<u64>,
    /// How many times slower its calls were than usual, where the label says.
    pub effect: Option<f64>,
}

/// What may be expected of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Twice as slow or more, in 50 calls or more.
    Busy,
    /// Twice as slow or more, in fewer calls.
    Quiet,
    /// Nobody measured its effect.
    Unmeasured,
    /// Less than twice as slow: a page that names it is right, and silence is as well.
    Slight,
    /// Known, not injected: likewise.
    Episode,
    /// No latency was changed: a page is wrong.
    Control,
}

impl Class {
    /// The word for it in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Quiet => "quiet",
            Self::Unmeasured => "unmeasured",
            Self::Slight => "slight",
            Self::Episode => "episode",
            Self::Control => "control",
        }
    }

    /// True where silence is a miss.
    pub fn is_owed(self) -> bool {
        matches!(self, Self::Busy | Self::Quiet | Self::Unmeasured)
    }
}

impl Fault {
    /// What may be expected of it.
    pub fn class(&self) -> Class {
        match (self.kind.as_str(), self.effect, self.calls) {
            (kind, _, _) if CONTROLS.contains(&kind) => Class::Control,
            (EPISODE, _, _) => Class::Episode,
            (_, None, _) => Class::Unmeasured,
            (_, Some(effect), _) if effect < FELT => Class::Slight,
            (_, _, Some(calls)) if calls < BUSY => Class::Quiet,
            _ => Class::Busy,
        }
    }

    /// When what happens is its doing: from a minute before to five minutes after the label.
    pub fn window(&self) -> Range<u64> {
        self.at.saturating_sub(EARLY)..self.at.saturating_add(LATE)
    }

    /// True where this node is the one at fault, with or without its environment and namespace.
    pub fn is_at(&self, node: &str) -> bool {
        node.strip_suffix(self.service.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

/// What is wrong with a file of faults.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A column that must be there is not.
    #[error(
        "the header has no column `{column}`: it must name `time` and `service`, and may name `type`, `calls` and `effect`"
    )]
    Column {
        /// Its name.
        column: &'static str,
    },
    /// A line has another number of fields than the header.
    #[error("line {line} has {found} fields, but the header has {expected}; quotes are not read")]
    Fields {
        /// Counted from 1.
        line: usize,
        /// How many it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A value that is none of its column.
    #[error("line {line}: `{column}` is `{value}`, but must be {wanted}")]
    Value {
        /// Counted from 1.
        line: usize,
        /// The column.
        column: &'static str,
        /// As it is written.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
}

/// A column, and the other names that it goes by.
struct Column(&'static str, &'static [&'static str]);

const TIME: Column = Column("time", &["time_utc", "timestamp"]);
const SERVICE: Column = Column("service", &["node"]);
const KIND: Column = Column("type", &["kind"]);
const CALLS: Column = Column("calls", &["n_during"]);
const EFFECT: Column = Column("effect", &[]);
/// Effects as two sides of a call felt them; the greater counts.
const SIDES: [Column; 2] = [Column("client_p50_ratio", &[]), Column("server_p50_ratio", &[])];

/// Reads faults from CSV whose first line names the columns.
///
/// `time` is RFC 3339 or seconds since 1970, `service` a node's id or name. `type` is free but for `return`, `exception` and
/// `control`, which change no latency, and `episode`, which nobody injected. `calls` is how many calls the node had during
/// the fault, `effect` how many times slower they were. Further columns are left alone.
///
/// # Errors
/// The first thing that is wrong.
pub fn read_faults(text: &str) -> Result<Vec<Fault>, FaultsError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim().trim_start_matches('\u{feff}')))
        .filter(|(_, line)| !line.is_empty());
    let header: Vec<&str> = lines.next().map_or(Vec::new(), |(_, line)| fields(line));
    let place = |Column(name, others): &Column| {
        header
            .iter()
            .position(|field| field == name || others.contains(field))
    };
    let needed = |column: Column| place(&column).ok_or(FaultsError::Column { column: column.0 });
    let (time, service) = (needed(TIME)?, needed(SERVICE)?);
    let mut faults = Vec::new();
    for (number, line) in lines {
        let line = Line {
            number,
            fields: fields(line),
        };
        if line.fields.len() != header.len() {
            return Err(FaultsError::Fields {
                line: number,
                found: line.fields.len(),
                expected: header.len(),
            });
        }
        let sides = SIDES
            .iter()
            .map(|side| line.number(side.0, place(side), "a number"));
        let sides: Vec<Option<f64>> = sides.collect::<Result<_, _>>()?;
        let effect = line.number(EFFECT.0, place(&EFFECT), "a number, such as 2.5")?;
        let calls = line.number(CALLS.0, place(&CALLS), "a count")?;
        let service = line.at(service);
        if service.is_empty() {
            return Err(line.wrong(SERVICE.0, service, "a node's id or name"));
        }
        faults.push(Fault {
            at: line.time(line.at(time))?,
            service: service.to_owned(),
            kind: place(&KIND).map_or("", |at| line.at(at)).to_owned(),
            calls: calls.map(|calls| calls as u64),
            effect: effect.or_else(|| sides.into_iter().flatten().reduce(f64::max)),
        });
    }
    faults.sort_by_key(|fault| fault.at);
    Ok(faults)
}

fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(str::trim).collect()
}

struct Line<'a> {
    number: usize,
    fields: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn at(&self, place: usize) -> &'a str {
        self.fields.get(place).copied().unwrap_or_default()
    }

    /// A number that is not negative; `None` where the column or its value is absent.
    fn number(
        &self,
        column: &'static str,
        place: Option<usize>,
        wanted: &'static str,
    ) -> Result<Option<f64>, FaultsError> {
        let value = place.map_or("", |place| self.at(place));
        if value.is_empty() {
            return Ok(None);
        }
        let number = value
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.map_or_else(
            || Err(self.wrong(column, value, wanted)),
            |number| Ok(Some(number)),
        )
    }

    fn time(&self, value: &str) -> Result<u64, FaultsError> {
        let nanos = match value.parse::<u64>() {
            Ok(seconds) => seconds.checked_mul(1_000_000_000),
            Err(_) => humantime::parse_rfc3339_weak(value)
                .ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .and_then(|since| u64::try_from(since.as_nanos()).ok()),
        };
        nanos.ok_or_else(|| {
            self.wrong(
                TIME.0,
                value,
                "a time such as `2026-01-30T11:51:46Z`, or seconds since 1970",
            )
        })
    }

    fn wrong(&self, column: &'static str, value: &str, wanted: &'static str) -> FaultsError {
        FaultsError::Value {
            line: self.number,
            column,
            value: value.to_owned(),
            wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_the_greater_effect_of_two_sides_counts() {
        let faults = read_faults(
            "time_utc,service,type,n_during,client_p50_ratio,server_p50_ratio\n\
             2023-01-30T11:51:46Z,contacts,network_delay,18,123.45,1.25\n\n\
             1675079500,basic,return,90,,\n",
        )
        .unwrap();
        let expected = |at: u64, service: &str, kind: &str, calls, effect| Fault {
            at: at * 1_000_000_000,
            service: service.to_owned(),
            kind: kind.to_owned(),
            calls: Some(calls),
            effect,
        };
        assert_eq!(
            faults,
            [
                expected(1_675_079_500, "basic", "return", 90, None),
                expected(1_675_079_506, "contacts", "network_delay", 18, Some(123.45)),
            ]
        );
        let classes: Vec<Class> = faults.iter().map(Fault::class).collect();
        assert_eq!(classes, [Class::Control, Class::Quiet]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
        let told = |text: &str| read_faults(text).unwrap_err().to_string();
        assert!(told("").contains("no column `time`"));
        assert!(told("time,what\n").contains("no column `service`"));
        assert!(told("time,service\n1,a,b\n").contains("line 2 has 3 fields"));
        assert!(told("time,service\n\nnoon,a\n").contains("line 3: `time` is `noon`"));
        assert!(told("time,service,effect\n1,a,NaN\n").contains("`effect` is `NaN`"));
        assert!(told("time,service\n1,\n").contains("`service` is ``"));
    }

    #[test]
    fn a_node_is_known_with_and_without_its_namespace_and_not_by_its_ending_alone() {
        let fault = &read_faults("time,service\n1,cart\n").unwrap()[0];
        assert!(fault.is_at("cart") && fault.is_at("prod/shop/cart"));
        assert!(!fault.is_at("oldcart") && !fault.is_at("cart/x"));
    }
}
