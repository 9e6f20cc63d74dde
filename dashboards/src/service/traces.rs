//! Show me a trace: the newest that failed, and the newest that were slow.
//!
//! In: whom the dashboard is about. Out: two tables of traces, and the variable that says what slow is.
//! Left out on purpose: what a trace looks like; Grafana shows that.

use map::catalogue::BASELINE_SECONDS;

use super::About;
use crate::layout::Layout;
use crate::model::{QueryVariable, Variable};
use crate::panel::{Text, traces};
use crate::promql::service;

/// Titles of the searches, which find nothing in a service without faults.
pub(crate) const SEARCHES: [&str; 2] = [FAILING.title, SLOW.title];

const SLOWER_THAN: &str = "slower_than";

/// From how many seconds on a request is slow: what was learned, rounded to milliseconds; 1 where nothing was.
pub(super) fn slower_than(about: About<'_>) -> QueryVariable {
    let learned = format!(
        r#"{BASELINE_SECONDS}{{{},measure="total"}}"#,
        service(about.subject)
    );
    let query = format!("query_result(clamp_min(round(max({learned}) or vector(1), 0.001), 0.001))");
    let mut variable = Variable::query(SLOWER_THAN, "Slow from (s)", query);
    // Of `{} 0.25 1700000000000`, which is how Grafana writes a result without labels.
    variable.regex = r"/^\{\} ([^ ]+) /";
    variable
}

pub(super) fn panels(layout: &mut Layout, about: About<'_>) {
    layout.row("Show me a trace");
    let name = about.subject.name_literal();
    let failing = format!("{{ resource.service.name = {name} && status = error }}");
    layout.panel(12, 9, traces(FAILING, failing));
    let slow = format!("{{ resource.service.name = {name} && duration > ${{{SLOWER_THAN}}}s }}");
    layout.panel(12, 9, traces(SLOW, slow));
}

const FAILING: Text = Text {
    title: "Recent failing traces",
    description: "The newest stored traces in which a span of this service ended in an error. Open one to see which call \
        failed first. Failing traces are kept before others, so none here means that none failed.",
    unit: "none",
};

const SLOW: Text = Text {
    title: "Recent slow traces",
    description: "The newest stored traces in which a span of this service took longer than the time at the top of the \
        page, which begins at the learned edge. Open one to see what it waited for.",
    unit: "none",
};
