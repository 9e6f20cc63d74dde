//! What people state that cannot hold together.
//!
//! In: the map with what is stated of its nodes. Out: one message for each contradiction.
//! Left out on purpose: what is merely tight; the reasons in `resilience.yaml` say that.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Finding, HumanDuration};
use map::services::settings_of;
use map::{Map, NodeId};

use super::shape::Shape;
use super::{ResilienceSettings, mesh, objective, observed};

/// More pins than this are counted and not named.
const MOST_NAMED: usize = 4;

/// Pinned timeouts that no caller can wait for, and hosts that are none. Keys are those of the section
/// `services`.
///
/// Bottom up: a service waits at least for the pins of its callees, or for what those wait for themselves.
/// Where that is more than its own pin or objective there is one message, and its callers are judged as if it
/// kept its limit.
pub fn contradictions(map: &Map, settings: &ResilienceSettings) -> Vec<Finding> {
    if !settings.enabled {
        return Vec::new();
    }
    let mut found = impossible(map);
    let shape = Shape::new(map);
    let mut waits: Vec<Waits> = vec![Waits::default(); shape.nodes.len()];
    for &node in shape.order.iter().rev() {
        let id = shape.nodes[node];
        let mut here = below(map, &shape, node, &waits, settings);
        for limit in limits(map, &shape, node) {
            if here.time > limit.most {
                found.extend(finding(map, &here, &limit));
                here.time = limit.most;
            }
        }
        if let Some(pin) = pin(map, id) {
            here = Waits {
                time: pin.get(),
                pins: BTreeMap::from([(id, pin)]),
            };
        }
        waits[node] = here;
    }
    found
}

/// What a service waits for at least, and which pins say so.
#[derive(Clone, Default)]
struct Waits<'a> {
    time: Duration,
    pins: BTreeMap<&'a NodeId, HumanDuration>,
}

fn below<'a>(
    map: &'a Map,
    shape: &Shape<'a>,
    node: usize,
    waits: &[Waits<'a>],
    settings: &ResilienceSettings,
) -> Waits<'a> {
    let mut callees: Vec<usize> = shape.out[node]
        .iter()
        .map(|&call| &shape.calls[call])
        .filter(|call| !call.closes_cycle && !waits[call.server].pins.is_empty())
        .map(|call| call.server)
        .collect();
    callees.sort_unstable();
    callees.dedup();
    let mut all = Waits::default();
    let (mut sum, mut longest) = (Duration::ZERO, Duration::ZERO);
    for callee in callees {
        let callee = &waits[callee];
        sum = sum.saturating_add(callee.time);
        longest = longest.max(callee.time);
        all.pins.extend(&callee.pins);
    }
    let overlap = observed::service(map, shape, node, settings, None).overlap;
    all.time = sum.mul_f64(overlap.unwrap_or(1.0)).max(longest);
    all
}

/// The most time that a service has.
struct Limit {
    most: Duration,
    because: String,
}

fn limits(map: &Map, shape: &Shape<'_>, node: usize) -> impl Iterator<Item = Limit> {
    let id = shape.nodes[node];
    let promised = objective(map, shape, node).map(|most| Limit {
        most: most.get(),
        because: format!("the longest objective of `{id}` is {most}"),
    });
    let pinned = pin(map, id).map(|most| Limit {
        most: most.get(),
        because: format!("callers wait for `{id}` only {most}"),
    });
    // A service does not contradict its own pin.
    [promised, pinned].into_iter().flatten()
}

fn finding(map: &Map, waits: &Waits<'_>, limit: &Limit) -> Option<Finding> {
    let (first, _) = waits.pins.first_key_value()?;
    let is_by_id = map.services.contains_key(first.as_str());
    let name = if is_by_id { first.as_str() } else { first.name() };
    let pins = waits.pins.iter().take(MOST_NAMED);
    let pins: Vec<String> = pins.map(|(id, pin)| format!("of `{id}` is {pin}")).collect();
    let more = waits.pins.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let most = HumanDuration(limit.most);
    let (together, hint) = if waits.pins.len() == 1 {
        (String::new(), format!("write at most {most}"))
    } else {
        let together = HumanDuration::from_millis(waits.time.as_millis() as u64);
        (
            format!(", which is {together} in one request"),
            format!("they must fit into {most} together"),
        )
    };
    Some(Finding {
        path: format!("services.{name}.resilience.timeout"),
        message: format!(
            "`timeout` {}{more}{together}, but {}",
            pins.join(" and "),
            limit.because
        ),
        hint: Some(hint),
    })
}

/// Pins of no time, and hosts that are no names.
fn impossible(map: &Map) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, stated) in &map.services {
        let Some(stated) = &stated.resilience else {
            continue;
        };
        if stated
            .timeout
            .is_some_and(|timeout| timeout.get().as_millis() == 0)
        {
            found.push(Finding {
                path: format!("services.{name}.resilience.timeout"),
                message: format!("`timeout` of `{name}` is below a millisecond"),
                hint: Some("write a duration such as `500ms`, or take it out".to_owned()),
            });
        }
        if let Some(host) = stated.host.as_deref().filter(|host| !mesh::is_host(host)) {
            found.push(Finding {
                path: format!("services.{name}.resilience.host"),
                message: format!("`host` of `{name}` is `{host}`, which is no host"),
                hint: Some("write a name such as `cart.shop.svc.cluster.local`".to_owned()),
            });
        }
    }
    found
}

fn pin(map: &Map, id: &NodeId) -> Option<HumanDuration> {
    settings_of(&map.services, id)?.resilience.as_ref()?.timeout
}
