//! Entries of Redis Streams, as redis has them.
//!
//! In: an entry that `XREAD` or `XREADGROUP` returned. Out: what its fields say.
//! Left out on purpose: writing. An entry has no metadata, so that context is a field like others: it goes into the list
//! that `XADD` takes, `Vec<(String, String)>` or `Vec<(String, Vec<u8>)>`, which are carriers without this feature.

use ::redis::Value;
use ::redis::streams::StreamId;

use crate::Extract;

impl Extract for StreamId {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.each(&mut |name, value| {
            if name.eq_ignore_ascii_case(key) {
                found(value);
            }
        });
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in &self.map {
            match value {
                Value::BulkString(bytes) => found(name, bytes),
                Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
                    found(name, text.as_bytes());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carriers::testing::{bears_context, values};
    use crate::{CorrelationId, Propagator, SpanContext};

    #[test]
    fn fields_bear_context_beside_their_own() {
        let own =
            || [("kept", "a"), ("Kept", "b"), ("kept", "c")].map(|(key, value)| (key.to_owned(), value));
        bears_context(&mut own().map(|(key, value)| (key, value.to_owned())).to_vec());
        bears_context(
            &mut own()
                .map(|(key, value)| (key, value.as_bytes().to_vec()))
                .to_vec(),
        );
    }

    #[test]
    fn an_entry_says_what_its_fields_said() {
        let propagator = Propagator::default();
        let sending = SpanContext::start(&mut (|| [7; 16], || [7; 8]), true);
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        let correlation = CorrelationId::from_trace_id(sending.trace_id);
        propagator
            .inject(&mut fields, &sending, &correlation, None)
            .expect("a list takes it");
        let map = fields
            .into_iter()
            .map(|(key, value)| (key, Value::BulkString(value)));
        let mut entry = StreamId {
            map: map.collect(),
            ..StreamId::default()
        };
        entry.map.insert("number".to_owned(), Value::Int(7));
        entry
            .map
            .insert("text".to_owned(), Value::SimpleString("t".to_owned()));
        let extracted = propagator.extract(&entry);
        assert_eq!(
            extracted.context.map(|context| context.trace_id),
            Some(sending.trace_id)
        );
        assert_eq!(extracted.correlation, Some(correlation));
        assert_eq!(
            (values(&entry, "number"), values(&entry, "TEXT")),
            (vec![], vec!["t".to_owned()])
        );
    }
}
