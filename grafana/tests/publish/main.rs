//! What `publish` does to a Grafana, to what others have there, and when Grafana fails.
//!
//! In: dashboards, and a Grafana with the dashboards and faults of each test. Out: what it holds afterwards, and the report.
//! Left out on purpose: a real Grafana, which cannot be installed by the tests' package managers.

mod fake;
mod refusals;

use std::time::{Duration, SystemTime};

use axum::http::Method;
use fake::{Fault, Grafana, TOKEN};
use grafana::publish::{Action, Fate, Options, PublishError, Report, publish};
use grafana::{Client, ClientSettings, Dashboard, Token};
use serde_json::json;

fn client(grafana: &Grafana, token: &str, patience: Duration) -> Client {
    let settings = ClientSettings {
        url: grafana.url(),
        token: Some(Token::new(token).unwrap()),
        ca: None,
        timeout: Duration::from_secs(20),
        patience,
    };
    Client::new(settings).unwrap()
}

fn options() -> Options {
    Options {
        folder: "tracemap".to_owned(),
        tag: "tracemap".to_owned(),
        take_over: false,
        keep_gone: Duration::from_hours(24 * 7),
        dry_run: false,
        now: SystemTime::now(),
    }
}

/// A uid of the kind that is generated.
fn uid(name: char) -> String {
    format!("tracemap-{:030x}", u32::from(name))
}

fn dashboards(names: &str) -> Vec<Dashboard> {
    let each = |name: char| {
        let json = json!({"uid": uid(name), "title": format!("Service {name}"), "tags": ["tracemap"],
            "panels": [{"title": "Requests", "targets": [{"refId": "A", "expr": "up"}]}]});
        Dashboard::read(&format!("dashboards/service-{name}.json"), &json.to_string()).unwrap()
    };
    names.chars().map(each).collect()
}

async fn run(grafana: &Grafana, names: &str, options: &Options) -> Report {
    let client = client(grafana, TOKEN, Duration::from_secs(30));
    publish(&client, &dashboards(names), options).await.unwrap()
}

/// Each step as action, last character of its title, and fate.
fn steps(report: &Report) -> Vec<(Action, char, Fate)> {
    let each = report
        .steps
        .iter()
        .map(|step| (step.action, step.title.chars().last().unwrap(), step.fate.clone()));
    each.collect()
}

#[tokio::test]
async fn the_first_publish_makes_folder_and_dashboards_and_the_second_changes_nothing() {
    let grafana = Grafana::start().await;
    let report = run(&grafana, "ab", &options()).await;
    assert!(report.new_folder && !report.failed(), "{report:?}");
    assert_eq!(
        steps(&report),
        [
            (Action::Create, 'a', Fate::Done),
            (Action::Create, 'b', Fate::Done)
        ]
    );
    let writes = grafana.database().writes.clone();
    assert_eq!(
        writes,
        [
            "folder tracemap".to_owned(),
            format!("save {}", uid('a')),
            format!("save {}", uid('b'))
        ]
    );

    let again = run(&grafana, "ab", &options()).await;
    assert!(again.is_current() && again.unchanged == 2, "{again:?}");
    assert_eq!(grafana.database().writes, writes);
}

#[tokio::test]
async fn a_dry_run_tells_what_differs_and_writes_nothing() {
    let grafana = Grafana::start().await;
    run(&grafana, "ab", &options()).await;
    grafana.database().dashboards.get_mut(&uid('a')).unwrap().json["panels"][0]["targets"][0]["expr"] =
        json!("down");
    let writes = grafana.database().writes.clone();

    let look = Options {
        dry_run: true,
        ..options()
    };
    let report = run(&grafana, "abc", &look).await;
    assert_eq!(
        report.lines(false),
        [
            &format!("update: \"Service a\" ({}): 1 values", uid('a')),
            r#"    ~ panels["Requests"].targets["A"].expr: "down" -> "up""#,
            &format!("create: \"Service c\" ({})", uid('c')),
            "2 to do, 1 unchanged",
        ]
    );
    assert!(!report.is_current() && !report.failed());
    assert_eq!(grafana.database().writes, writes);

    let empty = Grafana::start().await;
    assert!(run(&empty, "a", &look).await.new_folder);
    assert!(empty.database().writes.is_empty());
}

