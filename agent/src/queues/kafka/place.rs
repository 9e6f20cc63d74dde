//! The name that a broker gives to a message: `TOPIC/PARTITION@OFFSET`.
//!
//! In: topic, partition and offset. Out: the name, in memory that is used again for the next one.
//! Left out on purpose: who compares the names.

use std::fmt::Write as _;

/// Writes the names of messages of one partition.
pub(super) struct Place {
    text: String,
    /// How much of it all of them begin with.
    stem: usize,
}

impl Place {
    pub(super) fn new(topic: &str, partition: i32) -> Self {
        let text = format!("{topic}/{partition}@");
        let stem = text.len();
        Self { text, stem }
    }

    pub(super) fn at(&mut self, offset: i64) -> &str {
        self.text.truncate(self.stem);
        // Writing into memory does not fail.
        let _ = write!(self.text, "{offset}");
        &self.text
    }
}
