//! Edges between services, as counted by somebody and as counted by us.
//!
//! In: CSV with a header line. Out: counts by pair, and where two of them differ.
//! Left out on purpose: quoted fields that span lines; no service is named so.

use std::collections::{BTreeMap, BTreeSet};

/// Requests by caller and callee.
pub(crate) type Edges = BTreeMap<(String, String), u64>;

/// A pair on which the two sides differ; 0 where a side does not have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) caller: String,
    pub(crate) callee: String,
    pub(crate) expected: u64,
    pub(crate) found: u64,
}

/// Reads the columns `caller`, `callee` and `count`, and adds up rows of one pair.
///
/// # Errors
/// A column that is missing, or a count that is no whole number.
pub(crate) fn read(csv: &str, count: &str) -> Result<Edges, String> {
    let mut lines = csv.lines();
    let header = fields(lines.next().unwrap_or_default());
    let column = |name: &str| {
        let at = header.iter().position(|field| field == name);
        at.ok_or_else(|| format!("no column `{name}` among {header:?}"))
    };
    let (caller, callee, count) = (column("caller")?, column("callee")?, column(count)?);
    let mut edges = Edges::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields = fields(line);
        let field = |at: usize| {
            fields
                .get(at)
                .cloned()
                .ok_or_else(|| format!("a short line: `{line}`"))
        };
        let requests: u64 = field(count)?
            .parse()
            .map_err(|_| format!("no whole number of requests: `{line}`"))?;
        *edges.entry((field(caller)?, field(callee)?)).or_default() += requests;
    }
    Ok(edges)
}

/// The pairs whose both ends are among `services`.
pub(crate) fn between(edges: Edges, services: &BTreeSet<String>) -> Edges {
    edges
        .into_iter()
        .filter(|((a, b), _)| services.contains(a) && services.contains(b))
        .collect()
}

/// Every pair on which the two differ, sorted.
pub(crate) fn differences(expected: &Edges, found: &Edges) -> Vec<Difference> {
    let pairs: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let difference = |pair: &(String, String)| Difference {
        caller: pair.0.clone(),
        callee: pair.1.clone(),
        expected: expected.get(pair).copied().unwrap_or(0),
        found: found.get(pair).copied().unwrap_or(0),
    };
    pairs
        .into_iter()
        .map(difference)
        .filter(|pair| pair.expected != pair.found)
        .collect()
}

/// The fields of one line; a field in quotes may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "caller,callee,connection_type,requests,failed\n\
        a,b,,3,0\na,b,messaging_system,2,0\n\"x, \"\"y\"\"\",b,,1,0\nuser,a,virtual_node,9,0\n";

    #[test]
    fn rows_of_one_pair_are_added_up_and_quoted_names_are_read() {
        let edges = read(OURS, "requests").unwrap();
        assert_eq!(edges[&("a".to_owned(), "b".to_owned())], 5);
        assert_eq!(edges[&("x, \"y\"".to_owned(), "b".to_owned())], 1);
    }

    #[test]
    fn a_missing_column_and_a_count_that_is_none_are_told() {
        assert!(
            read("caller,callee\na,b\n", "count")
                .unwrap_err()
                .contains("`count`")
        );
        assert!(
            read("caller,callee,count\na,b,many\n", "count")
                .unwrap_err()
                .contains("a,b,many")
        );
    }

    #[test]
    fn pairs_that_only_one_side_has_differ_and_strangers_are_left_out() {
        let services = ["a".to_owned(), "b".to_owned(), "c".to_owned()].into();
        let found = between(read(OURS, "requests").unwrap(), &services);
        let expected = read("caller,callee,count\na,b,5\nb,c,1\n", "count").unwrap();
        let difference = Difference {
            caller: "b".to_owned(),
            callee: "c".to_owned(),
            expected: 1,
            found: 0,
        };
        assert_eq!(differences(&expected, &found), [difference]);
    }
}
