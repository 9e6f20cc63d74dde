//! What one format says about a request, and why some of it was not believed.
//!
//! In: nothing. Out: the types that all readers share.
//! Left out on purpose: which format wins; see [`Extracted`](crate::Extracted).

use crate::context::{Decision, SpanContext, Traits};
use crate::format::Format;
use crate::ids::TraceId;
use crate::skywalking::SkyWalking;

/// What the headers of one format say. A context without a decision leaves the decision to the receiver.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) context: Option<SpanContext>,
    pub(crate) decision: Option<Decision>,
    pub(crate) start: Option<TraceStart>,
    pub(crate) skywalking: Option<SkyWalking>,
}

/// A trace that came without a span to be its parent: the receiver's span is its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStart {
    /// The trace.
    pub trace_id: TraceId,
    /// Whether the right-most 7 bytes of the id are known to be random.
    pub random: bool,
    /// The format that named it; `None` where it is a request id.
    pub format: Option<Format>,
    /// What its format says besides.
    pub traits: Traits,
}

/// Why headers of a format other than W3C's and B3 were not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Longer than any sender makes it.
    #[error("`{key}` has {len} bytes, but at most {max} are read")]
    TooLong {
        /// The header.
        key: &'static str,
        /// Its length.
        len: usize,
        /// The longest that is read.
        max: usize,
    },
    /// Not of the form that the format has.
    #[error("`{key}` is not of the form `{form}`")]
    Form {
        /// The header.
        key: &'static str,
        /// What would be right.
        form: &'static str,
    },
    /// The trace id is malformed or zero.
    #[error("trace id in `{key}` is not {form} other than zero")]
    TraceId {
        /// The header.
        key: &'static str,
        /// What would be right.
        form: &'static str,
    },
    /// The span id is malformed or zero.
    #[error("span id in `{key}` is not {form} other than zero")]
    SpanId {
        /// The header.
        key: &'static str,
        /// What would be right.
        form: &'static str,
    },
    /// The sampling state is malformed; ids are kept all the same.
    #[error("sampling state in `{key}` is not {form}")]
    Sampling {
        /// The header.
        key: &'static str,
        /// What would be right.
        form: &'static str,
    },
}

impl Found {
    /// One span of one trace, with what was decided about it.
    pub(crate) fn context(mut context: SpanContext, decision: Option<Decision>) -> Self {
        if let Some(decision) = decision {
            context.apply(decision);
        }
        Self {
            context: Some(context),
            decision,
            ..Self::default()
        }
    }
}
