//! Our routes within configurations of others: files of many shapes, with the tools that read them.
//!
//! In: every combination of shapes that a file may have, and faulty files. Out: the merged text, what amtool says of it, or
//! the one error. Left out on purpose: the file on disk; the command's tests have it.

mod peers;

use alerts::{AlertSettings, MergeError, merge};
use map::Map;
use peers::{SHOP, map_of, run};

const TEMPLATES: &str = "/etc/tracemap/tracemap.tmpl";

fn settings(yaml: &str) -> AlertSettings {
    config::load("settings.yaml", yaml, []).unwrap()
}

/// Without anything, and with everything that a merged file can hold of ours.
fn both_settings() -> [AlertSettings; 2] {
    let full = "receivers: {page: 'http://pager.example/', teams: {shop: 'http://shop.example/'}, \
        slack: {api_url_file: /etc/slack, page: '#oncall'}}\nnotify: {ticket_hours: {location: Europe/Berlin}}";
    [AlertSettings::default(), settings(full)]
}

/// A configuration of somebody else, in one of its shapes.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is there or not, in every combination"
)]
struct Shape {
    indented: bool,
    routes: bool,
    templates: bool,
    crlf: bool,
    last_line_ends: bool,
    receivers_first: bool,
}

impl Shape {
    fn all() -> impl Iterator<Item = Self> {
        (0..64_u8).map(|bits| {
            let bit = |n: u8| bits >> n & 1 == 1;
            Self {
                indented: bit(0),
                routes: bit(1),
                templates: bit(2),
                crlf: bit(3),
                last_line_ends: bit(4),
                receivers_first: bit(5),
            }
        })
    }

    fn text(self) -> String {
        let dash = if self.indented { "  - " } else { "- " };
        let more = " ".repeat(dash.len());
        let child = format!("  {dash}");
        let routes = format!(
            "  routes: # in this order\n\n  # the database people\n{child}receiver: dba\n  {more}matchers: [ team=\"dba\" ]\n\
             {child}receiver: ops # all others\n"
        );
        let route = format!(
            "# Who gets what.\nroute:\n  <<: &timing\n    group_wait: 30s\n  receiver: \"ops\"   # default\n{}  group_by: ['...']\n",
            if self.routes { routes.as_str() } else { "" }
        );
        let receivers = format!(
            "receivers:\n# on call\n{dash}name: ops\n{more}webhook_configs:\n{more}- url: &ops 'http://ops.example/'\n\
             {dash}name: dba\n{more}webhook_configs: [{{url: *ops, max_alerts: 0}}]\n"
        );
        let templates = if self.templates {
            format!("templates:\n{dash}'/etc/alertmanager/*.tmpl'\n\n")
        } else {
            String::new()
        };
        let body = if self.receivers_first {
            receivers + "\n" + &route
        } else {
            route + "\n" + &receivers
        };
        let mut text = format!("# Ours since 2019.\n\nglobal:\n  resolve_timeout: 5m\n\n{templates}{body}");
        if self.crlf {
            text = text.replace('\n', "\r\n");
        }
        if !self.last_line_ends {
            text.truncate(text.trim_end().len());
        }
        text
    }
}

/// The lines outside our markers.
fn outside(text: &str) -> String {
    let mut within = false;
    let mut rest = String::new();
    for line in text.split_inclusive('\n') {
        within |= line.trim().starts_with("# BEGIN tracemap");
        if !within {
            rest.push_str(line);
        }
        within &= !line.trim().starts_with("# END tracemap");
    }
    rest
}

fn shop() -> Map {
    map_of(SHOP)
}

