//! A table of metrics: three lines of head, then a row for every five minutes.
//!
//! In: a compressed CSV. Out: mean seconds and requests by node and row.
//! Left out on purpose: percentiles, which do not add up, and availability.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::{Failure, output};

/// Mean seconds and requests of every node.
pub(crate) struct Table {
    rows: usize,
    nodes: BTreeMap<String, Node>,
}

#[derive(Default)]
struct Node {
    seconds: Vec<Option<f64>>,
    requests: Vec<Option<f64>>,
}

impl Table {
    /// # Errors
    /// A file that cannot be read, quoted cells, rows of unlike length.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = String::from_utf8(output(Command::new("gzip").arg("-dc").arg(path))?)?;
        Self::parse(&text).map_err(|error| format!("`{}`: {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('"') {
            return Err("has quoted cells, which this does not read".to_owned());
        }
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let [names, metrics, statistics, _, rows @ ..] = lines.as_slice() else {
            return Err("has no head of four lines".to_owned());
        };
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for column in 1..names.len() {
            let cell = |line: &Vec<&str>| line.get(column).map(|cell| cell.trim().to_owned());
            let (Some(name), Some(metric), Some(statistic)) = (cell(names), cell(metrics), cell(statistics))
            else {
                return Err(format!("has no head for column {column}"));
            };
            let values = rows.iter().map(|row| match cell(row) {
                None => Err(format!("has a row without column {column}")),
                Some(text) if text.is_empty() => Ok(None),
                Some(text) => text
                    .parse()
                    .map(Some)
                    .map_err(|_| format!("has `{text}`, which is no number")),
            });
            let node = match (metric.as_str(), statistic.as_str()) {
                ("latency", "Average") => &mut nodes.entry(name).or_default().seconds,
                ("requests", "Sum") => &mut nodes.entry(name).or_default().requests,
                _ => continue,
            };
            *node = values.collect::<Result<_, _>>()?;
        }
        Ok(Self {
            rows: rows.len(),
            nodes,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Requests and mean seconds of a node in a row; none where either is not told.
    pub(crate) fn at(&self, node: &str, row: usize) -> (f64, f64) {
        let cell = |values: &[Option<f64>]| values.get(row).copied().flatten();
        let found = self
            .nodes
            .get(node)
            .and_then(|node| Some((cell(&node.requests)?, cell(&node.seconds)?)));
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "m,a,a,a\nmetric,latency,latency,requests\ns,Average,p50,Sum\nunix,,,\n";

    #[test]
    fn a_row_tells_of_a_node_only_what_it_tells_whole() {
        let table = Table::parse(&format!("{HEAD}300,0.5,9,10\n600,,9,3\n")).expect("a table");
        assert_eq!(table.rows(), 2);
        assert_eq!(table.at("a", 0), (10.0, 0.5));
        assert_eq!(table.at("a", 1), (0.0, 0.0));
        assert_eq!(table.at("b", 0), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        for text in [
            "m,a\n",
            &format!("{HEAD}300,x,9,1\n"),
            &format!("{HEAD}300,1\n"),
            &format!("{HEAD}\"3\",1,1,1\n"),
        ] {
            assert!(Table::parse(text).is_err(), "{text}");
        }
    }
}
