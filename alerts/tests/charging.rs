//! Who is charged for a degradation, and when nobody is: scenes that promtool evaluates with the generated rules.

mod peers;

use peers::scene::Scene;

#[test]
fn a_network_fault_at_a_middle_service_pages_that_service_and_not_its_neighbours() {
    Scene::of("user->gw gw->travel travel->basic travel->route basic->train user->seat seat->train")
        .own_slow("travel->basic", (3.0, 58.0))
        .own_slow("basic->train", (3.0, 58.0))
        .total_slow("basic", (3.0, 58.0))
        .total_slow("travel", (3.0, 58.0))
        .total_slow("gw", (3.0, 58.0))
        .fires("10m", &[])
        .fires(
            "25m",
            &[
                "LatencyDegraded culprit=basic team=rail tier=2",
                "LatencyDegradedByDependency id=travel culprit=basic team=rail tier=2",
                "LatencyDegradedByDependency id=gw culprit=basic team=rail tier=2",
            ],
        )
        .fires("50m", &[])
        .run_for_both_signals();
}

#[test]
fn a_slow_service_in_a_cycle_pages_alone() {
    Scene::of("user->gw gw->g g->h h->g")
        .own_slow("h", (3.0, 50.0))
        .total_slow("h", (3.0, 50.0))
        .total_slow("g", (3.0, 50.0))
        .total_slow("gw", (3.0, 50.0))
        .fires(
            "25m",
            &[
                "LatencyDegraded culprit=h team=unowned",
                "LatencyDegradedByDependency id=g culprit=h team=unowned",
                "LatencyDegradedByDependency id=gw culprit=h team=unowned",
            ],
        )
        .run_for_both_signals();
}

#[test]
fn a_starved_cpu_that_shows_on_the_callers_side_too_is_one_page() {
    Scene::of("user->gw gw->basic basic->train gw->other")
        .own_slow("basic", (3.0, 40.0))
        .own_slow("gw->basic", (3.0, 40.0))
        .own_slow("basic->train", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run_for_both_signals();
}

#[test]
fn one_slow_edge_names_its_callee() {
    Scene::of("user->gw gw->left left->basic")
        .own_slow("left->basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run_for_both_signals();
}

#[test]
fn one_slow_edge_names_its_caller_where_other_callers_of_the_callee_are_served_well() {
    Scene::of("user->gw gw->left left->basic gw->right right->basic gw->basic")
        .own_slow("left->basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=left team=unowned"])
        .run_for_both_signals();
}

#[test]
fn an_edge_that_is_a_little_slow_as_well_does_not_speak_for_its_ends() {
    // Three nats more than are expected acquit nobody, and are too few to suspect anybody.
    Scene::of("user->gw gw->basic basic->train")
        .own_slow("gw->basic", (3.0, 40.0))
        .own_slow("basic->train", (3.0, 4.5))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run();
    Scene::of("user->gw gw->basic basic->train")
        .own_slow("gw->basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=gw team=front tier=1"])
        .run();
}