#[test]
fn every_byte_outside_the_markers_stays_and_a_second_merge_changes_nothing() {
    let map = shop();
    for shape in Shape::all() {
        let text = shape.text();
        for settings in both_settings() {
            let merged =
                merge(&text, &map, &settings, TEMPLATES).unwrap_or_else(|e| panic!("{shape:?}: {e}\n{text}"));
            assert_eq!(outside(&merged), text, "{shape:?}");
            assert!(merged.contains("receiver: tracemap-page-shop"), "{shape:?}");
            let bare = merged.replace("\r\n", "").contains('\n');
            assert_eq!(bare, !shape.crlf, "our lines end as theirs do: {shape:?}");
            let again = merge(&merged, &map, &settings, TEMPLATES).unwrap();
            assert_eq!(again, merged, "{shape:?}");
        }
    }
}

#[test]
fn other_settings_and_another_map_replace_what_stands_between_the_markers() {
    let [plain, full] = both_settings();
    let other = map_of("edges: [{client: user, server: a}]\nservices: {a: {team: solo}}");
    for shape in Shape::all() {
        let text = shape.text();
        let merged = merge(&text, &shop(), &full, TEMPLATES).unwrap();
        let next = merge(&merged, &other, &plain, TEMPLATES).unwrap();
        assert!(
            next.contains("tracemap-page-solo") && !next.contains("tracemap-page-shop"),
            "{shape:?}"
        );
        assert!(
            !next.contains("ticket-hours") && !next.contains(TEMPLATES),
            "{shape:?}"
        );
        assert_eq!(
            next,
            merge(&text, &other, &plain, TEMPLATES).unwrap(),
            "{shape:?}"
        );
    }
}

/// Writes a merged file and asks amtool which receiver an alert reaches.
fn reaches(text: &str, expected: &str, labels: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("am.yaml"), text).unwrap();
    let said = run("amtool", dir.path(), &["check-config", "am.yaml"]);
    assert!(
        said.as_ref().is_ok_and(|s| s.contains("SUCCESS")),
        "{said:?}\n{text}"
    );
    let receivers = format!("--verify.receivers={expected}");
    let args = ["config", "routes", "test", "--config.file=am.yaml", &receivers];
    let said = run("amtool", dir.path(), &[&args, labels].concat());
    assert!(
        said.is_ok(),
        "{labels:?} should reach `{expected}`: {said:?}\n{text}"
    );
}

#[test]
fn amtool_takes_the_merged_file_our_alerts_reach_our_receivers_and_others_reach_theirs() {
    let map = shop();
    let page = ["alertname=LatencyDegraded", "severity=page", "culprit=x"];
    for shape in Shape::all().step_by(7) {
        for settings in both_settings() {
            let merged = merge(&shape.text(), &map, &settings, TEMPLATES).unwrap();
            reaches(
                &merged,
                "tracemap-page-shop",
                &[&page[..], &["team=shop"]].concat(),
            );
            // A team that the routes of somebody else know as well.
            reaches(&merged, "tracemap-page", &[&page[..], &["team=dba"]].concat());
            reaches(
                &merged,
                "tracemap-ticket",
                &["alertname=LatencyUnexplained", "severity=ticket"],
            );
            let dba = if shape.routes { "dba" } else { "ops" };
            reaches(&merged, dba, &["alertname=DiskFull", "severity=page", "team=dba"]);
            reaches(
                &merged,
                "ops",
                &["alertname=DiskFull", "severity=page", "culprit=x"],
            );
        }
    }
}

#[test]
fn our_part_stays_where_somebody_moved_it_to_and_what_was_added_behind_it_stays() {
    let [settings, _] = both_settings();
    let text = "route:\n  receiver: a\nreceivers:\n- name: a\n";
    let merged = merge(text, &shop(), &settings, TEMPLATES).unwrap();
    let added = merged.replace(
        "  # END tracemap routes\n",
        "  # END tracemap routes\n  - receiver: a\n    matchers: [x=\"y\"]\n",
    );
    assert_eq!(merge(&added, &shop(), &settings, TEMPLATES).unwrap(), added);
    let (head, block) = merged.split_once("# BEGIN tracemap receivers").unwrap();
    let (block, tail) = block.split_once("# END tracemap receivers\n").unwrap();
    let moved = format!("{head}{tail}# BEGIN tracemap receivers{block}# END tracemap receivers");
    let again = merge(&moved, &shop(), &settings, TEMPLATES).unwrap();
    assert_eq!(again, format!("{moved}\n"));
    reaches(
        &again,
        "tracemap-ticket",
        &["alertname=LatencyUnexplained", "severity=ticket"],
    );
}

