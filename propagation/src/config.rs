//! Which formats and keys are read and written.
//!
//! In: a [`PropagatorConfig`]. Out: all its problems at once, or none.
//! Left out on purpose: reading a file. The binaries map their own sections onto this.

use std::fmt;
use std::str::FromStr;

use http::header::HeaderName;

use crate::keys;

/// A format of trace context. Named as in `OTEL_PROPAGATORS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `tracecontext`: W3C `traceparent` and `tracestate`.
    TraceContext,
    /// `b3`: one header.
    B3,
    /// `b3multi`: `x-b3-…` headers.
    B3Multi,
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format `{name}` is unknown: write `tracecontext`, `b3` or `b3multi`")]
pub struct UnknownFormat {
    /// The name as written.
    pub name: String,
}

/// What a [`Propagator`](crate::Propagator) reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropagatorConfig {
    /// Formats that are read, in order of precedence. Default `tracecontext`, `b3`, `b3multi`; empty reads
    /// none, so that every request starts a trace.
    pub extract: Vec<Format>,
    /// Formats that are always written. Default `tracecontext`; empty writes none but the mirrored one.
    pub inject: Vec<Format>,
    /// Whether the format a request came in is written as well. Default `true`: a B3-only service keeps its
    /// trace, for about 60 bytes a request.
    pub mirror: bool,
    /// Keys of the correlation id: all are read, the first valid one wins, and the first is written.
    /// Default `x-correlation-id`, `x-request-id`; empty neither reads nor writes one.
    pub correlation_keys: Vec<String>,
}

/// Why a [`PropagatorConfig`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A correlation key cannot be a header's name.
    #[error("correlation key `{key}` cannot be a header name: use letters, digits and `-`")]
    KeyNotAHeaderName {
        /// The key as written.
        key: String,
    },
    /// A correlation key belongs to a trace format or to baggage.
    #[error("correlation key `{key}` already has another meaning: choose one such as `x-correlation-id`")]
    KeyTaken {
        /// The key as written.
        key: String,
    },
    /// A correlation key is there twice.
    #[error("correlation key `{key}` is listed twice: name it once")]
    KeyRepeated {
        /// The key as written.
        key: String,
    },
    /// A format is there twice in one list.
    #[error("format `{format}` is listed twice in `{list}`: name it once")]
    FormatRepeated {
        /// The format.
        format: Format,
        /// `extract` or `inject`.
        list: &'static str,
    },
}

impl Default for PropagatorConfig {
    fn default() -> Self {
        Self {
            extract: vec![Format::TraceContext, Format::B3, Format::B3Multi],
            inject: vec![Format::TraceContext],
            mirror: true,
            correlation_keys: vec![keys::CORRELATION_ID.to_owned(), keys::REQUEST_ID.to_owned()],
        }
    }
}

impl Format {
    /// The name in configuration and in `OTEL_PROPAGATORS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        [Self::TraceContext, Self::B3, Self::B3Multi]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat {
                name: name.to_owned(),
            })
    }
}

impl PropagatorConfig {
    pub(crate) fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        for (list, formats) in [("extract", &self.extract), ("inject", &self.inject)] {
            let repeated = repeated(formats).map(|format| ConfigError::FormatRepeated { format, list });
            problems.extend(repeated);
        }
        problems.extend(repeated(&self.correlation_keys).map(|key| ConfigError::KeyRepeated { key }));
        for key in &self.correlation_keys {
            if HeaderName::from_bytes(key.as_bytes()).is_err() {
                problems.push(ConfigError::KeyNotAHeaderName { key: key.clone() });
            }
            if is_taken(key) {
                problems.push(ConfigError::KeyTaken { key: key.clone() });
            }
        }
        problems
    }
}

fn repeated<T: Clone + PartialEq>(list: &[T]) -> impl Iterator<Item = T> {
    let seen_before = |(index, item): &(usize, &T)| list.iter().take(*index).any(|earlier| earlier == *item);
    list.iter()
        .enumerate()
        .filter(seen_before)
        .map(|(_, item)| item.clone())
}

fn is_taken(key: &str) -> bool {
    [keys::TRACEPARENT, keys::TRACESTATE, keys::BAGGAGE, keys::B3].contains(&key) || key.starts_with("x-b3-")
}
