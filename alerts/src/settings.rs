//! Settings of the generated alerts, as the operator writes them.
//!
//! In: the `alerts` part of the configuration. Out: [`AlertSettings`], and what is wrong with it.
//! Left out on purpose: owners, tiers and runbooks of services; people state those in `services:`.

use std::collections::BTreeMap;

use config::{Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::alertmanager::TicketHours;
pub use crate::rules::fixed::settings::StaticSettings;

/// When an alert fires, how long it holds, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// Where the rules find what changes. Default `live`.
    pub profile: Profile,
    /// Which series the profile `static` reads, and how much of their past.
    #[serde(rename = "static")]
    pub fixed: StaticSettings,
    /// Over how much time requests are judged together. Default `5m`. A longer window sees rarer requests and smaller
    /// shifts, fires later and ends later. At least four scrape intervals.
    pub window: HumanDuration,
    /// How often Prometheus evaluates the rules. Default `30s`. Shorter fires a little sooner and costs in proportion.
    pub evaluation_interval: HumanDuration,
    /// How long a degradation must last before it pages. Default `30s`, two evaluations; `0s` pages at the first. Bursts
    /// are kept out by the latest fifth of `window`, which must be slow as well.
    pub page_for: HumanDuration,
    /// How long a page or ticket keeps firing after its cause was last seen. Default `5m`. It joins the parts of a
    /// fault that comes and goes; the resolved notice comes later by as much.
    pub keep_firing_for: HumanDuration,
    /// How long a degradation that no entry point feels must last before it becomes a ticket. Default `15m`.
    pub ticket_for: HumanDuration,
    /// How long an entry point must be slow without a culprit before that becomes a ticket. Default `10m`.
    pub unexplained_for: HumanDuration,
    /// How long a busy node or edge may stay unjudged before that is noted. Default `1h`, besides the hour of traffic
    /// that makes it busy.
    pub baseline_for: HumanDuration,
    /// Evidence above which a node is charged as a culprit, its own time and its edges together, in nats. Default 20:
    /// three slow requests of three are 9 and too little, eleven of eleven are 33 and enough. Requests of one user are
    /// not independent, so little below 20 is noise.
    pub evidence_threshold: f64,
    /// Evidence above which an edge or a node's own time adds to that sum, and above which an entry point counts as slow
    /// beside a culprit, in nats. Default 7: one in a thousand by chance, which alone says nothing.
    pub suspect_threshold: f64,
    /// The least slow share that counts as degraded, between 0 and 1. Default 0.1. Much traffic gives evidence for
    /// shifts that nobody feels; this keeps them quiet.
    pub min_slow_share: f64,
    /// The least share of requests that must fail, however strong the evidence. Default 0.02. What failed before is expected to, so
    /// it is about new failures.
    pub min_failed_share: f64,
    /// How far the slow share of an entry point must exceed the expected share, as a difference of shares. Default
    /// 0.01. Lower than `min_slow_share`, because an entry point serves many operations: when the rare one that uses
    /// the culprit is slow, only its few per cent of the requests are.
    pub entry_shift: f64,
    /// What share of the waiting of its users a culprit's excess must be for a page where no entry point's slow share has risen:
    /// seconds on the critical path beyond the usual, against all that users wait. Default 0.02. Below it there is a
    /// ticket.
    pub min_user_delay: f64,
    /// How many faults the generated rule test plants at most. Default 40. Those that most services wait for come
    /// first; the test file says which were left out. Each takes `promtool test rules` up to about a second.
    pub max_test_faults: usize,
    /// The label that tells clusters apart, from `external_labels` of Prometheus. Default `cluster`. Alerts without
    /// it are grouped together.
    pub cluster_label: String,
    /// Where the collector's page is reached by people. Default `http://127.0.0.1:7070`.
    pub web_url: String,
    /// Where Grafana is reached by people. Default: none, and alerts carry no `dashboard_url`.
    pub grafana_url: Option<String>,
    /// Under which address the directory `alerts/runbooks` is published. Default: `/runbooks` of `web_url`.
    pub runbooks_url: Option<String>,
    /// How Alertmanager groups and repeats notifications.
    pub notify: NotifySettings,
    /// Where notifications go.
    pub receivers: ReceiverSettings,
}

