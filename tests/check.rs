//! `tracemap check` and `tracemap diff` as people and pipelines run them.
//!
//! In: map files, configurations, recorded traces. Out: exit codes, output in each form, and one message for input that cannot be used.
//! The SARIF is validated by the schema of the format, which npm fetches as `tests/sarif/package-lock.json` says.
//! Left out on purpose: the findings one by one, which are tested beside them in `instrumentation`; `--why`, which is in `tests/why.rs`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A ring, and an edge to a database that two services share.
const MAP: &str = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n- {client: cart, server: web}\n\
    - {client: web, server: db, connection_type: database}\n- {client: cart, server: db, connection_type: database}\n";
const HEALTHY: &str = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n";

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

/// Files in a directory of their own.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> String {
        self.0
            .path()
            .join(name)
            .to_str()
            .expect("temporary paths are text")
            .to_owned()
    }
}

#[test]
fn the_exit_code_says_whether_a_finding_is_as_severe_as_asked_for() {
    let files = Files::new(&[("map.yaml", MAP), ("healthy.yaml", HEALTHY)]);
    let (map, healthy) = (files.at("map.yaml"), files.at("healthy.yaml"));
    for (args, code) in [
        (vec!["check", "--map", &healthy], 0),
        (vec!["check", "--map", &map], 1),
        (vec!["check", "--map", &map, "--fail-on", "error"], 0),
        (vec!["check", "--map", &map, "--against", &map], 1),
        (
            vec![
                "check",
                "--map",
                &map,
                "--against",
                &healthy,
                "--fail-on",
                "error",
            ],
            1,
        ),
    ] {
        let done = run(&args);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {done:?}");
    }
    let said = text(&run(&["check", "--map", &map]).stdout);
    assert!(
        said.contains("warning cycle:cart,web\n") && said.contains("warning shared-database:db\n"),
        "{said}"
    );
    assert!(
        said.contains("0 errors, 2 warnings, 0 infos, 0 silenced\n"),
        "{said}"
    );
}

