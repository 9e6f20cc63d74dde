//! Who is notified of what, and what they read: the generated routes, hours and templates with the real tools.
//!
//! In: settings, and the alerts of the generated rules. Out: where amtool routes them; what a running Alertmanager posts.
//! Left out on purpose: grouping over time, and that a page notifies once; the system's tests have it.

mod peers;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alerts::{ALERTMANAGER_PATH, AlertSettings, TEMPLATES_PATH};
use peers::{SHOP, generated, map_of, run, written};
use serde::Deserialize;

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn settings(yaml: &str) -> AlertSettings {
    let settings: AlertSettings = config::load("settings.yaml", yaml, []).unwrap();
    assert!(settings.check("alerts").is_empty(), "{yaml}");
    settings
}

fn reaches(dir: &Path, expected: &str, labels: &[&str]) {
    let config = format!("--config.file={ALERTMANAGER_PATH}");
    let receivers = format!("--verify.receivers={expected}");
    let args = ["config", "routes", "test", &config, &receivers];
    let said = run("amtool", dir, &[&args, labels].concat());
    assert!(said.is_ok(), "{labels:?} should reach `{expected}`: {said:?}");
}

#[test]
fn every_alert_of_the_rules_goes_where_its_severity_and_culprit_say() {
    let files = generated(SHOP);
    let dir = written(&files);
    let rule_files = files.iter().filter(|(path, _)| path.starts_with("alerts/rules/"));
    let rule_files = rule_files.map(|(_, text)| serde_yaml::from_str::<RuleFile>(text).unwrap());
    let groups = rule_files.flat_map(|file| file.groups);
    for rule in groups.flat_map(|group| group.rules) {
        let Some(alert) = &rule.alert else { continue };
        let label = |name: &str| rule.labels.get(name).map_or("", String::as_str);
        let (expected, has_culprit) = match (label("severity"), label("role")) {
            ("page", _) | ("info", "symptom") => ("page-shop", true),
            ("ticket", _) => ("ticket", true),
            ("info", _) => ("info", false),
            other => panic!("`{alert}` has {other:?}: say here where that goes"),
        };
        // Pages and symptoms are known by the culprit that they name, notes by naming none.
        let severity = label("severity");
        assert!(
            severity == "ticket" || rule.expr.contains("culprit") == has_culprit,
            "{alert}: {}",
            rule.expr
        );
        let own = [format!("alertname={alert}"), format!("severity={severity}")];
        let culprit = has_culprit.then_some("culprit=cart");
        let own = own.iter().map(String::as_str).chain(["team=shop"]).chain(culprit);
        let own: Vec<&str> = own.collect();
        reaches(dir.path(), expected, &own);
    }
}

#[test]
fn tickets_keep_hours_where_the_settings_say_so_and_nothing_else_does() {
    let hours = "notify: {ticket_hours: {weekdays: ['monday:thursday', sunday], from: '08:30', to: '24:00', location: Europe/Berlin}}";
    let files = alerts::generate(&map_of(SHOP), &settings(hours));
    let dir = written(&files);
    let said = run("amtool", dir.path(), &["check-config", ALERTMANAGER_PATH]).unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
    let text = &files[ALERTMANAGER_PATH];
    assert_eq!(text.matches("active_time_intervals:").count(), 1, "{text}");
    let (head, _) = text.split_once("active_time_intervals:").unwrap();
    assert!(
        head.ends_with("- receiver: ticket\n    matchers:\n    - severity=\"ticket\"\n    "),
        "{text}"
    );
    reaches(
        dir.path(),
        "ticket",
        &["alertname=LatencyUnexplained", "severity=ticket", "id=web"],
    );
    reaches(
        dir.path(),
        "page-shop",
        &["severity=page", "culprit=cart", "team=shop"],
    );
}

#[test]
fn a_team_has_its_own_channel_or_address_and_else_the_general_ones() {
    let yaml = "receivers: {page: 'http://pager.example/', teams: {money: 'http://money.example/'}, \
        slack: {api_url_file: /etc/slack, page: '#oncall', teams: {web: '#web'}}}";
    let files = alerts::generate(&map_of(SHOP), &settings(yaml));
    let text = &files[ALERTMANAGER_PATH];
    let of = |name: &str| {
        let (_, rest) = text.split_once(&format!("- name: {name}\n")).unwrap();
        rest.split("- name: ").next().unwrap().to_owned()
    };
    assert!(
        of("page").contains("pager.example") && of("page").contains("#oncall"),
        "{text}"
    );
    assert!(
        of("page-shop").contains("pager.example") && of("page-shop").contains("#oncall"),
        "{text}"
    );
    assert!(
        of("page-money").contains("money.example") && !of("page-money").contains("slack"),
        "{text}"
    );
    assert!(
        of("page-web").contains("#web") && !of("page-web").contains("webhook"),
        "{text}"
    );
    let dir = written(&files);
    run("amtool", dir.path(), &["check-config", ALERTMANAGER_PATH]).unwrap();
}

