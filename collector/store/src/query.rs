//! What can be asked of the store, and what it answers.
//!
//! In: nothing. Out: the types of a search, plain data that query languages translate into.
//! Left out on purpose: text. A language's parser lives with the API that speaks it.

use otlp::{Kind, StatusCode};
use std::fmt;

/// A search for traces; the newest come first.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// What the trace's spans must be like.
    pub filter: Filter,
    /// When the trace must have started.
    pub range: TimeRange,
    /// The least duration of the whole trace in nanoseconds, inclusive.
    pub min_duration: Option<u64>,
    /// The greatest duration of the whole trace in nanoseconds, inclusive.
    pub max_duration: Option<u64>,
    /// The most traces to answer with; 0 asks for none.
    pub limit: usize,
    /// The most spans to show of each trace; [`TraceHit::matched_total`] counts the others.
    pub spans_per_trace: usize,
    /// Bytes of uncompressed trace data after which the search gives up and says so in [`Found::complete`].
    pub max_bytes_examined: u64,
}

impl Default for Search {
    /// The twenty newest traces of all, three spans of each, after reading at most 1 GiB.
    fn default() -> Self {
        Self {
            filter: Filter::All,
            range: TimeRange::ALL,
            min_duration: None,
            max_duration: None,
            limit: 20,
            spans_per_trace: 3,
            max_bytes_examined: 1 << 30,
        }
    }
}

/// From `start` up to but without `end`, in nanoseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first nanosecond within.
    pub start: u64,
    /// The first nanosecond after; nothing is within where it is not greater than `start`.
    pub end: u64,
}

impl TimeRange {
    /// Every time that a span can have.
    pub const ALL: Self = Self {
        start: 0,
        end: u64::MAX,
    };

    /// Whether the nanosecond is within. The last one that exists is within [`TimeRange::ALL`].
    pub fn contains(self, unix_nano: u64) -> bool {
        self.start <= unix_nano && (unix_nano < self.end || self.end == u64::MAX)
    }

    /// Whether a nanosecond from `first` to `last`, both included, is within.
    pub fn overlaps(self, first: u64, last: u64) -> bool {
        self.start <= last && (first < self.end || self.end == u64::MAX)
    }
}

/// What a trace must be like. Each condition holds on one span; spans are combined only here.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every trace; all its spans match.
    All,
    /// At least one span is like this: a spanset, `{ … }` in `TraceQL`.
    Spans(Condition),
    /// Both, not necessarily on one span.
    And(Box<Filter>, Box<Filter>),
    /// At least one of the two.
    Or(Box<Filter>, Box<Filter>),
}

/// What one span must be like.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Every span.
    True,
    /// A value of the field compares to `value` as `op` says. A span without the field never does, for
    /// [`Op::Ne`] and [`Op::NotMatch`] no more than for the others. Where a field has several values (events,
    /// links, old and new attribute names side by side), one that does is enough.
    ///
    /// Numbers compare with numbers (as floating point where one of the two is), durations with durations and
    /// numbers of nanoseconds, and other types only with their own.
    Compare {
        /// What of the span.
        field: Field,
        /// How.
        op: Op,
        /// With what; [`Op::Match`] and [`Op::NotMatch`] have their own and ignore it.
        value: Literal,
    },
    /// The span has the field, with any value at all.
    Exists(Field),
    /// All of them; true where there are none.
    And(Vec<Condition>),
    /// At least one of them; false where there are none.
    Or(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

/// What of a span, or of its trace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The span's name, a string.
    Name,
    /// The span's status code.
    Status,
    /// The span's status message, a string; absent where it is empty.
    StatusMessage,
    /// The span's kind.
    Kind,
    /// The span's own duration.
    Duration,
    /// From the first start to the last end in the trace.
    TraceDuration,
    /// The name of the trace's root span, see [`TraceHit::root_name`].
    RootName,
    /// The service of the trace's root span.
    RootServiceName,
    /// 32 lower-case hexadecimal digits.
    TraceId,
    /// 16 lower-case hexadecimal digits.
    SpanId,
    /// 16 lower-case hexadecimal digits; absent on a root.
    ParentId,
    /// The name of an event of the span.
    EventName,
    /// The name of the library that recorded the span; absent where it is empty.
    InstrumentationName,
    /// The version of the library that recorded the span; absent where it is empty.
    InstrumentationVersion,
    /// An attribute, by its name or by an older or newer one for the same thing (see [`crate::aliases`]).
    Attribute {
        /// Whose. `None` asks the span and, only where it has no such attribute, its resource.
        scope: Option<Scope>,
        /// The whole key: `http.request.method`.
        key: String,
    },
}

