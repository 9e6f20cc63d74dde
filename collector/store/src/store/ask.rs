//! Questions to the store.
//!
//! In: what is asked. Out: traces, names and numbers, from memory and disk alike.
//! Left out on purpose: a cache of names: they are read from the segments each time.

use super::{TraceStore, newest};
use crate::aliases;
use crate::dictionary::{Dictionary, SCOPES};
use crate::error::ReadError;
use crate::head::Head;
use crate::query::{Field, Found, Literal, Scope, Search, TagValue, TimeRange};
use crate::search::{self, View};
use crate::stats::{StoreStats, get};
use crate::trace;
use bytes::Bytes;
use otlp::{Kind, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;

impl TraceStore {
    /// All spans of a trace that are stored, as `TracesData`; `None` where there are none.
    ///
    /// # Errors
    /// [`ReadError`] where a segment that has the trace, or very probably has, cannot be read.
    pub fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, ReadError> {
        let segments = {
            let state = self.inner.read();
            let sealing = || state.sealing.as_ref().and_then(|head| head.traces.get(&id));
            if let Some(found) = state.active.traces.get(&id).or_else(sealing) {
                return Ok(Some(trace::merged(&found.fragments)));
            }
            Arc::clone(&state.segments)
        };
        newest(&segments, id)
    }

    /// The newest traces that match.
    ///
    /// # Errors
    /// [`ReadError::Io`]. Damage makes the answer incomplete instead ([`Found::complete`]).
    pub fn search(&self, query: &Search) -> Result<Found, ReadError> {
        let view = {
            let state = self.inner.read();
            View::new(
                query,
                &state.active,
                state.sealing.clone(),
                Arc::clone(&state.segments),
            )
        };
        search::run(query, &view)
    }

    /// Every service that has stored spans, sorted.
    pub fn services(&self) -> Vec<String> {
        let mut services = BTreeSet::new();
        self.each_dictionary(TimeRange::ALL, &mut |dictionary| {
            services.extend(dictionary.services().map(str::to_owned));
        });
        services.into_iter().collect()
    }

    /// The names and kinds of a service's spans, sorted; at most 10,000 from each segment.
    pub fn operations(&self, service: &str) -> Vec<(String, Kind)> {
        let mut operations = BTreeSet::new();
        self.each_dictionary(TimeRange::ALL, &mut |dictionary| {
            operations.extend(dictionary.operations(service).cloned());
        });
        operations.into_iter().collect()
    }

    /// The attribute keys of each scope, or of one, that stand in segments with traces of that time, sorted. Scopes
    /// without keys are left out.
    pub fn tags(&self, scope: Option<Scope>, range: TimeRange) -> Vec<(Scope, Vec<String>)> {
        let mut keys = BTreeSet::new();
        self.each_dictionary(range, &mut |dictionary| {
            let wanted = dictionary
                .keys()
                .filter(|(of, _)| scope.is_none_or(|scope| scope == *of));
            keys.extend(wanted.map(|(scope, key)| (scope, key.to_owned())));
        });
        let of = |scope| {
            let keys = keys.iter().filter(|(of, _)| *of == scope);
            (scope, keys.map(|(_, key)| key.clone()).collect::<Vec<_>>())
        };
        SCOPES
            .into_iter()
            .map(of)
            .filter(|(_, keys)| !keys.is_empty())
            .collect()
    }

    /// Values of a field that stand in segments with traces of that time, sorted; at most `limit`. Keys with many
    /// values give examples: at most 100 from each segment. Fields without a list (ids, durations, messages) give
    /// none.
    pub fn tag_values(&self, tag: &Field, range: TimeRange, limit: usize) -> Vec<TagValue> {
        let mut values = Vec::new();
        match tag {
            Field::Status => {
                values.extend([StatusCode::Error, StatusCode::Ok, StatusCode::Unset].map(Literal::Status));
            }
            Field::Kind => values.extend((0..=5).map(Kind::from_number).map(Literal::Kind)),
            Field::Name | Field::RootName => {
                let mut names = BTreeSet::new();
                self.each_dictionary(range, &mut |dictionary| {
                    names.extend(dictionary.all_operations().map(|(name, _)| name.clone()));
                });
                values.extend(names.into_iter().map(Literal::Str));
            }
            Field::RootServiceName => {
                let mut names = BTreeSet::new();
                self.each_dictionary(range, &mut |dictionary| {
                    names.extend(dictionary.services().map(str::to_owned));
                });
                values.extend(names.into_iter().map(Literal::Str));
            }
            Field::Attribute { scope, key } => self.attribute_values(*scope, key, range, &mut values),
            Field::StatusMessage
            | Field::Duration
            | Field::TraceDuration
            | Field::TraceId
            | Field::SpanId
            | Field::ParentId
            | Field::EventName
            | Field::InstrumentationName
            | Field::InstrumentationVersion => {}
        }
        values.truncate(limit);
        values
    }

    fn attribute_values(
        &self,
        scope: Option<Scope>,
        key: &str,
        range: TimeRange,
        values: &mut Vec<TagValue>,
    ) {
        let scopes = match &scope {
            Some(scope) => std::slice::from_ref(scope),
            None => &[Scope::Span, Scope::Resource],
        };
        self.each_dictionary(range, &mut |dictionary| {
            for scope in scopes {
                for name in aliases::of(key) {
                    values.extend(dictionary.values(*scope, name).cloned());
                }
            }
            // Now and then, or many segments with the same values add up.
            values.sort_by(by_type_and_value);
            values.dedup();
        });
    }

    /// Calls `read` for each dictionary whose place has traces of that time; of heads, for all.
    fn each_dictionary(&self, range: TimeRange, read: &mut dyn FnMut(&Dictionary)) {
        let (heads, segments) = {
            let state = self.inner.read();
            let heads = std::iter::once(&state.active).chain(state.sealing.as_deref());
            (
                heads.map(Head::names).collect::<Vec<_>>(),
                Arc::clone(&state.segments),
            )
        };
        for head in heads {
            head.read(&mut *read);
        }
        for segment in segments.iter() {
            if range.overlaps(segment.footer.min_start, segment.footer.max_start) {
                read(&segment.dictionary());
            }
        }
    }

    /// What the store holds, and what happened since it was opened.
    pub fn stats(&self) -> StoreStats {
        let state = self.inner.read();
        let counters = &self.inner.counters;
        let heads = || std::iter::once(&state.active).chain(state.sealing.as_deref());
        let segments = || state.segments.iter();
        StoreStats {
            head_traces: heads().map(|head| head.traces.len() as u64).sum(),
            head_spans: heads().map(|head| head.spans).sum(),
            head_bytes: heads().map(|head| head.bytes as u64).sum(),
            segments: state.segments.len() as u64,
            segment_traces: segments().map(|segment| u64::from(segment.footer.rows)).sum(),
            segment_spans: segments().map(|segment| segment.footer.spans).sum(),
            disk_bytes: segments().map(|segment| segment.file_bytes).sum(),
            index_bytes: segments().map(|segment| segment.memory() as u64).sum(),
            oldest_sealed_unix_nano: segments().next().map_or(0, |segment| segment.sealed_unix_nano),
            unusable_segments: state.unusable,
            fragments: get(&counters.fragments),
            spans: get(&counters.spans),
            continued: get(&counters.continued),
            refused_spans: get(&counters.refused_spans),
            seals: get(&counters.seals),
            failed_seals: get(&counters.failed_seals),
            waits: get(&counters.waits),
            damaged_reads: counters.damaged_so_far(),
            removed_segments: get(&counters.removed_segments),
            removed_spans: get(&counters.removed_spans),
            merges: get(&counters.merges),
            merged_segments: get(&counters.merged_segments),
            merged_bytes: get(&counters.merged_bytes),
            failed_merges: get(&counters.failed_merges),
        }
    }
}

fn by_type_and_value(a: &Literal, b: &Literal) -> std::cmp::Ordering {
    let rank = |literal: &Literal| match literal {
        Literal::Str(_) => 0,
        Literal::Int(_) => 1,
        Literal::Float(_) => 2,
        Literal::Bool(_) => 3,
        Literal::Duration(_) => 4,
        Literal::Status(_) => 5,
        Literal::Kind(_) => 6,
    };
    match (a, b) {
        (Literal::Str(a), Literal::Str(b)) => a.cmp(b),
        (Literal::Int(a), Literal::Int(b)) => a.cmp(b),
        (Literal::Float(a), Literal::Float(b)) => a.total_cmp(b),
        (Literal::Bool(a), Literal::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}
