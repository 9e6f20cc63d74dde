//! Values by dense numbers that are never taken away, read without a lock.
//!
//! In: values, each under the next number. Out: the value of a number, for as long as the process lives.
//! Left out on purpose: giving numbers; whoever does so holds a lock.

use std::sync::OnceLock;

use super::MAX_NAMES;

const CHUNK: usize = 1 << 10;
/// Every name may need an overflow of its own, as every service does for its operations.
const CHUNKS: usize = 2 * MAX_NAMES / CHUNK + 1;

/// The values, in chunks that are made when they are needed.
pub(super) struct Table<T: 'static>([OnceLock<Box<[OnceLock<T>]>>; CHUNKS]);

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }

    /// The value of a number that was set.
    #[inline]
    pub(super) fn get(&'static self, index: u32) -> &'static T {
        self.find(index).expect("a number is given with its value")
    }

    /// The value of a number; `None` where it was not set.
    #[inline]
    pub(super) fn find(&'static self, index: u32) -> Option<&'static T> {
        let (chunk, place) = (index as usize / CHUNK, index as usize % CHUNK);
        self.0.get(chunk)?.get()?.get(place)?.get()
    }

    /// Puts a value under a number that has none.
    pub(super) fn set(&'static self, index: u32, value: T) -> &'static T {
        let (chunk, place) = (index as usize / CHUNK, index as usize % CHUNK);
        let chunk = self
            .0
            .get(chunk)
            .expect("names and their overflows are fewer than places");
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        let place = chunk.get(place).expect("a chunk has all its places");
        place.get_or_init(|| value)
    }
}