/// A group of a page and its symptoms, as Alertmanager hands it to templates.
const GROUP: &str = r#"{"receiver": "page", "status": "firing", "externalURL": "http://am",
"groupLabels": {"culprit": "cart"}, "commonLabels": {"culprit": "cart", "team": "shop"}, "commonAnnotations": {}, "alerts": [
 {"status": "firing", "startsAt": "2026-01-02T03:04:05Z", "labels": {"role": "symptom", "id": "web", "culprit": "cart"},
  "annotations": {"summary": "web is slow because it waits for cart"}},
 {"status": "firing", "startsAt": "2026-01-02T03:04:05Z", "labels": {"role": "culprit", "culprit": "cart", "team": "shop"},
  "annotations": {"summary": "cart is slow by itself", "description": "Own time:\n- cart: 5% expected, 62% of 600 slow",
   "dashboard_url": "http://grafana/?a=1&b=2", "map_url": "http://page/?node=cart", "runbook_url": "http://page/runbooks/x.md"}},
 {"status": "firing", "startsAt": "2026-01-02T03:04:05Z", "labels": {"role": "symptom", "id": "checkout", "culprit": "cart"},
  "annotations": {"summary": "checkout is slow because it waits for cart"}}]}"#;

fn rendered(template: &str, data: &str) -> String {
    let dir = written(&generated(SHOP));
    std::fs::write(dir.path().join("data.json"), data).unwrap();
    let text = format!("--template.text={{{{ template \"{template}\" . }}}}");
    let glob = format!("--template.glob={TEMPLATES_PATH}");
    run(
        "amtool",
        dir.path(),
        &["template", "render", &glob, "--template.data=data.json", &text],
    )
    .unwrap()
}

#[test]
fn a_notification_says_what_since_when_how_much_who_is_affected_and_where_to_look() {
    assert_eq!(rendered("tracemap.title", GROUP), "cart is slow by itself [shop]");
    assert_eq!(
        rendered("tracemap.text", GROUP),
        "cart is slow by itself\n\
         Since 2026-01-02 03:04 UTC\n\
         Own time:\n- cart: 5% expected, 62% of 600 slow\n\
         Dashboard: http://grafana/?a=1&b=2\n\
         Map and traces: http://page/?node=cart\n\
         Runbook: http://page/runbooks/x.md\n\
         Affected: web, checkout"
    );
}

#[test]
fn a_resolved_notification_says_so_with_its_end_and_names_nobody_as_affected() {
    let over = GROUP.replace("\"firing\"", "\"resolved\"").replace(
        "\"startsAt\"",
        "\"endsAt\": \"2026-01-02T03:14:05Z\", \"startsAt\"",
    );
    assert_eq!(
        rendered("tracemap.title", &over),
        "Over: cart is slow by itself [shop]"
    );
    let text = rendered("tracemap.text", &over);
    assert!(
        text.contains("Since 2026-01-02 03:04 UTC, until 2026-01-02 03:14 UTC\n"),
        "{text}"
    );
    assert!(!text.contains("Affected"), "{text}");
}

#[test]
fn a_running_alertmanager_posts_the_rendered_text_to_the_channel_of_the_team() {
    let (slack, posted) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let secret = posted.path().join("slack-url");
    std::fs::write(&secret, format!("http://{}/hook", slack.local_addr().unwrap())).unwrap();
    let yaml = format!(
        "receivers: {{slack: {{api_url_file: {}, page: '#oncall', teams: {{shop: '#shop'}}}}}}\n\
         notify: {{group_wait: 1s, ticket_hours: {{}}}}",
        secret.display()
    );
    let dir = written(&alerts::generate(&map_of(SHOP), &settings(&yaml)));
    let alertmanager = Alertmanager::start(dir.path());
    alertmanager.post_alerts();
    let message = received(&slack);
    assert!(message.contains(r##""channel":"#shop""##), "{message}");
    assert!(
        message.contains(r#""title":"cart is slow by itself [shop]""#),
        "{message}"
    );
    assert!(
        message.contains(r"cart is slow by itself\nSince 2026-01-02 03:04 UTC\n"),
        "{message}"
    );
    assert!(message.contains(r"Affected: web"), "{message}");
}

/// A running Alertmanager with the generated configuration; dropped, it is ended.
struct Alertmanager {
    child: Child,
    address: String,
}

impl Alertmanager {
    fn start(dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus-alertmanager")
            .current_dir(dir)
            .args([&format!("--config.file={ALERTMANAGER_PATH}"), "--storage.path=am"])
            .args([
                &format!("--web.listen-address={free}"),
                "--cluster.listen-address=",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the Debian package `prometheus-alertmanager` is installed");
        let mut started = Self {
            child,
            address: free.to_string(),
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(&started.address).is_err() {
            assert!(started.child.try_wait().unwrap().is_none(), "Alertmanager ended");
            assert!(Instant::now() < deadline, "Alertmanager does not listen");
            std::thread::yield_now();
        }
        started
    }

    fn post_alerts(&self) {
        let alert = |labels: &str, summary: &str| {
            format!(
                r#"{{"labels": {{{labels}, "culprit": "cart", "team": "shop"}}, "annotations": {{"summary": "{summary}"}},
                "startsAt": "2026-01-02T03:04:05Z", "endsAt": "2100-01-02T03:04:05Z"}}"#
            )
        };
        let page = alert(
            r#""alertname": "LatencyDegraded", "severity": "page", "role": "culprit""#,
            "cart is slow by itself",
        );
        let symptom = alert(
            r#""alertname": "LatencyDegradedByDependency", "severity": "info", "role": "symptom", "id": "web""#,
            "web is slow because it waits for cart",
        );
        let body = format!("[{page}, {symptom}]");
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST /api/v2/alerts HTTP/1.1\r\nHost: am\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the first request to a listener; it is answered as Slack does.
fn received(listener: &TcpListener) -> String {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < deadline, "nothing was posted"),
        }
        std::thread::yield_now();
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    String::from_utf8(body).unwrap()
}