/// Where the rules find what changes: topology, owners, baselines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// In the collector's series: the same rules whatever the map, which judge each request against its own operation.
    #[default]
    Live,
    /// In the rules themselves, for a Prometheus that holds the series of a service graph and none of the collector's. It
    /// judges means against their own past, and says at the head of the rule file what it cannot.
    Static,
}

/// How Alertmanager groups and repeats notifications. Source: Alertmanager documentation, "Route".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    /// How long a new group waits for more alerts before it is sent. Default `10s`: the page and its symptoms come
    /// from one evaluation, so there is little to wait for.
    pub group_wait: HumanDuration,
    /// How long until a changed group is sent again. Default `5m`.
    pub group_interval: HumanDuration,
    /// How long until an unchanged group is sent again. Default `4h`.
    pub repeat_interval: HumanDuration,
    /// When tickets are delivered. Default: always. Outside these hours they wait, and those that are over by then are
    /// never sent. Pages and notes know no hours.
    pub ticket_hours: Option<TicketHours>,
    /// Writes the same rules and routes as resources of the Prometheus operator. Default: none are written.
    pub kubernetes: Option<KubernetesSettings>,
}

/// Where the resources of the Prometheus operator belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// The namespace of both objects. Default `monitoring`. It is a label of the alerts as well, because the operator
    /// routes to an `AlertmanagerConfig` only alerts of its own namespace.
    pub namespace: String,
    /// Labels of both objects besides `app.kubernetes.io/managed-by`, for example `release: kube-prometheus-stack`.
    /// Default: none. The `ruleSelector` of the Prometheus and the `alertmanagerConfigSelector` of the Alertmanager must
    /// match them.
    pub labels: BTreeMap<String, String>,
}

/// Where notifications go: addresses that take Alertmanager's webhook format, and channels of Slack.
///
/// Addresses stand in the generated file as they are written here: an address that holds a token makes that file a
/// secret. Let such an integration be reached through a relay of your own instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiverSettings {
    /// Who is woken. Default: none; the receiver exists and a comment says what to fill in.
    pub page: Option<String>,
    /// Who reads tickets in working hours. Default: none.
    pub ticket: Option<String>,
    /// Who reads notes that ask for nothing. Default: none.
    pub info: Option<String>,
    /// Who is woken for a team's nodes, by team. Default: none; pages of a team without an address go to `page`. Where
    /// there is no `page` either, a team of the map without an address is an error, unless nobody has one.
    pub teams: BTreeMap<String, String>,
    /// Channels of Slack, besides the addresses or instead of them; their text is that of the generated templates.
    /// Default: none.
    pub slack: Option<SlackSettings>,
}