#[test]
fn a_byte_order_mark_stays_the_first_thing() {
    let [_, settings] = both_settings();
    let text = "\u{feff}route:\n  receiver: a\nreceivers:\n- name: a\n";
    let merged = merge(text, &shop(), &settings, TEMPLATES).unwrap();
    assert!(
        merged.starts_with("\u{feff}# BEGIN tracemap templates\n"),
        "{merged}"
    );
    assert_eq!(merge(&merged, &shop(), &settings, TEMPLATES).unwrap(), merged);
}

/// The error for a file, as the operator reads it.
fn refused(text: &str) -> String {
    let [_, settings] = both_settings();
    let error = merge(text, &shop(), &settings, TEMPLATES).unwrap_err();
    let said = error.to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_file_that_is_no_configuration_is_refused_with_what_is_wrong_with_it() {
    assert!(
        refused("route: [\n").starts_with("line 1 is not YAML: "),
        "{}",
        refused("route: [\n")
    );
    assert!(refused("route:\n\t- x\n").contains("is not YAML"));
    assert!(refused("").contains("there is no mapping in it"));
    assert!(refused("- a\n").contains("there is no mapping in it"));
    assert!(refused("receivers: []\n").contains("there is no `route` in it"));
    assert!(refused("route:\n  receiver: a\n").contains("there is no `receivers` in it"));
    let two = "route:\n  receiver: a\nreceivers:\n- name: a\n---\nroute: {}\n";
    assert!(
        refused(two).contains("a second document begins in line 5"),
        "{}",
        refused(two)
    );
    let twice = "route:\n  receiver: a\nreceivers:\n- name: a\nroute:\n  receiver: b\n";
    assert!(
        refused(twice).contains("`route` stands a second time in line 5"),
        "{}",
        refused(twice)
    );
    let deep = format!(
        "x: {}1{}\nroute:\n  receiver: a\nreceivers:\n- name: a\n",
        "[".repeat(99),
        "]".repeat(99)
    );
    assert!(refused(&deep).contains("too deep"));
}

#[test]
fn what_is_not_written_line_by_line_is_refused_with_its_key_and_line() {
    for (text, key, line) in [
        ("route: {receiver: a}\nreceivers:\n- name: a\n", "route", 1),
        (
            "route:\n  receiver: a\n  routes: [{receiver: a}]\nreceivers:\n- name: a\n",
            "routes",
            3,
        ),
        (
            "route:\n  receiver: a\n  routes:\nreceivers:\n- name: a\n",
            "routes",
            3,
        ),
        ("route:\n  receiver: a\nreceivers: [{name: a}]\n", "receivers", 3),
        (
            "x: &r\n- name: a\nroute:\n  receiver: a\nreceivers: *r\n",
            "receivers",
            5,
        ),
        (
            "templates: ['*.tmpl']\nroute:\n  receiver: a\nreceivers:\n- name: a\n",
            "templates",
            1,
        ),
        (
            "time_intervals: []\nroute:\n  receiver: a\nreceivers:\n- name: a\n",
            "time_intervals",
            1,
        ),
        ("{route: {receiver: a}, receivers: [{name: a}]}\n", "route", 1),
    ] {
        let said = refused(text);
        assert!(
            said.starts_with(&format!("`{key}` in line {line} is not written line by line")),
            "{text}{said}"
        );
    }
}

#[test]
fn a_broken_or_doubled_marker_is_refused_with_its_line() {
    let [_, settings] = both_settings();
    let text = "route:\n  receiver: a\nreceivers:\n- name: a\n";
    let merged = merge(text, &shop(), &settings, TEMPLATES).unwrap();
    for key in ["templates", "time_intervals", "routes", "receivers"] {
        for half in ["BEGIN", "END"] {
            let marker = format!("# {half} tracemap {key}\n");
            let at = |text: &str| 1 + text[..text.find(&marker).unwrap()].matches('\n').count();
            let said = refused(&merged.replace(&marker, ""));
            assert!(
                said.contains(" in line ") && said.contains("remove what is left"),
                "{said}"
            );
            let said = refused(&merged.replace(&marker, &marker.repeat(2)));
            assert!(said.contains(&format!("in line {}", at(&merged) + 1)), "{said}");
            let said = refused(&merged.replace(&marker, &format!("# {half} tracemap notes\n")));
            assert!(said.contains("names no part of ours"), "{said}");
        }
    }
    let again = merged.clone() + &merged[merged.find("# BEGIN tracemap receivers").unwrap()..];
    assert!(
        refused(&again).contains("stands a second time"),
        "{}",
        refused(&again)
    );
}

#[test]
fn a_name_of_ours_that_somebody_else_gave_is_refused() {
    let text = "route:\n  receiver: a\nreceivers:\n- name: a\n- name: tracemap-page\n";
    assert!(
        refused(text).starts_with("`tracemap-page` in line "),
        "{}",
        refused(text)
    );
    let text =
        "route:\n  receiver: a\nreceivers:\n- name: a\ntime_intervals:\n- name: tracemap-ticket-hours\n";
    assert!(
        refused(text).starts_with("`tracemap-ticket-hours` in line "),
        "{}",
        refused(text)
    );
}

#[test]
fn lines_that_would_change_what_others_say_are_not_put_in() {
    // The properties of a list may stand on a line below its key, where ours would take them.
    let text = "route:\n  receiver: a\nreceivers:\n  &all\n  - name: a\n";
    let said = refused(text);
    assert!(said.contains("our `"), "{said}");
    // Markers within a text, which only look like ours, of a part that we have none of.
    let text = "global:\n  x: |\n    # BEGIN tracemap templates\n    # END tracemap templates\nroute:\n  receiver: a\n\
                receivers:\n- name: a\n";
    assert!(matches!(
        merge(text, &shop(), &AlertSettings::default(), TEMPLATES),
        Err(MergeError::Unsafe { .. })
    ));
    // A marker within a text that only looks like one.
    let text = "route:\n  receiver: a\nreceivers:\n- name: |\n    # BEGIN tracemap receivers\n    # END tracemap receivers\n";
    assert!(matches!(
        merge(text, &shop(), &AlertSettings::default(), TEMPLATES),
        Err(MergeError::Unsafe { .. })
    ));
}

#[test]
fn no_beginning_of_a_file_and_no_file_without_one_of_its_lines_panics_or_loses_a_byte() {
    let map = shop();
    let [_, settings] = both_settings();
    let whole = merge(&Shape::all().last().unwrap().text(), &map, &settings, TEMPLATES).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let without = (0..lines.len()).map(|at| [&lines[..at], &lines[at + 1..]].concat().concat());
    let beginnings = (0..whole.len())
        .step_by(5)
        .filter_map(|at| whole.get(..at).map(str::to_owned));
    let mut taken = 0;
    for text in without.chain(beginnings) {
        if let Ok(merged) = merge(&text, &map, &settings, TEMPLATES) {
            assert_eq!(outside(&merged), outside(&text));
            assert_eq!(merge(&merged, &map, &settings, TEMPLATES).unwrap(), merged);
            taken += 1;
        }
    }
    assert!(taken > 10, "some of these are files, but {taken} were taken");
}
