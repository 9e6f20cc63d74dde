//! What it costs to generate the dashboards of a large system: `cargo run --release -p tracemap-dashboards --example cost`.
//!
//! In: nothing; a made-up map of 1,000 services and 10,000 edges. Out: seconds, peak memory, files, bytes and panels, with a
//! file for each service and with templates.
//! Left out on purpose: a verdict. Time depends on the machine; the tests bound what does not.

use std::time::Instant;

use dashboards::{DashboardSettings, Files, generate, sizes};
use map::{ConnectionType, Edge, EdgeKey, Map, Node};

fn main() {
    let map = large();
    for files in [Files::Templated, Files::PerEntity] {
        let settings = DashboardSettings {
            files,
            ..DashboardSettings::default()
        };
        let began = Instant::now();
        let made = generate(&map, &settings);
        let seconds = began.elapsed().as_secs_f64();
        let peak = peak_mebibytes();
        let sizes = sizes(&made);
        let bytes: usize = sizes.iter().map(|size| size.bytes).sum();
        let largest = sizes.iter().max_by_key(|size| size.bytes).expect("an overview");
        let panels = sizes.iter().map(|size| size.panels).max().unwrap_or(0);
        println!(
            "{files:?}: {} files, {bytes} bytes in {seconds:.2} s, peak {peak} MiB; at most {panels} panels; \
             largest {} with {} bytes",
            made.len(),
            largest.file,
            largest.bytes
        );
    }
}

/// Each service calls ten others.
fn large() -> Map {
    let name = |i: usize| format!("service-{:04}", i % 1000);
    let mut map = Map::default();
    for i in 0..1000 {
        map.nodes.insert(name(i).as_str().into(), Node::default());
        for step in 1..=10 {
            let key = EdgeKey::new(
                name(i).as_str().into(),
                name(i + step * 37).as_str().into(),
                ConnectionType::Direct,
            );
            map.edges.insert(key, Edge::default());
        }
    }
    map
}

/// The most memory that this process held, as Linux tells it; 0 elsewhere.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1024
}
