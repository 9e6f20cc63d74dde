//! What a dashboard is called: uid, file name, title.
//!
//! In: a node's id, whatever it contains. Out: names that follow from the id alone, so that links and files stay where
//! they are while everything else changes.
//! Left out on purpose: what is shown; see [`crate::overview`] and [`crate::service`].

use std::fmt::Write as _;

use map::NodeId;
use sha2::{Digest, Sha256};

/// Grafana refuses longer uids (`pkg/services/dashboards/errors.go`).
const UID_PREFIX: &str = "tracemap-";
const UID_HASH_DIGITS: usize = 30;
/// A file name's share of the id; file systems refuse names above 255 bytes.
const MAX_FILE_STEM: usize = 100;
const FILE_HASH_DIGITS: usize = 12;
const TITLE_HASH_DIGITS: usize = 6;

/// The uid of the overview, 39 characters of `[a-z0-9-]`.
pub fn overview_uid() -> String {
    uid("overview", "")
}

/// The uid of a service's dashboard, 39 characters of `[a-z0-9-]`; it depends on the service's id alone.
pub fn service_uid(id: &NodeId) -> String {
    uid("service", id.as_str())
}

fn uid(kind: &str, entity: &str) -> String {
    format!("{UID_PREFIX}{}", hash(&[kind, entity], UID_HASH_DIGITS))
}

/// The name of a service's file below the output directory.
///
/// `--` stands before the hash and nowhere else, so that no id can take the name of another.
pub(crate) fn service_file(id: &NodeId) -> String {
    let id = id.as_str();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if !id.is_empty() && id.len() <= MAX_FILE_STEM && id.chars().all(legal) && !id.contains("--") {
        return format!("dashboards/service-{id}.json");
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
        "dashboards/service-{stem}--{}.json",
        hash(&["file", id], FILE_HASH_DIGITS)
    )
}

/// The title of a service's dashboard; unlike for unlike ids.
pub(crate) fn service_title(id: &NodeId) -> String {
    let shown = shown(id.as_str());
    if shown == id.as_str() {
        return format!("Service {shown}");
    }
    format!(
        "Service {shown} ({})",
        hash(&["title", id.as_str()], TITLE_HASH_DIGITS)
    )
}

/// Foreign text as it may stand in titles, descriptions and links.
///
/// Grafana replaces `$name`, `${name}` and `[[name]]` there and knows no escape: a word joiner after the sign stops
/// that and is not seen. Control characters become spaces.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '$' => shown.push_str("$\u{2060}"),
            '[' => shown.push_str("[\u{2060}"),
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
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
    }

    #[test]
    fn a_dollar_in_a_name_is_not_read_as_a_variable() {
        assert_eq!(service_title(&"cart".into()), "Service cart");
        let title = service_title(&"a${datasource}".into());
        assert!(!title.contains("${"), "{title}");
        assert_ne!(title, service_title(&"a$\u{2060}{datasource}".into()));
    }
}