/// Channels of Slack, or of what takes its format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// A file on Alertmanager's host that holds the address to post to, which is a secret. Not used in resources of
    /// Kubernetes: those post to the global `slackApiUrl` of Alertmanager.
    pub api_url_file: String,
    /// Who is woken, as a channel such as `#oncall`. Default: none.
    #[serde(default)]
    pub page: Option<String>,
    /// Who reads tickets in working hours. Default: none.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Who reads notes that ask for nothing. Default: none.
    #[serde(default)]
    pub info: Option<String>,
    /// Who is woken for a team's nodes, by team. Default: none; pages of a team without a channel go to that of `page`.
    #[serde(default)]
    pub teams: BTreeMap<String, String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            fixed: StaticSettings::default(),
            window: HumanDuration::from_secs(300),
            evaluation_interval: HumanDuration::from_secs(30),
            page_for: HumanDuration::from_secs(30),
            keep_firing_for: HumanDuration::from_secs(300),
            ticket_for: HumanDuration::from_secs(900),
            unexplained_for: HumanDuration::from_secs(600),
            baseline_for: HumanDuration::from_secs(3600),
            evidence_threshold: map::evidence::DEFAULT_THRESHOLD_NATS,
            min_slow_share: map::evidence::DEFAULT_MIN_SHARE,
            min_failed_share: 0.02,
            suspect_threshold: 7.0,
            entry_shift: 0.01,
            min_user_delay: 0.02,
            max_test_faults: 40,
            cluster_label: "cluster".to_owned(),
            web_url: "http://127.0.0.1:7070".to_owned(),
            grafana_url: None,
            runbooks_url: None,
            notify: NotifySettings::default(),
            receivers: ReceiverSettings::default(),
        }
    }
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            group_wait: HumanDuration::from_secs(10),
            group_interval: HumanDuration::from_secs(300),
            repeat_interval: HumanDuration::from_secs(4 * 3600),
            ticket_hours: None,
            kubernetes: None,
        }
    }
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            namespace: "monitoring".to_owned(),
            labels: BTreeMap::new(),
        }
    }
}

impl AlertSettings {
    /// How much of the latest past can say that a degradation is over: a fifth of the window, and two evaluations, within
    /// which there are two scrapes.
    pub(crate) fn recent(&self) -> HumanDuration {
        let two = self.evaluation_interval.get().saturating_mul(2);
        HumanDuration((self.window.get() / 5).max(two))
    }

    /// Everything that the types allow and Prometheus or good sense do not. `path` is the key of these settings.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |key: &str, message: String, hint: &str| {
            found.push(Finding {
                path: format!("{path}.{key}"),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        for (key, share) in [
            ("min_slow_share", self.min_slow_share),
            ("min_failed_share", self.min_failed_share),
            ("entry_shift", self.entry_shift),
            ("min_user_delay", self.min_user_delay),
        ] {
            if !(0.0..1.0).contains(&share) {
                say(
                    key,
                    format!("`{key}` is {share}"),
                    "write a share from 0 up to 1, such as 0.1",
                );
            }
        }
        for (key, nats, hint) in [
            (
                "evidence_threshold",
                self.evidence_threshold,
                "write a positive number of nats, such as 20",
            ),
            (
                "suspect_threshold",
                self.suspect_threshold,
                "write a positive number of nats, such as 7",
            ),
        ] {
            if !nats.is_finite() || nats <= 0.0 {
                say(key, format!("`{key}` is {nats}"), hint);
            }
        }
        if self.evaluation_interval.get().is_zero() {
            let message = format!("`evaluation_interval` is {}", self.evaluation_interval);
            say(
                "evaluation_interval",
                message,
                "write a duration above 0, such as `30s`",
            );
        }
        if self.window < HumanDuration(self.evaluation_interval.get().saturating_mul(2)) {
            let message = format!(
                "`window` is {} at an evaluation_interval of {}",
                self.window, self.evaluation_interval
            );
            say(
                "window",
                message,
                "write at least twice the evaluation interval, better ten times",
            );
        }
        if !is_label_name(&self.cluster_label) {
            let message = format!("`cluster_label` is `{}`", self.cluster_label);
            say(
                "cluster_label",
                message,
                "write a label name: letters, digits and `_`, no digit first",
            );
        }
        self.fixed.check(self.window, &mut say);
        self.notify.check(&mut say);
        for (key, url) in self.addresses() {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                say(
                    &key,
                    format!("`{key}` is `{url}`"),
                    "write an address that begins with `http://` or `https://`",
                );
            }
        }
        found
    }

