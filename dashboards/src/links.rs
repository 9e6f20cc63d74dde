//! From one dashboard to the next, and to the collector's page. Time range and data sources go along.
//!
//! In: the topology. Out: links at the top of a dashboard, and links of rows and nodes.
//! Left out on purpose: links to single traces; exemplars and tables of traces carry those, by way of the data source.
//!
//! A query cannot compute a uid. So each table and the node graph have a hidden field [`FIELD`] that holds a node's id
//! and shows the uid of its dashboard, and links take what it shows.

use std::collections::BTreeMap;

use map::{NodeId, NodeKind};

use crate::identity::{edge_uid, itself_uid, overview_uid, queue_uid, queues_uid, service_uid, services_uid};
use crate::model::{DashboardLink, DataLink, HideFrom, MappedTo, Mapping, Override, Property};
use crate::settings::DashboardSettings;
use crate::text::shown;
use crate::topology::{Presence, Topology};

/// The hidden field, and the label that queries give it.
pub(crate) const FIELD: &str = "dashboard";

/// The variable of the dashboard of any service, and of any queue.
pub(crate) const SERVICE: &str = "service";
pub(crate) const QUEUE: &str = "queue";
/// The variables of the dashboard of any edge.
pub(crate) const CLIENT: &str = "client";
pub(crate) const SERVER: &str = "server";

/// The tags of a dashboard: that of all, and that of its kind.
pub(crate) fn tags(settings: &DashboardSettings, kind: &str) -> Vec<String> {
    vec![settings.tag.clone(), kind.to_owned()]
}

/// The way to the other dashboards, for every dashboard but the overview.
pub(crate) fn away(topology: &Topology<'_>) -> Vec<DashboardLink> {
    let mut links = vec![to_overview()];
    links.extend(menus(topology));
    links
}

/// The way to dashboards of every kind, for the overview.
pub(crate) fn menus(topology: &Topology<'_>) -> Vec<DashboardLink> {
    let settings = topology.settings;
    let mut links = vec![
        menu(settings, "Services", "Dashboard of a service", SERVICE),
        menu(settings, "Queues", "Dashboard of a queue", QUEUE),
    ];
    links.push(link(
        "Any edge",
        "Caller against callee: pick both",
        format!("/d/{}", edge_uid()),
    ));
    links.push(link(
        "tracemap",
        "Collector and agents: is all of it seen",
        format!("/d/{}", itself_uid()),
    ));
    links
}

fn menu(settings: &DashboardSettings, title: &str, tooltip: &str, tag: &str) -> DashboardLink {
    DashboardLink {
        kind: "dashboards",
        tags: tags(settings, tag),
        as_dropdown: true,
        ..link(title, tooltip, String::new())
    }
}

/// Back to the overview.
fn to_overview() -> DashboardLink {
    link(
        "Overview",
        "Dashboard of the whole system",
        format!("/d/{}", overview_uid()),
    )
}

/// The map on the collector's page, with a node selected where one is given.
pub(crate) fn to_map(settings: &DashboardSettings, node: Option<&NodeId>) -> DashboardLink {
    let query = node
        .map(|id| format!("?node={}", percent_encoded(id.as_str())))
        .unwrap_or_default();
    let url = format!("{}/{query}", settings.web());
    external("Map", "The dependency map, its evidence and example traces", url)
}

/// The team's own runbook.
pub(crate) fn to_runbook(url: &str) -> DashboardLink {
    external("Runbook", "What the team wrote for this service", url.to_owned())
}

fn external(title: &str, tooltip: &str, url: String) -> DashboardLink {
    DashboardLink {
        icon: "external link",
        target_blank: true,
        include_vars: false,
        keep_time: false,
        ..link(title, tooltip, url)
    }
}

fn link(title: &str, tooltip: &str, url: String) -> DashboardLink {
    DashboardLink {
        title: title.to_owned(),
        kind: "link",
        icon: "dashboard",
        tooltip: shown(tooltip),
        url,
        tags: Vec::new(),
        as_dropdown: false,
        target_blank: false,
        include_vars: true,
        keep_time: true,
    }
}

/// Links of a field whose rows are nodes: to the dashboard that [`FIELD`] shows, and to the node on the map, whose id
/// the field `id_field` holds.
pub(crate) fn of_node(topology: &Topology<'_>, id_field: &str) -> Property {
    Property::Links(node_links(topology, id_field))
}

/// Links of a field whose rows are edges: also to the dashboard of the edge, whose ends the fields `client` and `server`
/// hold, or one of them a dashboard's own node.
pub(crate) fn of_edge(topology: &Topology<'_>, id_field: &str, client: &str, server: &str) -> Property {
    let mut links = vec![DataLink {
        title: "This call: caller against callee",
        url: format!(
            "/d/{}?{}&var-{CLIENT}={client}&var-{SERVER}={server}",
            edge_uid(),
            kept(topology)
        ),
        target_blank: false,
    }];
    links.extend(node_links(topology, id_field));
    Property::Links(links)
}

