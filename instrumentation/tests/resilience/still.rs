//! Files that change when the system does.
//!
//! In: a map, and the same a little later. Out: the same bytes.
//! Left out on purpose: who keeps the file of before.

use instrumentation::resilience::{Resilience, ResilienceSettings, files, resilience};
use map::{ConnectionType, Map};

use crate::scene::{add, calls, edge, shop, total};

#[test]
fn the_same_map_gives_the_same_bytes_with_and_without_the_file_of_before() {
    let settings = ResilienceSettings::default();
    let first = files(&shop(), &settings, None);
    let again = files(&shop(), &settings, Some(&first["resilience.yaml"]));
    assert_eq!(first, again);
    let unreadable = files(&shop(), &settings, Some("version: 9\nedges: {}\n"));
    assert_eq!(first, unreadable);
}

#[test]
fn a_drift_of_a_tenth_changes_no_number_and_one_of_a_half_does() {
    let settings = ResilienceSettings::default();
    let with = |slow: f64| {
        let mut map = Map::default();
        add(
            &mut map,
            "a",
            "b",
            ConnectionType::Direct,
            calls(10_000, 20.0, slow),
        );
        map
    };
    let before = resilience(&with(200.0), &settings, None);
    let after = resilience(&with(215.0), &settings, Some(&before));
    assert_eq!(total(&before, "a", "b"), total(&after, "a", "b"));
    let new = resilience(&with(300.0), &settings, Some(&after));
    assert!(total(&new, "a", "b") > Some(400), "{:?}", edge(&new, "a", "b"));
}

#[test]
fn what_is_written_reads_back() {
    let numbers = resilience(&shop(), &ResilienceSettings::default(), None);
    assert_eq!(Resilience::from_yaml(&numbers.to_yaml()), Some(numbers));
}
