//! What an alert says to people: summary, description, links.
//!
//! In: settings. Out: annotation templates that Prometheus fills in. Numbers stand here and never in labels, where
//! each new value would be a new alert.
//! Left out on purpose: a team's own runbook address. The rule file is the same for every topology; the generated
//! runbook links to it.
//! Source: Prometheus documentation, "Template reference"; Go `text/template`, for `urlquery`.

use map::catalogue::{NEW_NORMAL_SECONDS, RECORDED_OBJECTIVE_BURNING};

use crate::prometheus::Pairs;
use crate::rules::signal::Said;
use crate::settings::AlertSettings;

/// For an alert with the label `culprit`: what is charged to it.
pub(crate) fn of_culprit(alert: &str, summary: &str, said: &Said, settings: &AlertSettings) -> Pairs {
    let Said {
        own,
        charged,
        own_degraded,
        ..
    } = said;
    let charged = format!(
        "printf `{charged}{{culprit=%q}} or {own_degraded}{{kind=\"service\",id=%q}}` \
         $labels.culprit $labels.culprit"
    );
    let shift = shift(said, said.own_series);
    let description = format!(
        "{own}:{{{{ range query ({charged}) | sortByLabel \"id\" }}}}{{{{ $id := .Labels.id }}}}\n\
         - {{{{ $id }}}}: {shift}{{{{ end }}}}"
    );
    with_links(alert, summary, description, "culprit", settings)
}

/// For an alert about the service in the label `id`: how slow its callers see it.
pub(crate) fn of_service(alert: &str, summary: &str, said: &Said, settings: &AlertSettings) -> Pairs {
    let total = said.total;
    let shift = shift(said, said.total_series);
    let description = format!("{total}:{{{{ $id := $labels.id }}}}\n- {{{{ $id }}}}: {shift}");
    with_links(alert, summary, description, "id", settings)
}

/// For an alert about the stated objectives of the service in the label `id`, over the windows that `ranges` matches.
pub(crate) fn of_objective(alert: &str, summary: &str, ranges: &str, settings: &AlertSettings) -> Pairs {
    let burning = format!("printf `{RECORDED_OBJECTIVE_BURNING}{{id=%q,{ranges}}}` $labels.id");
    let description = format!(
        "Late answers:{{{{ range query ({burning}) | sortByLabel \"range\" }}}}\n\
         - within {{{{ .Labels.latency }}}} over {{{{ .Labels.range }}}}: {{{{ . | value | printf \"%.1f\" }}}} times \
         as many as the promise over {{{{ .Labels.window }}}} allows{{{{ end }}}}"
    );
    with_links(alert, summary, description, "id", settings)
}

/// For the note about an entity without a baseline.
pub(crate) fn of_unjudged(alert: &str, summary: &str, settings: &AlertSettings) -> Pairs {
    let description =
        "{{ printf \"%.0f\" $value }} requests in the last hour, and no operation of it has a baseline";
    with_links(alert, summary, description.to_owned(), "id", settings)
}

/// For the ticket about the entity in the label `id` that has shifted: by operation, from where to where.
pub(crate) fn of_new_normal(alert: &str, summary: &str, settings: &AlertSettings) -> Pairs {
    let edges = |edge: &str| {
        format!(
            "printf `max by (operation) ({NEW_NORMAL_SECONDS}{{id=%q,measure=\"own\",edge=\"{edge}\"}})` $labels.id"
        )
    };
    let was = format!(
        "{{{{ with query (printf `max({NEW_NORMAL_SECONDS}{{id=%q,measure=\"own\",edge=\"old\",operation=%q}})` \
         $labels.id $operation) }}}}{{{{ . | first | value | humanizeDuration }}}}{{{{ end }}}}"
    );
    let description = format!(
        "Few requests took longer than:{{{{ range query ({}) | sortByLabel \"operation\" }}}}\
         {{{{ $operation := .Labels.operation }}}}\n\
         - {{{{ $operation }}}}: {was} before, {{{{ . | value | humanizeDuration }}}} now{{{{ end }}}}",
        edges("new")
    );
    with_links(alert, summary, description, "id", settings)
}

/// `5% of requests were expected to be slow, 62% of 600 in 5m were`, for the entity in the template's variable `$id`, over the window that says
/// most.
fn shift(said: &Said, [evidence, expected, share]: [&str; 3]) -> String {
    let (verb, happened) = (said.expected, said.happened);
    let value = |series: &str, format: &str| {
        format!(
            "{{{{ with query (printf `{series}{{id=%q,window=%q}}` $id $window) }}}}\
             {{{{ . | first | value | {format} }}}}{{{{ end }}}}"
        )
    };
    let (expected, share) = (
        value(expected, "humanizePercentage"),
        value(share, "humanizePercentage"),
    );
    let judged = value(said.judged, "printf \"%.0f\"");
    format!(
        "{{{{ range query (printf `topk(1, {evidence}{{id=%q}})` $id) }}}}{{{{ $window := .Labels.window }}}}\
         {expected} of requests were expected to {verb}, {share} of {judged} in {{{{ $window }}}} {happened}{{{{ end }}}}"
    )
}

/// For an alert about tracemap itself, which is no node of the map.
pub(crate) fn of_tracemap(alert: &str, summary: &str, description: &str, settings: &AlertSettings) -> Pairs {
    Pairs::from([
        ("summary", summary.to_owned()),
        ("description", description.to_owned()),
        ("runbook_url", runbook_url(alert, settings)),
        ("map_url", format!("{}/", settings.web_url.trim_end_matches('/'))),
    ])
}

fn runbook_url(alert: &str, settings: &AlertSettings) -> String {
    let web = settings.web_url.trim_end_matches('/');
    let runbooks = settings
        .runbooks_url
        .as_ref()
        .map_or_else(|| format!("{web}/runbooks"), Clone::clone);
    format!("{}/{alert}.md", runbooks.trim_end_matches('/'))
}

fn with_links(
    alert: &str,
    summary: &str,
    description: String,
    label: &str,
    settings: &AlertSettings,
) -> Pairs {
    let web = settings.web_url.trim_end_matches('/');
    let entity = format!("{{{{ $labels.{label} | urlquery }}}}");
    let mut pairs = Pairs::from([
        ("summary", summary.to_owned()),
        ("description", description),
        ("runbook_url", runbook_url(alert, settings)),
        ("map_url", format!("{web}/?node={entity}")),
    ]);
    if let Some(grafana) = &settings.grafana_url {
        // A search, because dashboards are addressed by a hash that no template can compute.
        let url = format!(
            "{}/dashboards?tag=tracemap&query={entity}",
            grafana.trim_end_matches('/')
        );
        pairs.insert("dashboard_url", url);
    }
    pairs
}
