//! Connections of the agent's own that came back to it.
//!
//! In: each connection that the agent makes for a redirected caller, and each that it accepts, with both their ends. Out:
//! whether one is the other.
//! Left out on purpose: marks and users. A rule leaves the agent's own connections alone by those; this is for where that
//! rule is missing, and a connection would otherwise make connections without end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long ends are remembered: far longer than a connection to this host takes, and far shorter than its two ends are
/// given to another one.
const MEMORY: Duration = Duration::from_secs(5);
/// Entries beyond which old ones are looked for.
const MANY: usize = 256;

/// Both ends of a connection: who made it, and where it was going.
type Ends = (SocketAddr, SocketAddr);

/// The connections of the last moments.
#[derive(Debug, Default)]
pub(crate) struct OwnCalls(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    seen: HashMap<Ends, (Side, Instant)>,
    /// Size at which to look for old ones next.
    look_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Made,
    Accepted,
}

impl OwnCalls {
    /// Notes a connection that the agent made; whether it was accepted by the agent too.
    pub(crate) fn made(&self, from: SocketAddr, to: SocketAddr, now: Instant) -> bool {
        self.note((from, to), Side::Made, now)
    }

    /// Notes a connection that the agent accepted; whether it made it too.
    pub(crate) fn accepted(&self, from: SocketAddr, to: SocketAddr, now: Instant) -> bool {
        self.note((from, to), Side::Accepted, now)
    }

    fn note(&self, (from, to): Ends, side: Side, now: Instant) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget(now);
        let ends = (canonical(from), canonical(to));
        let before = recent.seen.insert(ends, (side, now));
        before.is_some_and(|(other, at)| other != side && now.saturating_duration_since(at) < MEMORY)
    }
}

impl Recent {
    fn forget(&mut self, now: Instant) {
        if self.seen.len() < self.look_at.max(MANY) {
            return;
        }
        self.seen
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < MEMORY);
        self.look_at = self.seen.len().saturating_mul(2);
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_connection_that_is_made_and_accepted_is_recognised_in_either_order() {
        let (own, now) = (OwnCalls::default(), Instant::now());
        let (from, to) = (at("10.0.0.1:40000"), at("10.0.0.5:80"));
        assert!(!own.made(from, to, now));
        assert!(own.accepted(at("[::ffff:10.0.0.1]:40000"), to, now));
        let other = at("10.0.0.6:80");
        assert!(!own.accepted(from, other, now));
        assert!(own.made(from, other, now));
    }

    #[test]
    fn a_caller_with_the_port_of_an_earlier_or_another_connection_is_none_of_ours() {
        let (own, now) = (OwnCalls::default(), Instant::now());
        let (from, to) = (at("10.0.0.1:40000"), at("10.0.0.5:80"));
        own.made(from, to, now);
        assert!(!own.accepted(from, at("10.0.0.5:81"), now));
        assert!(!own.accepted(from, to, now + MEMORY));
        assert!(
            !own.accepted(from, to, now + MEMORY),
            "a second one of the same caller"
        );
    }

    #[test]
    fn memory_is_bounded_by_what_comes_within_its_time() {
        let (own, start) = (OwnCalls::default(), Instant::now());
        for n in 0..100_000_u32 {
            let from = SocketAddr::from((n.to_be_bytes(), 1));
            own.made(from, at("10.0.0.5:80"), start + Duration::from_millis(n.into()));
        }
        let recent = own.0.lock().expect("unpoisoned");
        assert!(recent.seen.len() <= 2 * 5_001, "{}", recent.seen.len());
    }
}
