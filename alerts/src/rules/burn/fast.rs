//! The page: a stated promise is being broken fast, and no culprit pages that would explain it.
//!
//! Its label `culprit` is the service itself, so that its notification is grouped and routed as any other page.

use super::{FAST, annotated, hold, owned, unexplained};
use crate::prometheus::Alert;
use crate::rules::{Story, alert};
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyBudgetBurnsFast";

pub(in crate::rules) const STORY: Story = Story {
    name: NAME,
    meaning: "The service in the label `id` answers so many requests later than its stated objective that a month's budget \
        of late answers lasts two days (14.4 times too fast, over an hour) or five (6 times, over six hours), and it does \
        not wait for a node that `LatencyDegraded` pages for.",
    at_night: "Users were promised this. Unlike `LatencyDegraded` it compares with the promise and not with the weeks \
        before, so it speaks of slowness that crept in, or that was learned as the new normal.",
    first: &[
        "The description lists the objectives of the service whose budget burns, and how fast.",
        "The dashboard of the service: since when its requests take longer, and which operation does.",
        "What `LatencyDegradedNoUserImpact` or `LatencyUnexplained` say about what it waits for.",
        "Whether the objective is what you want to promise: `services:` in the configuration states it.",
    ],
    silenced_by: "It ends when the short window (5 minutes, or 30) is within the limit again. It stays silent while too few \
        requests were seen to be sure, and while a page for a culprit explains it: then `LatencyBudgetBurnsByCulprit` is in \
        that page's notification.",
};

pub(super) fn rule(settings: &AlertSettings) -> Alert {
    let page = alert(
        NAME,
        &owned(&unexplained(&FAST)),
        hold(settings),
        "page",
        "culprit",
    );
    let summary = "{{ $labels.id }} breaks its promise: its budget of late answers burns \
        {{ $value | printf \"%.1f\" }} times too fast";
    annotated(page, summary, &FAST, settings)
}
