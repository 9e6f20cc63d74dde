//! What several targets share.
//!
//! In: nothing. Out: ways to bend bytes, segments of a journal, a filled trace store.
//! Left out on purpose: properties. Each stands in the target that it is asked of.

pub mod bend;
pub mod kept;
pub mod log;
