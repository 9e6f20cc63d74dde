//! The text of a notification, for integrations that take text.
//!
//! In: nothing; the alerts' own labels and annotations say it all. Out: a file of templates, the same whatever the map.
//! Left out on purpose: the fields of webhooks, which carry the same labels and annotations as data.
//! Source: Alertmanager documentation, "Notification template reference"; kept to what version 0.25 knows.

/// Where the templates lie, below the output directory.
pub const TEMPLATES_PATH: &str = "alerts/templates/tracemap.tmpl";
/// The same file, as `alertmanager.yaml` beside its directory names it.
pub(crate) const FROM_CONFIG: &str = "templates/tracemap.tmpl";

/// One line: what happened.
pub(crate) const TITLE: &str = "tracemap.title";
/// What, since when, how much, who is affected, and where to look.
pub(crate) const TEXT: &str = "tracemap.text";

/// The file.
pub(crate) const FILE: &str = include_str!("templates/tracemap.tmpl");

/// The use of a template as the value of a field.
pub(crate) fn call(name: &str) -> String {
    format!("{{{{ template \"{name}\" . }}}}")
}
