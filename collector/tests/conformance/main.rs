//! What others call right: the cases of Zipkin's dependency linker and of the service graph connectors, and random
//! systems as clusters run them.
//!
//! In: cases as data (`cases/*.yaml`). Out: the edges of an engine, compared with ours and, where we differ, with theirs.
//! Left out on purpose: what depends on those programs' settings (dimensions, filters, limits on items, their own series).

#![allow(
    dead_code,
    reason = "`dsl` and `scene` are shared with the tests of pairing, which use more of them"
)]

mod case;
mod cluster;
#[path = "../pairing/dsl.rs"]
mod dsl;
#[path = "../pairing/scene.rs"]
mod scene;
#[path = "../pairing/system.rs"]
mod system;

use crate::case::Suite;

#[test]
fn zipkins_cases_give_its_links_or_say_why_not() {
    Suite::read(include_str!("cases/zipkin.yaml")).check();
}

#[test]
fn the_service_graph_connectors_cases_give_their_edges_or_say_why_not() {
    Suite::read(include_str!("cases/servicegraph.yaml")).check();
}
