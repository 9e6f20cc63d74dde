//! The name that a broker gives to the messages of a batch: `TOPIC/PARTITION@OFFSET`, with the offset of the first of them.
//!
//! In: topic, partition and the batch's offset. Out: its name. A batch is kept, replicated and fetched whole and under the offset
//! that the answer to its Produce request tells, also by compaction: so whoever gets any of its messages knows the name.
//! Left out on purpose: who compares the names, and the offset of one message, which only its batch's span could tell of.

/// The name of the batch that begins at `offset`.
pub(super) fn of(topic: &str, partition: i32, offset: i64) -> String {
    format!("{topic}/{partition}@{offset}")
}
