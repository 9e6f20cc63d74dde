//! One file of the simulated disk: what its process sees, and what would survive.
//!
//! In: writes, truncations, syncs. Out: content, before and after a cut.
//! Left out on purpose: names, which have a durability of their own.

use super::rng::Rng;

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// How much of the unsynced changes a cut spares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spared {
    Nothing,
    /// The first so many parts in 256, in order; the change after them in part.
    Prefix(u64),
    /// Each sector with even chance: torn middles, and later writes without earlier ones.
    Sectors,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Inode {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.unsynced.push(Change::Write {
            offset: self.content.len(),
            bytes: bytes.to_vec(),
        });
        self.content.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.unsynced.push(Change::Truncate(length));
        self.content.resize(length, 0);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// As Linux does: what could not be written counts as clean, and no later sync writes it.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn cut(&mut self, spared: Spared, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        let kept = match spared {
            Spared::Nothing => Vec::new(),
            Spared::Prefix(share) => prefix(changes, share, rng),
            Spared::Sectors => changes.iter().flat_map(|change| sectors(change, rng)).collect(),
        };
        for change in &kept {
            apply(&mut self.durable, change);
        }
        self.content.clone_from(&self.durable);
    }

    /// Changes what is on the disk, behind everybody's back.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        self.sync();
        edit(&mut self.durable);
        self.content.clone_from(&self.durable);
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(length) => bytes.resize(*length, 0),
        Change::Write { offset, bytes: new } => {
            let end = offset + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset..end].copy_from_slice(new);
        }
    }
}

fn prefix(mut changes: Vec<Change>, share: u64, rng: &mut Rng) -> Vec<Change> {
    let count = changes.len() * share as usize / 256;
    changes.truncate(count + 1);
    if changes.len() > count
        && let Some(Change::Write { bytes, .. }) = changes.last_mut()
    {
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
    }
    changes
}

fn sectors(change: &Change, rng: &mut Rng) -> Vec<Change> {
    match change {
        Change::Truncate(length) => rng
            .one_in(2)
            .then_some(Change::Truncate(*length))
            .into_iter()
            .collect(),
        Change::Write { offset, bytes } => {
            let mut kept = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                if rng.one_in(2) {
                    kept.push(Change::Write {
                        offset: offset + at,
                        bytes: bytes[at..end].to_vec(),
                    });
                }
                at = end;
            }
            kept
        }
    }
}
