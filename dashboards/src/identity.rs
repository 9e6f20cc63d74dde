//! What a dashboard is called: uid, file name, title.
//!
//! In: a node's id, whatever it contains. Out: names that follow from the id alone, so that links and files stay where
//! they are while everything else changes.
//! Left out on purpose: what is shown; see [`crate::overview`] and [`crate::service`].

use std::fmt::Write as _;

use map::NodeId;
use sha2::{Digest, Sha256};

use crate::text::{clipped, shown};

/// Grafana refuses longer uids (`pkg/services/dashboards/errors.go`).
const UID_PREFIX: &str = "tracemap-";
const UID_HASH_DIGITS: usize = 30;
/// A file name's share of the id; file systems refuse names above 255 bytes.
const MAX_FILE_STEM: usize = 100;
const FILE_HASH_DIGITS: usize = 12;
const TITLE_HASH_DIGITS: usize = 6;

/// Name of the overview's file below the output directory.
pub const OVERVIEW_FILE: &str = "dashboards/overview.json";
/// Name of the file of the dashboard of any edge.
pub const EDGE_FILE: &str = "dashboards/edge.json";
/// Name of the file of tracemap's own dashboard.
pub const ITSELF_FILE: &str = "dashboards/tracemap.json";
/// Name of the file of the dashboard of any service, where services have none of their own.
pub const SERVICES_FILE: &str = "dashboards/services.json";
/// Name of the file of the dashboard of any queue, where queues have none of their own.
pub const QUEUES_FILE: &str = "dashboards/queues.json";

/// The uid of the overview, 39 characters of `[a-z0-9-]`, as all of these are.
pub fn overview_uid() -> String {
    uid("overview", "")
}

/// The uid of a service's dashboard; it depends on the service's id alone.
pub fn service_uid(id: &NodeId) -> String {
    uid("service", id.as_str())
}

/// The uid of a queue's dashboard; it depends on the destination's id alone.
pub fn queue_uid(id: &NodeId) -> String {
    uid("queue", id.as_str())
}

/// The uid of the dashboard of any edge, which takes the variables `client` and `server`.
pub fn edge_uid() -> String {
    uid("any", "edge")
}

/// The uid of tracemap's own dashboard.
pub fn itself_uid() -> String {
    uid("any", "itself")
}

/// The uid of the dashboard of any service, which takes the variable `service`.
pub fn services_uid() -> String {
    uid("any", "service")
}

/// The uid of the dashboard of any queue, which takes the variable `queue`.
pub fn queues_uid() -> String {
    uid("any", "queue")
}

fn uid(kind: &str, entity: &str) -> String {
    format!("{UID_PREFIX}{}", hash(&[kind, entity], UID_HASH_DIGITS))
}

/// The name of a service's file below the output directory.
pub(crate) fn service_file(id: &NodeId) -> String {
    file("service", id.as_str())
}

/// The name of a queue's file below the output directory.
pub(crate) fn queue_file(id: &NodeId) -> String {
    file("queue", id.as_str())
}

/// `--` stands before the hash and nowhere else, so that no id can take the name of another.
fn file(kind: &str, id: &str) -> String {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if !id.is_empty() && id.len() <= MAX_FILE_STEM && id.chars().all(legal) && !id.contains("--") {
        return format!("dashboards/{kind}-{id}.json");
    }
    let stem: String = id
        .chars()
        .map(|c| if legal(c) { c } else { '-' })
        .take(MAX_FILE_STEM)
        .collect();
    let stem = stem
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    format!(
        "dashboards/{kind}-{stem}--{}.json",
        hash(&["file", id], FILE_HASH_DIGITS)
    )
}

/// The name of the v2 form of a file: not below the classic ones, whose directory Grafana's provider walks whole and would
/// find every uid in twice.
pub(crate) fn v2_file(file: &str) -> String {
    file.replacen("dashboards/", "dashboards-v2/", 1)
}

/// The name of the classic form of a file of either form.
pub(crate) fn classic_file(file: &str) -> String {
    file.replacen("dashboards-v2/", "dashboards/", 1)
}

/// The title of a node's dashboard; unlike for unlike ids. `twin` says that another id differs in case only, which
/// Grafana takes for the same title.
pub(crate) fn title(kind: &str, id: &NodeId, twin: bool) -> String {
    let name = plain(id);
    if name == id.as_str() && !twin {
        return format!("{kind} {name}");
    }
    format!(
        "{kind} {name} ({})",
        hash(&["title", id.as_str()], TITLE_HASH_DIGITS)
    )
}

/// What titles of two ids are compared by.
pub(crate) fn folded(id: &NodeId) -> String {
    plain(id).to_lowercase()
}

/// An id as a title shows it. Grafana trims titles, and so do we, or two of them became one.
fn plain(id: &NodeId) -> String {
    clipped(&shown(id.as_str())).trim().to_owned()
}

/// The first hex digits of the SHA-256 of the parts, each ended by a zero byte.
fn hash(parts: &[&str], digits: usize) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part.as_bytes());
        sha.update([0]);
    }
    let mut hex = String::new();
    for byte in sha.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_its_own_file_name_and_any_other_is_told_apart_by_a_hash() {
        assert_eq!(service_file(&"cart".into()), "dashboards/service-cart.json");
        assert_eq!(queue_file(&"orders".into()), "dashboards/queue-orders.json");
        let (upper, dashed) = (service_file(&"Cart".into()), service_file(&"prod/art".into()));
        assert!(upper.starts_with("dashboards/service-art--"), "{upper}");
        assert!(dashed.starts_with("dashboards/service-prod-art--"), "{dashed}");
        assert_ne!(service_file(&"prod/art".into()), service_file(&"prod_art".into()));
    }

    #[test]
    fn no_id_can_take_the_file_name_of_another() {
        let taken = service_file(&"Cart".into());
        let thief = taken
            .trim_start_matches("dashboards/service-")
            .trim_end_matches(".json");
        assert_ne!(service_file(&thief.into()), taken);
    }

    #[test]
    fn uids_are_the_ones_that_people_have_linked_to() {
        assert_eq!(overview_uid(), "tracemap-10647e7ef5442cecddaa417235c777");
        assert_eq!(
            service_uid(&"cart".into()),
            "tracemap-ffbc77771f0e2722237011430e9520"
        );
        let all = [
            overview_uid(),
            edge_uid(),
            itself_uid(),
            services_uid(),
            queues_uid(),
        ];
        assert!(all.iter().all(|uid| uid.len() == 39));
        assert_ne!(queue_uid(&"cart".into()), service_uid(&"cart".into()));
    }

    #[test]
    fn a_title_tells_ids_apart_that_look_alike() {
        let titled = |id: &str, twin| title("Service", &id.into(), twin);
        assert_eq!(titled("cart", false), "Service cart");
        assert_ne!(titled("Cart", true).to_lowercase(), titled("cart", true));
        assert_ne!(titled("cart ", false), titled("cart", false));
        let dollar = titled("a${datasource}", false);
        assert!(!dollar.contains("${"), "{dollar}");
        assert_ne!(dollar, titled("a$\u{2060}{datasource}", false));
        let long = ["x".repeat(4096), "x".repeat(4097)].map(|id| titled(&id, false));
        assert!(
            long.iter().all(|t| t.len() < 150) && long[0] != long[1],
            "{long:?}"
        );
    }
}
