//! The ticket: a stated promise will be broken by the end of its period if nothing changes.

use map::catalogue::RECORDED_OBJECTIVE_BURNING;

use super::{FAST, SLOW, annotated, hold, owned, ranges, unexplained};
use crate::prometheus::Alert;
use crate::rules::{Story, alert};
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyBudgetBurnsSlowly";

pub(in crate::rules) const STORY: Story = Story {
    name: NAME,
    meaning: "The service in the label `id` has answered so many requests later than its stated objective, over a day or \
        over three, that a month's budget of late answers will not last the month.",
    at_night: "It wakes nobody. By day it is the time to mend what is a little too slow for too long.",
    first: &[
        "The description lists the objectives of the service whose budget burns, and how fast.",
        "The dashboard of the service over the last three days: one bad hour, or always a little.",
        "Whether the objective is what you want to promise: `services:` in the configuration states it.",
    ],
    silenced_by: "It ends when the short window (two hours, or six) is within the limit again, and while \
        `LatencyBudgetBurnsFast` or a page for a culprit tells of the same.",
};

pub(super) fn rule(settings: &AlertSettings) -> Alert {
    let services = format!(
        "{} unless on (id) {RECORDED_OBJECTIVE_BURNING}{{{}}}",
        unexplained(&SLOW),
        ranges(&FAST)
    );
    let ticket = alert(NAME, &owned(&services), hold(settings), "ticket", "culprit");
    let summary = "{{ $labels.id }} spends its budget of late answers \
        {{ $value | printf \"%.1f\" }} times too fast";
    annotated(ticket, summary, &SLOW, settings)
}
