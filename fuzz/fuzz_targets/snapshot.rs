//! Snapshots that changed behind our back: a collector begins with one or says why not, and then counts.
//!
//! In: the bytes of a snapshot's file, or changes to values of a real one whose checksum then fits. Out: a panic where
//! reading, or what is done with what was read, does.
//! Left out on purpose: what the map is like after; nobody can know.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use collector::engine::{Engine, EngineSettings};
use collector::ledger::{LedgerSettings, MapBudget};
use collector::read::Reader;
use collector::snapshot;
use collector::table::TableSettings;
use fuzz::kept::{START, trace};
use serde_json::Value;

#[derive(Debug, Arbitrary)]
enum Case<'a> {
    File(&'a [u8]),
    Ledger(&'a [u8]),
    Bent(Vec<Bend>),
}

#[derive(Debug, Arbitrary)]
struct Bend {
    /// Which of all values, in the order of the text.
    at: u16,
    how: How,
}

#[derive(Debug, Arbitrary)]
enum How {
    Number(i64),
    Large(u64),
    Float(f64),
    Text(u8),
    Null,
    Repeat,
    Remove,
    Reverse,
}

static SAVED: LazyLock<Value> = LazyLock::new(|| {
    let (mut engine, mut reader) = (Engine::new(settings()), Reader::default());
    let mut now = START;
    for n in 0..12 {
        engine
            .take(reader.read(&trace(n)).expect("it is a request"), now)
            .expect("there is room");
        now += 5_000_000_000;
        engine.tick(now);
    }
    engine.finish(now);
    serde_json::from_slice(&engine.save()).expect("it is JSON")
});

static DIR: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a directory for temporary files"));

fn settings() -> EngineSettings {
    EngineSettings {
        table: TableSettings::default(),
        ledger: LedgerSettings::new(
            baseline::Settings::default(),
            MapBudget::default(),
            map::Services::new(),
        ),
        shards: 2,
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(values) => values.values().map(size).sum(),
        _ => 0,
    }
}

/// Changes value `at` of all values in `value`.
fn bend(value: &mut Value, at: &mut usize, how: &How) -> bool {
    if *at == 0 {
        change(value, how);
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(values) => values.iter_mut().any(|value| bend(value, at, how)),
        Value::Object(values) => values.values_mut().any(|value| bend(value, at, how)),
        _ => false,
    }
}

fn change(value: &mut Value, how: &How) {
    *value = match (how, &mut *value) {
        (How::Number(number), _) => (*number).into(),
        (How::Large(number), _) => (*number).into(),
        (How::Float(number), _) => (*number).into(),
        (How::Text(which), _) => ["", "user", "web", "__overflow__"][usize::from(*which) % 4].into(),
        (How::Null, _) => Value::Null,
        (How::Repeat, Value::Array(values)) => {
            let mut twice = values.clone();
            twice.append(values);
            Value::Array(twice)
        }
        (How::Remove, Value::Array(values)) => Value::Array(values.split_off(values.len().min(1))),
        (How::Reverse, Value::Array(values)) => Value::Array(values.drain(..).rev().collect()),
        (How::Repeat | How::Remove | How::Reverse, other) => other.take(),
    };
}

fn go_on(ledger: &[u8]) {
    let mut engine = match Engine::restore(settings(), ledger) {
        Ok(engine) => engine,
        Err(error) => return drop(error.to_string()),
    };
    engine.map();
    engine.metrics();
    engine.save();
    let mut reader = Reader::default();
    for n in 5..9 {
        let extracted = reader.read(&trace(n)).expect("it is a request");
        engine
            .take(extracted, START + 3_600_000_000_000)
            .expect("there is room");
    }
    engine.tick(START + 7_200_000_000_000);
    engine.finish(START + 90_000_000_000_000);
    engine.map();
    engine.metrics();
    engine.save();
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    match case {
        Case::File(bytes) => {
            std::fs::write(DIR.path().join(snapshot::FILE), bytes).expect("there is room");
            match snapshot::read(DIR.path()) {
                Ok(found) => go_on(&found.expect("there is a file").ledger),
                Err(error) => drop(error.to_string()),
            }
        }
        Case::Ledger(bytes) => go_on(bytes),
        Case::Bent(bends) => {
            let mut saved = SAVED.clone();
            for Bend { at, how } in bends.iter().take(4) {
                let mut at = usize::from(*at) % size(&saved);
                bend(&mut saved, &mut at, how);
            }
            go_on(saved.to_string().as_bytes());
        }
    }
});
