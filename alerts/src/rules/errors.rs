//! The alerts on failures: the same rules as for latency over what failed, see [`super::signal`].
//!
//! In: nothing. Out: what people have to know of each.
//! Left out on purpose: what a share of failures costs users in time; a request that fails has failed.

use super::Story;

/// Name of the group, and of the file that holds it.
pub(crate) const GROUP: &str = "tracemap-errors";

pub(super) const PAGE: Story = Story {
    name: "ErrorsDegraded",
    meaning: "More requests than usual fail at this node although nothing that it called failed, or on its edges, and an entry \
        point that waits for it fails more often as well. The node is named in the label `culprit`.",
    at_night: "Users get errors that they did not get in the days before, and this node is where those begin. If it is slow as \
        well, that is in the same notification.",
    first: &[
        "The description lists the node's own failures and the edges that are charged to it. Edges alone mean that calls \
         fail on their way, or at a peer that reports no spans: refused connections, timeouts of the caller.",
        "What changed there: a deployment, a configuration, a certificate, a quota, the host.",
        "`ErrorsDegradedByDependency` with the same culprit lists who fails because of it.",
        "The link `map_url` opens the node in the map, with traces of failed requests.",
    ],
    silenced_by: "It ends when the window holds no evidence any more and `keep_firing_for` has passed. A share of failures that \
        stays for half a day is learned unless a person pins the old one.",
};

pub(super) const SYMPTOM: Story = Story {
    name: "ErrorsDegradedByDependency",
    meaning: "The service in the label `id` fails more often than usual, and it waits for the node in the label `culprit`, which \
        pages. `team` and `tier` are the culprit's.",
    at_night: "It wakes nobody. It tells those whom `ErrorsDegraded` woke how far the damage reaches.",
    first: &[
        "`ErrorsDegraded` with the same culprit.",
        "If `id` could answer without the culprit: a default, a cache, a retry with a budget.",
    ],
    silenced_by: "It ends with the page for its culprit, or when the service fails no more often than before.",
};

pub(super) const NO_USER_IMPACT: Story = Story {
    name: "ErrorsDegradedNoUserImpact",
    meaning: "More requests than usual fail at the node in the label `culprit`, and no entry point that waits for it fails more \
        often.",
    at_night: "It wakes nobody: retries or defaults keep it from users. By day it is the warning before those no longer do.",
    first: &[
        "Whether callers repeat what failed: retries multiply the load of a node that is in trouble.",
        "Whether the node is on nobody's way on purpose, as consumers of a queue are. Declare workers whose failures matter \
         as `entry_point: true` in `services:`; they page then.",
    ],
    silenced_by: "It ends when the evidence is gone and `keep_firing_for` has passed, or turns into `ErrorsDegraded` when an \
        entry point fails.",
};

pub(super) const UNEXPLAINED: Story = Story {
    name: "ErrorsUnexplained",
    meaning: "The entry point in the label `id` fails more often than usual, and no node that it waits for fails by itself. `team` \
        and `tier` are the entry point's.",
    at_night: "It wakes nobody, because it cannot say whom. Users do get errors: whoever is awake should look.",
    first: &[
        "Traces of failed requests: the deepest span with an error is where they begin.",
        "Spans whose status is not set: a library that reports no errors hides where they begin.",
        "Calls that the map does not show, because neither side reports them.",
    ],
    silenced_by: "It ends when the entry point fails no more often than before and `keep_firing_for` has passed, or when a \
        culprit explains it.",
};
