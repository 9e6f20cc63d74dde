//! How many requests a second of CPU pays for.
//!
//! In: contestants, rounds. Out: [`Figures`], or a failure where a request or a span was lost.
//! Left out on purpose: how many requests a second the machine does; clients and service take their share of it.

use std::time::Duration;

use serde::Serialize;

use crate::Failure;
use crate::client::Protocol;
use crate::closed::saturate;
use crate::process::Contestant;
use crate::proxies::{AGENT, AGENT_UNTRACED, Programs, Proxy};
use crate::servers::Role;
use crate::stat::Spread;

/// What came of it, on one protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) protocol: Protocol,
    pub(crate) contestants: Vec<Figure>,
}

/// One contestant's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) requests_per_cpu_second: Spread,
    /// Those of the agent that traces as much, in the same round, over its own: above 1 the agent is cheaper.
    pub(crate) agent_times_this: Option<Spread>,
    pub(crate) requests_per_second: Spread,
    pub(crate) requests: u64,
}

/// One turn of one contestant.
#[derive(Clone, Copy)]
struct Turn {
    per_cpu_second: f64,
    per_second: f64,
    requests: u64,
}

/// Starts all of them and lets them take turns.
pub(crate) fn measure(
    programs: &Programs,
    protocol: Protocol,
    rounds: usize,
    length: Duration,
) -> Result<Figures, Failure> {
    let (_service, [upstream]) = Contestant::peer(Role::Upstream.as_str())?;
    let setups = programs.setups().into_iter();
    let mut proxies: Vec<Proxy> = setups
        .map(|setup| programs.start(setup, upstream))
        .collect::<Result<_, _>>()?;
    let mut turns: Vec<Vec<Turn>> = proxies.iter().map(|_| Vec::new()).collect();
    let mut number = 0;
    for round in 0..=rounds {
        let warm_up = if round == 0 { " (warm-up)" } else { "" };
        eprintln!("throughput, {protocol}: round {round} of {rounds}{warm_up}");
        for position in 0..proxies.len() {
            let index = (position + round) % proxies.len();
            let (Some(proxy), Some(turns)) = (proxies.get_mut(index), turns.get_mut(index)) else {
                continue;
            };
            number += 1;
            let turn = turn(proxy, protocol, length, number)
                .map_err(|error| format!("{}, {protocol}: {error}", proxy.setup.name))?;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    let of_agent = |traced: bool| {
        let name = if traced { AGENT } else { AGENT_UNTRACED };
        let index = proxies.iter().position(|proxy| proxy.setup.name == name)?;
        turns.get(index)
    };
    let figure = |(proxy, own): (&Proxy, &Vec<Turn>)| Figure {
        name: proxy.setup.name,
        requests_per_cpu_second: Spread::of(own.iter().map(|turn| turn.per_cpu_second)),
        agent_times_this: of_agent(proxy.setup.traced).map(|agent| {
            let both = agent.iter().zip(own);
            Spread::of(both.map(|(agent, own)| agent.per_cpu_second / own.per_cpu_second))
        }),
        requests_per_second: Spread::of(own.iter().map(|turn| turn.per_second)),
        requests: own.iter().map(|turn| turn.requests).sum(),
    };
    Ok(Figures {
        protocol,
        contestants: proxies.iter().zip(&turns).map(figure).collect(),
    })
}

fn turn(proxy: &mut Proxy, protocol: Protocol, length: Duration, number: u64) -> Result<Turn, Failure> {
    let before = proxy.process.cpu_seconds()?;
    let answered = saturate(protocol, proxy.address(protocol), length, number)?;
    proxy.answered(answered.requests)?;
    let cpu = proxy.process.cpu_seconds()? - before;
    Ok(Turn {
        per_cpu_second: answered.requests as f64 / cpu,
        per_second: answered.requests as f64 / answered.took.as_secs_f64(),
        requests: answered.requests,
    })
}