    fn addresses(&self) -> Vec<(String, &String)> {
        let Self { receivers, .. } = self;
        let single = [
            ("web_url", Some(&self.web_url)),
            ("grafana_url", self.grafana_url.as_ref()),
            ("runbooks_url", self.runbooks_url.as_ref()),
            ("receivers.page", receivers.page.as_ref()),
            ("receivers.ticket", receivers.ticket.as_ref()),
            ("receivers.info", receivers.info.as_ref()),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, url)| Some((key.to_owned(), url?)));
        single
            .chain(
                receivers
                    .teams
                    .iter()
                    .map(|(team, url)| (format!("receivers.teams.{team}"), url)),
            )
            .collect()
    }
}

impl NotifySettings {
    /// What Alertmanager or Kubernetes would refuse, by key, message and hint.
    fn check(&self, say: &mut impl FnMut(&str, String, &str)) {
        for (key, interval) in [
            ("group_interval", self.group_interval),
            ("repeat_interval", self.repeat_interval),
        ] {
            if interval.get().is_zero() {
                let message = format!("`{key}` is {interval}");
                say(
                    &format!("notify.{key}"),
                    message,
                    "write a duration above 0, such as `5m`",
                );
            }
        }
        if let Some(hours) = &self.ticket_hours {
            hours.check(say);
        }
        if let Some(kubernetes) = &self.kubernetes {
            let namespace = &kubernetes.namespace;
            if !is_dns_label(namespace) {
                let message = format!("`namespace` is `{namespace}`");
                let hint = "write a namespace: lower-case letters, digits and `-`, at most 63";
                say("notify.kubernetes.namespace", message, hint);
            }
        }
    }
}

/// Source: Kubernetes documentation, "Object Names and IDs", RFC 1123 label names.
fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_label_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(word) && text.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, expected: &[&str]) {
        let settings: AlertSettings = config::load("test.yaml", yaml, []).unwrap();
        let found: Vec<String> = settings.check("alerts").into_iter().map(|f| f.path).collect();
        assert_eq!(found, expected, "{yaml}");
    }

    #[test]
    fn the_defaults_have_nothing_wrong() {
        check("", &[]);
        check(
            "receivers: {page: 'http://pager', teams: {shop: 'https://shop'}}",
            &[],
        );
    }

    #[test]
    fn every_problem_is_found_at_once_and_named_by_its_key() {
        check(
            "{window: 30s, entry_shift: 2, web_url: localhost}",
            &["alerts.entry_shift", "alerts.window", "alerts.web_url"],
        );
        check(
            "{evaluation_interval: 0, evidence_threshold: -1, cluster_label: 1a}",
            &[
                "alerts.evidence_threshold",
                "alerts.evaluation_interval",
                "alerts.cluster_label",
            ],
        );
        check(
            "receivers: {teams: {shop: ftp}}",
            &["alerts.receivers.teams.shop"],
        );
    }

    #[test]
    fn hours_that_alertmanager_would_refuse_are_found_and_those_it_takes_are_not() {
        check("notify: {ticket_hours: {}}", &[]);
        check(
            "notify: {ticket_hours: {weekdays: ['monday:thursday', sunday], from: '00:00', to: '24:00'}}",
            &[],
        );
        check(
            "notify: {ticket_hours: {from: '9:00', to: '24:01'}}",
            &["alerts.notify.ticket_hours.from", "alerts.notify.ticket_hours.to"],
        );
        check(
            "notify: {ticket_hours: {from: '17:00', to: '09:00', weekdays: ['saturday:sunday', Mon]}}",
            &[
                "alerts.notify.ticket_hours.to",
                "alerts.notify.ticket_hours.weekdays",
                "alerts.notify.ticket_hours.weekdays",
            ],
        );
    }

    #[test]
    fn a_namespace_that_kubernetes_refuses_and_an_interval_of_nothing_are_found() {
        check("notify: {kubernetes: {}}", &[]);
        check(
            "notify: {group_interval: 0s, kubernetes: {namespace: My_Space}}",
            &[
                "alerts.notify.group_interval",
                "alerts.notify.kubernetes.namespace",
            ],
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(config::load::<AlertSettings>("test.yaml", "windw: 5m", []).is_err());
    }
}
