//! The real peers of the generated files, and maps to generate them from.
//!
//! In: generated files. Out: what promtool and amtool say of them. A missing binary fails the test that needs it.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod scene;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use alerts::AlertSettings;
use map::Map;

/// Maps by name: the shapes that a culprit has to be found in.
pub(crate) const MAPS: [(&str, &str); 7] = [
    (
        "chain",
        "edges: [{client: user, server: a}, {client: a, server: b}, {client: b, server: c}]\n\
         services: {a: {team: front, tier: 1}, c: {team: back}}",
    ),
    (
        "fan-out",
        "edges: [{client: user, server: hub}, {client: hub, server: one}, {client: hub, server: two}, \
         {client: hub, server: three}, {client: hub, server: four}]",
    ),
    (
        "cycle",
        "edges: [{client: user, server: gw}, {client: gw, server: g}, {client: g, server: h}, {client: h, server: g}]",
    ),
    (
        "shared dependency",
        "edges: [{client: user, server: left}, {client: user, server: right}, {client: left, server: shared}, \
         {client: right, server: shared}, {client: shared, server: store, connection_type: database}, \
         {client: left, server: store, connection_type: database}]",
    ),
    (
        "uninstrumented database",
        "edges: [{client: user, server: api}, {client: api, server: postgres, connection_type: database}, \
         {client: unknown, server: api}]\nservices: {api: {team: data}}",
    ),
    ("shop", SHOP),
    (
        "names that need escaping",
        r#"edges: [{client: user, server: 'prod/eu/w"e\b'}, {client: 'prod/eu/w"e\b', server: 'köln {x}'}]
services: {'köln {x}': {team: 'a "b" \ c', tier: 2}}"#,
    ),
];

/// A shop with a database for two services and a queue to a worker.
pub(crate) const SHOP: &str = "nodes: {orders: {kind: destination}}\n\
    edges: [{client: user, server: web}, {client: web, server: cart}, {client: web, server: catalogue}, \
    {client: web, server: checkout}, {client: cart, server: cart-db, connection_type: database}, \
    {client: catalogue, server: catalogue-db, connection_type: database}, {client: checkout, server: payment}, \
    {client: checkout, server: cart}, {client: checkout, server: orders, connection_type: messaging_system}, \
    {client: orders, server: worker, connection_type: messaging_system}]\n\
    services: {web: {team: web, tier: 1}, cart: {team: shop, tier: 1}, checkout: {team: shop, tier: 1}, \
    payment: {team: money, tier: 1, runbook: 'https://wiki.example/payment'}}";

/// A map of [`MAPS`], without its version line.
pub(crate) fn map_of(yaml: &str) -> Map {
    map::file::map_from_yaml(&format!("version: 1\n{yaml}\n")).expect("the sample map is a map")
}

/// What is generated for a map with the default settings.
pub(crate) fn generated(yaml: &str) -> BTreeMap<String, String> {
    alerts::generate(&map_of(yaml), &AlertSettings::default())
}

/// The files, written below a directory that lives as long as the value.
pub(crate) fn written(files: &BTreeMap<String, String>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a generated path has a directory"))
            .expect("a directory");
        std::fs::write(path, text).expect("a generated file");
    }
    dir
}

/// Runs a peer in a directory; its output where it succeeds, its complaint where it does not.
pub(crate) fn run(program: &str, dir: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).current_dir(dir).args(args).output().unwrap_or_else(|error| {
        panic!("cannot run `{program}` ({error}): install the Debian packages `prometheus` and `prometheus-alertmanager`")
    });
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = said(&output.stdout) + &said(&output.stderr);
    if output.status.success() {
        Ok(all)
    } else {
        Err(all)
    }
}
