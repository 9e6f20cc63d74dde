//! The correlation id: one text that names a request in logs, across every service it touches.
//!
//! In: a header value, or a trace id where there was none. Out: a [`CorrelationId`] of 1 to 128 visible ASCII
//! bytes.
//! Left out on purpose: AMQP's own `correlation-id` property, which pairs requests with replies and is not
//! ours.

use std::fmt;

use crate::ids::TraceId;
use crate::text::{number_from_hex, push_lower_hex, trim_ows};

/// Longest correlation id that is kept.
pub const MAX_CORRELATION_BYTES: usize = 128;

/// 1 to 128 visible ASCII bytes. Span attribute and log field `correlation.id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(String);

/// Why a correlation id was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorrelationError {
    /// Nothing but whitespace.
    #[error("correlation id is empty, but 1 to {MAX_CORRELATION_BYTES} visible ASCII characters are needed")]
    Empty,
    /// More than 128 bytes.
    #[error("correlation id has {len} bytes, but at most {MAX_CORRELATION_BYTES} are kept")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A byte outside `!` to `~`.
    #[error("correlation id has a byte other than visible ASCII, `!` to `~`")]
    NotVisibleAscii,
}

impl CorrelationId {
    /// Reads a correlation id; surrounding spaces and tabs are ignored.
    ///
    /// # Errors
    /// It is empty, too long, or has a byte that is not visible ASCII.
    pub fn parse(value: &[u8]) -> Result<Self, CorrelationError> {
        let value = trim_ows(value);
        match value.len() {
            0 => return Err(CorrelationError::Empty),
            len if len > MAX_CORRELATION_BYTES => return Err(CorrelationError::TooLong { len }),
            _ => {}
        }
        if !value.iter().all(u8::is_ascii_graphic) {
            return Err(CorrelationError::NotVisibleAscii);
        }
        let text = std::str::from_utf8(value).map_err(|_| CorrelationError::NotVisibleAscii)?;
        Ok(Self(text.to_owned()))
    }

    /// The trace id written as a UUID, 8-4-4-4-12: what a request gets that came without a correlation id.
    pub fn from_trace_id(trace_id: TraceId) -> Self {
        let mut text = String::with_capacity(36);
        for (index, byte) in trace_id.as_bytes().iter().enumerate() {
            if [4, 6, 8, 10].contains(&index) {
                text.push('-');
            }
            push_lower_hex(&mut text, &[*byte]);
        }
        Self(text)
    }

    /// The id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The trace id that a UUID of version 4 stands for; `None` for any other id.
///
/// Envoy replaces the digit of the version by `9`, `a` or `b` to say why it traces a request, and each hop may change
/// it. So that digit is read as `4`: all hops that pass the id on then agree on the trace. The right-most 7 bytes of such
/// an id are random, as the `random` flag says.
pub(crate) fn trace_id_from_uuid(value: &[u8]) -> Option<TraceId> {
    let digits = uuid_digits(std::str::from_utf8(trim_ows(value)).ok()?)?;
    let bits = number_from_hex(&digits, 32)?;
    let (version, variant) = (bits >> 76 & 0xf, bits >> 62 & 0b11);
    let bits = bits & !(0xf << 76) | 4 << 76;
    let legal = matches!(version, 4 | 9..=11) && variant == 0b10;
    legal.then(|| TraceId::from_bytes(bits.to_be_bytes())).flatten()
}

/// The 32 characters of `text` between and around the dashes of a UUID, which must stand where they belong.
pub(crate) fn uuid_digits(text: &str) -> Option<String> {
    let mut groups = text.split('-');
    let right = [8, 4, 4, 4, 12]
        .into_iter()
        .all(|len| groups.next().is_some_and(|group| group.len() == len));
    (right && groups.next().is_none()).then(|| text.replace('-', ""))
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
