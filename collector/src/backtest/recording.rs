//! Recorded spans in the order in which they ended.
//!
//! In: requests of any recording, in any order. Out: its spans by their ends, and what of them lies outside of given times.
//! Left out on purpose: when spans reached a collector. A recording does not say; each is taken to arrive as it ends.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use otlp::view::Malformed;

use crate::read::{Claim, Extracted, Reader, Received, Spoken};
use crate::span::{Address, TraceId};

/// Spans of a recording. Complete once [`Recording::sort`] was called.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    spans: Vec<Received>,
    workloads: Vec<Address>,
    claims: Vec<Claim>,
    languages: Vec<Spoken>,
}

/// Reads requests into a [`Recording`].
#[derive(Debug, Default)]
pub struct RecordingReader {
    reader: Reader,
    recording: Recording,
}

impl RecordingReader {
    /// Takes the spans of one request. Those with ids that no trace can have are left out.
    ///
    /// # Errors
    /// [`Malformed`] where `body` is not an `ExportTraceServiceRequest`.
    pub fn take(&mut self, body: &Bytes) -> Result<(), Malformed> {
        let Extracted {
            spans,
            workloads,
            claims,
            languages,
            ..
        } = self.reader.read(body)?;
        self.recording.spans.extend(spans);
        self.recording.workloads.extend(workloads);
        self.recording.claims.extend(claims);
        self.recording.languages.extend(languages);
        Ok(())
    }

    /// Everything that was taken, in event time.
    pub fn finish(self) -> Recording {
        let mut recording = self.recording;
        recording.spans.sort_by_key(|received| received.span.end);
        recording
    }
}

impl Recording {
    /// Spans by their ends.
    pub(super) fn spans(&self) -> &[Received] {
        &self.spans
    }

    /// The same with other spans, which must be in the order of their ends.
    pub(super) fn with(&self, spans: Vec<Received>) -> Self {
        Self {
            spans,
            workloads: self.workloads.clone(),
            claims: self.claims.clone(),
            languages: self.languages.clone(),
        }
    }

    /// When the first and the last span ended, nanoseconds since 1970; 0 and 0 for none.
    pub fn extent(&self) -> (u64, u64) {
        let end = |received: Option<&Received>| received.map_or(0, |received| received.span.end);
        (end(self.spans.first()), end(self.spans.last()))
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// What resources and services say of themselves, without a span.
    pub(super) fn introduction(&self) -> Extracted {
        Extracted {
            workloads: self.workloads.clone(),
            claims: self.claims.clone(),
            languages: self.languages.clone(),
            ..Extracted::default()
        }
    }

    /// How many spans ended in a time.
    pub(super) fn count(&self, during: &Range<u64>) -> usize {
        let before = |time: u64| self.spans.partition_point(|received| received.span.end < time);
        before(during.end).saturating_sub(before(during.start))
    }

    /// The traces of which no span lies in any of these times.
    pub(super) fn outside(&self, times: &[Range<u64>]) -> Self {
        let mut extents: HashMap<TraceId, (u64, u64)> = HashMap::new();
        for Received { trace, span, .. } in &self.spans {
            let extent = extents.entry(*trace).or_insert((span.start, span.end));
            *extent = (extent.0.min(span.start), extent.1.max(span.end));
        }
        let is_outside = |received: &&Received| {
            extents
                .get(&received.trace)
                .is_none_or(|(start, end)| times.iter().all(|time| *end < time.start || *start >= time.end))
        };
        Self {
            spans: self.spans.iter().filter(is_outside).cloned().collect(),
            workloads: self.workloads.clone(),
            claims: self.claims.clone(),
            languages: self.languages.clone(),
        }
    }
}
