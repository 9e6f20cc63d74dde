//! The ways of generated dashboards into Grafana, and whether they still show anything there.
//!
//! In: dashboard files by name, as `dashboards` generates them, and [`GrafanaSettings`]. Out: files for provisioning, for
//! the sidecar's `ConfigMap`s and for the operator ([`files`]); a folder of a running Grafana in step with them
//! ([`publish`]); the panels for which a Prometheus has had no data for days ([`rot`]).
//! Left out on purpose: what dashboards show; writing files; the clock, which is the caller's. Dashboards in the v2
//! schema go no way of these: neither sidecar nor operator takes them, and Grafana converts the classic ones itself.

mod api;
mod client;
mod dashboard;
mod difference;
mod gone;
mod kubernetes;
mod provisioning;
pub mod publish;
mod retry;
pub mod rot;
mod settings;

use std::collections::BTreeMap;

pub use crate::client::{Client, ClientSettings, HttpError, Token};
pub use crate::dashboard::{Dashboard, NoDashboard};
pub use crate::gone::{gone_since, keep_gone};
pub use crate::kubernetes::{CONFIG_MAPS_FILE, OPERATOR_FILE, TooLarge};
pub use crate::provisioning::{DATASOURCES_FILE, PROVIDER_FILE};
pub use crate::settings::{GrafanaSettings, OperatorSettings, SidecarSettings};

/// Files by path below the output directory. Separators are `/`.
pub type Files = BTreeMap<String, String>;

/// The files that bring the dashboards among `generated` into Grafana: provisioning always, Kubernetes' where it is set.
///
/// `web_url` is the collector's address as Grafana reaches it, unless the settings name another. Dashboards that do not
/// fit into a Kubernetes object are not in the files, but in the list.
pub fn files(generated: &Files, settings: &GrafanaSettings, web_url: &str) -> (Files, Vec<TooLarge>) {
    let mut files = provisioning::files(settings, web_url);
    let mut too_large = Vec::new();
    let dashboards: Vec<Dashboard> = dashboard::classic(generated).filter_map(Result::ok).collect();
    if let Some(sidecar) = &settings.sidecar {
        let (text, left_out) = kubernetes::config_maps(&dashboards, &settings.folder, sidecar);
        files.insert(CONFIG_MAPS_FILE.to_owned(), text);
        too_large.extend(left_out);
    }
    if let Some(operator) = &settings.operator {
        let (text, left_out) = kubernetes::resources(&dashboards, &settings.folder, operator);
        files.insert(OPERATOR_FILE.to_owned(), text);
        too_large.extend(left_out);
    }
    (files, too_large)
}
