//! The embedded trace store: every kept trace by id, and search by what its spans say.
//!
//! In: fragments of traces as OTLP bytes. Out: traces, the newest that match a search, names for completion.
//! Left out on purpose: query languages, the decision which traces to keep, and durability of what is not yet in
//! a segment. All three are the collector's.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use store::{Search, StoreSettings, TraceStore};
//!
//! let store = TraceStore::open(dir.path(), StoreSettings::default(), None)?;
//! let found = store.search(&Search::default())?;
//! assert!(found.complete && found.traces.is_empty());
//! # Ok(())
//! # }
//! ```

pub mod aliases;
pub mod query;

mod dictionary;
mod error;
mod hash;
mod head;
mod hit;
mod ids;
mod matcher;
mod merge;
mod prune;
mod search;
mod segment;
mod settings;
mod slices;
mod stats;
mod store;
mod tokens;
mod trace;
mod wire;

pub use error::{EnforceError, MergeError, OpenError, PutError, ReadError, SealError};
pub use query::{
    Condition, Field, Filter, Found, Literal, Op, Pattern, PatternError, Scope, Search, ServiceStats,
    SpanHit, TagValue, TimeRange, TraceHit,
};
pub use segment::format::{SegmentName, SegmentNameError};
pub use settings::StoreSettings;
pub use stats::{Maintained, Removed, StoreStats};
pub use store::{Fragment, TraceStore};
