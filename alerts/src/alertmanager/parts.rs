//! Routes, receivers and hours, before they are a file.
//!
//! In: the map's teams and settings. Out: [`Parts`], which serialise as Alertmanager reads them. The file of our own, a
//! file of somebody else and the resource of the Prometheus operator are made of the same parts.
//! Left out on purpose: inhibition (`alertmanager.yaml` says why), and secrets, which do not belong in generated files.
//! Source: Alertmanager documentation, "Configuration"; kept to what version 0.25 reads.

use std::collections::{BTreeMap, BTreeSet};

use map::{Map, Owner};
use serde::{Serialize, Serializer};

use crate::prometheus::quoted;
use crate::rules::stories;
use crate::settings::{AlertSettings, ReceiverSettings, TicketHours};
use crate::templates;

const PAGES: &str = "page";
const TICKETS: &str = "ticket";
const NOTES: &str = "info";
const TICKET_HOURS: &str = "ticket-hours";

/// What a configuration needs to send our alerts where they belong.
pub(crate) struct Parts {
    /// The route of everything, or of our alerts alone.
    pub(crate) route: Route,
    /// Those that the routes name.
    pub(crate) receivers: Vec<Receiver>,
    /// Those that the routes name.
    pub(crate) time_intervals: Vec<NamedInterval>,
}

#[derive(Default, Serialize)]
pub(crate) struct Route {
    pub(crate) receiver: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) matchers: Vec<Matcher>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) group_by: Vec<String>,
    #[serde(flatten)]
    pub(crate) timing: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) active_time_intervals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
}

/// One condition on a label of an alert.
pub(crate) struct Matcher {
    pub(crate) label: &'static str,
    /// `=`, `=~` or `!=`.
    pub(crate) operator: &'static str,
    pub(crate) value: String,
}

#[derive(Serialize)]
pub(crate) struct Receiver {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhook_configs: Vec<Webhook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) slack_configs: Vec<Slack>,
}

#[derive(Serialize)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) send_resolved: bool,
}

#[derive(Serialize)]
pub(crate) struct Slack {
    pub(crate) api_url_file: String,
    pub(crate) channel: String,
    pub(crate) send_resolved: bool,
    pub(crate) title: String,
    pub(crate) text: String,
}

#[derive(Serialize)]
pub(crate) struct NamedInterval {
    pub(crate) name: String,
    pub(crate) time_intervals: Vec<Interval>,
}

#[derive(Serialize)]
pub(crate) struct Interval {
    pub(crate) times: Vec<TimeRange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) weekdays: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct TimeRange {
    pub(crate) start_time: String,
    pub(crate) end_time: String,
}

impl Parts {
    /// The parts of a file of our own: its root takes whatever arrives.
    pub(crate) fn whole(map: &Map, settings: &AlertSettings) -> Self {
        Self::new(map, settings, "")
    }

    /// The parts of a sub-tree that takes the alerts of our rules and no other. Names begin with `prefix`.
    pub(crate) fn sub_tree(map: &Map, settings: &AlertSettings, prefix: &str) -> Self {
        let mut parts = Self::new(map, settings, prefix);
        parts.route.matchers = vec![one_of("alertname", stories().map(|story| story.name))];
        parts
    }

    fn new(map: &Map, settings: &AlertSettings, prefix: &str) -> Self {
        let named = |name: &str| format!("{prefix}{name}");
        let teams = teams(map, &settings.receivers);
        let hours = settings.notify.ticket_hours.as_ref();
        Self {
            route: root(&teams, settings, &named),
            receivers: receivers(&teams, &settings.receivers, &named),
            time_intervals: hours.map(|hours| interval(hours, &named)).into_iter().collect(),
        }
    }
}

impl Receiver {
    /// True where it has no integration.
    pub(crate) fn notifies_nobody(&self) -> bool {
        self.webhook_configs.is_empty() && self.slack_configs.is_empty()
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            label,
            operator,
            value,
        } = self;
        serializer.collect_str(&format_args!("{label}{operator}{}", quoted(value)))
    }
}

fn equals(label: &'static str, value: &str) -> Matcher {
    Matcher {
        label,
        operator: "=",
        value: value.to_owned(),
    }
}

fn is_set(label: &'static str) -> Matcher {
    Matcher {
        label,
        operator: "!=",
        value: String::new(),
    }
}

fn one_of<'a>(label: &'static str, values: impl IntoIterator<Item = &'a str>) -> Matcher {
    Matcher {
        label,
        operator: "=~",
        value: values.into_iter().collect::<Vec<_>>().join("|"),
    }
}