/// What a field's value is in an address.
pub(crate) fn value_of(field: &str) -> String {
    format!("${{__data.fields.{field}:percentencode}}")
}

/// What a node's id is in an address.
pub(crate) fn value(id: &NodeId) -> String {
    percent_encoded(id.as_str())
}

/// What the variable of this name holds, in an address.
pub(crate) fn picked(variable: &str) -> String {
    format!("${{{variable}:percentencode}}")
}

fn node_links(topology: &Topology<'_>, id_field: &str) -> Vec<DataLink> {
    let node = value_of(id_field);
    // A template serves any node. The variable of the other template is not asked for and does no harm.
    let which = if topology.templated {
        format!("&var-{SERVICE}={node}&var-{QUEUE}={node}")
    } else {
        String::new()
    };
    vec![
        DataLink {
            title: "Dashboard of the node",
            url: format!("/d/${{__data.fields.{FIELD}.text}}?{}{which}", kept(topology)),
            target_blank: false,
        },
        DataLink {
            title: "On the map",
            url: format!("{}/?node={node}", topology.settings.web()),
            target_blank: true,
        },
    ]
}

/// What goes along: the range, and the data sources. Not all variables, or an edge's dashboard that leads to another edge
/// would name two callers.
fn kept(topology: &Topology<'_>) -> &'static str {
    if topology.settings.traces {
        "${__url_time_range}&${prometheus_datasource:queryparam}&${tempo_datasource:queryparam}"
    } else {
        "${__url_time_range}&${prometheus_datasource:queryparam}"
    }
}

/// Makes [`FIELD`] show the uid of each node's dashboard. Nodes that have none lead to the overview, or to the dashboard
/// of any service, which knows their callers.
///
/// It is hidden in tables by two properties, because Grafana renamed the one that does it.
pub(crate) fn hidden_field<'a>(
    topology: &Topology<'_>,
    nodes: impl Iterator<Item = &'a NodeId>,
    table: bool,
) -> Override {
    let (uids, others) = if topology.templated {
        (queue_templates(topology, nodes), services_uid())
    } else {
        (own_uids(topology, nodes), overview_uid())
    };
    let fallback = MappedTo {
        text: others,
        index: uids.len(),
    };
    let mut mappings = vec![Mapping::Regex {
        pattern: r"/^[\s\S]*$/",
        result: fallback,
    }];
    if !uids.is_empty() {
        mappings.insert(0, Mapping::Value(uids));
    }
    let mut properties = vec![Property::Mappings(mappings)];
    if table {
        properties.push(Property::Hidden(true));
        properties.push(Property::HideFrom(HideFrom {
            tooltip: true,
            legend: true,
            viz: true,
        }));
    }
    Override::by_name(FIELD, properties)
}

fn own_uids<'a>(
    topology: &Topology<'_>,
    nodes: impl Iterator<Item = &'a NodeId>,
) -> BTreeMap<String, MappedTo> {
    let with_dashboard = nodes.filter(|id| topology.presence(id) != Presence::Retired);
    let uids = with_dashboard.filter_map(|id| match topology.map.kind(id) {
        NodeKind::Service => Some((id, service_uid(id))),
        NodeKind::Destination => Some((id, queue_uid(id))),
        _ => None,
    });
    numbered(uids)
}

/// Queues by name, so many as there would be files; beyond that they are shown as any node is.
fn queue_templates<'a>(
    topology: &Topology<'_>,
    nodes: impl Iterator<Item = &'a NodeId>,
) -> BTreeMap<String, MappedTo> {
    let queues = nodes.filter(|id| topology.map.kind(id) == NodeKind::Destination);
    let bound = topology.settings.max_per_entity as usize;
    numbered(queues.take(bound).map(|id| (id, queues_uid())))
}

fn numbered<'a>(uids: impl Iterator<Item = (&'a NodeId, String)>) -> BTreeMap<String, MappedTo> {
    let sorted: BTreeMap<&NodeId, String> = uids.collect();
    let places = sorted.into_iter().enumerate();
    places
        .map(|(index, (id, text))| (id.to_string(), MappedTo { text, index }))
        .collect()
}

/// Source: RFC 3986 §2.3, unreserved characters.
fn percent_encoded(text: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let encoded = |b: u8| {
        if unreserved(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_an_address_keeps_no_sign_with_a_meaning() {
        assert_eq!(percent_encoded("prod/cart a&b#ü"), "prod%2Fcart%20a%26b%23%C3%BC");
        let settings = DashboardSettings {
            web_url: "https://map.example/".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            to_map(&settings, Some(&"a/b".into())).url,
            "https://map.example/?node=a%2Fb"
        );
        assert_eq!(to_map(&settings, None).url, "https://map.example/");
    }
}
