//! What the owner of a receiver is told of each request.
//!
//! In: nothing; the receivers call. Out: one [`Observed`] for each request that was answered.
//! Left out on purpose: counters and their names.

use super::{Signal, Transport};

/// Is told of every request that was answered; the owner counts. Called on the request's task: must not block.
pub trait IntakeObserver: Send + Sync + 'static {
    /// One request, answered.
    fn request(&self, request: &Observed);
}

impl IntakeObserver for () {
    fn request(&self, _: &Observed) {}
}

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// What it was to carry.
    pub signal: Signal,
    /// How it came.
    pub transport: Transport,
    /// How it was answered.
    pub outcome: Outcome,
    /// Its bytes after decompression, as protobuf; 0 where it was refused before that was known.
    pub bytes: u64,
    /// Its spans; 0 for metrics, and where it was refused before they were counted.
    pub spans: u64,
    /// Those of its spans, or data points, that the sink rejected within an accepted request.
    pub rejected_spans: u64,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Taken, perhaps without some of its spans.
    Accepted,
    /// The sink said [`Refusal::Busy`](super::Refusal::Busy), or [`Limits::max_requests`](super::Limits::max_requests) were in work.
    Busy,
    /// The sink said [`Refusal::Exhausted`](super::Refusal::Exhausted).
    Exhausted,
    /// The sink said [`Refusal::Invalid`](super::Refusal::Invalid).
    Invalid,
    /// Not decompressible, not JSON or not the message of its signal.
    Malformed,
    /// Over [`Limits::max_request_bytes`](super::Limits::max_request_bytes).
    TooLarge,
    /// A method, path, content type or compression that is not served.
    Unsupported,
    /// Over [`Limits::read_timeout`](super::Limits::read_timeout), or the connection broke while the request was read.
    Interrupted,
    /// Without a token that is taken here, or more than one client may send: [`Denied`](crate::access::Denied).
    Denied,
}

impl Outcome {
    /// Every outcome, in the order of this list.
    pub const ALL: [Outcome; 9] = [
        Outcome::Accepted,
        Outcome::Busy,
        Outcome::Exhausted,
        Outcome::Invalid,
        Outcome::Malformed,
        Outcome::TooLarge,
        Outcome::Unsupported,
        Outcome::Interrupted,
        Outcome::Denied,
    ];

    /// Its name as a label: `too_large`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Busy => "busy",
            Outcome::Exhausted => "exhausted",
            Outcome::Invalid => "invalid",
            Outcome::Malformed => "malformed",
            Outcome::TooLarge => "too_large",
            Outcome::Unsupported => "unsupported",
            Outcome::Interrupted => "interrupted",
            Outcome::Denied => "denied",
        }
    }
}
