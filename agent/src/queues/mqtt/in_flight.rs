//! Messages that one side sent and the other has not acknowledged.
//!
//! In: packet identifiers with the tokens of their spans. Out: the token of an identifier, and those that end early because
//! there are too many, the oldest first.
//! Left out on purpose: packets.

use std::collections::{HashMap, VecDeque};

use crate::queues::splice::Token;

/// How many are open at most. A peer may allow 65,535; brokers come with 20 to 1,000.
pub(super) const MAX_OPEN: usize = 4096;

/// The open messages of one side.
#[derive(Default)]
pub(super) struct InFlight {
    open: HashMap<u16, Token>,
    /// In the order in which they were sent, and some among them that are open no longer.
    order: VecDeque<(u16, Token)>,
}

impl InFlight {
    pub(super) fn has(&self, id: u16) -> bool {
        self.open.contains_key(&id)
    }

    /// Opens `id`. What ends early: what had the same identifier, and the oldest where there are too many.
    pub(super) fn put(&mut self, id: u16, token: Option<Token>) -> [Option<Token>; 2] {
        let before = self.take(id);
        let Some(token) = token else { return [before, None] };
        let oldest = if self.open.len() < MAX_OPEN {
            None
        } else {
            self.take_oldest()
        };
        if self.order.len() >= 2 * MAX_OPEN {
            let open = &self.open;
            self.order.retain(|(id, token)| open.get(id) == Some(token));
        }
        self.open.insert(id, token);
        self.order.push_back((id, token));
        [before, oldest]
    }

    /// Closes `id`.
    pub(super) fn take(&mut self, id: u16) -> Option<Token> {
        let token = self.open.remove(&id)?;
        // As a rule messages are acknowledged in their order.
        if self.order.front() == Some(&(id, token)) {
            self.order.pop_front();
        }
        Some(token)
    }

    fn take_oldest(&mut self) -> Option<Token> {
        while let Some((id, token)) = self.order.pop_front() {
            if self.open.get(&id) == Some(&token) {
                return self.open.remove(&id);
            }
        }
        None
    }

    /// Closes all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> + '_ {
        self.order.clear();
        self.open.drain().map(|(_, token)| token)
    }

    /// What is remembered, in entries.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.open.len().max(self.order.len())
    }
}
