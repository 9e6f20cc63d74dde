//! What people state that cannot hold together.
//!
//! In: the map with what is stated of its nodes. Out: one message for each contradiction.
//! Left out on purpose: what is merely tight; the reasons in `resilience.yaml` say that.

use config::{Finding, HumanDuration};
use map::services::settings_of;
use map::{Map, NodeId};

use super::shape::Shape;
use super::{ResilienceSettings, mesh, objective, observed};

/// Pinned timeouts that no caller can wait for, and hosts that are none. Keys are those of the section `services`.
pub fn contradictions(map: &Map, settings: &ResilienceSettings) -> Vec<Finding> {
    if !settings.enabled {
        return Vec::new();
    }
    let shape = Shape::new(map);
    let limits: Vec<Option<Limit>> = shape.nodes.iter().map(|id| limit(map, id)).collect();
    let tightest = tightest_above(&shape, &limits);
    let mut found = impossible(map);
    for (node, id) in shape.nodes.iter().enumerate() {
        let Some(pin) = pin(map, id).filter(|pin| !pin.get().is_zero()) else {
            continue;
        };
        let above = tightest[node].as_ref().filter(|above| above.most < pin);
        if let Some(above) = above {
            found.push(finding(
                map,
                id,
                format!(
                    "`timeout` of `{id}` is {pin}, but {}, which waits for it",
                    above.because
                ),
                format!("write at most {}", above.most),
            ));
        }
    }
    for (node, id) in shape.nodes.iter().enumerate() {
        found.extend(sum(map, &shape, node, id, limits[node].as_ref(), settings));
    }
    found
}

/// The most time that a service has.
#[derive(Clone)]
struct Limit {
    most: HumanDuration,
    because: String,
}

fn limit(map: &Map, id: &NodeId) -> Option<Limit> {
    let promised = objective(map, id).map(|most| Limit {
        most,
        because: format!("the longest objective of `{id}` is {most}"),
    });
    let pinned = pin(map, id).map(|most| Limit {
        most,
        because: format!("callers wait for `{id}` only {most}"),
    });
    [promised, pinned]
        .into_iter()
        .flatten()
        .min_by_key(|limit| limit.most)
}

/// For each node the least limit of those who wait for it.
fn tightest_above(shape: &Shape<'_>, limits: &[Option<Limit>]) -> Vec<Option<Limit>> {
    let mut above: Vec<Option<Limit>> = vec![None; shape.nodes.len()];
    for &node in &shape.order {
        let own = limits[node].iter().chain(&above[node]);
        let Some(least) = own.min_by_key(|limit| limit.most).cloned() else {
            continue;
        };
        for &call in &shape.out[node] {
            let call = &shape.calls[call];
            let held = &mut above[call.server];
            let is_less = held.as_ref().is_none_or(|held| least.most < held.most);
            if is_less && !call.closes_cycle {
                *held = Some(least.clone());
            }
        }
    }
    above
}

/// Pins that each fit and together do not.
fn sum(
    map: &Map,
    shape: &Shape<'_>,
    node: usize,
    id: &NodeId,
    limit: Option<&Limit>,
    settings: &ResilienceSettings,
) -> Option<Finding> {
    let limit = limit?;
    let mut callees: Vec<&NodeId> = shape.out[node]
        .iter()
        .map(|&call| shape.nodes[shape.calls[call].server])
        .collect();
    callees.dedup();
    let pins: Vec<(&NodeId, HumanDuration)> = callees
        .into_iter()
        .filter_map(|callee| Some((callee, pin(map, callee)?)))
        .collect();
    let overlap = observed::service(map, id, settings, None).overlap.unwrap_or(1.0);
    let total: std::time::Duration = pins.iter().map(|(_, pin)| pin.get()).sum();
    let (waited, most) = (total.as_secs_f64() * overlap, limit.most.get().as_secs_f64());
    if pins.len() < 2 || waited <= most || pins.iter().any(|(_, pin)| *pin > limit.most) {
        return None;
    }
    let names: Vec<String> = pins
        .iter()
        .map(|(callee, pin)| format!("`{callee}` ({pin})"))
        .collect();
    let (first, _) = pins.first()?;
    Some(finding(
        map,
        first,
        format!(
            "`{id}` calls {}, which it may wait for {}, but {}",
            names.join(" and "),
            HumanDuration(total),
            limit.because
        ),
        "make one of them shorter, or the limit longer".to_owned(),
    ))
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

fn finding(map: &Map, id: &NodeId, message: String, hint: String) -> Finding {
    let is_by_id = map.services.contains_key(id.as_str());
    let name = if is_by_id { id.as_str() } else { id.name() };
    Finding {
        path: format!("services.{name}.resilience.timeout"),
        message,
        hint: Some(hint),
    }
}
