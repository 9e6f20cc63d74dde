//! The collector goes away while requests pass.
//!
//! In: contestants that trace, a rate, rounds. Out: [`Figures`], or a failure where a request was lost.
//! Left out on purpose: its return, and what became of the spans; tests show that.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::Failure;
use crate::client::{Client, Protocol};
use crate::latency::us;
use crate::openloop::{self, Schedule};
use crate::process::Contestant;
use crate::proxies::{Programs, Setup};
use crate::servers::Role;
use crate::stat::Spread;

const CONNECTIONS: usize = 16;
/// The part of the last turn during which the sink is still there.
const UNTIL_KILLED: f64 = 0.25;

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) contestants: Vec<Figure>,
}

/// One contestant's figures, HTTP/1.1.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) p50: Change,
    pub(crate) p99: Change,
}

/// A quantile before the outage and within it.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    /// Microseconds of the turn before.
    pub(crate) before_us: Spread,
    /// Microseconds of the turn in which the sink was killed.
    pub(crate) within_us: Spread,
    /// Within over before.
    pub(crate) ratio: Spread,
    /// The turn before over the one before that: what noise is.
    pub(crate) noise: Spread,
}

/// Each round a fresh process of each.
pub(crate) fn measure(
    programs: &Programs,
    rounds: usize,
    rate: f64,
    length: Duration,
) -> Result<Figures, Failure> {
    let schedule = Schedule {
        rate,
        length,
        connections: CONNECTIONS,
    };
    let traced: Vec<Setup> = programs
        .setups()
        .into_iter()
        .filter(|setup| setup.traced)
        .collect();
    let mut all: Vec<Vec<[openloop::Turn; 3]>> = traced.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!("outage: round {round} of {rounds}");
        for (setup, turns) in traced.iter().zip(&mut all) {
            turns.push(
                three_turns(programs, *setup, schedule)
                    .map_err(|error| format!("{}: {error}", setup.name))?,
            );
        }
    }
    let figure = |(setup, turns): (&Setup, &Vec<[openloop::Turn; 3]>)| Figure {
        name: setup.name,
        p50: change(turns, 0.5),
        p99: change(turns, 0.99),
    };
    Ok(Figures {
        requests_per_second: rate,
        contestants: traced.iter().zip(&all).map(figure).collect(),
    })
}

fn three_turns(
    programs: &Programs,
    setup: Setup,
    schedule: Schedule,
) -> Result<[openloop::Turn; 3], Failure> {
    let (_service, [upstream]) = Contestant::peer(Role::Upstream.as_str())?;
    let mut proxy = programs.start(setup, upstream)?;
    let to = proxy.address(Protocol::Http1);
    let mut clients = schedule.clients(|| Client::connect(Protocol::Http1, to))?;
    let each = schedule.requests();
    let first = openloop::run(&mut clients, schedule, 0)?;
    let second = openloop::run(&mut clients, schedule, each)?;
    proxy.answered(2 * each)?;
    let sink = proxy.take_sink();
    let third = thread::scope(|scope| {
        scope.spawn(move || {
            wait(schedule.length.mul_f64(UNTIL_KILLED));
            drop(sink);
        });
        openloop::run(&mut clients, schedule, 2 * each)
    })?;
    Ok([first, second, third])
}

#[expect(
    clippy::disallowed_methods,
    reason = "when the sink dies is part of the schedule, and the thread is there for that alone"
)]
fn wait(length: Duration) {
    thread::sleep(length);
}

fn change(rounds: &[[openloop::Turn; 3]], share: f64) -> Change {
    let of = |turn: &openloop::Turn| us(&turn.latency, share);
    let over = |value: fn(&[f64; 3]) -> f64| {
        let quantiles = rounds
            .iter()
            .map(|[first, second, third]| [of(first), of(second), of(third)]);
        Spread::of(quantiles.map(|three| value(&three)))
    };
    Change {
        before_us: over(|[_, second, _]| *second),
        within_us: over(|[_, _, third]| *third),
        ratio: over(|[_, second, third]| third / second),
        noise: over(|[first, second, _]| second / first),
    }
}
