//! How far the buffer on disk was read, and which batches of it are under way.
//!
//! In: a [`State`] before each batch is sent for the first time. Out: the last one, after a restart.
//! Left out on purpose: a note for each delivery. What was delivered and not noted is sent once more under the same id,
//! by which a collector knows it.

use std::path::Path;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use journal::{Durability, Journal, NewRecord, OpenError, Overflow, Position, Settings};

use super::disk::Totals;

const VERSION: u8 = 1;
const SEGMENT_BYTES: u64 = 16 << 10;

/// Where reading goes on, and what was read and not answered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) next: Position,
    /// Of everything before `next`.
    pub(super) read: Totals,
    pub(super) open: Vec<OpenBatch>,
}

/// A batch that the collector has not answered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OpenBatch {
    pub(super) id: String,
    pub(super) from: Position,
    /// Where the last of its records ends.
    pub(super) end: Position,
    pub(super) size: Totals,
}

/// Keeps the newest [`State`].
#[derive(Debug)]
pub(super) struct Cursor {
    journal: Journal,
    /// Said already that it cannot be written.
    failing: bool,
}

impl Cursor {
    pub(super) fn open(path: &Path, durability: Durability) -> Result<(Self, Option<State>), OpenError> {
        let settings = Settings {
            segment_bytes: SEGMENT_BYTES,
            max_bytes: 4 * SEGMENT_BYTES,
            durability,
            overflow: Overflow::DropOldest,
            ..Settings::default()
        };
        let (journal, _) = Journal::open_directory(path, settings)?;
        let last = journal.reader(Position::START).filter_map(Result::ok).last();
        let state = last.and_then(|record| State::decode(record.payload));
        let cursor = Self {
            journal,
            failing: false,
        };
        Ok((cursor, state))
    }

    /// Replaces what was kept. Where that fails the batches go all the same: delivery matters more than the risk that a
    /// crash makes the collector count one again.
    pub(super) fn save(&mut self, state: &State) {
        let record = NewRecord {
            payload: state.encode(),
            ..NewRecord::default()
        };
        let saved = self.journal.append_wait(record);
        match &saved {
            Ok(appended) => {
                // What is left over goes with the next one.
                let _ = self.journal.truncate_before(appended.position);
            }
            Err(error) if !self.failing => {
                tracing::warn!(%error, "the place in the export buffer cannot be noted: a crash may send batches twice");
            }
            Err(_) => {}
        }
        self.failing = saved.is_err();
    }

    pub(super) fn close(&self) {
        self.journal.close();
    }
}

impl State {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        put_position(&mut out, self.next);
        self.read.put(&mut out);
        for batch in &self.open {
            put_position(&mut out, batch.from);
            put_position(&mut out, batch.end);
            batch.size.put(&mut out);
            let id = batch.id.as_bytes();
            let len = id.len().min(usize::from(u16::MAX));
            out.put_u16_le(len as u16);
            out.put_slice(id.get(..len).unwrap_or_default());
        }
        out.freeze()
    }

    /// `None` where this is no state that we know.
    fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let (next, read) = (position(&mut bytes)?, Totals::get(&mut bytes)?);
        let mut open = Vec::new();
        while bytes.has_remaining() {
            let (from, end) = (position(&mut bytes)?, position(&mut bytes)?);
            let size = Totals::get(&mut bytes)?;
            let len = usize::from(bytes.try_get_u16_le().ok()?);
            if len > bytes.remaining() {
                return None;
            }
            let id = String::from_utf8(bytes.split_to(len).into()).ok()?;
            open.push(OpenBatch { id, from, end, size });
        }
        Some(Self { next, read, open })
    }
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64_le(position.segment);
    out.put_u32_le(position.offset);
}

fn position(bytes: &mut Bytes) -> Option<Position> {
    Some(Position {
        segment: bytes.try_get_u64_le().ok()?,
        offset: bytes.try_get_u32_le().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let at = |segment, offset| Position { segment, offset };
        let batch = |id: &str, segment| OpenBatch {
            id: id.to_owned(),
            from: at(segment, 64),
            end: at(segment + 1, 700),
            size: Totals { spans: 3, bytes: 900 },
        };
        State {
            next: at(7, 128),
            read: Totals {
                spans: 40,
                bytes: 9_000,
            },
            open: vec![batch("node/1", 5), batch("node/2", 6)],
        }
    }

    #[test]
    fn a_state_reads_back_as_it_was_written_and_no_piece_of_it_passes_for_one() {
        let bytes = state().encode();
        assert_eq!(State::decode(bytes.clone()), Some(state()));
        let without_batches = State {
            open: Vec::new(),
            ..state()
        };
        let whole = [0, 1, 2].map(|open| {
            let mut state = state();
            state.open.truncate(open);
            state.encode().len()
        });
        assert_eq!(whole[0], without_batches.encode().len());
        for len in (0..bytes.len()).filter(|len| !whole.contains(len)) {
            assert_eq!(State::decode(bytes.slice(..len)), None, "{len} bytes");
        }
    }

    #[test]
    fn the_last_state_is_there_after_a_restart_and_older_ones_take_no_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut cursor, none) = Cursor::open(directory.path(), Durability::Write).expect("a cursor");
        assert_eq!(none, None);
        for offset in 0..2_000 {
            cursor.save(&State {
                next: Position { segment: 1, offset },
                ..state()
            });
        }
        drop(cursor);
        let (cursor, found) = Cursor::open(directory.path(), Durability::Write).expect("a cursor");
        assert_eq!(found.map(|state| state.next.offset), Some(1_999));
        assert!(cursor.journal.stats().bytes <= 2 * SEGMENT_BYTES);
    }
}
