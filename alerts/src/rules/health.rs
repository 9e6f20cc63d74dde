//! The tickets about tracemap itself: what it loses, what it turns away, and what it has stopped doing.
//!
//! In: settings. Out: one rule group of its own, the same whatever the topology, over the series that collectors and agents
//! export of themselves. All are tickets: whoever is woken for a service is not to be woken for the tool that watches it; but a
//! collector that is away pages for nobody's fault, so that is said too.
//! Left out on purpose: what a person has decided (spans that are not sampled, connections that idled), and spans that their
//! sender made wrongly unless they are many.

use map::catalogue::{
    AGENT_BUFFERED_BYTES, AGENT_CONFIG_LAST_RELOAD_SUCCESSFUL, AGENT_CONNECTIONS_CUT, AGENT_FALLBACK_SPANS,
    AGENT_PODS_LAST_SYNC_SECONDS, AGENT_SPANS, AGENT_SPANS_DROPPED, AGENT_TLS_RELOADS,
    COLLECTOR_KUBERNETES_FAILURES, COLLECTOR_KUBERNETES_OBJECTS, COLLECTOR_OVERFLOW,
    COLLECTOR_REMOTE_WRITE_DROPPED, COLLECTOR_REMOTE_WRITE_NEWEST, COLLECTOR_REQUESTS, COLLECTOR_SNAPSHOTS,
    COLLECTOR_SPANS, COLLECTOR_SPANS_DROPPED, COLLECTOR_STORED_SPANS, COLLECTOR_TLS_RELOADS,
};

use super::{Story, alert, annotations};
use crate::prometheus::{Group, Rule};
use crate::settings::AlertSettings;
use config::HumanDuration;

/// Name of the group, and of the file that holds it.
pub(crate) const GROUP: &str = "tracemap-health";

/// How long what must not happen at all is seen before somebody is told.
const ONCE: HumanDuration = HumanDuration::from_secs(300);
/// The same of what may happen for a moment: longer than the ten minutes that one moment is seen.
const AGAIN: HumanDuration = HumanDuration::from_secs(900);

/// An alert about tracemap itself.
pub(crate) struct Health {
    pub(crate) story: Story,
    expr: fn() -> String,
    hold: HumanDuration,
    summary: &'static str,
    description: &'static str,
}

/// Something counted by instance within ten minutes.
fn risen(series: &str, matchers: &str, by: &str) -> String {
    format!("sum by ({by}) (increase({series}{{{matchers}}}[10m])) > 0")
}