#[test]
fn a_database_is_the_culprit_of_its_slow_edges_and_its_callers_team_is_paged() {
    Scene::of("user->gw gw->basic basic~>store gw->other other~>store")
        .own_slow("basic->store", (3.0, 40.0))
        .own_slow("other->store", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=store team=rail tier=2"])
        .run_for_both_signals();
}

#[test]
fn two_faults_at_once_are_two_pages() {
    Scene::of("user->gw gw->left gw->basic")
        .own_slow("left", (3.0, 40.0))
        .own_slow("basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 50.0))
        .fires(
            "25m",
            &[
                "LatencyDegraded culprit=left team=unowned",
                "LatencyDegraded culprit=basic team=rail tier=2",
                "LatencyDegradedByDependency id=gw culprit=left team=unowned",
                "LatencyDegradedByDependency id=gw culprit=basic team=rail tier=2",
            ],
        )
        .run_for_both_signals();
}

#[test]
fn nobody_is_charged_at_user_or_unknown_even_where_their_edges_are_counted() {
    for client in ["user", "unknown"] {
        let edge = format!("{{id=\"{client}->gw\",kind=\"edge\",client=\"{client}\",server=\"gw\"}}");
        // The healthy edges of `gw` speak against it, and nothing speaks against the caller.
        Scene::of("user->gw unknown->gw gw->basic gw->other")
            .total_slow("gw", (3.0, 40.0))
            .series(&format!("tracemap_judged_total{edge}"), "0+60x100")
            .series(&format!("tracemap_own_slow_total{edge}"), "0+3x20 63+60x80")
            .series(&format!("tracemap_own_slow_expected_total{edge}"), "0+3x100")
            .fires("25m", &["LatencyDegraded culprit=gw team=front tier=1"])
            .run_for_both_signals();
    }
}

#[test]
fn a_healthy_edge_from_users_is_no_vote_for_the_service_they_call() {
    // Without its calling span the edge has no own time: it would always be healthy, and outvote the truth.
    let edge = r#"{id="user->gw",kind="edge",client="user",server="gw"}"#;
    Scene::of("user->gw gw->basic other->basic")
        .own_slow("gw->basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0))
        .series(&format!("tracemap_judged_total{edge}"), "0+60x100")
        .series(&format!("tracemap_own_slow_total{edge}"), "0x100")
        .series(&format!("tracemap_own_slow_expected_total{edge}"), "0+3x100")
        .fires("25m", &["LatencyDegraded culprit=gw team=front tier=1"])
        .run_for_both_signals();
}

#[test]
fn edges_without_a_baseline_are_no_healthy_votes() {
    let mut scene = Scene::of("user->gw gw->left left->basic basic->b1 basic->b2 basic->b3 gw->right")
        .own_slow("left->basic", (3.0, 40.0))
        .total_slow("gw", (3.0, 40.0));
    for edge in ["basic->b1", "basic->b2", "basic->b3"] {
        scene = scene
            .judged(edge, (0.0, 0.0))
            .count("tracemap_requests_total", edge, (600.0, 600.0));
    }
    scene
        .pages("25m", &["LatencyDegraded culprit=basic team=rail tier=2"])
        .run_for_both_signals();
}

#[test]
fn a_barely_degraded_edge_speaks_for_its_ends_and_not_against_them_too() {
    // 22.6 nats for `mid` by the second edge, less 20 for its five healthy ones: just better than its callee.
    Scene::of("user->gw gw->mid mid->x mid->y mid->h1 mid->h2 mid->h3 mid->h4")
        .own_slow("mid->x", (3.0, 40.0))
        .own_slow("mid->y", (3.0, 7.2))
        .total_slow("gw", (3.0, 40.0))
        .pages("25m", &["LatencyDegraded culprit=mid team=unowned"])
        .run_for_both_signals();
}

#[test]
fn three_slow_of_three_stay_silent_and_eleven_of_eleven_page() {
    let counts = |count: u32| format!("0x20 0+1x{count} {count}x79");
    let scene = |count: u32| {
        let edge = r#"{id="gw->rare",kind="edge",client="gw",server="rare"}"#;
        Scene::of("user->gw gw->basic")
            .total_slow("gw", (3.0, 30.0))
            .series(r#"tracemap_reach_info{id="gw",culprit="rare",hops="1"}"#, "1x100")
            .series(&format!("tracemap_judged_total{edge}"), &counts(count))
            .series(&format!("tracemap_own_slow_total{edge}"), &counts(count))
            .series(
                &format!("tracemap_own_slow_expected_total{edge}"),
                &format!("0x20 0+0.05x{count} {}x79", f64::from(count) * 0.05),
            )
    };
    scene(3).fires("15m", &[]).run();
    scene(11)
        .fires(
            "16m",
            &[
                "LatencyDegraded culprit=rare team=unowned",
                "LatencyDegradedByDependency id=gw culprit=rare team=unowned",
            ],
        )
        .run_for_both_signals();
}
