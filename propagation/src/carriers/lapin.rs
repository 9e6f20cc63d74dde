//! Header tables of AMQP 0-9-1, as lapin has them.
//!
//! In: the `headers` among a message's properties. Out: the same table with keys replaced.
//! Left out on purpose: values that are not text or bytes, and tables in tables; they are not looked into, and stay.

use std::collections::BTreeMap;

use ::lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::{Extract, Inject, Refused};

impl Extract for FieldTable {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.each(&mut |name, value| {
            if name.eq_ignore_ascii_case(key) {
                found(value);
            }
        });
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.inner() {
            if let Some(value) = bytes(value) {
                found(name.as_str(), value);
            }
        }
    }
}

/// Refused is a key of more than 255 bytes.
impl Inject for FieldTable {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let name = ShortString::try_new(key).map_err(|_| Refused::new(key))?;
        Inject::remove(self, key);
        self.insert(name, AMQPValue::LongString(LongString::from(value)));
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        let is_it = |name: &ShortString| name.as_str().eq_ignore_ascii_case(key);
        if self.inner().keys().any(is_it) {
            let kept = self.inner().iter().filter(|(name, _)| !is_it(name));
            let kept: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            *self = kept.into();
        }
    }
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carriers::testing::{bears_context, values};

    fn table() -> FieldTable {
        let mut table = FieldTable::default();
        table.insert("kept".into(), AMQPValue::LongString("a".into()));
        table.insert("short".into(), AMQPValue::ShortString("b".into()));
        table.insert("x-delay".into(), AMQPValue::LongInt(7));
        table
    }

    #[test]
    fn a_table_bears_context_beside_its_own() {
        let mut bearing = table();
        bears_context(&mut bearing);
        assert_eq!(bearing, table(), "values that are no text stay too");
    }

    #[test]
    fn a_key_is_replaced_whatever_its_case() {
        let mut table = table();
        table.insert("TraceParent".into(), AMQPValue::LongString("1".into()));
        table.set("traceparent", "2").expect("room for it");
        assert_eq!(values(&table, "traceparent"), ["2"]);
        table.insert("TRACEPARENT".into(), AMQPValue::ByteArray(b"3".to_vec().into()));
        assert_eq!(
            values(&table, "traceparent"),
            ["3", "2"],
            "all that are there count"
        );
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_and_nothing_changes() {
        let (mut bearing, key) = (table(), "k".repeat(256));
        assert_eq!(bearing.set(&key, "x"), Err(Refused::new(&key)));
        assert_eq!(bearing, table());
    }
}
