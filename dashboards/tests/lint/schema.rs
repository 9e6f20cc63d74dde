//! Grafana's own schema: each file is a value of the types that Grafana publishes.
//!
//! In: every generated file. Out: the TypeScript compiler's verdict on it; `schema/grafana.ts` says which types.
//! Left out on purpose: what the types leave open, which is options of transformations.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::document::{Document, Form};
use crate::samples;

/// What the compiler needs, at the versions that the lock file names.
const SOURCES: [&str; 4] = ["grafana.ts", "package.json", "package-lock.json", "tsconfig.json"];

/// The compiler with Grafana's types, fetched once below `target`.
fn compiler() -> PathBuf {
    // Tests run beside each other.
    static READY: Mutex<()> = Mutex::new(());
    let _alone = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/schema");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grafana-schema");
    let read = |name: &str| std::fs::read(here.join(name)).expect("the sources are here");
    let (done, made_of) = (dir.join("made-of"), SOURCES.map(read).concat());
    if std::fs::read(&done).is_ok_and(|before| before == made_of) {
        return dir;
    }
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("`target` is writable");
    for name in SOURCES {
        std::fs::write(dir.join(name), read(name)).expect("`target` is writable");
    }
    let fetched = run(
        "npm",
        &["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        &dir,
    );
    fetched.unwrap_or_else(|told| panic!("cannot fetch Grafana's types: {told}"));
    std::fs::write(done, made_of).expect("`target` is writable");
    dir
}

fn run(program: &str, args: &[&str], dir: &Path) -> Result<(), String> {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|e| {
        panic!("cannot start `{program}` ({e}): `bash tests/run.sh` installs what tests need")
    });
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(told)
    }
}

/// Compiles each document as a literal of its form's type; what the compiler says where it refuses one.
fn check(name: &str, documents: &[Document]) -> Result<(), String> {
    let compiler = compiler();
    let dir = compiler.join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("`target` is writable");
    for (number, document) in documents.iter().enumerate() {
        std::fs::write(dir.join(format!("{number}.ts")), literal(document)).expect("`target` is writable");
    }
    std::fs::write(
        dir.join("tsconfig.json"),
        r#"{"extends": "../tsconfig.json", "include": ["*.ts"]}"#,
    )
    .expect("`target` is writable");
    let told = run(
        "node",
        &["../node_modules/typescript/bin/tsc", "--project", "."],
        &dir,
    );
    told.map_err(|told| {
        let refused = documents
            .iter()
            .enumerate()
            .filter(|(number, _)| refuses(&told, *number));
        let named = refused.map(|(number, d)| format!("{number}.ts is {:.200}", d.file));
        let named = named.collect::<Vec<_>>().join("\n");
        told + &named
    })
}

/// Whether the compiler complains of the document of this number.
fn refuses(told: &str, number: usize) -> bool {
    let place = format!("{number}.ts(");
    told.lines().any(|line| line.starts_with(&place))
}

fn literal(document: &Document) -> String {
    let name = match document.form {
        Form::Classic => "Classic",
        Form::V2 => "V2",
    };
    // As a key of a literal, this one would set the object's prototype.
    let json = format!("{:#}", document.json).replace("\"__proto__\":", "[\"__proto__\"]:");
    format!("import type {{ {name} }} from '../grafana';\n\nexport const dashboard: {name} = {json};\n")
}

#[test]
fn every_generated_file_is_what_grafana_takes() {
    let documents = samples::all();
    check("generated", documents).unwrap_or_else(|told| panic!("{told}"));
}

#[test]
fn a_key_or_a_value_that_grafana_does_not_know_is_refused_at_any_depth() {
    let sound = Document::read(
        "sound",
        &samples::files(&samples::demo(), "{}")["dashboards/service-checkout.json"],
    );
    let change = |pointer: &str, value: &str| {
        let mut json = sound.json.clone();
        let place = json
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("nothing is at {pointer}"));
        *place = serde_json::from_str(value).expect("a JSON value");
        Document {
            json,
            file: format!("{pointer} = {value}"),
            ..sound.clone()
        }
    };
    let lines = sound.json["panels"].as_array().into_iter().flatten();
    let lines = lines.take_while(|panel| panel["type"] != "timeseries").count();
    let at = |key: &str| format!("/panels/{lines}/{key}");
    let broken = [
        change("/schemaVersion", "41"),
        change("/graphTooltip", "7"),
        change("/time", r#"{"from": "now-1h"}"#),
        change("/links/0/keepTime", "1"),
        change(&at("type"), r#""graph""#),
        change(&at("gridPos/w"), r#""12""#),
        change(&at("fieldConfig/defaults/unit"), r#""seconds""#),
        change(&at("fieldConfig/defaults/color/mode"), r#""rainbow""#),
        change(&at("fieldConfig/defaults/custom/drawStyle"), r#""lines""#),
        change(
            &at("fieldConfig/overrides"),
            r#"[{"matcher": {"id": "byName", "options": "a"}, "properties": [{"id": "units", "value": "s"}]}]"#,
        ),
        change(&at("options/legend/placement"), r#""left""#),
        change(&at("targets/0/format"), r#""rows""#),
        change(&at("targets/0/datasource/uid"), r#""prometheus""#),
    ];
    let told = check("broken", &broken).expect_err("each of them is wrong");
    for (number, document) in broken.iter().enumerate() {
        assert!(refuses(&told, number), "taken: {}", document.file);
    }
}