/// Whose attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The entity that recorded the span.
    Resource,
    /// The span itself.
    Span,
    /// An event of the span.
    Event,
    /// A link of the span.
    Link,
    /// The library that recorded the span.
    Instrumentation,
}

/// How a field compares to a literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Present and not equal; values of another type are not equal.
    Ne,
    /// Less. Strings compare by their bytes.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// The whole string matches.
    Match(Pattern),
    /// It is a string and does not match.
    NotMatch(Pattern),
}

/// A regular expression for whole strings: `a|b` is `^(?:a|b)$`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: regex::Regex,
}

/// Text that is no regular expression, or one that would take too much memory.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no regular expression")]
pub struct PatternError {
    text: String,
    #[source]
    source: regex::Error,
}

impl Pattern {
    /// Compiles `text`, in the syntax of the `regex` crate (RE2's, as `TraceQL`'s).
    ///
    /// # Errors
    /// [`PatternError`] where it is malformed or compiles to more than 1 MiB.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        // Parsed alone first: `a)(b` would otherwise be accepted inside the anchors.
        let build = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
        build(text)
            .and_then(|_| build(&format!("^(?:{text})$")))
            .map(|compiled| Self {
                text: text.to_owned(),
                compiled,
            })
            .map_err(|source| PatternError {
                text: text.to_owned(),
                source,
            })
    }

    /// Whether all of `value` matches.
    pub fn is_match(&self, value: &str) -> bool {
        self.compiled.is_match(value)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    /// Equal where the text is.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A value to compare with, or one that was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A string.
    Str(String),
    /// A whole number.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Nanoseconds.
    Duration(u64),
    /// How a span ended.
    Status(StatusCode),
    /// The role of a span.
    Kind(Kind),
}

/// A value that was found.
pub type TagValue = Literal;

impl fmt::Display for Literal {
    /// The value alone: strings without quotes, durations as whole nanoseconds with `ns`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            Self::Int(int) => int.fmt(f),
            Self::Float(float) => float.fmt(f),
            Self::Bool(bool) => bool.fmt(f),
            Self::Duration(nanos) => write!(f, "{nanos}ns"),
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Kind(kind) => f.write_str(kind.as_str()),
        }
    }
}

/// The answer to a [`Search`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// What matched, newest start first; traces of the same nanosecond by their ids.
    pub traces: Vec<TraceHit>,
    /// Whether nothing that might have matched was left unread. False after [`Search::max_bytes_examined`] and
    /// where a part of the store was damaged.
    pub complete: bool,
    /// Bytes of uncompressed trace data that were read.
    pub examined_bytes: u64,
    /// Traces whose spans were looked at.
    pub examined_traces: u64,
}

/// A trace that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceHit {
    /// Its id.
    pub trace_id: [u8; 16],
    /// The service of the root span: the earliest span without a parent, else the earliest whose parent is not in
    /// the trace, else the earliest. Empty where the root has no `service.name`.
    pub root_service: String,
    /// The name of the root span.
    pub root_name: String,
    /// The first start of a span, in nanoseconds since 1970, UTC.
    pub start_unix_nano: u64,
    /// From there to the last end of a span, in nanoseconds.
    pub duration_nanos: u64,
    /// The first spans that matched, by their starts; at most [`Search::spans_per_trace`].
    pub matched: Vec<SpanHit>,
    /// How many spans matched in all.
    pub matched_total: u64,
    /// Every service in the trace, by name.
    pub services: Vec<ServiceStats>,
}

/// A span that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanHit {
    /// Its id; shorter ones that a sender wrote are padded with zeros at the front, longer ones cut.
    pub span_id: [u8; 8],
    /// Its name.
    pub name: String,
    /// Its start in nanoseconds since 1970, UTC.
    pub start_unix_nano: u64,
    /// Its duration in nanoseconds; 0 where it ended before it began or does not say when that was.
    pub duration_nanos: u64,
    /// `service.name`, and the attributes that the filter names, under the names that the span has.
    pub attributes: Vec<(String, TagValue)>,
}

/// One service's part in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStats {
    /// `service.name`; empty where it is not said.
    pub name: String,
    /// Its spans in the trace.
    pub spans: u64,
    /// Those of them with status error.
    pub errors: u64,
}
