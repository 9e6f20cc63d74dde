//! TraceQL from anywhere: no text makes the parser panic, and what it takes can be searched for.
//!
//! In: text. Out: a panic where parsing or the search panics, where an error names no place, or where more is found than
//! was asked for.
//! Left out on purpose: what is found; the tests of `store` and `query` have that.

#![no_main]

use std::sync::{Arc, LazyLock};

use fuzz::kept::{Kept, backend};
use query::traceql::{TraceQlError, parse, parse_field};
use store::{Search, TimeRange};

static KEPT: LazyLock<Arc<Kept>> = LazyLock::new(backend);

fn told(text: &str, error: &TraceQlError) {
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&error.line), "{error}");
    assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
    assert!(!error.message.is_empty());
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(filter) => {
            let search = Search {
                filter,
                limit: 3,
                spans_per_trace: 2,
                ..Search::default()
            };
            let found = KEPT.0.search(&search).expect("the segment is whole");
            assert!(found.complete && found.traces.len() <= 3);
            assert!(found.traces.iter().all(|trace| trace.matched.len() <= 2));
        }
        Err(error) => told(text, &error),
    }
    match parse_field(text) {
        Ok(field) => assert!(KEPT.0.tag_values(&field, TimeRange::ALL, 5).len() <= 5),
        Err(error) => told(text, &error),
    }
});
