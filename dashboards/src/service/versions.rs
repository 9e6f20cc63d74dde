//! Is it the new version?
//!
//! In: whom the dashboard is about. Out: three panels with a curve for each of the newest versions.
//! Left out on purpose: percentiles by version. The collector judges a version by its own baseline; these are means.

use map::catalogue::{VERSION_FAILED, VERSION_OWN_SECONDS, VERSION_REQUESTS};

use super::About;
use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::{id, rate};

pub(super) fn panels(layout: &mut Layout, about: About<'_>) {
    layout.row("Is it the new version?");
    let of_node = id(about.subject);
    let per_second = |series| rate("version", series, &of_node);
    let per_request = |series| format!("{} / ({} > 0)", per_second(series), per_second(VERSION_REQUESTS));
    let by_version = |expr: String| vec![over_time("A", expr, "{{version}}")];
    layout.panel(8, 7, lines(REQUESTS, by_version(per_second(VERSION_REQUESTS))));
    layout.panel(8, 7, lines(FAILED, by_version(per_request(VERSION_FAILED))));
    layout.panel(8, 7, lines(OWN, by_version(per_request(VERSION_OWN_SECONDS))));
}

const REQUESTS: Text = Text {
    title: "Requests by version",
    description: "Requests per second by the version that answered, the newest four. Marks show when a version was first \
        seen. A rollout that stands still leaves two curves; `unknown` is a service that does not say its version.",
    unit: "reqps",
};

const FAILED: Text = Text {
    title: "Failed share by version",
    description: "Share of requests that ended in an error, by the version that answered. If the new one fails more in the \
        same minutes, roll it back: load and callees are the same for both.",
    unit: "percentunit",
};

const OWN: Text = Text {
    title: "Mean own time by version",
    description: "Mean seconds spent in this service itself, by the version that answered. If the new one takes longer in \
        the same minutes, it is the version and not the load.",
    unit: "s",
};
