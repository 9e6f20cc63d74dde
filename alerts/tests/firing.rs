//! When an alert fires and when it stays silent: scenes that promtool evaluates with the generated rules.

mod peers;

use map::catalogue as names;
use peers::scene::Scene;

const BASIC_PAGES: &str = "LatencyDegraded culprit=basic team=rail tier=2";
const GW_WAITS: &str = "LatencyDegradedByDependency id=gw culprit=basic team=rail tier=2";

/// A chain whose last service is slow, as its users feel it.
fn slow_chain() -> Scene {
    Scene::of("user->gw gw->basic")
        .own_slow("basic", (3.0, 40.0))
        .total_slow("basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
}

#[test]
fn a_page_fires_at_the_second_evaluation_of_the_evidence_and_holds_five_minutes_beyond_it() {
    slow_chain()
        .fires("10m", &[])
        .fires("10m30s", &[])
        .fires("13m", &[BASIC_PAGES, GW_WAITS])
        .fires("30m", &[BASIC_PAGES, GW_WAITS])
        .fires("35m", &[BASIC_PAGES])
        .fires("37m", &[])
        .fires("45m", &[])
        .run();
}

#[test]
fn two_collectors_that_say_the_same_of_the_map_are_one_page() {
    slow_chain()
        .collectors(2)
        .fires("25m", &[BASIC_PAGES, GW_WAITS])
        .run();
}

#[test]
fn two_collectors_that_disagree_about_the_owner_still_page_once() {
    // Which of the two is woken matters less than that somebody is.
    slow_chain()
        .series(
            r#"tracemap_owner_info{id="basic",team="metro",tier="2",instance="new"}"#,
            "1x100",
        )
        .counts("25m", "LatencyDegraded", 1)
        .run();
}

#[test]
fn a_culprit_without_an_owner_still_pages() {
    slow_chain()
        .without(r#"tracemap_owner_info{id="basic""#)
        .fires(
            "25m",
            &[
                "LatencyDegraded culprit=basic team=unowned",
                "LatencyDegradedByDependency id=gw culprit=basic team=unowned",
            ],
        )
        .run();
}

#[test]
fn healthy_noise_around_the_expected_share_stays_silent_for_an_hour() {
    let noise = "0+2x12 26+4x12 78+3x12 114+5x12 173+1x12 186+4x12 237+3x24";
    Scene::of("user->gw gw->basic")
        .series(r#"tracemap_judged_total{id="noisy",kind="service"}"#, "0+60x100")
        .series(r#"tracemap_own_slow_total{id="noisy",kind="service"}"#, noise)
        .series(
            r#"tracemap_own_slow_expected_total{id="noisy",kind="service"}"#,
            "0+3x100",
        )
        .fires("20m", &[])
        .fires("49m", &[])
        .run();
}

#[test]
fn a_shift_to_operations_that_are_often_slow_is_no_degradation() {
    let expected = "tracemap_own_slow_expected_total";
    let total = "tracemap_total_slow_expected_total";
    slow_chain()
        .count(expected, "basic", (3.0, 40.0))
        .count(total, "basic", (3.0, 40.0))
        .count(total, "gw", (3.0, 40.0))
        .fires("25m", &[])
        .fires("30m", &[])
        .run();
}

#[test]
fn a_rare_operation_of_an_entry_point_is_enough_for_a_page() {
    // 600 requests in 30 s, of which 30 are expected to be slow and 54 are: 9 %, below the share for own time.
    Scene::of("user->gw gw->basic")
        .judged("gw", (600.0, 600.0))
        .own_slow("basic", (3.0, 40.0))
        .total_slow("gw", (30.0, 54.0))
        .fires("25m", &[BASIC_PAGES, GW_WAITS])
        .run();
}

#[test]
fn the_smaller_shift_counts_at_entry_points_only() {
    Scene::of("user->gw gw->travel travel->basic")
        .judged("travel", (600.0, 600.0))
        .own_slow("basic", (3.0, 40.0))
        .total_slow("travel", (30.0, 54.0))
        .total_slow("gw", (3.0, 40.0))
        .fires("25m", &[BASIC_PAGES, GW_WAITS])
        .run();
}

/// Three requests in five minutes, which cannot convict anybody there, and nine in fifteen, which can.
fn rarely_called() -> Scene {
    Scene::of("user->gw gw->basic")
        .judged("basic", (0.3, 0.3))
        .own_slow("basic", (0.015, 0.3))
        .total_slow("gw", (3.0, 40.0))
}

#[test]
fn a_rarely_called_culprit_is_found_over_a_longer_window_and_let_go_by_its_latest_part() {
    rarely_called()
        .fires("20m", &[])
        .fires("28m", &[BASIC_PAGES, GW_WAITS])
        .fires("40m", &[])
        .annotated(
            "28m",
            BASIC_PAGES,
            &[
                (
                    "description",
                    "Own time:\\n- basic: 5% of requests were expected to be slow, 99.99% of 9 in 15m were",
                ),
                ("map_url", "http://127.0.0.1:7070/?node=basic"),
                ("runbook_url", "http://127.0.0.1:7070/runbooks/LatencyDegraded.md"),
                ("summary", "basic is slow by itself, and users wait for it"),
            ],
        )
        .run();
}

#[test]
fn one_slow_request_after_a_fault_does_not_call_back_the_evidence_of_a_longer_window() {
    rarely_called()
        .series(
            r#"tracemap_own_slow_total{id="basic",kind="service",instance="x"}"#,
            "0x75 1x25",
        )
        .expect_nothing("36m", r#"tracemap:own:degraded{id="basic"}"#)
        .expect_nothing(
            "38m",
            r#"absent(tracemap:own_slow:evidence{id="basic",window="15m"} > 10)"#,
        )
        .expect_nothing("38m", r#"tracemap:own:degraded{id="basic"}"#)
        .expect_nothing("40m", r#"tracemap:own:degraded{id="basic"}"#)
        .fires("40m", &[])
        .run();
}

#[test]
fn a_busy_service_is_not_looked_at_over_a_longer_window() {
    rarely_called()
        .judged("basic", (60.0, 60.0))
        .count("tracemap_own_slow_total", "basic", (3.0, 3.0))
        .expect_nothing("29m", "tracemap:judged:increase{id=\"basic\",window!=\"5m\"}")
        .run();
}

#[test]
fn traffic_that_ended_after_a_fault_is_not_looked_at_over_a_longer_window() {
    // Busy and slow from minute 10 on, healthy for five minutes from minute 30 on, then without a request.
    let (judged, slow) = ("0+60x70 4200x30", "0+3x20 103+40x39 1666+3x10 1696x30");
    let gw = "tracemap_total_slow_total";
    Scene::of("user->gw gw->basic")
        .judged("basic", (0.0, 0.0))
        .total_slow("gw", (3.0, 40.0))
        .series(
            "tracemap_judged_total{id=\"basic\",kind=\"service\",instance=\"x\"}",
            judged,
        )
        .series(
            "tracemap_own_slow_total{id=\"basic\",kind=\"service\",instance=\"x\"}",
            slow,
        )
        .series(
            "tracemap_own_slow_expected_total{id=\"basic\",kind=\"service\",instance=\"x\"}",
            "0+3x70 210x30",
        )
        .count(gw, "basic", (0.0, 0.0))
        .pages("25m", &[BASIC_PAGES])
        .expect_nothing("38m", "tracemap:own:degraded{id=\"basic\"}")
        .expect_nothing("41m", "tracemap:own:degraded{id=\"basic\"}")
        .expect_nothing("46m", "tracemap:own:degraded{id=\"basic\"}")
        .run();
}

#[test]
fn a_culprit_that_no_entry_point_feels_becomes_a_ticket_after_a_quarter_of_an_hour() {
    Scene::of("user->gw gw->basic")
        .own_slow("basic", (3.0, 40.0))
        .total_slow("basic", (3.0, 40.0))
        .fires("24m", &[])
        .fires(
            "28m",
            &["LatencyDegradedNoUserImpact culprit=basic team=rail tier=2"],
        )
        .fires("50m", &[])
        .run();
}

#[test]
fn two_slow_requests_at_an_entry_point_are_no_reason_to_page_and_six_in_a_longer_window_are() {
    Scene::of("user->gw gw->basic")
        .judged("gw", (0.2, 0.2))
        .own_slow("basic", (3.0, 40.0))
        .total_slow("gw", (0.01, 0.2))
        .pages("16m", &[])
        .pages("29m", &[BASIC_PAGES])
        .run();
}

#[test]
fn a_service_that_waits_for_a_culprit_without_a_page_is_no_symptom() {
    Scene::of("user->gw gw->mid mid->basic")
        .own_slow("basic", (3.0, 40.0))
        .total_slow("mid", (3.0, 40.0))
        .fires("20m", &[])
        .fires(
            "29m",
            &["LatencyDegradedNoUserImpact culprit=basic team=rail tier=2"],
        )
        .run();
}

#[test]
fn an_entry_point_that_does_not_wait_for_the_culprit_is_no_reason_to_page() {
    Scene::of("user->gw gw->travel away->basic")
        .own_slow("basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .fires(
            "28m",
            &[
                "LatencyDegradedNoUserImpact culprit=basic team=rail tier=2",
                "LatencyUnexplained id=gw team=front tier=1",
            ],
        )
        .run();
}

#[test]
fn a_slow_entry_point_without_a_culprit_becomes_a_ticket_of_its_team() {
    Scene::of("user->gw gw->basic")
        .total_slow("gw", (3.0, 40.0))
        .fires("19m", &[])
        .fires("25m", &["LatencyUnexplained id=gw team=front tier=1"])
        .fires("50m", &[])
        .run();
}

#[test]
fn an_unexplained_entry_point_with_two_owners_is_one_ticket() {
    Scene::of("user->gw gw->basic")
        .series(
            r#"tracemap_owner_info{id="gw",team="facade",tier="1",instance="new"}"#,
            "1x100",
        )
        .total_slow("gw", (3.0, 40.0))
        .counts("25m", "LatencyUnexplained", 1)
        .run();
}

#[test]
fn a_slow_service_that_no_user_calls_and_nothing_explains_is_left_alone() {
    Scene::of("user->gw gw->mid mid->basic")
        .total_slow("mid", (3.0, 40.0))
        .fires("29m", &[])
        .run();
}

#[test]
fn an_unexplained_entry_point_without_an_owner_is_a_ticket_all_the_same() {
    Scene::of("user->gw gw->basic")
        .without(r#"tracemap_owner_info{id="gw""#)
        .total_slow("gw", (3.0, 40.0))
        .fires("25m", &["LatencyUnexplained id=gw"])
        .run();
}

#[test]
fn busy_parts_that_were_never_judged_are_noted_and_edges_from_users_are_not() {
    let requests = "0+100x300";
    Scene::of("user->gw gw->basic")
        .series(
            r#"tracemap_node_info{id="gw",kind="service",instance="late"}"#,
            "1x300",
        )
        .series(r#"tracemap_requests_total{id="new",kind="service"}"#, requests)
        .series(
            r#"tracemap_requests_total{id="gw->new",kind="edge",client="gw",server="new"}"#,
            requests,
        )
        .series(
            r#"tracemap_requests_total{id="user->gw",kind="edge",client="user",server="gw"}"#,
            requests,
        )
        .series(r#"tracemap_requests_total{id="calm",kind="service"}"#, "0+1x300")
        .series(r#"tracemap_requests_total{id="known",kind="service"}"#, requests)
        .series(r#"tracemap_judged_total{id="known",kind="service"}"#, "0+1x300")
        .fires("60m", &[])
        .fires(
            "145m",
            &[
                "LatencyBaselineMissing id=new kind=service",
                "LatencyBaselineMissing id=gw->new kind=edge client=gw server=new",
            ],
        )
        .run();
}

#[test]
fn a_shift_that_has_lasted_is_asked_about_until_somebody_pins_the_old_baseline() {
    let shift = |operation: &str, measure: &str, pinned: &str| {
        format!(
            r#"tracemap_new_normal_info{{id="basic",kind="service",operation="{operation}",measure="{measure}",pinned="{pinned}"}}"#
        )
    };
    let seconds = |edge: &str| {
        format!(
            r#"tracemap_new_normal_seconds{{id="basic",kind="service",operation="GET /a",measure="own",edge="{edge}"}}"#
        )
    };
    let basic = "LatencyNewNormal id=basic kind=service team=rail tier=2";
    Scene::of("user->gw gw->basic")
        .series(&shift("GET /a", "own", "false"), "_x20 1x99 _x200")
        .series(&shift("GET /a", "own", "true"), "_x120 1x200")
        .series(&shift("GET /b", "total", "false"), "1x300")
        .series(
            r#"tracemap_new_normal_info{id="gw->basic",kind="edge",operation="GET /a",measure="own",pinned="false"}"#,
            "_x20 1x99 _x200",
        )
        .series(&seconds("old"), "_x20 0.1x99 _x200")
        .series(&seconds("new"), "_x20 0.25x99 _x200")
        .fires("9m", &[])
        .fires("50m", &[basic, "LatencyNewNormal id=gw->basic kind=edge"])
        .fires("80m", &[])
        .run();
    Scene::of("user->gw gw->basic")
        .series(&shift("GET /a", "own", "false"), "1x99")
        .series(&seconds("old"), "0.1x99")
        .series(&seconds("new"), "0.25x99")
        .annotated(
            "40m",
            basic,
            &[
                (
                    "description",
                    "Few requests took longer than:\\n- GET /a: 100ms before, 250ms now",
                ),
                ("map_url", "http://127.0.0.1:7070/?node=basic"),
                (
                    "runbook_url",
                    "http://127.0.0.1:7070/runbooks/LatencyNewNormal.md",
                ),
                (
                    "summary",
                    "basic has been slower than usual for hours: is that its new normal?",
                ),
            ],
        )
        .run();
}

#[test]
fn the_page_says_in_words_what_was_expected_and_what_happened() {
    slow_chain()
        .own_slow("gw->basic", (3.0, 30.0))
        .annotated(
            "25m",
            "LatencyDegraded culprit=basic team=rail tier=2",
            &[
                (
                    "description",
                    "Own time:\\n\
                     - basic: 5% of requests were expected to be slow, 66.67% of 600 in 5m were\\n\
                     - gw->basic: 5% of requests were expected to be slow, 50% of 600 in 5m were",
                ),
                ("map_url", "http://127.0.0.1:7070/?node=basic"),
                ("runbook_url", "http://127.0.0.1:7070/runbooks/LatencyDegraded.md"),
                ("summary", "basic is slow by itself, and users wait for it"),
            ],
        )
        .run();
}

/// A culprit that makes requests of an entry point, which looks healthy, longer by so many seconds in half a minute of waiting.
fn felt(seconds: f64) -> Scene {
    Scene::of("user->gw gw->basic")
        .own_slow("basic", (3.0, 40.0))
        .total_slow("basic", (3.0, 40.0))
        .count(names::CRITICAL_EXCESS_SECONDS, "basic", (0.0, seconds))
        .series("tracemap_waited_seconds_total{id=\"gw\"}", "0+30x100")
}

#[test]
fn a_culprit_that_costs_users_two_per_cent_pages_although_no_entry_point_looks_slow() {
    felt(0.6)
        .fires("10m", &[])
        .fires("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .fires("50m", &[])
        .run();
}

#[test]
fn a_little_slowness_after_a_fault_is_no_second_page_while_the_entry_point_still_looks_slow() {
    let late = "{id=\"late\",kind=\"service\"}";
    // `late` is slow from minute 30 on, which users hardly notice; the window of `gw` reaches back into the fault until minute 35.
    felt(3.0)
        .total_slow("gw", (3.0, 40.0))
        .series(&format!("tracemap_judged_total{late}"), "0+60x100")
        .series(&format!("tracemap_own_slow_expected_total{late}"), "0+3x100")
        .series(&format!("tracemap_own_slow_total{late}"), "0+3x60 240+60x40")
        .series("tracemap_reach_info{culprit=\"late\",id=\"gw\"}", "1x100")
        .series(
            "tracemap_critical_path_excess_seconds_total{id=\"late\"}",
            "0x60 0+0.05x40",
        )
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .expect_nothing(
            "33m",
            "absent(tracemap:culprit:slows{culprit=\"late\",id=\"gw\"})",
        )
        .expect_nothing("33m", "tracemap:culprit:evidence{culprit=\"basic\"}")
        .pages("33m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run();
}

#[test]
fn a_culprit_that_costs_users_half_a_per_cent_is_a_ticket() {
    felt(0.15)
        .fires("24m", &[])
        .fires(
            "28m",
            &["LatencyDegradedNoUserImpact culprit=basic team=rail tier=2"],
        )
        .run();
}

/// Messages that lie in a queue for longer than usual before `basic` takes them.
fn late_messages() -> Scene {
    let edge = "tracemap_edge_info{id=\"orders->basic\",client=\"orders\",server=\"basic\",connection_type=\"messaging_system\"}";
    Scene::of("user->gw gw->orders orders->basic")
        .own_slow("orders->basic", (3.0, 50.0))
        .series(edge, "1x100")
}

#[test]
fn messages_that_wait_for_a_consumer_page_its_owner_where_it_is_an_entry_point_and_are_a_ticket_elsewhere() {
    late_messages()
        .series("tracemap_entrypoint_info{id=\"basic\"}", "1x100")
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run();
    late_messages()
        .pages("25m", &[])
        .fires(
            "28m",
            &["LatencyDegradedNoUserImpact culprit=basic team=rail tier=2"],
        )
        .run();
}

#[test]
fn two_failures_in_a_hundred_page_nobody_and_ten_page_the_culprit() {
    let scene = |failed: f64| {
        Scene::of("user->gw gw->basic")
            .count(names::OWN_FAILED_EXPECTED, "basic", (0.06, 0.06))
            .count(names::OWN_FAILED, "basic", (0.0, failed))
            .count(names::JUDGED_FAILED_EXPECTED, "gw", (0.06, 0.06))
            .count(names::JUDGED_FAILED, "gw", (0.0, failed))
            .with_errors()
    };
    scene(1.0).pages("25m", &[]).run();
    scene(6.0)
        .pages("25m", &["ErrorsDegraded culprit=basic team=rail tier=2"])
        .run();
}