#[test]
fn a_silence_of_the_configuration_takes_a_finding_out_of_the_exit_code() {
    let config = "generate: {check: {silences: [\
        {id: 'cycle:cart,web', reason: web hands the basket over from March on, until: 9999-12-31},\
        {id: 'shared-database:db', reason: one team owns both, until: 2020-01-01}]}}\n";
    let files = Files::new(&[("map.yaml", MAP), ("tracemap.yaml", config)]);
    let done = run(&[
        "check",
        "--map",
        &files.at("map.yaml"),
        "--config",
        &files.at("tracemap.yaml"),
    ]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "the other silence is over: {said}");
    assert!(
        said.contains("silenced until 9999-12-31: cycle:cart,web (web hands"),
        "{said}"
    );
    assert!(
        said.contains("note: silence of `shared-database:db`: over since 2020-01-01"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_used_is_one_message_and_exit_code_2() {
    let files = Files::new(&[
        ("map.yaml", MAP),
        ("no-map.yaml", "version: 1\nedgse: []\n"),
        (
            "no-reason.yaml",
            "generate: {check: {silences: [{id: 'cycle:a,b', until: 2026-12-31}]}}\n",
        ),
        (
            "no-date.yaml",
            "generate: {check: {silences: [{id: 'cycle:a,b', reason: x}]}}\n",
        ),
        (
            "bad-date.yaml",
            "generate: {check: {silences: [{id: 'cycle:a,b', reason: x, until: May}]}}\n",
        ),
        (
            "bad-kind.yaml",
            "generate: {check: {silences: [{id: 'cycel:a,b', reason: x, until: 2026-12-31}]}}\n",
        ),
        ("bad-share.yaml", "generate: {check: {retries: 10}}\n"),
        ("bad-service.yaml", "services: {crat: {team: shop}}\n"),
    ]);
    let map = files.at("map.yaml");
    let check = |config: &str| {
        vec![
            "check".to_owned(),
            "--map".to_owned(),
            map.clone(),
            "--config".to_owned(),
            files.at(config),
        ]
    };
    let cases = [
        (
            vec!["check".to_owned(), "--map".to_owned(), files.at("no-map.yaml")],
            "no-map.yaml",
        ),
        (
            vec![
                "check".to_owned(),
                "--map".to_owned(),
                map.clone(),
                "--against".to_owned(),
                files.at("nowhere.yaml"),
            ],
            "nowhere.yaml",
        ),
        (check("no-reason.yaml"), "reason"),
        (check("no-date.yaml"), "until"),
        (check("bad-date.yaml"), "`May` is no date"),
        (check("bad-kind.yaml"), "no kind is called `cycel`"),
        (check("bad-share.yaml"), "`retries` is 10"),
        (check("bad-service.yaml"), "did you mean `cart`"),
        (
            vec!["diff".to_owned(), map.clone(), files.at("nowhere.yaml")],
            "nowhere.yaml",
        ),
    ];
    for (args, named) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = run(&args);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(
            done.stdout.is_empty() && said.contains(named),
            "`{named}` is not in: {said}"
        );
    }
}

#[test]
fn json_and_sarif_hold_what_the_text_says_and_sarif_keeps_its_schema() {
    let files = Files::new(&[("map.yaml", MAP), ("contract.yaml", HEALTHY)]);
    let (map, contract) = (files.at("map.yaml"), files.at("contract.yaml"));
    let of = |format| run(&["check", "--map", &map, "--against", &contract, "--format", format]).stdout;
    let (json, sarif): (Value, Value) = (
        serde_json::from_slice(&of("json")).unwrap(),
        serde_json::from_slice(&of("sarif")).unwrap(),
    );
    let ids: Vec<&str> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|f| f["id"].as_str())
        .collect();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let fingerprints: Vec<&str> = results
        .iter()
        .filter_map(|r| r["partialFingerprints"]["tracemapFinding/v1"].as_str())
        .collect();
    assert!(
        ids.contains(&"undeclared-edge:cart->web") && ids.contains(&"cycle:cart,web"),
        "{ids:?}"
    );
    assert_eq!(ids, fingerprints);

    let schema = fetched();
    let everything =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("instrumentation/src/check/tests/report.sarif");
    std::fs::write(files.0.path().join("map.sarif"), of("sarif")).unwrap();
    validate(&schema, &files.0.path().join("map.sarif"), true);
    validate(&schema, &everything, true);
    let broken =
        text(&std::fs::read(&everything).unwrap()).replace("\"level\": \"warning\"", "\"level\": \"bad\"");
    std::fs::write(files.0.path().join("broken.sarif"), broken).unwrap();
    validate(&schema, &files.0.path().join("broken.sarif"), false);
}

/// The validator and the schema, fetched unless they were before.
fn fetched() -> std::path::PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sarif");
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["package.json", "package-lock.json", "validate.js"] {
        std::fs::copy(from.join(file), dir.join(file)).unwrap();
    }
    let fetched = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&dir)
        .output()
        .expect("npm is installed: tests/run.sh does it");
    assert!(fetched.status.success(), "{fetched:?}");
    dir
}

fn validate(dir: &Path, log: &Path, is_valid: bool) {
    let done = Command::new("node")
        .arg("validate.js")
        .arg(log)
        .current_dir(dir)
        .output()
        .expect("node is installed");
    assert_eq!(
        done.status.success(),
        is_valid,
        "{}: {}",
        log.display(),
        text(&done.stderr)
    );
}

#[test]
fn what_changed_is_told_and_fails_only_who_asks_for_it() {
    let files = Files::new(&[("old.yaml", HEALTHY), ("new.yaml", MAP)]);
    let (old, new) = (files.at("old.yaml"), files.at("new.yaml"));
    let done = run(&["diff", &old, &new]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let expected = "+ node db\n+ edge cart->db\n+ edge cart->web\n+ edge web->db\n\
        + warning cycle:cart,web: 2 nodes call each other in a ring\n\
        + warning shared-database:db: 2 services call the database `db`\n";
    assert_eq!(text(&done.stdout), expected);
    assert_eq!(run(&["diff", &old, &new, "--exit-code"]).status.code(), Some(1));
    let same = run(&["diff", &new, &new, "--exit-code"]);
    assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0));
    let json: Value = serde_json::from_slice(&run(&["diff", &new, &old, "--format", "json"]).stdout).unwrap();
    assert_eq!(json["nodes"]["gone"][0], "db");
    assert_eq!(json["findings"]["gone"][0]["kind"], "cycle");
    let annotation: Value =
        serde_json::from_slice(&run(&["diff", &old, &new, "--format", "annotation"]).stdout).unwrap();
    assert_eq!(annotation["text"], expected.trim_end());
}
