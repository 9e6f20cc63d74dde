//! Headers from anywhere: nothing in them makes `propagation` panic, and what it writes it reads again.
//!
//! In: header values. Out: a panic where reading panics, or where a context does not survive being written.
//! Left out on purpose: header names of the sender's own; only those that are read matter.

#![no_main]

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderName, HeaderValue};
use propagation::{EdgeHint, Format, Propagator, PropagatorConfig, keys};

/// Whatever any format reads, the correlation ids, and Jaeger's baggage.
fn names() -> Vec<&'static str> {
    let formats = Format::ALL.into_iter().flat_map(|format| format.keys().iter().copied());
    let others = [keys::BAGGAGE, "x-correlation-id", "x-request-id", "uberctx-user"];
    formats.chain(others).collect()
}

#[derive(Debug, Arbitrary)]
struct Header<'a> {
    name: u8,
    value: &'a [u8],
}

libfuzzer_sys::fuzz_target!(|headers: Vec<Header<'_>>| {
    let (names, mut list, mut map) = (names(), Vec::new(), HeaderMap::new());
    for Header { name, value } in headers.into_iter().take(64) {
        let name = names[usize::from(name) % names.len()];
        if let Ok(text) = str::from_utf8(value) {
            EdgeHint::parse(text);
        }
        list.push((name.to_owned(), value.to_vec()));
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("keys are header names");
            map.append(name, value);
        }
    }
    let settings = PropagatorConfig {
        trace_id_keys: vec!["x-request-id".to_owned()],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(settings).expect("the settings are sound");
    propagator.extract(&list);
    let found = propagator.extract(&map);
    for skipped in &found.skipped {
        drop((skipped.reason(), skipped.to_string()));
    }

    let mut ids = (|| [7; 16], || [9; 8]);
    let context = found.continue_or_start(&mut ids, true);
    let correlation = found.correlation_or(context.trace_id);
    let written = Format::ALL.into_iter().filter(|format| format.is_written());
    for mirror in written.map(Some).chain([None]) {
        let mut onward = map.clone();
        propagator
            .inject(&mut onward, &context, &correlation, mirror)
            .expect("a map with room takes what we write");
        propagator
            .inject_baggage(&mut onward, &found.baggage)
            .expect("a map with room takes what we write");
        let again = propagator.extract(&onward);
        let read = again.context.expect("what we wrote is a context");
        assert_eq!((read.trace_id, read.span_id), (context.trace_id, context.span_id));
        assert_eq!(read.flags.is_sampled(), context.flags.is_sampled());
        assert_eq!(read.trace_state, context.trace_state);
        assert_eq!(again.correlation, Some(correlation.clone()));
        assert_eq!(again.baggage, found.baggage);
    }
});
