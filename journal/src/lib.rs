//! A durable, segmented, append-only log of opaque records.
//!
//! In: records (time, short key, payload) from any number of threads. Out: a [`Position`] for each once it is as
//! durable as [`Durability`] asks; the same records again, in order, after a restart.
//! Left out on purpose: what a record means, compression, an async runtime, replication. Records of a batch that must
//! stand or fall together go into one payload.
//!
//! # Guarantees
//!
//! - **Durable.** Under [`Durability::Sync`] a record whose append completed with `Ok` survives the loss of power,
//!   until [`Journal::truncate_before`] or [`Overflow::DropOldest`] removes its segment.
//! - **Ordered.** One thread writes. Completions run on it one after the other, in the order in which the appends were
//!   accepted; the `Ok` ones in order of sequence and position. What they hand on is in that order downstream.
//! - **Positions never return.** Each opening begins a new segment, so a position kept elsewhere (in a snapshot) never
//!   comes to mean another record, even where the tail of the log was lost.
//! - **Nothing is invented.** A record is given out only if its checksums and its sequence number fit. Damage is
//!   skipped, and counted in records and bytes.
//! - **A failed append may still be found after a restart** (its bytes may have reached the disk before the failure).
//!   Who needs exactly-once puts an identity into the key.
//!
//! # Format, version 1 (little-endian)
//!
//! A segment file is `00000000000000000001.log` (20 digits). It starts with the same 64 bytes twice: magic
//! `tmjrnl\r\n`, version u8, 3 zero bytes, stream u32, segment u64, first sequence u64, salt u32, 24 zero bytes,
//! CRC-32C of these 60 bytes. Records follow without padding: marker u32, CRC-32C of the next 28 bytes (begun at the
//! segment's salt), CRC-32C of the body, payload length u32, sequence u64, time u64, key length u8, 3 zero bytes;
//! then the body: payload, key. The salt is random, so no sender can craft a payload that passes for a record, and no
//! block of another segment passes for one of this.

mod active;
mod cursor;
mod error;
mod format;
mod journal;
mod queue;
mod reader;
mod record;
mod recovery;
mod segment;
mod settings;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stats;
pub mod storage;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{AppendError, OpenError, ReadError, SettingsError};
pub use format::MAX_PAYLOAD;
pub use journal::Journal;
pub use reader::{ReadReport, Reader};
pub use record::{Appended, MAX_KEY, NewRecord, Position, Record};
pub use recovery::Recovered;
pub use settings::{Durability, Overflow, Settings};
pub use stats::Stats;
