//! A search over everything, newest traces first.
//!
//! In: a search, and what the store holds at one moment. Out: the newest traces that match.
//! Left out on purpose: a plan. Segments are visited newest first until no older one can matter; in each, blocks
//! without the needed tokens and rows out of bounds are passed over, and the rest is decided on the spans.

use crate::error::ReadError;
use crate::head::Head;
use crate::hit;
use crate::matcher;
use crate::prune::{self, Bounds};
use crate::query::{Found, Search, TraceHit};
use crate::segment::format::Block;
use crate::segment::{Reader, Segment};
use crate::trace::{self, Extent, Trace};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A trace in memory that may match.
#[derive(Debug)]
struct Candidate {
    id: [u8; 16],
    /// None where only the merged fragments would tell.
    start: Option<u64>,
    fragments: Vec<Bytes>,
}

/// What the store holds at one moment, as far as a search needs it.
pub(crate) struct View {
    candidates: Vec<Candidate>,
    /// Traces that the active head has from elsewhere.
    continued: HashSet<[u8; 16]>,
    sealing: Option<Arc<Head>>,
    segments: Arc<Vec<Arc<Segment>>>,
}

impl View {
    /// Of a store with this active head, that head being sealed, and these segments, the oldest first.
    pub(crate) fn new(
        search: &Search,
        active: &Head,
        sealing: Option<Arc<Head>>,
        segments: Arc<Vec<Arc<Segment>>>,
    ) -> Self {
        let bounds = prune::bounds(search);
        let mut candidates = candidates(search, bounds, active, &HashSet::new());
        if let Some(sealing) = &sealing {
            candidates.extend(candidates_of_sealing(search, bounds, active, sealing));
        }
        candidates.sort_unstable_by_key(|candidate| Reverse(candidate.start.unwrap_or(u64::MAX)));
        Self {
            candidates,
            continued: active.continued.clone(),
            sealing,
            segments,
        }
    }