#[tokio::test]
async fn what_others_have_in_the_folder_and_elsewhere_stays() {
    let grafana = Grafana::start().await;
    run(&grafana, "a", &options()).await;
    let folder = grafana.database().dashboards[&uid('a')].folder.clone();
    {
        let mut database = grafana.database();
        database.folders.insert("other".to_owned(), "Other".to_owned());
        database.put("theirs", "Theirs", &[], &folder);
        database.put("ber0fztcgxs7kc", "Service a copy", &["tracemap"], &folder);
        database.put(&uid('x'), "Service x", &["tracemap"], "other");
        database.put(&uid('y'), "Service y", &["mine"], &folder);
    }
    let at_once = Options {
        keep_gone: Duration::ZERO,
        ..options()
    };
    let report = run(&grafana, "axy", &at_once).await;
    let left: Vec<&str> = report.steps.iter().map(|step| step.details[0].as_str()).collect();
    assert_eq!(
        left,
        [
            "it lies in the folder \"Other\": move it back, or give `--take-over`",
            "it lacks the tag `tracemap`: somebody made it theirs",
        ]
    );
    assert!(report.is_current() && !report.failed());
    assert_eq!(grafana.database().dashboards.len(), 5);

    run(&grafana, "a", &at_once).await;
    assert_eq!(
        grafana.database().dashboards.len(),
        5,
        "none of them is removed for not being wanted either"
    );

    let told = Options {
        take_over: true,
        ..options()
    };
    run(&grafana, "ax", &told).await;
    assert_eq!(grafana.database().dashboards[&uid('x')].folder, folder);
}

#[tokio::test]
async fn what_left_the_map_says_so_for_a_while_and_then_goes() {
    let grafana = Grafana::start().await;
    run(&grafana, "ab", &options()).await;
    let report = run(&grafana, "a", &options()).await;
    assert_eq!(steps(&report), [(Action::MarkGone, 'b', Fate::Done)]);
    let notice = grafana.database().dashboards[&uid('b')].json["panels"][0]["options"]["content"].clone();
    assert!(
        notice.as_str().unwrap().contains("no longer on the map"),
        "{notice}"
    );
    assert!(
        run(&grafana, "a", &options()).await.is_current(),
        "it is marked once"
    );

    let later = Options {
        now: SystemTime::now() + Duration::from_hours(24 * 9),
        ..options()
    };
    assert_eq!(
        steps(&run(&grafana, "a", &later).await),
        [(Action::Remove, 'b', Fate::Done)]
    );
    assert_eq!(grafana.database().dashboards.len(), 1);

    run(&grafana, "ab", &options()).await;
    run(&grafana, "a", &options()).await;
    assert_eq!(
        steps(&run(&grafana, "ab", &options()).await),
        [(Action::Update, 'b', Fate::Done)]
    );
    assert_eq!(
        grafana.database().dashboards[&uid('b')].json["tags"],
        json!(["tracemap"]),
        "it is itself again"
    );
}

#[tokio::test]
async fn passing_faults_are_waited_out_and_nothing_is_saved_twice() {
    let grafana = Grafana::start().await;
    grafana.database().faults = vec![
        (Method::GET, "/api/folders", Fault::Status(502, None)),
        (Method::POST, "/api/folders", Fault::BreakAfter),
        (Method::GET, "/api/dashboards", Fault::BreakBefore),
        (Method::POST, "/api/dashboards", Fault::BreakAfter),
        (Method::POST, "/api/dashboards", Fault::Status(429, Some("1"))),
        (Method::POST, "/api/dashboards", Fault::BreakBefore),
        (Method::POST, "/api/dashboards", Fault::Status(500, None)),
    ];
    let report = run(&grafana, "abc", &options()).await;
    assert!(!report.failed(), "{report:?}");
    let database = grafana.database();
    assert!(
        database.faults.is_empty(),
        "every fault came: {:?}",
        database.faults
    );
    let versions: Vec<i64> = database
        .dashboards
        .values()
        .map(|stored| stored.version)
        .collect();
    assert_eq!((versions, database.folders.len()), (vec![1, 1, 1], 1));
}

#[tokio::test]
async fn a_removal_whose_answer_was_lost_is_a_removal() {
    let grafana = Grafana::start().await;
    run(&grafana, "ab", &options()).await;
    grafana.database().faults = vec![(Method::DELETE, "/api/dashboards", Fault::BreakAfter)];
    let at_once = Options {
        keep_gone: Duration::ZERO,
        ..options()
    };
    assert_eq!(
        steps(&run(&grafana, "a", &at_once).await),
        [(Action::Remove, 'b', Fate::Done)]
    );
}

