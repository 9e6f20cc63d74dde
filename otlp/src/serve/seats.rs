//! How many connections a listener has, and one address of them.
//!
//! In: addresses as they come. Out: a [`Seat`] each, until it is dropped, or none where the address has enough.
//! Left out on purpose: which connection should end where there is no room; those that rest end by themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats of one listener.
#[derive(Debug)]
pub(crate) struct Seats {
    room: Arc<Semaphore>,
    of_one: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// Held for as long as its connection.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Seats {
    pub(crate) fn new(all: usize, of_one: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            of_one,
            taken: Mutex::default(),
        }
    }

    /// Room for one more; waits until there is.
    pub(crate) async fn room(&self) -> OwnedSemaphorePermit {
        let room = self.room.clone().acquire_owned().await;
        room.expect("the semaphore is never closed")
    }

    /// A seat for `address`; `None` where it has enough.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, room: OwnedSemaphorePermit) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = taken.entry(address).or_default();
        if *of_this >= self.of_one {
            return None;
        }
        *of_this += 1;
        Some(Seat {
            seats: self.clone(),
            address,
            _room: room,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_this) = taken.get_mut(&self.address) {
            *of_this -= 1;
            if *of_this == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_has_enough_is_refused_until_one_of_its_connections_ends() {
        let seats = Arc::new(Seats::new(4, 2));
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = seats.take(one, seats.room().await).expect("a seat");
        let _second = seats.take(one, seats.room().await).expect("a seat");
        assert!(seats.take(one, seats.room().await).is_none());
        let _third = seats.take(other, seats.room().await).expect("a seat of another");
        drop(first);
        assert!(seats.take(one, seats.room().await).is_some());
        let left: usize = seats.taken.lock().expect("no panic").values().sum();
        assert_eq!((left, seats.room.available_permits()), (2, 2), "nothing leaks");
    }
}
