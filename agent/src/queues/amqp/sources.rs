//! Which queue a message comes from, which the broker does not say when it delivers one.
//!
//! In: what a client asks, and that it was answered. Out: the queue, and whether messages of it are acknowledged.
//! Left out on purpose: consumers that are too many to be remembered. Their messages have no queue in their names.

use std::collections::{HashMap, VecDeque};

use super::ledger::Told;

/// Where messages come from.
pub(super) struct Source {
    pub(super) queue: Box<[u8]>,
    /// Whether the client acknowledges them.
    pub(super) acknowledged: bool,
}

/// Questions in the order in which they will be answered.
#[derive(Default)]
pub(super) struct Asked {
    known: VecDeque<Source>,
    /// How many came after those and were too many to be remembered.
    unknown: usize,
}

impl Asked {
    pub(super) fn push(&mut self, source: Source, told: &mut Told<'_>) {
        if self.unknown == 0 && told.note() {
            self.known.push_back(source);
        } else {
            self.unknown += 1;
        }
    }

    pub(super) fn answered(&mut self, told: &mut Told<'_>) -> Option<Source> {
        let source = self.known.pop_front();
        if source.is_some() {
            told.forget(1);
        } else {
            self.unknown = self.unknown.saturating_sub(1);
        }
        source
    }

    pub(super) fn clear(&mut self, told: &mut Told<'_>) {
        told.forget(self.known.len());
        *self = Self::default();
    }
}

/// Consumers by their tags.
#[derive(Default)]
pub(super) struct Consumers {
    by_tag: HashMap<Box<[u8]>, Source>,
    /// Those that the broker is to name.
    unnamed: Asked,
}

impl Consumers {
    pub(super) fn get(&self, tag: &[u8]) -> Option<&Source> {
        self.by_tag.get(tag)
    }

    pub(super) fn asked(&mut self, source: Source, told: &mut Told<'_>) {
        self.unnamed.push(source, told);
    }

    /// The broker agrees to a consumer, and names it where the client did not.
    pub(super) fn agreed(&mut self, tag: &[u8], told: &mut Told<'_>) {
        if !self.by_tag.contains_key(tag)
            && let Some(source) = self.unnamed.answered(told)
        {
            self.remember(tag, source, told);
        }
    }

    pub(super) fn remember(&mut self, tag: &[u8], source: Source, told: &mut Told<'_>) {
        if told.note() && self.by_tag.insert(tag.into(), source).is_some() {
            told.forget(1);
        }
    }

    pub(super) fn cancelled(&mut self, tag: &[u8], told: &mut Told<'_>) {
        if self.by_tag.remove(tag).is_some() {
            told.forget(1);
        }
    }

    pub(super) fn clear(&mut self, told: &mut Told<'_>) {
        told.forget(self.by_tag.len());
        self.by_tag.clear();
        self.unnamed.clear(told);
    }
}
