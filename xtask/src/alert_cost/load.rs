//! A map of a size and its series, as a collector would export them.
//!
//! In: how many services. Out: a map, a page for scrapers, the hour before.
//! Left out on purpose: what no alert rule reads, histograms but one bucket and the count for the SLOs among it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alerts::recorded::series_name;
use map::catalogue::{self, Type};
use map::reach::reach;
use map::{Map, NodeId};

use crate::Failure;

/// Edges to a service.
const EDGES: usize = 3;
/// Pairs of reach that a collector exports at most.
const MOST_REACH: usize = 20_000;
/// The slow share of healthy requests, and what is expected of it.
const USUAL_SHARE: f64 = 0.05;
/// The objective of every service, in the labels of its series.
const OBJECTIVE: [(&str, &str); 2] = [("latency", "300ms"), ("window", "30d")];
/// The bucket that the SLOs read.
pub(super) const BUCKET: &str = "0.256";
/// Minutes before now at which the longer windows of the rules begin, while it is measured.
const PAST_MINUTES: [std::ops::RangeInclusive<u64>; 2] = [49..=58, 1..=14];

/// A service or an edge, with the labels of its series.
pub(super) struct Entity {
    pub(super) id: String,
    ends: Option<(String, String)>,
}

impl Entity {
    /// Its labels in the order of the catalogue.
    pub(super) fn labels(&self) -> Vec<(&'static str, &str)> {
        match &self.ends {
            None => vec![("id", &self.id), ("kind", "service")],
            Some((client, server)) => {
                vec![
                    ("id", &self.id),
                    ("kind", "edge"),
                    ("client", client),
                    ("server", server),
                ]
            }
        }
    }
}

/// A series: what it is called, and how it goes.
struct Line {
    series: String,
    /// By how much it rises in a second; a gauge of 1 where it does not.
    rise: Option<f64>,
}

/// A map with its series.
pub(super) struct Load {
    map: Map,
    lines: Vec<Line>,
    reach: usize,
}

impl Load {
    pub(super) fn new(services: usize) -> Result<Self, Failure> {
        let mut calls = BTreeSet::new();
        for server in 1..services {
            // A tree three wide and two more calls of each, all downwards, so that there is no cycle.
            for client in [(server - 1) / 3, (server * 7 / 11).min(server - 1), server / 2] {
                calls.insert((client.min(server - 1), server));
            }
        }
        let mut lower = services;
        while calls.len() < services * EDGES && lower > 1 {
            lower -= 1;
            for client in 0..lower {
                if calls.len() < services * EDGES && (client + lower).is_multiple_of(5) {
                    calls.insert((client, lower));
                }
            }
        }
        let mut yaml = "version: 1\nedges:\n- {client: user, server: s0}\n".to_owned();
        for (client, server) in &calls {
            let _ = writeln!(yaml, "- {{client: s{client}, server: s{server}}}");
        }
        let map = map::file::map_from_yaml(&yaml)?;
        let (pairs, _) = reach(&map, MOST_REACH);
        let mut load = Self {
            reach: pairs.len(),
            lines: Vec::new(),
            map,
        };
        let culprit = format!("s{}", services - 1);
        let slow: BTreeSet<&str> = pairs
            .iter()
            .filter(|pair| pair.culprit.as_str() == culprit)
            .map(|pair| pair.id.as_str())
            .collect();
        let mut lines = load.counters(&culprit, &slow);
        lines.extend(load.info());
        lines.extend(pairs.iter().map(|pair| {
            let hops = pair.hops.to_string();
            let labels = [
                ("id", pair.id.as_str()),
                ("culprit", pair.culprit.as_str()),
                ("hops", &hops),
            ];
            gauge(catalogue::REACH_INFO, &labels)
        }));
        load.lines = lines;
        Ok(load)
    }

    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    pub(super) fn edges(&self) -> usize {
        self.entities()
            .iter()
            .filter(|entity| entity.ends.is_some())
            .count()
    }

    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// Services, and edges that are judged.
    pub(super) fn entities(&self) -> Vec<Entity> {
        let services = self.services().map(|id| Entity {
            id: id.to_string(),
            ends: None,
        });
        let judged = self
            .map
            .edges
            .keys()
            .filter(|key| key.client.as_str() != NodeId::USER);
        let edges = judged.map(|key| Entity {
            id: self.map.edge_id(key),
            ends: Some((key.client.to_string(), key.server.to_string())),
        });
        services.chain(edges).collect()
    }

    fn services(&self) -> impl Iterator<Item = &NodeId> {
        self.map.nodes.keys().filter(|id| id.as_str() != NodeId::USER)
    }

