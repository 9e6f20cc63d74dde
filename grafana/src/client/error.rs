//! Why there is no answer, for an operator.
//!
//! In: what went wrong. Out: one line with the address, what was said, and what would be right.
//! Left out on purpose: the token, which no error holds.

use std::time::Duration;

use http::StatusCode;
use otlp::tls::TlsError;
use serde_json::Value;

/// No answer, or not one that helps.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be used.
    #[error("`{url}` is no address to ask: {problem}")]
    Url {
        /// As written.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The token cannot be sent.
    #[error(
        "the token is empty or has other characters than visible ASCII: give it as it was shown, on one line"
    )]
    Token,
    /// Certificates cannot be read.
    #[error("no TLS with `{url}`")]
    Tls {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// Nobody answered, or with a passing fault, for as long as patience allows.
    #[error("`{url}` gives no useful answer, tried {tries} times within {}: {last}", humantime::format_duration(*.patience))]
    Away {
        /// The address.
        url: String,
        /// How often it was asked.
        tries: u32,
        /// How long it was asked.
        patience: Duration,
        /// What went wrong last.
        last: String,
    },
    /// An answer that repeating will not change.
    #[error("`{url}` answers {status}: {said}")]
    Refused {
        /// The address that was asked.
        url: String,
        /// The status.
        status: StatusCode,
        /// What the body said, or what to do.
        said: String,
        /// The body, where it is JSON.
        body: Value,
    },
    /// An answer that is not what this server gives.
    #[error("`{url}` answers something else than expected: {problem}: is this the right address?")]
    Garbled {
        /// The address that was asked.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

impl HttpError {
    /// The status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }
}
