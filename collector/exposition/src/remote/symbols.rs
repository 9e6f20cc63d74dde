//! Texts as numbers.
//!
//! In: texts. Out: the same number for the same text; 0 is the empty text, as remote write 2.0 wants it.
//! Left out on purpose: forgetting one. A table lives as long as its batch.

use std::collections::HashMap;
use std::sync::Arc;

/// A text of a [`Symbols`].
pub(super) type Symbol = u32;

#[derive(Debug)]
pub(super) struct Symbols {
    numbers: HashMap<Arc<str>, Symbol>,
    texts: Vec<Arc<str>>,
    bytes: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut empty = Self {
            numbers: HashMap::new(),
            texts: Vec::new(),
            bytes: 0,
        };
        empty.intern("");
        empty
    }
}

impl Symbols {
    pub(super) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as Symbol;
        let text: Arc<str> = text.into();
        // Two pointers, a number, and what the allocator and the table add.
        self.bytes += text.len() + 80;
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(symbol as usize).map_or("", |text| text)
    }

    /// All texts, by number.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