    /// All counters of services and edges, as the catalogue has them: one request a second, and a fault on at `culprit`.
    fn counters(&self, culprit: &str, slow: &BTreeSet<&str>) -> Vec<Line> {
        let entities = self.entities();
        let counters = catalogue::ALL
            .iter()
            .filter(|series| series.kind == Type::Counter);
        let mut lines = Vec::new();
        for series in counters {
            match series.labels {
                ["id", "kind", "client", "server"] => lines.extend(entities.iter().map(|entity| Line {
                    series: series_name(series.name, &entity.labels()),
                    rise: Some(match series.name {
                        catalogue::REQUESTS | catalogue::JUDGED => 1.0,
                        catalogue::OWN_SLOW if entity.id == culprit => 1.0,
                        catalogue::TOTAL_SLOW if slow.contains(entity.id.as_str()) => 1.0,
                        _ => USUAL_SHARE,
                    }),
                })),
                ["id"] => lines.extend(self.services().map(|id| Line {
                    series: series_name(series.name, &[("id", id.as_str())]),
                    rise: Some(1.0),
                })),
                ["id", "latency", "window"] => lines.extend(self.services().map(|id| Line {
                    series: series_name(series.name, &[&[("id", id.as_str())][..], &OBJECTIVE].concat()),
                    rise: Some(1.0 - USUAL_SHARE / 10.0),
                })),
                _ => {}
            }
        }
        for entity in &entities {
            let name = catalogue::TOTAL_SECONDS;
            let mut labels = entity.labels();
            lines.push(Line {
                series: series_name(&format!("{name}_count"), &labels),
                rise: Some(1.0),
            });
            labels.push(("le", BUCKET));
            lines.push(Line {
                series: series_name(&format!("{name}_bucket"), &labels),
                rise: Some(1.0 - USUAL_SHARE / 10.0),
            });
        }
        lines
    }

    fn info(&self) -> Vec<Line> {
        let mut lines = vec![gauge(catalogue::ENTRYPOINT_INFO, &[("id", "s0")])];
        for id in self.services().map(NodeId::as_str) {
            lines.push(gauge(catalogue::NODE_INFO, &[("id", id), ("kind", "service")]));
            lines.push(gauge(
                catalogue::OWNER_INFO,
                &[("id", id), ("team", "shop"), ("tier", "1")],
            ));
            lines.push(Line {
                series: series_name(
                    catalogue::OBJECTIVE_TARGET,
                    &[&[("id", id)][..], &OBJECTIVE].concat(),
                ),
                rise: None,
            });
        }
        lines
    }

    /// What a scraper reads at that second.
    fn page(&self, at: f64) -> String {
        let mut text = String::with_capacity(self.lines.len() * 96);
        for Line { series, rise } in &self.lines {
            let _ = writeln!(text, "{series} {}", value(*rise, at));
        }
        text
    }

    /// The counters of the hour before now, where the longer windows of the rules begin, as promtool reads blocks.
    pub(super) fn past(&self) -> Result<String, Failure> {
        let now = now()?.floor();
        let mut text = String::new();
        for Line { series, rise } in self.lines.iter().filter(|line| line.rise.is_some()) {
            for minute in PAST_MINUTES.into_iter().flat_map(Iterator::rev) {
                let at = now - (minute * 60) as f64;
                let _ = writeln!(text, "{series} {} {at}", value(*rise, at));
            }
        }
        Ok(text + "# EOF\n")
    }
}

fn gauge(name: &str, labels: &[(&str, &str)]) -> Line {
    Line {
        series: series_name(name, labels),
        rise: None,
    }
}

/// Counters began with the day, so that their values are of a size that counters have.
fn value(rise: Option<f64>, at: f64) -> f64 {
    rise.map_or(1.0, |rise| rise * (at % 86_400.0))
}

/// Seconds since 1970.
fn now() -> Result<f64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// A page that scrapers are served until the process ends.
pub(super) struct Exporter {
    pub(super) address: SocketAddr,
}

impl Exporter {
    pub(super) fn start(load: Load) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let load = Arc::new(load);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let load = Arc::clone(&load);
                // A scraper that hung up asks again; nothing is lost.
                std::thread::spawn(move || serve(&load, stream).map_err(|error| error.to_string()));
            }
        });
        Ok(Self { address })
    }
}

fn serve(load: &Load, mut stream: TcpStream) -> Result<(), Failure> {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked)?;
    let page = load.page(now()?);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    )?;
    Ok(())
}
