//! Faults that a person plants in the running shop.
//!
//! In: a change to one participant. Out: for each request, how long it is held up and whether it fails.
//! Left out on purpose: faults of the network. They belong between services, and the shop is the services.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::services::PARTICIPANTS;

/// Longest delay that can be planted. Past the callers' time limit a longer one would look the same.
pub(super) const MAX_SLOW_MS: u64 = 60_000;

/// What is wrong with one participant; what is absent is as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// Milliseconds that each of its answers takes longer, at most [`MAX_SLOW_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slow_ms: Option<u64>,
    /// Share of its requests that fail, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fail: Option<f64>,
}

/// Why a fault is not planted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum FaultError {
    /// No such participant.
    #[error("the shop has no service `{name}`: it has {}", listed())]
    UnknownService {
        /// As written.
        name: String,
    },
    /// Neither a delay nor a share.
    #[error("the fault says nothing: write `slow_ms` or `fail`")]
    Empty,
    /// A delay past the limit.
    #[error("`slow_ms` is {slow_ms}, but at most {MAX_SLOW_MS} is possible")]
    TooSlow {
        /// As written.
        slow_ms: u64,
    },
    /// A share outside 0 to 1.
    #[error("`fail` is {fail}, but a share is between 0 and 1: write 0.5 for half of the requests")]
    NotAShare {
        /// As written.
        fail: f64,
    },
}

/// The participants as a sentence lists them: each in backticks.
fn listed() -> String {
    PARTICIPANTS.map(|name| format!("`{name}`")).join(", ")
}

/// The participant of that name.
///
/// # Errors
/// A name that no participant has; the error lists those there are.
pub(super) fn participant(name: &str) -> Result<&'static str, FaultError> {
    let found = PARTICIPANTS.into_iter().find(|known| *known == name);
    found.ok_or_else(|| FaultError::UnknownService {
        name: name.to_owned(),
    })
}

/// What one request suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suffering {
    /// Added to the participant's own time.
    pub(super) delay: Duration,
    /// The request fails after its own time, before it calls anyone.
    pub(super) fails: bool,
}

/// The faults that stand now. Shared by the services, which read, and the control listener, which writes.
pub(super) struct Faults {
    error_rate: f64,
    planted: RwLock<BTreeMap<&'static str, Fault>>,
}

impl Faults {
    /// No faults but `error_rate`, the share (0 to 1) of requests that fail by themselves.
    pub(super) fn new(error_rate: f64) -> Self {
        Self {
            error_rate,
            planted: RwLock::default(),
        }
    }

    /// Plants `change` beside what stands already; what it leaves open stays.
    ///
    /// # Errors
    /// An unknown participant, a change without content, or a value out of range. Nothing is planted then.
    pub(super) fn plant(&self, name: &str, change: Fault) -> Result<Fault, FaultError> {
        let name = participant(name)?;
        check(change)?;
        let mut planted = self.planted.write().unwrap_or_else(PoisonError::into_inner);
        let fault = planted.entry(name).or_default();
        fault.slow_ms = change.slow_ms.or(fault.slow_ms);
        fault.fail = change.fail.or(fault.fail);
        Ok(*fault)
    }

    /// Takes the faults of one participant away; having none is fine.
    ///
    /// # Errors
    /// An unknown participant.
    pub(super) fn heal(&self, name: &str) -> Result<(), FaultError> {
        let name = participant(name)?;
        self.planted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        Ok(())
    }

    /// Takes all faults away.
    pub(super) fn heal_all(&self) {
        self.planted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Who has a fault, and which.
    pub(super) fn all(&self) -> BTreeMap<&'static str, Fault> {
        self.planted
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Draws what the next request of a participant suffers.
    pub(super) fn draw(&self, name: &str) -> Suffering {
        let planted = self.planted.read().unwrap_or_else(PoisonError::into_inner);
        let fault = planted.get(name).copied().unwrap_or_default();
        let share = fault.fail.unwrap_or(0.0).max(self.error_rate);
        Suffering {
            delay: Duration::from_millis(fault.slow_ms.unwrap_or(0)),
            fails: rand::rng().random::<f64>() < share,
        }
    }
}

fn check(change: Fault) -> Result<(), FaultError> {
    match change {
        Fault {
            slow_ms: None,
            fail: None,
        } => Err(FaultError::Empty),
        Fault {
            slow_ms: Some(slow_ms),
            ..
        } if slow_ms > MAX_SLOW_MS => Err(FaultError::TooSlow { slow_ms }),
        Fault { fail: Some(fail), .. } if !(0.0..=1.0).contains(&fail) => Err(FaultError::NotAShare { fail }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Fault = Fault {
        slow_ms: Some(400),
        fail: None,
    };
    const FAIL: Fault = Fault {
        slow_ms: None,
        fail: Some(1.0),
    };

    #[test]
    fn a_second_change_leaves_what_it_does_not_name() {
        let faults = Faults::new(0.0);
        faults.plant("payment", SLOW).unwrap();
        assert_eq!(
            faults.plant("payment", FAIL),
            Ok(Fault {
                slow_ms: Some(400),
                fail: Some(1.0)
            })
        );
        assert_eq!(
            faults.draw("payment"),
            Suffering {
                delay: Duration::from_millis(400),
                fails: true
            }
        );
        assert_eq!(
            faults.draw("cart"),
            Suffering {
                delay: Duration::ZERO,
                fails: false
            }
        );
    }

    #[test]
    fn healing_one_leaves_the_others() {
        let faults = Faults::new(0.0);
        faults.plant("payment", SLOW).unwrap();
        faults.plant("database", FAIL).unwrap();
        faults.heal("payment").unwrap();
        assert_eq!(faults.all().into_iter().collect::<Vec<_>>(), [("database", FAIL)]);
        faults.heal_all();
        assert!(faults.all().is_empty());
    }

    #[test]
    fn an_unknown_service_is_refused_with_the_names_of_those_there_are() {
        let error = Faults::new(0.0).plant("paiment", SLOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the shop has no service `paiment`: it has `web`, `cart`, `catalogue`, `checkout`, `payment`, `worker`, \
             `database`"
        );
    }

    #[test]
    fn values_out_of_range_are_refused_and_nothing_is_planted() {
        let faults = Faults::new(0.0);
        let refused = [
            (Fault::default(), FaultError::Empty),
            (
                Fault {
                    slow_ms: Some(60_001),
                    fail: None,
                },
                FaultError::TooSlow { slow_ms: 60_001 },
            ),
            (
                Fault {
                    slow_ms: None,
                    fail: Some(1.5),
                },
                FaultError::NotAShare { fail: 1.5 },
            ),
            (
                Fault {
                    slow_ms: Some(1),
                    fail: Some(-0.1),
                },
                FaultError::NotAShare { fail: -0.1 },
            ),
        ];
        for (change, error) in refused {
            assert_eq!(faults.plant("web", change), Err(error));
        }
        assert!(faults.all().is_empty());
    }
}
