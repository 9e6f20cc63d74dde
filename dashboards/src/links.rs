//! From one dashboard to the next, and to the collector's page. Time range and variables go along.
//!
//! In: the map and settings. Out: links at the top of a dashboard, and links of rows and nodes.
//! Left out on purpose: links to single traces; exemplars carry those, by way of the data source.
//!
//! A query cannot compute a uid. So each table and the node graph have a hidden field [`FIELD`] that holds a node's id
//! and shows the uid of its dashboard, and links take what it shows.

use std::collections::BTreeMap;

use map::{NodeId, NodeKind};

use crate::identity::{overview_uid, service_uid, shown};
use crate::model::{DashboardLink, DataLink, HideFrom, MappedTo, Mapping, Override, Property};
use crate::settings::DashboardSettings;

/// The hidden field, and the label that queries give it.
pub(crate) const FIELD: &str = "dashboard";

/// The tag of dashboards of services, beside the tag of all.
const SERVICE_TAG: &str = "service";

/// Tags of the overview.
pub(crate) fn overview_tags(settings: &DashboardSettings) -> Vec<String> {
    vec![settings.tag.clone(), "overview".to_owned()]
}

/// Tags of a service's dashboard.
pub(crate) fn service_tags(settings: &DashboardSettings) -> Vec<String> {
    vec![settings.tag.clone(), SERVICE_TAG.to_owned()]
}

/// A menu of all services' dashboards.
pub(crate) fn to_services(settings: &DashboardSettings) -> DashboardLink {
    DashboardLink {
        kind: "dashboards",
        tags: service_tags(settings),
        as_dropdown: true,
        ..link("Services", "Dashboard of a service", String::new())
    }
}

/// Back to the overview.
pub(crate) fn to_overview() -> DashboardLink {
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
pub(crate) fn of_node(settings: &DashboardSettings, id_field: &str) -> Property {
    let dashboard = format!("/d/${{__data.fields.{FIELD}.text}}?${{__url_time_range}}&${{__all_variables}}");
    let node = format!("${{__data.fields.{id_field}:percentencode}}");
    Property::Links(vec![
        DataLink {
            title: "Dashboard of the service",
            url: dashboard,
            target_blank: false,
        },
        DataLink {
            title: "On the map",
            url: format!("{}/?node={node}", settings.web()),
            target_blank: true,
        },
    ])
}

/// Makes [`FIELD`] show the uid of each service's dashboard, and the overview's for nodes that have none.
///
/// It is hidden in tables by two properties, because Grafana renamed the one that does it.
pub(crate) fn hidden_field<'a>(nodes: impl Iterator<Item = (&'a NodeId, NodeKind)>, table: bool) -> Override {
    let services = nodes.filter(|(_, kind)| *kind == NodeKind::Service);
    let uids: BTreeMap<String, MappedTo> = services
        .enumerate()
        .map(|(index, (id, _))| {
            (
                id.to_string(),
                MappedTo {
                    text: service_uid(id),
                    index,
                },
            )
        })
        .collect();
    let fallback = MappedTo {
        text: overview_uid(),
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
