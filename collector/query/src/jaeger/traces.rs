//! Lists of traces in Jaeger's form, as long as the bound on an answer lets them be.
//!
//! In: ids, one after the other. Out: rendered traces, and the ids of those that are missing or did not fit.
//! Left out on purpose: holding traces undecoded or decoded; each is read, written and dropped before the next.

use serde_json::value::RawValue;

use crate::api::Failure;
use crate::backend::Backend;
use crate::render::{self, jaeger};

/// Room for what stands around traces: the envelope, warnings, and an error for each id.
const ENVELOPE_BYTES: usize = 16 * 1024;

/// Traces as they are written, as many as fit into an answer.
pub(super) struct Traces {
    pub(super) rendered: Vec<Box<RawValue>>,
    /// The trace that was rendered last.
    last: Option<[u8; 16]>,
    /// Bytes that are left.
    room: usize,
    limit: usize,
    /// Those that are not kept.
    pub(super) missing: Vec<[u8; 16]>,
    /// Those that are kept, but would make the answer too long.
    pub(super) left_out: Vec<[u8; 16]>,
}

impl Traces {
    pub(super) fn within(limit: usize) -> Self {
        Self {
            rendered: Vec::new(),
            last: None,
            room: limit.saturating_sub(ENVELOPE_BYTES),
            limit,
            missing: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds a trace unless it is not kept (retention may have removed it since it was found) or does not fit.
    pub(super) fn read(&mut self, id: [u8; 16], backend: &dyn Backend) -> Result<(), Failure> {
        if !self.left_out.is_empty() {
            self.left_out.push(id);
            return Ok(());
        }
        match self.render(id, None, backend) {
            Ok(Some(rendered)) => {
                self.room = self.room.saturating_sub(rendered.get().len() + 1);
                self.rendered.push(rendered);
                self.last = Some(id);
            }
            Ok(None) => self.missing.push(id),
            Err(Failure::TooLarge { .. }) if !self.rendered.is_empty() => self.left_out.push(id),
            Err(Failure::TooLarge { .. }) => return Err(Failure::TooLarge { limit: self.limit }),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Puts warnings on the oldest trace: in `errors` they would make Grafana refuse the whole answer.
    pub(super) fn warn(&mut self, warnings: Vec<String>, backend: &dyn Backend) -> Result<(), Failure> {
        let (Some(id), Some(last)) = (self.last, self.rendered.pop()) else {
            return Ok(());
        };
        self.room += last.get().len() + ENVELOPE_BYTES;
        let warned = if warnings.is_empty() {
            None
        } else {
            self.render(id, Some(warnings), backend)?
        };
        self.rendered.push(warned.unwrap_or(last));
        Ok(())
    }

    fn render(
        &self,
        id: [u8; 16],
        warnings: Option<Vec<String>>,
        backend: &dyn Backend,
    ) -> Result<Option<Box<RawValue>>, Failure> {
        let Some(data) = backend.trace(id)? else {
            return Ok(None);
        };
        let mut trace = jaeger::trace(id, render::decoded(&data, self.room)?);
        trace.warnings = warnings;
        render::raw(&trace, self.room).map(Some)
    }
}
