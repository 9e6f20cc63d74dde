//! How the store is set up.
//!
//! In: nothing. Out: settings with defaults.
//! Left out on purpose: their YAML, which stands with the collector's configuration.

use std::time::Duration;

/// Sizes and limits of a [`crate::TraceStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Bytes of trace data in memory at which they become a segment, in the background. Default 64 MiB. As much
    /// again can come in meanwhile, so that the store holds at most about twice this and what it costs to index
    /// it. Larger segments make long searches cheaper.
    pub head_bytes: usize,
    /// Bytes of uncompressed trace data that are read and decompressed together. Default 128 KiB. Smaller blocks
    /// make a trace by its id cheaper, larger ones compress better.
    pub block_bytes: usize,
    /// Zstandard level from -7 (fast) to 19 (small). Default 1.
    pub compression: i32,
    /// The most bytes of one trace; fragments beyond are refused. Default 16 MiB, at most 64 MiB.
    pub max_trace_bytes: usize,
    /// How long traces are kept, counted from the time their segment was written. Default none: for ever.
    pub max_age: Option<Duration>,
    /// Bytes of all segments on disk beyond which the oldest go. Default none: as many as there are.
    pub max_bytes: Option<u64>,
    /// Bytes of memory that merging segments may take. Default 128 MiB. Less leaves more and smaller segments.
    pub merge_bytes: usize,
    /// Which shard's traces these are; segments of other shards in the directory are left alone. Default 0.
    pub shard: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 20,
            block_bytes: 128 << 10,
            compression: 1,
            max_trace_bytes: 16 << 20,
            max_age: None,
            max_bytes: None,
            merge_bytes: 128 << 20,
            shard: 0,
        }
    }
}

/// The most that [`StoreSettings::max_trace_bytes`] can allow: a block with such a trace must be readable.
pub(crate) const MAX_TRACE_BYTES: usize = 64 << 20;
