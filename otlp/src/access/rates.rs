//! How much one client may ask: the generic cell rate algorithm, for requests before they are read and for bytes after.
//!
//! In: who asks, what they sent, and the time. Out: yes, or when to come back.
//! A client may use a second's worth at once. How long a body is shows when it has been read, so bytes are owed: the request
//! after it waits. That is why this is no library's limiter, of which each refuses what is longer than its burst.
//! Left out on purpose: fairness between clients that keep to their share.
//! Source: ITU-T I.371, annex A.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Who;
use super::settings::PerClientSettings;

/// Clients that are told apart. Those beyond share one allowance.
const MAX_CLIENTS: usize = 10_000;
const SECOND: u64 = 1_000_000_000;

/// The allowances of a listener's clients.
pub(super) struct Rates {
    /// Nanoseconds that a request costs; 0 where there is no bound.
    of_request: u64,
    /// Bytes a second.
    bytes: Option<u64>,
    began: Instant,
    /// By tenant: the bearers of two tenants' tokens may have one name.
    clients: Mutex<HashMap<(usize, Who), Owed>>,
}

/// Until when a client has used what it may, in nanoseconds since the beginning.
#[derive(Default, Clone, Copy)]
struct Owed {
    requests: u64,
    bytes: u64,
}

impl Rates {
    /// `None` where nothing is bounded.
    pub(super) fn new(settings: &PerClientSettings) -> Option<Self> {
        let requests = settings.requests.map_or(0, |rate| SECOND / u64::from(rate.get()));
        let bytes = settings.bytes.map(|bytes| bytes.0);
        (requests > 0 || bytes.is_some()).then(|| Self {
            of_request: requests,
            bytes,
            began: Instant::now(),
            clients: Mutex::default(),
        })
    }

    /// Whether this client may ask once more at `now`; else how long it has to wait.
    pub(super) fn admit(&self, tenant: usize, who: &Who, now: Instant) -> Result<(), Duration> {
        let now = self.since(now);
        self.with(tenant, who, now, |owed| {
            let latest = now + SECOND;
            // A request that costs less than nothing is left fits in.
            let after = owed.requests.max(now) + self.of_request;
            let wait = after.max(owed.bytes).saturating_sub(latest);
            if wait > 0 {
                return Err(Duration::from_nanos(wait));
            }
            owed.requests = after;
            Ok(())
        })
    }

    /// Charges this client with `bytes` at `now`.
    pub(super) fn spent(&self, tenant: usize, who: &Who, bytes: u64, now: Instant) {
        let Some(rate) = self.bytes else {
            return;
        };
        let now = self.since(now);
        let cost = u128::from(bytes) * u128::from(SECOND) / u128::from(rate.max(1));
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        self.with(tenant, who, now, |owed| {
            owed.bytes = owed.bytes.max(now).saturating_add(cost);
        });
    }

    fn since(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn with<T>(&self, tenant: usize, who: &Who, now: u64, then: impl FnOnce(&mut Owed) -> T) -> T {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant, who.clone());
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
            clients.retain(|_, owed| owed.requests.max(owed.bytes) > now);
        }
        let key = if clients.len() < MAX_CLIENTS || clients.contains_key(&key) {
            key
        } else {
            (tenant, Who::Others)
        };
        then(clients.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use config::ByteSize;

    use super::*;

    fn rates(requests: Option<u32>, bytes: Option<u64>) -> Rates {
        Rates::new(&PerClientSettings {
            requests: requests.and_then(NonZeroU32::new),
            bytes: bytes.map(ByteSize),
        })
        .expect("a bound")
    }

    fn at(rates: &Rates, millis: u64) -> Instant {
        rates.began + Duration::from_millis(millis)
    }

    #[test]
    fn a_second_s_requests_may_come_at_once_and_the_next_are_told_when_to_come() {
        let (rates, one) = (rates(Some(10), None), Who::Bearer("one".into()));
        for _ in 0..10 {
            assert_eq!(rates.admit(0, &one, at(&rates, 0)), Ok(()));
        }
        assert_eq!(
            rates.admit(0, &one, at(&rates, 0)),
            Err(Duration::from_millis(100))
        );
        assert_eq!(
            rates.admit(0, &one, at(&rates, 60)),
            Err(Duration::from_millis(40))
        );
        assert_eq!(rates.admit(0, &one, at(&rates, 100)), Ok(()));
        assert_eq!(
            rates.admit(0, &one, at(&rates, 100)),
            Err(Duration::from_millis(100))
        );
        let other = Who::Bearer("other".into());
        assert_eq!(
            rates.admit(0, &other, at(&rates, 100)),
            Ok(()),
            "each has its own"
        );
        let namesake = rates.admit(1, &one, at(&rates, 100));
        assert_eq!(namesake, Ok(()), "of another tenant");
    }

    #[test]
    fn a_long_body_is_taken_and_paid_for_by_waiting() {
        let (rates, one) = (rates(None, Some(1000)), Who::Bearer("one".into()));
        assert_eq!(rates.admit(0, &one, at(&rates, 0)), Ok(()));
        rates.spent(0, &one, 5000, at(&rates, 0));
        assert_eq!(rates.admit(0, &one, at(&rates, 0)), Err(Duration::from_secs(4)));
        assert_eq!(
            rates.admit(0, &one, at(&rates, 3999)),
            Err(Duration::from_millis(1))
        );
        assert_eq!(rates.admit(0, &one, at(&rates, 4000)), Ok(()));
        rates.spent(0, &one, u64::MAX, at(&rates, 4000));
        assert!(
            rates.admit(0, &one, at(&rates, 1 << 30)).is_err(),
            "and no overflow frees it"
        );
    }

    #[test]
    fn who_comes_beyond_the_bound_of_clients_shares_and_nobody_who_owes_is_forgotten() {
        let rates = rates(Some(1), None);
        let client = |index: usize| Who::Bearer(index.to_string().into());
        for index in 0..MAX_CLIENTS {
            assert_eq!(rates.admit(0, &client(index), at(&rates, 0)), Ok(()));
        }
        assert_eq!(rates.admit(0, &client(MAX_CLIENTS), at(&rates, 1)), Ok(()));
        assert!(
            rates.admit(0, &client(MAX_CLIENTS + 1), at(&rates, 1)).is_err(),
            "shared"
        );
        assert!(rates.admit(0, &client(0), at(&rates, 1)).is_err());
        assert_eq!(rates.admit(0, &client(MAX_CLIENTS + 2), at(&rates, 2000)), Ok(()));
        let kept = rates.clients.lock().expect("no panic").len();
        assert_eq!(
            kept, 1,
            "who owes nothing any more is forgotten once the room is wanted"
        );
    }
}