/// Teams that own a node or have an address, by name.
fn teams(map: &Map, receivers: &ReceiverSettings) -> BTreeSet<String> {
    let owners = map.nodes.keys().map(|id| map.owner(id).team);
    let channels = receivers.slack.iter().flat_map(|slack| slack.teams.keys());
    owners
        .chain(receivers.teams.keys().chain(channels).cloned())
        .filter(|t| t != Owner::NOBODY && !t.is_empty())
        .collect()
}

fn root(teams: &BTreeSet<String>, settings: &AlertSettings, named: &impl Fn(&str) -> String) -> Route {
    let by = |labels: &[&str]| {
        std::iter::once(settings.cluster_label.as_str())
            .chain(labels.iter().copied())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let team_route = |team: &String| Route {
        receiver: named(&team_receiver(team)),
        matchers: vec![equals("team", team)],
        ..Route::default()
    };
    // A page and its symptoms must stand in one route: groups of two routes are two notifications. Notes name no culprit.
    let pages = Route {
        receiver: named(PAGES),
        matchers: vec![one_of("severity", ["page", "info"]), is_set("culprit")],
        group_by: by(&["culprit"]),
        routes: teams.iter().map(team_route).collect(),
        ..Route::default()
    };
    let notes = Route {
        receiver: named(NOTES),
        matchers: vec![equals("severity", "info")],
        ..Route::default()
    };
    // A route of its own, because Alertmanager's root cannot have hours.
    let tickets = settings.notify.ticket_hours.as_ref().map(|_| Route {
        receiver: named(TICKETS),
        matchers: vec![equals("severity", "ticket")],
        active_time_intervals: vec![named(TICKET_HOURS)],
        ..Route::default()
    });
    let notify = &settings.notify;
    let timing = [
        ("group_wait", notify.group_wait),
        ("group_interval", notify.group_interval),
        ("repeat_interval", notify.repeat_interval),
    ];
    Route {
        receiver: named(TICKETS),
        group_by: by(&["alertname", "culprit", "id"]),
        timing: timing.map(|(key, value)| (key, value.as_prometheus())).into(),
        routes: [pages, notes].into_iter().chain(tickets).collect(),
        ..Route::default()
    }
}

fn receivers(
    teams: &BTreeSet<String>,
    settings: &ReceiverSettings,
    named: &impl Fn(&str) -> String,
) -> Vec<Receiver> {
    let slack = settings.slack.as_ref();
    let general = [
        (PAGES, &settings.page, slack.and_then(|s| s.page.as_ref())),
        (TICKETS, &settings.ticket, slack.and_then(|s| s.ticket.as_ref())),
        (NOTES, &settings.info, slack.and_then(|s| s.info.as_ref())),
    ];
    let general = general.map(|(name, url, channel)| receiver(named(name), url.as_ref(), channel, settings));
    let of_team = |team: &String| {
        let own = (settings.teams.get(team), slack.and_then(|s| s.teams.get(team)));
        let (url, channel) = match own {
            (None, None) => (settings.page.as_ref(), slack.and_then(|s| s.page.as_ref())),
            own => own,
        };
        receiver(named(&team_receiver(team)), url, channel, settings)
    };
    general.into_iter().chain(teams.iter().map(of_team)).collect()
}

fn receiver(
    name: String,
    url: Option<&String>,
    channel: Option<&String>,
    settings: &ReceiverSettings,
) -> Receiver {
    let webhook = |url: &String| Webhook {
        url: url.clone(),
        send_resolved: true,
    };
    let slack = settings
        .slack
        .as_ref()
        .zip(channel)
        .map(|(slack, channel)| Slack {
            api_url_file: slack.api_url_file.clone(),
            channel: channel.clone(),
            send_resolved: true,
            title: templates::call(templates::TITLE),
            text: templates::call(templates::TEXT),
        });
    Receiver {
        name,
        webhook_configs: url.map(webhook).into_iter().collect(),
        slack_configs: slack.into_iter().collect(),
    }
}

fn interval(hours: &TicketHours, named: &impl Fn(&str) -> String) -> NamedInterval {
    let times = TimeRange {
        start_time: hours.from.clone(),
        end_time: hours.to.clone(),
    };
    NamedInterval {
        name: named(TICKET_HOURS),
        time_intervals: vec![Interval {
            times: vec![times],
            weekdays: hours.weekdays.clone(),
            location: hours.location.clone(),
        }],
    }
}

fn team_receiver(team: &str) -> String {
    format!("{PAGES}-{team}")
}
