//! The recorded system as a map, and its metrics as the series of a service graph.
//!
//! In: the adjacency matrix of the set, rows of a table. Out: a map, counters by edge.
//! The set tells requests and seconds of nodes, and the rules read those of edges. So the requests of a node are divided among
//! its callers by how many requests those have, and every caller is told the node's mean. Clients in the sense of the set
//! are users. What calls nobody reports no spans, as far as can be known, and is known by its callers' waiting.
//! Left out on purpose: time on the network: the set has one time for each call, not two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use alerts::recorded::{Runs, series_name};
use map::Map;
use map::catalogue::{EDGE_CLIENT_SECONDS, EDGE_SERVER_SECONDS};

use super::table::Table;
use crate::Failure;

/// How the set calls what is outside and calls in.
const CLIENT: &str = "_client";
/// Who that is on the map.
const USER: &str = "user";

/// Who calls whom.
pub(crate) struct System {
    /// Callers by callee; those that are users by their name in the set.
    callers: BTreeMap<String, BTreeSet<String>>,
    services: BTreeSet<String>,
    map: Map,
}

impl System {
    /// # Errors
    /// A file that is no square matrix of 0 and 1 with names.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("`{}`: {error}", path.display()).into())
    }

    fn parse(matrix: &str) -> Result<Self, String> {
        let mut lines = matrix.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap_or_default();
        let (mut callers, mut services) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
        for line in lines {
            let caller = line.first().copied().unwrap_or_default();
            if line.len() != names.len() {
                return Err(format!(
                    "the line of `{caller}` has {} cells and not {}",
                    line.len(),
                    names.len()
                ));
            }
            for (callee, cell) in names.iter().zip(&line).skip(1) {
                if cell
                    .parse::<f64>()
                    .map_err(|_| format!("`{cell}` is no number"))?
                    > 0.0
                {
                    callers
                        .entry((*callee).to_owned())
                        .or_default()
                        .insert(caller.to_owned());
                    services.insert(caller.to_owned());
                }
            }
        }
        services.retain(|service| !service.ends_with(CLIENT));
        for service in &services {
            callers
                .entry(service.clone())
                .or_insert_with(|| BTreeSet::from([USER.to_owned()]));
        }
        let map = map(&callers, &services).map_err(|error| error.to_string())?;
        Ok(Self {
            callers,
            services,
            map,
        })
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// How many nodes can be charged.
    pub(crate) fn nodes(&self) -> usize {
        self.callers.len()
    }
}

/// Who a caller is on the map.
fn on_map(caller: &str) -> &str {
    if caller.ends_with(CLIENT) { USER } else { caller }
}

fn map(
    callers: &BTreeMap<String, BTreeSet<String>>,
    services: &BTreeSet<String>,
) -> Result<Map, map::file::MapFileError> {
    let mut yaml = "version: 1\nnodes:\n".to_owned();
    for callee in callers.keys() {
        let kind = if services.contains(callee) {
            "service"
        } else {
            "external"
        };
        let _ = writeln!(yaml, "  {callee:?}: {{kind: {kind}}}");
    }
    yaml += "edges:\n";
    for (callee, callers) in callers {
        let kind = if services.contains(callee) {
            ""
        } else {
            ", connection_type: virtual_node"
        };
        let callers: BTreeSet<&str> = callers.iter().map(|caller| on_map(caller)).collect();
        for caller in callers {
            let _ = writeln!(yaml, "- {{client: {caller:?}, server: {callee:?}{kind}}}");
        }
    }
    map::file::map_from_yaml(&yaml)
}

/// Rows, as a scraper would have seen them.
pub(crate) struct Played<'a> {
    system: &'a System,
    scrapes_per_row: usize,
    scrapes: usize,
    /// Requests and seconds so far, by caller on the map and callee.
    counted: BTreeMap<(String, String), (f64, f64)>,
    series: BTreeMap<String, Runs>,
}

impl<'a> Played<'a> {
    pub(crate) fn new(system: &'a System, scrapes_per_row: usize) -> Self {
        Self {
            system,
            scrapes_per_row,
            scrapes: 0,
            counted: BTreeMap::new(),
            series: BTreeMap::new(),
        }
    }

    pub(crate) fn scrapes(&self) -> usize {
        self.scrapes
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (&String, &Runs)> {
        self.series.iter()
    }

    /// Adds rows of a table. What a row tells of five minutes is spread over them evenly.
    pub(crate) fn rows(&mut self, table: &Table, rows: Range<usize>) {
        for row in rows {
            let calls = self.calls(table, row);
            for _ in 0..self.scrapes_per_row {
                for (edge, (requests, seconds)) in &calls {
                    let counted = self.counted.entry(edge.clone()).or_default();
                    counted.0 += requests / self.scrapes_per_row as f64;
                    counted.1 += requests * seconds / self.scrapes_per_row as f64;
                }
                self.scrape();
            }
        }
    }

    /// Requests of a row and their mean seconds, by edge.
    fn calls(&self, table: &Table, row: usize) -> BTreeMap<(String, String), (f64, f64)> {
        let mut calls: BTreeMap<(String, String), (f64, f64)> = BTreeMap::new();
        for (callee, callers) in &self.system.callers {
            let (requests, seconds) = table.at(callee, row);
            let weights: Vec<(&str, f64)> = callers
                .iter()
                .map(|caller| (on_map(caller), table.at(caller, row).0))
                .collect();
            let all: f64 = weights.iter().map(|(_, weight)| weight).sum();
            for (caller, weight) in weights {
                let share = if all > 0.0 {
                    weight / all
                } else {
                    1.0 / callers.len() as f64
                };
                let call = calls.entry((caller.to_owned(), callee.clone())).or_default();
                *call = (call.0 + requests * share, seconds);
            }
        }
        calls
    }

    fn scrape(&mut self) {
        for ((caller, callee), (requests, seconds)) in &self.counted {
            let is_service = self.system.services.contains(callee);
            let sides: &[&str] = match (is_service, caller == USER) {
                (true, true) => &[EDGE_SERVER_SECONDS],
                (true, false) => &[EDGE_SERVER_SECONDS, EDGE_CLIENT_SECONDS],
                (false, _) => &[EDGE_CLIENT_SECONDS],
            };
            let kind = if is_service { "" } else { "virtual_node" };
            let labels = [
                ("client", caller.as_str()),
                ("server", callee),
                ("connection_type", kind),
            ];
            for side in sides {
                for (part, value) in [("count", requests), ("sum", seconds)] {
                    let runs = self
                        .series
                        .entry(series_name(&format!("{side}_{part}"), &labels))
                        .or_default();
                    runs.push(self.scrapes, (value * 1e6).round() / 1e6);
                }
            }
        }
        self.scrapes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_users_and_leaves_report_no_spans() {
        let system =
            System::parse(",a_client,web,db\na_client,0,1.0,0\nweb,0,0,1.0\ndb,0,0,0\n").expect("a matrix");
        let edges: Vec<String> = system
            .map()
            .edges
            .keys()
            .map(|key| system.map().edge_id(key))
            .collect();
        assert_eq!(edges, ["user->web", "web->db"]);
        assert_eq!(system.map().kind(&"db".into()), map::NodeKind::External);
        assert_eq!(system.nodes(), 2);
        assert!(System::parse(",a\na,0,1\n").is_err());
    }
}