#[tokio::test]
async fn who_saves_in_between_is_looked_at_again_before_anything_is_overwritten() {
    for (tag, title, version) in [("tracemap", "Service a", 3), ("mine", "old", 2)] {
        let grafana = Grafana::start().await;
        run(&grafana, "a", &options()).await;
        grafana.database().dashboards.get_mut(&uid('a')).unwrap().json["title"] = json!("old");
        grafana.database().faults = vec![(Method::POST, "/api/dashboards", Fault::SavedBySomebody(tag))];
        let report = run(&grafana, "a", &options()).await;
        let left =
            report.lines(false)[0].contains("failed: it lacks the tag `tracemap`: somebody made it theirs");
        let stored = grafana.database().dashboards[&uid('a')].clone();
        assert_eq!(
            (stored.json["title"].as_str(), stored.version),
            (Some(title), version),
            "{tag}"
        );
        assert_eq!(
            (report.failed(), left),
            (tag == "mine", tag == "mine"),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_dashboard_does_not_stop_the_others() {
    let grafana = Grafana::start().await;
    run(&grafana, "a", &options()).await;
    let folder = grafana.database().dashboards[&uid('a')].folder.clone();
    grafana.database().put("theirs", "Service b", &[], &folder);
    let report = run(&grafana, "abc", &options()).await;
    assert!(report.failed());
    let lines = report.lines(false);
    assert!(
        lines[0].starts_with(&format!("create: \"Service b\" ({}): failed: ", uid('b')))
            && lines[0].contains("412")
            && lines[0].contains("same name in the folder"),
        "{lines:?}"
    );
    assert_eq!(lines[1], format!("create: \"Service c\" ({})", uid('c')));
    assert_eq!(lines[2], "1 done, 1 failed, 1 unchanged");
}

#[tokio::test]
async fn a_folder_that_vanishes_meanwhile_is_told() {
    let grafana = Grafana::start().await;
    run(&grafana, "a", &options()).await;
    grafana.database().faults = vec![(Method::POST, "/api/dashboards", Fault::FoldersVanish)];
    let report = run(&grafana, "ab", &options()).await;
    assert!(
        matches!(&report.steps[0].fate, Fate::Failed(why) if why.contains("folder not found")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_grafana_that_dies_half_way_leaves_a_report_of_what_is_done() {
    let grafana = Grafana::start().await;
    grafana.database().dies_after = Some(3);
    let client = client(&grafana, TOKEN, Duration::from_millis(400));
    let report = publish(&client, &dashboards("abcd"), &options()).await.unwrap();
    assert_eq!(
        steps(&report),
        [
            (Action::Create, 'a', Fate::Done),
            (Action::Create, 'b', Fate::Done),
            (Action::Create, 'c', Fate::NotTried),
            (Action::Create, 'd', Fate::NotTried),
        ]
    );
    let stopped = report.stopped.clone().unwrap();
    assert!(
        report.failed() && stopped.contains("503") && stopped.contains("database is closed"),
        "{stopped}"
    );

    grafana.database().dies_after = None;
    let report = run(&grafana, "abcd", &options()).await;
    assert_eq!(
        (report.unchanged, report.failed()),
        (2, false),
        "the next publish finishes the work"
    );
}

#[tokio::test]
async fn a_grafana_that_is_away_is_asked_for_as_long_as_told_and_nothing_was_changed() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = ClientSettings {
        url: url.clone(),
        token: None,
        ca: None,
        timeout: Duration::from_secs(5),
        patience: Duration::from_millis(600),
    };
    let error = publish(&Client::new(settings).unwrap(), &dashboards("a"), &options())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "nothing was changed");
    let PublishError::Look(cause) = error else {
        panic!("{error:?}")
    };
    let told = cause.to_string();
    assert!(
        told.contains(&url) && told.contains("refused") && !told.contains("tried 1 times"),
        "{told}"
    );
}

#[tokio::test]
async fn a_wrong_token_ends_at_once_and_is_not_shown_even_where_grafana_repeats_it() {
    let grafana = Grafana::start().await;
    let client = client(&grafana, "glsa_another", Duration::from_secs(30));
    let error = publish(&client, &dashboards("a"), &options()).await.unwrap_err();
    let PublishError::Look(cause) = error else {
        panic!("{error:?}")
    };
    let told = format!("{cause} {cause:?}");
    assert!(told.contains("401") && !told.contains("glsa_another"), "{told}");
    assert_eq!(grafana.database().requests, 1);
}

#[tokio::test]
async fn more_dashboards_than_a_page_holds_are_all_seen() {
    let grafana = Grafana::start().await;
    run(&grafana, "a", &options()).await;
    let folder = grafana.database().dashboards[&uid('a')].folder.clone();
    for number in 0..1100 {
        grafana.database().put(
            &format!("tracemap-{number:030x}"),
            &format!("Service {number}"),
            &["tracemap"],
            &folder,
        );
    }
    let at_once = Options {
        keep_gone: Duration::ZERO,
        dry_run: true,
        ..options()
    };
    let report = run(&grafana, "a", &at_once).await;
    let removals = report
        .steps
        .iter()
        .filter(|step| step.action == Action::Remove)
        .count();
    assert_eq!(
        removals, 1099,
        "all but the one that is wanted, whose uid is among them"
    );
}

#[tokio::test]
async fn two_folders_of_one_name_are_told_and_one_of_another_case_is_taken() {
    let grafana = Grafana::start().await;
    grafana
        .database()
        .folders
        .insert("f".to_owned(), "TraceMap".to_owned());
    run(&grafana, "a", &options()).await;
    assert_eq!(grafana.database().folders.len(), 1);
    grafana
        .database()
        .folders
        .insert("g".to_owned(), "TRACEMAP".to_owned());
    let client = client(&grafana, TOKEN, Duration::from_secs(5));
    let error = publish(&client, &dashboards("a"), &options()).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Ambiguous { count: 2, .. }),
        "{error}"
    );
}