    /// Whether a place newer than the segment at `index` has the trace: then that counts.
    fn is_superseded(&self, id: [u8; 16], index: usize) -> Result<bool, ReadError> {
        let sealing = self
            .sealing
            .as_ref()
            .is_some_and(|head| head.continued.contains(&id));
        if sealing || self.continued.contains(&id) {
            return Ok(true);
        }
        for newer in self.segments.iter().skip(index + 1) {
            if newer.has(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn candidates_of_sealing(search: &Search, bounds: Bounds, active: &Head, sealing: &Head) -> Vec<Candidate> {
    candidates(search, bounds, sealing, &active.continued)
}

fn candidates(search: &Search, bounds: Bounds, head: &Head, without: &HashSet<[u8; 16]>) -> Vec<Candidate> {
    let admitted =
        |extent: Extent| search.range.contains(extent.start) && bounds.admit(extent.duration(), extent.error);
    head.traces
        .iter()
        .filter(|(id, trace)| trace.exact_extent().is_none_or(admitted) && !without.contains(*id))
        .map(|(id, trace)| Candidate {
            id: *id,
            start: trace.exact_extent().map(|extent| extent.start),
            fragments: trace.fragments.clone(),
        })
        .collect()
}

/// A search under way.
struct Run<'s> {
    search: &'s Search,
    bounds: Bounds,
    blocks: prune::Blocks,
    /// The best so far, the newest first.
    hits: BTreeMap<(Reverse<u64>, [u8; 16]), TraceHit>,
    found: Found,
}

/// Searches `view`.
///
/// # Errors
/// [`ReadError::Io`]; damage makes the answer incomplete instead.
pub(crate) fn run(search: &Search, view: &View) -> Result<Found, ReadError> {
    let mut run = Run {
        search,
        bounds: prune::bounds(search),
        blocks: prune::blocks(&search.filter),
        hits: BTreeMap::new(),
        found: Found {
            complete: true,
            ..Found::default()
        },
    };
    if search.limit > 0 {
        run.memory(view);
        run.segments(view)?;
    }
    run.found.traces = run.hits.into_values().collect();
    Ok(run.found)
}

impl Run<'_> {
    fn memory(&mut self, view: &View) {
        for candidate in &view.candidates {
            if candidate.start.is_some_and(|start| !self.may_enter(start)) || self.is_spent() {
                break;
            }
            let data = trace::merged(&candidate.fragments);
            self.found.examined_bytes += data.len() as u64;
            if let Some(hit) = self.examine(candidate.id, &data) {
                self.enter(hit);
            }
        }
    }

    fn segments(&mut self, view: &View) -> Result<(), ReadError> {
        let mut order: Vec<_> = view.segments.iter().enumerate().collect();
        order.sort_by_key(|(_, segment)| Reverse(segment.footer.max_start));
        for (index, segment) in order {
            if !self.may_enter(segment.footer.max_start) || self.is_spent() {
                break;
            }
            if self.may_match(segment)
                && let Some(mut reader) = segment.reader()?
            {
                self.segment(view, index, segment, &mut reader)?;
            }
        }
        Ok(())
    }

    fn may_match(&self, segment: &Segment) -> bool {
        let footer = &segment.footer;
        let range = self.search.range;
        range.overlaps(footer.min_start, footer.max_start)
            && self.bounds.min_duration <= footer.max_duration
            && (footer.error || !self.bounds.error)
    }

    fn segment(
        &mut self,
        view: &View,
        index: usize,
        segment: &Segment,
        reader: &mut Reader,
    ) -> Result<(), ReadError> {
        let blocks = reader.blocks(&self.blocks)?;
        if blocks.is_empty() {
            return Ok(());
        }
        let Some(columns) = reader.columns()? else {
            self.found.complete = false;
            return Ok(());
        };
        for number in (0..segment.footer.blocks).filter(|number| blocks.contains(*number)) {
            let (first, end) = (
                segment.first_row(number as usize),
                segment.first_row(number as usize + 1),
            );
            let mut block: Option<Block> = None;
            for row in first..end {
                let Some((start, duration, error)) = columns.row(row) else {
                    break;
                };
                if !self.may_enter(start) {
                    return Ok(());
                }
                if !self.search.range.contains(start) || !self.bounds.admit(duration, error) {
                    continue;
                }
                if block.is_none() {
                    if self.is_spent() {
                        return Ok(());
                    }
                    block = reader.block(number as usize)?;
                    self.found.examined_bytes += block.as_ref().map_or(0, |block| block.raw_len() as u64);
                }
                let Some((id, data)) = block
                    .as_ref()
                    .and_then(|block| block.trace((row - first) as usize))
                else {
                    self.found.complete = false;
                    break;
                };
                if let Some(hit) = self.examine(id, data)
                    && !view.is_superseded(id, index)?
                {
                    self.enter(hit);
                }
            }
        }
        Ok(())
    }

    /// Whether a trace that started then would be among the answers.
    fn may_enter(&self, start: u64) -> bool {
        let last = self.hits.last_key_value();
        self.hits.len() < self.search.limit || last.is_some_and(|((Reverse(oldest), _), _)| start >= *oldest)
    }

    fn is_spent(&mut self) -> bool {
        let spent = self.found.examined_bytes >= self.search.max_bytes_examined;
        self.found.complete &= !spent;
        spent
    }

    fn examine(&mut self, id: [u8; 16], data: &[u8]) -> Option<TraceHit> {
        self.found.examined_traces += 1;
        let trace = Trace::read(data);
        let extent = trace.extent;
        let asked = self.search;
        let duration = extent.duration();
        if extent.spans == 0
            || !asked.range.contains(extent.start)
            || asked.min_duration.is_some_and(|least| duration < least)
            || asked.max_duration.is_some_and(|most| duration > most)
        {
            return None;
        }
        let matched = matcher::matched(&asked.filter, id, &trace)?;
        Some(hit::of(asked, id, &trace, &matched))
    }

    fn enter(&mut self, hit: TraceHit) {
        self.hits
            .insert((Reverse(hit.start_unix_nano), hit.trace_id), hit);
        if self.hits.len() > self.search.limit {
            self.hits.pop_last();
        }
    }
}
