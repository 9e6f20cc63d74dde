//! `tracemap demo slow | fail | heal`: the other side of the control listener.
//!
//! In: an action and the control address. Out: one line that says what is so now, or an error that says what to do.
//! Left out on purpose: starting the shop. That is `tracemap up --demo`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use config::HumanDuration;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::faults::{Fault, FaultError, participant};
use super::http::{CallError, Client};

/// What to do to the running shop.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum DemoAction {
    /// Make a service, the worker or the database take longer
    Slow {
        /// One of web, cart, catalogue, checkout, payment, worker, database
        service: String,
        /// How much longer, such as 400ms; at most 1m
        duration: HumanDuration,
    },
    /// Make a share of a service's requests fail
    Fail {
        /// One of web, cart, catalogue, checkout, payment, worker, database
        service: String,
        /// How many fail, such as 50% or 0.5
        #[arg(default_value = "100%")]
        share: Share,
    },
    /// Take faults away again
    Heal {
        /// Whose; everybody's if left out
        service: Option<String>,
    },
}

/// A share of requests, 0 to 1; written as `50%` or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(f64);

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` is no share of requests: write one between 0 and 1 such as `50%` or `0.5`")]
pub(crate) struct ShareError {
    written: String,
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (number, unit) = text
            .trim()
            .strip_suffix('%')
            .map_or((text.trim(), 1.0), |number| (number.trim_end(), 100.0));
        let share = number.parse().ok().map(|number: f64| number / unit);
        let valid = share.filter(|share| (0.0..=1.0).contains(share)).map(Self);
        valid.ok_or_else(|| ShareError {
            written: text.to_owned(),
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two decimals of a percentage, without the noise of binary fractions (0.07 × 100 is 7.000000000000001).
        write!(f, "{}%", (self.0 * 10_000.0).round() / 100.0)
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// Nobody listens at the control address.
    #[error("no demo shop listens on `{control}`: start it with `tracemap up --demo`")]
    NotRunning {
        /// Where it should be.
        control: SocketAddr,
        /// How the connection failed.
        #[source]
        source: io::Error,
    },
    /// Someone listens, but no answer came.
    #[error("`{control}` took the request but gave no answer, so nothing may have changed")]
    NoAnswer {
        /// Who took it.
        control: SocketAddr,
        /// How the exchange failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The shop refused; its own words.
    #[error("{reason}")]
    Refused {
        /// As the shop put it.
        reason: String,
    },
    /// What listens there is not the shop.
    #[error(
        "`{control}` answered {status} and no reason, so it is no demo shop: name the shop's control address"
    )]
    NotTheShop {
        /// Who answered.
        control: SocketAddr,
        /// The HTTP status.
        status: StatusCode,
    },
}

/// Changes the shop that listens on `control`, and says what is so now.
///
/// # Errors
/// An unknown service, listing those there are; a value out of range; no shop at that address, saying how to start one.
pub(crate) async fn command(control: SocketAddr, action: DemoAction) -> Result<String, DemoError> {
    let (method, path, body) = request(&action)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answered = Client::new(None)
        .send(method, control, &path, headers, body)
        .await;
    let (status, body) = answered.map_err(|error| unanswered(control, error))?;
    if status.is_success() {
        return Ok(done(&action));
    }
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer.get("error").and_then(Value::as_str) {
        Some(reason) => Err(DemoError::Refused {
            reason: reason.to_owned(),
        }),
        None => Err(DemoError::NotTheShop { control, status }),
    }
}

fn unanswered(control: SocketAddr, error: CallError) -> DemoError {
    match error {
        CallError::Connect { source, .. } => DemoError::NotRunning { control, source },
        other => DemoError::NoAnswer {
            control,
            source: Box::new(other),
        },
    }
}

fn request(action: &DemoAction) -> Result<(Method, String, Bytes), DemoError> {
    let path = |service: &str| {
        participant(service)
            .map(|name| format!("/faults/{name}"))
            .map_err(|error| refused(&error))
    };
    Ok(match action {
        DemoAction::Slow { service, duration } => {
            let slow_ms = u64::try_from(duration.get().as_millis()).unwrap_or(u64::MAX);
            (
                Method::POST,
                path(service)?,
                json(Fault {
                    slow_ms: Some(slow_ms),
                    fail: None,
                }),
            )
        }
        DemoAction::Fail { service, share } => (
            Method::POST,
            path(service)?,
            json(Fault {
                slow_ms: None,
                fail: Some(share.0),
            }),
        ),
        DemoAction::Heal {
            service: Some(service),
        } => (Method::DELETE, path(service)?, Bytes::new()),
        DemoAction::Heal { service: None } => (Method::DELETE, "/faults".to_owned(), Bytes::new()),
    })
}

fn refused(error: &FaultError) -> DemoError {
    DemoError::Refused {
        reason: error.to_string(),
    }
}

fn json(fault: Fault) -> Bytes {
    // Two optional numbers: nothing in a `Fault` can fail to serialize.
    serde_json::to_vec(&fault).unwrap_or_default().into()
}

fn done(action: &DemoAction) -> String {
    match action {
        DemoAction::Slow { service, duration } => format!("`{service}` now takes {duration} longer"),
        DemoAction::Fail { service, share } => format!("`{service}` now fails {share} of its requests"),
        DemoAction::Heal {
            service: Some(service),
        } => format!("`{service}` is healed"),
        DemoAction::Heal { service: None } => "everything is healed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_a_percentage_or_a_ratio_and_nothing_else() {
        let written = ["50%", "50 %", "0.5", "100%", "7%", "1", "0"];
        let shown: Vec<_> = written
            .map(|text| text.parse::<Share>().unwrap().to_string())
            .into();
        assert_eq!(shown, ["50%", "50%", "50%", "100%", "7%", "100%", "0%"]);
        for text in ["", "%", "half", "101%", "50", "-1%", "NaN", "inf%"] {
            assert_eq!(
                text.parse::<Share>(),
                Err(ShareError {
                    written: text.to_owned()
                })
            );
        }
    }

    #[tokio::test]
    async fn without_a_shop_the_error_says_how_to_start_one() {
        let nowhere = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = command(nowhere, DemoAction::Heal { service: None })
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no demo shop listens on `{nowhere}`: start it with `tracemap up --demo`")
        );
    }
}
