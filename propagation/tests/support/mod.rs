//! What the tests share: carriers from tables, counted ids, and one hop through a propagator.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test binary uses its part of this.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use propagation::{Extract, Extracted, IdSource, Propagator};

pub const TRACE: &str = "12345678901234567890123456789012";
pub const PARENT: &str = "1234567890123456";

/// Ids 1, 2, 3 …, so that a new one is never an old one.
#[derive(Default)]
pub struct CountedIds(u8);

impl IdSource for CountedIds {
    fn trace_id(&mut self) -> [u8; 16] {
        self.0 += 1;
        [0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.0]
    }

    fn span_id(&mut self) -> [u8; 8] {
        self.0 += 1;
        [0xee, 0, 0, 0, 0, 0, 0, self.0]
    }
}

pub fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
    }
    map
}

pub fn records(lines: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    lines
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

pub fn extract(lines: &[(&str, &str)]) -> Extracted {
    Propagator::default().extract(&headers(lines))
}

/// The counters' reasons, in the order in which they were found.
pub fn reasons(extracted: &Extracted) -> Vec<&'static str> {
    extracted
        .skipped
        .iter()
        .map(propagation::Skipped::reason)
        .collect()
}

/// Every value of `key`.
pub fn values(carrier: &impl Extract, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    carrier.get_all(key, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
    });
    values
}

/// The headers after one hop of a proxy that records every request nobody decided about.
pub fn hop(lines: &[(&str, &str)]) -> HeaderMap {
    hop_through(&Propagator::default(), lines)
}

pub fn hop_through(propagator: &Propagator, lines: &[(&str, &str)]) -> HeaderMap {
    let mut carrier = headers(lines);
    let extracted = propagator.extract(&carrier);
    let context = extracted.continue_or_start(&mut CountedIds::default(), true);
    let correlation = extracted.correlation_or(context.trace_id);
    propagator
        .inject(&mut carrier, &context, &correlation, extracted.format)
        .expect("room in the header map");
    carrier
}