/// All of them, in the order of the rule file.
pub(crate) static ALL: [Health; 14] = [
    Health {
        story: Story {
            name: "TracemapCollectorAway",
            meaning: "No collector is scraped any more, although one was within the last day.",
            at_night: "It wakes nobody, and while it lasts nobody is woken: whatever gets slow or fails now pages no one.",
            first: &[
                "Whether the collector runs, and what it said last: it names what it cannot use in one line and ends.",
                "`/readyz` on its web port: 503 while it reads its journal, which takes seconds for each GiB.",
                "The target in Prometheus: `up{job=\"tracemap-collector\"}`, and the network policy between the two.",
            ],
            silenced_by: "It ends with the next scrape, or a day after the last one: then it is thought to be gone for good.",
        },
        expr: || {
            format!("absent({COLLECTOR_SPANS}) and on () (count(last_over_time({COLLECTOR_SPANS}[1d])) > 0)")
        },
        hold: ONCE,
        summary: "no collector has been scraped for minutes",
        description: "While it is away nothing is judged, and nobody is paged.",
    },
    Health {
        story: Story {
            name: "TracemapSpansInvalid",
            meaning: "More than one in a hundred spans that reach the collector cannot be used: their ids are not what OTLP asks for.",
            at_night: "It wakes nobody. Nodes and edges of that sender are missing from the map or too small.",
            first: &[
                "The label `reason`: `invalid_trace_id`, `invalid_span_id` or `invalid_parent_span_id`.",
                "Who sends them: the answer to the sender's export says how many of its spans were not used, and why.",
            ],
            silenced_by: "It ends when fewer than one in a hundred are left.",
        },
        expr: || {
            format!(
                "sum by (instance, reason) (rate({COLLECTOR_SPANS_DROPPED}[10m]))\n\
                 > on (instance) group_left () 0.01 * sum by (instance) (rate({COLLECTOR_SPANS}[10m]))"
            )
        },
        hold: AGAIN,
        summary: "{{ $labels.instance }} gets spans that it cannot use: {{ $labels.reason }}",
        description: "{{ $value | printf \"%.1f\" }} a second.",
    },
    Health {
        story: Story {
            name: "TracemapCollectorPushesBack",
            meaning: "The collector asks senders to come back later: its tables or its journal have no room. Nothing is lost as long as \
                senders have a buffer; agents have.",
            at_night: "It wakes nobody. If it lasts longer than the senders' buffers, spans are lost there.",
            first: &[
                "`tracemap_collector_journal_bytes` beside `collector.journal.max_size`, and the disk of `collector.data_dir`.",
                "`tracemap_collector_trace_table_bytes` beside `collector.pairing.max_memory`: more traffic than it was sized for.",
                "The CPU that the collector gets: it has one thread for each core and shares nothing else.",
            ],
            silenced_by: "It ends ten minutes after the last request that was turned away.",
        },
        expr: || risen(COLLECTOR_REQUESTS, "outcome=\"busy\"", "instance"),
        hold: AGAIN,
        summary: "{{ $labels.instance }} has no room and asks senders to come back",
        description: "{{ $value | printf \"%.0f\" }} requests in ten minutes were told to come back later.",
    },
    Health {
        story: Story {
            name: "TracemapSnapshotsFail",
            meaning: "The collector cannot write its snapshot. Nothing is lost yet: the journal keeps what a restart needs, and grows.",
            at_night: "It wakes nobody. When the journal is full senders are told to come back later.",
            first: &[
                "The disk of `collector.data_dir`: full, read-only, or gone. The collector's log has the system's word.",
            ],
            silenced_by: "It ends ten minutes after the last failure.",
        },
        expr: || risen(COLLECTOR_SNAPSHOTS, "outcome=\"failed\"", "instance"),
        hold: ONCE,
        summary: "{{ $labels.instance }} cannot write its snapshot",
        description: "{{ $value | printf \"%.0f\" }} tries failed in ten minutes.",
    },
    Health {
        story: Story {
            name: "TracemapStoreLosesSpans",
            meaning: "Spans that were to be kept are not: the trace store or the journal would not have them. Map, series and alerts are \
                not affected.",
            at_night: "It wakes nobody. Links from alerts to traces may lead nowhere.",
            first: &[
                "The disk of `collector.data_dir`, and the collector's log.",
                "`tracemap_collector_store_damaged_reads_total`: a disk that fails.",
            ],
            silenced_by: "It ends ten minutes after the last loss.",
        },
        expr: || risen(COLLECTOR_STORED_SPANS, "outcome=\"lost\"", "instance"),
        hold: ONCE,
        summary: "{{ $labels.instance }} loses traces that were to be kept",
        description: "{{ $value | printf \"%.0f\" }} spans in ten minutes.",
    },
    Health {
        story: Story {
            name: "TracemapMapFull",
            meaning: "More nodes, edges or names were seen than the map may hold; what came last is folded into `__overflow__`.",
            at_night: "It wakes nobody. What is folded has no own time of its own and is no culprit.",
            first: &[
                "The label `label` says which budget is spent: `collector.map.max_nodes`, `max_edges`, or names.",
                "Most often ids in names (hosts, paths, queues with a number each): name them by what they are.",
            ],
            silenced_by: "It ends ten minutes after the last request that was folded.",
        },
        expr: || risen(COLLECTOR_OVERFLOW, "", "instance, label"),
        hold: AGAIN,
        summary: "the map of {{ $labels.instance }} is full: {{ $labels.label }}",
        description: "{{ $value | printf \"%.0f\" }} requests in ten minutes were folded into `__overflow__`.",
    },
    Health {
        story: Story {
            name: "TracemapRemoteWriteLags",
            meaning: "The receiver of remote write has taken nothing for five minutes, or samples were given up.",
            at_night: "It wakes nobody. Rules that read from that receiver see an old system.",
            first: &[
                "`tracemap_collector_remote_write_requests_total{outcome=\"retried\"}`: the receiver is away or overloaded.",
                "`tracemap_collector_remote_write_dropped_samples_total` by reason: what it refuses will not be sent again.",
            ],
            silenced_by: "It ends when the receiver takes samples again.",
        },
        expr: || {
            format!(
                "time() - max by (instance) ({COLLECTOR_REMOTE_WRITE_NEWEST} > 0) > 300\nor\n{}",
                risen(COLLECTOR_REMOTE_WRITE_DROPPED, "", "instance")
            )
        },
        hold: ONCE,
        summary: "{{ $labels.instance }} cannot write to its receiver",
        description: "`tracemap_collector_remote_write_requests_total` and `…_dropped_samples_total` say how much waits and why.",
    },
    Health {
        story: Story {
            name: "TracemapObjectsNotInStep",
            meaning: "Dashboards, rules or routes in Kubernetes are not what the collector generates: the API server cannot be asked, or \
                objects are refused or somebody else's.",
            at_night: "It wakes nobody. Rules and dashboards show the system as it was; a new service has neither.",
            first: &[
                "`tracemap_collector_kubernetes_failures_total` by reason: `forbidden` is a role, `connection` a network policy.",
                "`tracemap_collector_kubernetes_objects` by state, and the collector's log, which names each object and its manager.",
            ],
            silenced_by: "It ends with the first round after which all objects are as they should be.",
        },
        expr: || {
            format!(
                "sum by (instance) ({COLLECTOR_KUBERNETES_OBJECTS}{{state!=\"current\"}}) > 0\nor\n{}",
                risen(COLLECTOR_KUBERNETES_FAILURES, "", "instance")
            )
        },
        hold: AGAIN,
        summary: "{{ $labels.instance }} cannot keep its objects in Kubernetes in step",
        description: "`tracemap_collector_kubernetes_objects` and `…_failures_total` say which and why.",
    },
    Health {
        story: Story {
            name: "TracemapCertificateNotReloaded",
            meaning: "A certificate, key or authority on disk changed and cannot be used; the one before it stays in use until it expires.",
            at_night: "It wakes nobody. At the end of the old certificate every handshake fails.",
            first: &[
                "The log of the instance names the file, the key of the configuration and what is wrong with it.",
            ],
            silenced_by: "It ends an hour after the last failed try; a file is looked at again whenever it changes.",
        },
        expr: || {
            let of = |series: &str| format!("increase({series}{{outcome=\"failed\"}}[1h])");
            format!(
                "sum by (instance) (\n  {}\n  or\n  {}\n) > 0",
                of(COLLECTOR_TLS_RELOADS),
                of(AGENT_TLS_RELOADS)
            )
        },
        hold: ONCE,
        summary: "{{ $labels.instance }} cannot use a new certificate",
        description: "The old one stays in use until it expires.",
    },
    Health {
        story: Story {
            name: "TracemapAgentLosesSpans",
            meaning: "An agent gave up spans. The label `reason` says why: `queue_full` (its buffer is), `shutdown`, or the collector's \
                refusal.",
            at_night: "It wakes nobody. Counts on the map stay exact, traces have holes, and evidence is thinner.",
            first: &[
                "`TracemapAgentCannotSend`, and the collector: a buffer fills while nobody takes from it.",
                "`agent.export.buffer`: a `path` on disk outlives restarts, `max_size` is how long the collector may be away.",
            ],
            silenced_by: "It ends ten minutes after the last loss.",
        },
        expr: || risen(AGENT_SPANS_DROPPED, "reason!=\"no_endpoint\"", "instance, reason"),
        hold: ONCE,
        summary: "the agent {{ $labels.instance }} loses spans: {{ $labels.reason }}",
        description: "{{ $value | printf \"%.0f\" }} spans in ten minutes.",
    },
    Health {
        story: Story {
            name: "TracemapAgentCannotSend",
            meaning: "Spans wait in an agent, and the collector has taken none from it for ten minutes.",
            at_night: "It wakes nobody. Nothing is lost until the buffer is full; `TracemapAgentLosesSpans` says when it is.",
            first: &[
                "The agent's log: it names the collector's address and what the connection met.",
                "`agent.export.endpoint`, the collector's certificate, the network policy between the two.",
            ],
            silenced_by: "It ends when the collector takes spans of this agent again.",
        },
        expr: || {
            format!(
                "max by (instance) ({AGENT_BUFFERED_BYTES}) > 0\n\
                 unless on (instance) sum by (instance) (rate({AGENT_SPANS}{{outcome=\"sent\"}}[10m])) > 0"
            )
        },
        hold: ONCE,
        summary: "the agent {{ $labels.instance }} cannot reach the collector",
        description: "{{ $value | humanize1024 }}B of spans wait there.",
    },
    Health {
        story: Story {
            name: "TracemapAgentBufferInMemory",
            meaning: "An agent is to keep spans on disk and keeps them in memory: the disk is full, failing, slow or not open yet.",
            at_night: "It wakes nobody. What waits in memory is lost when the agent's process is killed.",
            first: &[
                "The disk of `agent.export.buffer.path`, its permissions and what else lies there; the agent's log.",
            ],
            silenced_by: "It ends ten minutes after the last span that went to memory.",
        },
        expr: || risen(AGENT_FALLBACK_SPANS, "", "instance"),
        hold: AGAIN,
        summary: "the agent {{ $labels.instance }} cannot write its buffer to disk",
        description: "{{ $value | printf \"%.0f\" }} spans in ten minutes were kept in memory instead.",
    },
    Health {
        story: Story {
            name: "TracemapAgentFull",
            meaning: "An agent cut connections that rested, or could not accept new ones: more callers than `agent.limits.max_connections`, \
                or than the process may open files.",
            at_night: "It wakes nobody. Callers connect again; those that do not try again see a connection that closed.",
            first: &[
                "`tracemap_agent_connections` beside `agent.limits.max_connections`.",
                "The limit on open files of the agent's process (`ulimit -n`, `LimitNOFILE=`): two for each request under way.",
            ],
            silenced_by: "It ends ten minutes after the last cut.",
        },
        expr: || {
            risen(
                AGENT_CONNECTIONS_CUT,
                "reason=~\"too_many_connections|accept_failed\"",
                "instance, reason",
            )
        },
        hold: AGAIN,
        summary: "the agent {{ $labels.instance }} has no room for callers: {{ $labels.reason }}",
        description: "{{ $value | printf \"%.0f\" }} connections in ten minutes.",
    },
    Health {
        story: Story {
            name: "TracemapAgentStale",
            meaning: "An agent works with old knowledge: its new configuration was refused, or it has not heard of its node's pods for ten \
                minutes.",
            at_night: "It wakes nobody. New pods have no name, and changes are not in force.",
            first: &[
                "The agent's log: each problem of the configuration with its key and what would be right.",
                "Where pods are watched: whether its service account may `get`, `list` and `watch` pods, and the API server.",
            ],
            silenced_by: "It ends with the next configuration that is taken over, or the next word of the API server.",
        },
        expr: || {
            format!(
                "max by (instance) ({AGENT_CONFIG_LAST_RELOAD_SUCCESSFUL} == 0)\nor\n\
                 time() - max by (instance) ({AGENT_PODS_LAST_SYNC_SECONDS} > 0) > 600"
            )
        },
        hold: ONCE,
        summary: "the agent {{ $labels.instance }} works with old knowledge",
        description: "`tracemap_agent_config_last_reload_successful` and `tracemap_agent_pods_last_sync_timestamp_seconds` say of what.",
    },
];

/// The rules of the group.
pub(crate) fn group(settings: &AlertSettings) -> Group {
    let rule = |health: &Health| {
        let mut ticket = alert(
            health.story.name,
            &(health.expr)(),
            health.hold,
            "ticket",
            "health",
        );
        ticket.keep_firing_for = Some(settings.keep_firing_for.as_prometheus());
        ticket.annotations =
            annotations::of_tracemap(health.story.name, health.summary, health.description, settings);
        Rule::Alert(ticket)
    };
    Group {
        name: GROUP,
        interval: settings.evaluation_interval.as_prometheus(),
        rules: ALL.iter().map(rule).collect(),
    }
}
