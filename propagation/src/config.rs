//! Which formats and keys are read and written.
//!
//! In: a [`PropagatorConfig`]. Out: all its problems at once, or none.
//! Left out on purpose: reading a file. The binaries map their own sections onto this.

use http::header::HeaderName;

use crate::format::Format;
use crate::keys;

/// What a [`Propagator`](crate::Propagator) reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropagatorConfig {
    /// Formats that are read, in order of precedence. Default [`Format::ALL`]; empty reads none, so that every request
    /// starts a trace.
    pub extract: Vec<Format>,
    /// Formats that are always written. Default `tracecontext`; empty writes none but the mirrored one.
    pub inject: Vec<Format>,
    /// Whether the formats a request came in are written as well. Default `true`: a B3-only service keeps its
    /// trace, for about 60 bytes a request.
    pub mirror: bool,
    /// Keys of the correlation id: all are read, the first valid one wins, and the first is written.
    /// Default `x-correlation-id`, `x-request-id`; empty neither reads nor writes one.
    pub correlation_keys: Vec<String>,
    /// Keys of request ids whose UUIDs of version 4 become the trace id where no format names a trace; the first that
    /// holds one wins. Default empty. Right where such an id is made once per request and passed on by services that pass
    /// no context on; an id that outlives its request would join unrelated requests.
    pub trace_id_keys: Vec<String>,
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
    /// A format that can only be read is to be written.
    #[error("format `{format}` cannot be written: take it out of `inject`")]
    FormatOnlyRead {
        /// The format.
        format: Format,
    },
}

impl Default for PropagatorConfig {
    fn default() -> Self {
        Self {
            extract: Format::ALL.to_vec(),
            inject: vec![Format::TraceContext],
            mirror: true,
            correlation_keys: vec![keys::CORRELATION_ID.to_owned(), keys::REQUEST_ID.to_owned()],
            trace_id_keys: Vec::new(),
        }
    }
}

impl PropagatorConfig {
    pub(crate) fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        for (list, formats) in [("extract", &self.extract), ("inject", &self.inject)] {
            let repeated = repeated(formats).map(|format| ConfigError::FormatRepeated { format, list });
            problems.extend(repeated);
        }
        let only_read = self.inject.iter().copied().filter(|format| !format.is_written());
        problems.extend(only_read.map(|format| ConfigError::FormatOnlyRead { format }));
        for list in [&self.correlation_keys, &self.trace_id_keys] {
            problems.extend(repeated(list).map(|key| ConfigError::KeyRepeated { key }));
        }
        for key in self.correlation_keys.iter().chain(&self.trace_id_keys) {
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
    Format::of_key(key).is_some() || key == keys::BAGGAGE || key.starts_with(keys::JAEGER_BAGGAGE_PREFIX)
}
