//! What everything together may occupy.
//!
//! In: bytes asked for and given back. Out: yes or no. Left out on purpose: the allocator's own overhead.

/// What an operation that is judged is reckoned to occupy when another asks to be let in: two histograms of six powers
/// of two for each measure. Let in by what they occupy at first, operations would leave each other no room to learn.
const OPERATION: usize = 1536;

/// Bytes in use, and the most there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    used: usize,
    in_hours: usize,
    max: usize,
    /// How often something found no room.
    pub(crate) refused: u64,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            used: 0,
            in_hours: 0,
            max,
            refused: 0,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn in_hours(&self) -> usize {
        self.in_hours
    }

    /// Room for what is learned.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        self.take_below(bytes, self.max)
    }

    /// Room for an operation beside `operations` others.
    pub(crate) fn take_operation(&mut self, bytes: usize, operations: usize) -> bool {
        operations < self.max / OPERATION && self.take_most(bytes)
    }

    /// Room for the part under way. The last eighth is left for what is learned.
    pub(crate) fn take_most(&mut self, bytes: usize) -> bool {
        self.take_below(bytes, self.max - self.max / 8)
    }

    /// Room for another hour of an operation.
    pub(crate) fn take_hour(&mut self, bytes: usize) -> bool {
        let fits = self.in_hours + bytes <= self.max / 2;
        if !fits {
            self.refused += 1;
        }
        let taken = fits && self.take_most(bytes);
        self.in_hours += if taken { bytes } else { 0 };
        taken
    }

    /// Room for what was saved, of which `hours` bytes are hours.
    pub(crate) fn take_restored(&mut self, bytes: usize, hours: usize) -> bool {
        let taken = self.take(bytes);
        self.in_hours += if taken { hours } else { 0 };
        taken
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(crate) fn give_back_hours(&mut self, bytes: usize) {
        self.in_hours = self.in_hours.saturating_sub(bytes);
        self.give_back(bytes);
    }

    fn take_below(&mut self, bytes: usize, max: usize) -> bool {
        let fits = self.used + bytes <= max;
        if fits {
            self.used += bytes;
        } else {
            self.refused += 1;
        }
        fits
    }
}
