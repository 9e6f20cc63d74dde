//! Every series that tracemap exports or records, each said once.
//!
//! In: nothing. Out: names, labels, units and meanings. The collector writes by these names, the generators query by
//! them, and a test holds every generated query to this list.
//! Left out on purpose: values, and the encoding of them.

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only rises; a rate makes sense.
    Counter,
    /// Any value at any time.
    Gauge,
    /// Cumulative buckets by `le`, with `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Written by a generated recording rule.
    Recorded,
}

/// One family of series.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// The name; for a histogram without its suffixes.
    pub name: &'static str,
    /// What kind of series it is.
    pub kind: Type,
    /// Labels it always has, besides `le`.
    pub labels: &'static [&'static str],
    /// What it says, with its unit.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($(#[doc = $help:literal])+ $constant:ident = $name:literal, $kind:ident, [$($label:literal),*];)+) => {
        $($(#[doc = $help])+ pub const $constant: &str = $name;)+
        /// Every series, in the order of this file.
        pub const ALL: &[Series] = &[$(Series {
            name: $name, kind: Type::$kind, labels: &[$($label),*], help: concat!($($help),+).trim_ascii(),
        }),+];
    };
}

catalogue! {
    /// Requests on an edge, producers leading to consumers directly. Tempo's name: Grafana's service graph reads it.
    EDGE_REQUESTS = "traces_service_graph_request_total", Counter, ["client", "server", "connection_type"];
    /// Requests on an edge that failed on either side. Tempo's name.
    EDGE_FAILED = "traces_service_graph_request_failed_total", Counter, ["client", "server", "connection_type"];
    /// Seconds the callee took by its own span. Tempo's name.
    EDGE_SERVER_SECONDS = "traces_service_graph_request_server_seconds", Histogram, ["client", "server", "connection_type"];
    /// Seconds the caller waited by its own span. Tempo's name.
    EDGE_CLIENT_SECONDS = "traces_service_graph_request_client_seconds", Histogram, ["client", "server", "connection_type"];
    /// Seconds a message lay between the producer's end and the consumer's start. Tempo's name.
    EDGE_MESSAGING_SECONDS = "traces_service_graph_request_messaging_system_seconds", Histogram, ["client", "server", "connection_type"];
    /// Spans by service, name, kind and status. Tempo's name.
    SPAN_CALLS = "traces_spanmetrics_calls_total", Counter, ["service", "span_name", "span_kind", "status_code"];
    /// Seconds of spans by service, name, kind and status. Tempo's name.
    SPAN_LATENCY = "traces_spanmetrics_latency", Histogram, ["service", "span_name", "span_kind", "status_code"];

    /// Requests of a node (its visits) or of an edge.
    REQUESTS = "tracemap_requests_total", Counter, ["id", "kind", "client", "server"];
    /// Requests of a node or of an edge that failed.
    FAILED = "tracemap_failed_total", Counter, ["id", "kind", "client", "server"];
    /// Own seconds: of a visit without its outgoing calls, or of an edge without its callee (network and waiting).
    OWN_SECONDS = "tracemap_own_seconds", Histogram, ["id", "kind", "client", "server"];
    /// Seconds of a visit with its calls, or of the calling span of an edge.
    TOTAL_SECONDS = "tracemap_total_seconds", Histogram, ["id", "kind", "client", "server"];
    /// Requests whose operation had a baseline. Unweighted.
    JUDGED = "tracemap_judged_total", Counter, ["id", "kind", "client", "server"];
    /// Judged requests whose own time exceeded the learned edge of their operation. Unweighted.
    OWN_SLOW = "tracemap_own_slow_total", Counter, ["id", "kind", "client", "server"];
    /// How many judged requests were expected to exceed the edge in own time: the sum of their expected shares.
    OWN_SLOW_EXPECTED = "tracemap_own_slow_expected_total", Counter, ["id", "kind", "client", "server"];
    /// Judged requests whose total time exceeded the learned edge of their operation. Unweighted.
    TOTAL_SLOW = "tracemap_total_slow_total", Counter, ["id", "kind", "client", "server"];
    /// How many judged requests were expected to exceed the edge in total time: the sum of their expected shares.
    TOTAL_SLOW_EXPECTED = "tracemap_total_slow_expected_total", Counter, ["id", "kind", "client", "server"];
    /// Judged requests that failed by themselves: visits of which no call failed, and calls whose callee did not. Unweighted.
    OWN_FAILED = "tracemap_own_failed_total", Counter, ["id", "kind", "client", "server"];
    /// How many judged requests were expected to fail by themselves: the sum of their expected shares.
    OWN_FAILED_EXPECTED = "tracemap_own_failed_expected_total", Counter, ["id", "kind", "client", "server"];
    /// Judged requests that failed. Unweighted.
    JUDGED_FAILED = "tracemap_judged_failed_total", Counter, ["id", "kind", "client", "server"];
    /// How many judged requests were expected to fail: the sum of their expected shares.
    JUDGED_FAILED_EXPECTED = "tracemap_judged_failed_expected_total", Counter, ["id", "kind", "client", "server"];
    /// Seconds of own time that lay on the critical path of a trace: what its root waited for there and nowhere else.
    CRITICAL_SECONDS = "tracemap_critical_path_seconds_total", Counter, ["id", "kind", "client", "server"];
    /// Of those seconds the ones by which slow requests exceeded the usual own time of their operation, its median: so much longer
    /// did roots wait because of them. Judged requests only.
    CRITICAL_EXCESS_SECONDS = "tracemap_critical_path_excess_seconds_total", Counter, ["id", "kind", "client", "server"];
    /// Seconds that users waited for a node at which their requests enter the system.
    WAITED_SECONDS = "tracemap_waited_seconds_total", Counter, ["id"];
    /// Requests of an edge that repeat one that failed.
    RETRIES = "tracemap_retries_total", Counter, ["id", "kind", "client", "server"];
    /// Calls of one visit to one callee. Its unit is calls, not seconds.
    FAN_OUT = "tracemap_fan_out", Histogram, ["id", "kind", "client", "server"];
    /// Seconds a message lay in the queue, on the edge from the destination to its consumer.
    QUEUE_SECONDS = "tracemap_queue_seconds", Histogram, ["id", "kind", "client", "server"];
    /// Requests of a service's version, the newest few of them; `unknown` where the service does not say it.
    VERSION_REQUESTS = "tracemap_version_requests_total", Counter, ["id", "version"];
    /// Requests of a service's version that failed.
    VERSION_FAILED = "tracemap_version_failed_total", Counter, ["id", "version"];
    /// Own seconds of the requests of a service's version: divided by its requests, the mean own time.
    VERSION_OWN_SECONDS = "tracemap_version_own_seconds_total", Counter, ["id", "version"];
    /// When a service's version was first counted, Unix seconds: when it was deployed, or when the collector began.
    VERSION_FIRST_SEEN = "tracemap_version_first_seen_timestamp_seconds", Gauge, ["id", "version"];

    /// 1 for every edge of the map, broker destinations being nodes of their own.
    EDGE_INFO = "tracemap_edge_info", Gauge, ["id", "client", "server", "connection_type"];
    /// When the first request of an edge began, Unix seconds.
    EDGE_FIRST_SEEN = "tracemap_edge_first_seen_timestamp_seconds", Gauge, ["id", "client", "server", "connection_type"];
    /// When the latest request of an edge began, Unix seconds. An edge that falls silent stays until `map.stale_after`.
    EDGE_LAST_SEEN = "tracemap_edge_last_seen_timestamp_seconds", Gauge, ["id", "client", "server", "connection_type"];
    /// 1 for every node of the map.
    NODE_INFO = "tracemap_node_info", Gauge, ["id", "kind"];
    /// 1 where node `id` waits for node `culprit` over `hops` calls; 0 hops for a node and itself.
    REACH_INFO = "tracemap_reach_info", Gauge, ["id", "culprit", "hops"];
    /// 1 for every node at which work enters the system.
    ENTRYPOINT_INFO = "tracemap_entrypoint_info", Gauge, ["id"];
    /// 1 for every node, with who answers for it.
    OWNER_INFO = "tracemap_owner_info", Gauge, ["id", "team", "tier"];
    /// The promised share of requests that are answered in time, from 0 to 1, for each stated objective: `latency` is
    /// the time, `window` the period of the promise, both as durations such as `300ms`.
    OBJECTIVE_TARGET = "tracemap_objective_target", Gauge, ["id", "latency", "window"];
    /// Requests of a service that were answered within the latency of a stated objective, to within 5 % of the latency.
    OBJECTIVE_GOOD = "tracemap_objective_good_total", Counter, ["id", "latency", "window"];
    /// The learned edge of an entity's busiest operation, in seconds. `measure` is `own` or `total`.
    BASELINE_SECONDS = "tracemap_baseline_seconds", Gauge, ["id", "kind", "measure"];
    /// 1 while a shift of an operation has lasted so long that somebody should say whether it is the new normal.
    NEW_NORMAL_INFO = "tracemap_new_normal_info", Gauge, ["id", "kind", "operation", "measure", "pinned"];
    /// The learned edge of such an operation in seconds, and the one that would be: `edge` is old or new.
    NEW_NORMAL_SECONDS = "tracemap_new_normal_seconds", Gauge, ["id", "kind", "operation", "measure", "edge"];

    /// Spans received by the collector, by what became of them.
    COLLECTOR_SPANS = "tracemap_collector_spans_total", Counter, ["outcome"];
    /// Spans the collector could not use, by reason.
    COLLECTOR_SPANS_DROPPED = "tracemap_collector_spans_dropped_total", Counter, ["reason"];
    /// Export requests received, by transport and outcome.
    COLLECTOR_REQUESTS = "tracemap_collector_requests_total", Counter, ["signal", "transport", "outcome"];
    /// Bytes of export requests received, after decompression.
    COLLECTOR_BYTES = "tracemap_collector_received_bytes_total", Counter, [];
    /// TLS handshakes of a collector's listeners, by how they ended. Not there without TLS.
    COLLECTOR_TLS_HANDSHAKES = "tracemap_collector_tls_handshakes_total", Counter, ["result"];
    /// Changes of a collector's certificates, keys or authorities, by whether they are in use. Not there without TLS.
    COLLECTOR_TLS_RELOADS = "tracemap_collector_tls_reloads_total", Counter, ["outcome"];
    /// Spans a second that everything traced would be (`offered`), that the plan in force foresees (`planned`), and that its budget
    /// allows (`budget`, 0 where there is none).
    COLLECTOR_PLAN_SPANS = "tracemap_collector_plan_spans_per_second", Gauge, ["kind"];
    /// Agents of the last hour that ask for the plan, by whether they follow the one in force: `current` or `behind`.
    COLLECTOR_PLAN_AGENTS = "tracemap_collector_plan_agents", Gauge, ["state"];
    /// Requests that a collector did not answer because of who asked, by listener (`otlp`, `page`) and reason.
    COLLECTOR_DENIED = "tracemap_collector_denied_requests_total", Counter, ["listener", "reason"];
    /// Changes of a collector's token files, by listener and whether they are in use.
    COLLECTOR_TOKEN_RELOADS = "tracemap_collector_token_reloads_total", Counter, ["listener", "outcome"];
    /// Traces in the table, open or kept for late spans.
    COLLECTOR_TRACES = "tracemap_collector_traces", Gauge, ["state"];
    /// Traces for which the trace table had no room as long as they should have been there: `closed` before they fell
    /// quiet, or `forgotten` before late spans were given up. Halves that come afterwards may count a call twice.
    COLLECTOR_CUT_SHORT = "tracemap_collector_traces_cut_short_total", Counter, ["how"];
    /// Bytes of spans in the trace table, as budgeted.
    COLLECTOR_TABLE_BYTES = "tracemap_collector_trace_table_bytes", Gauge, [];
    /// Requests joined to an edge, by evidence.
    COLLECTOR_EVIDENCE = "tracemap_collector_edge_evidence_total", Counter, ["evidence"];
    /// CLIENT spans whose far side neither reported nor is named by an attribute, so that no edge could be drawn.
    COLLECTOR_UNNAMED_PEERS = "tracemap_collector_unnamed_peers_total", Counter, [];
    /// Requests whose far side is known only in part because a budget was spent, by the label that overflowed.
    COLLECTOR_OVERFLOW = "tracemap_collector_overflow_total", Counter, ["label"];
    /// Nodes and edges that were removed because nothing was seen of them for long, by kind.
    COLLECTOR_ENDED = "tracemap_collector_ended_total", Counter, ["kind"];
    /// Addresses at which several services answer, so that they name none of them.
    COLLECTOR_SHARED_ADDRESSES = "tracemap_collector_shared_addresses", Gauge, [];
    /// Corrections of the map after a counter was final, by kind.
    COLLECTOR_CORRECTIONS = "tracemap_collector_map_corrections_total", Counter, ["kind"];
    /// Pairs that did not fit the reach budget.
    COLLECTOR_REACH_LEFT_OUT = "tracemap_collector_reach_left_out", Gauge, [];
    /// Generated files by state: `written`, `unchanged`, `foreign` (left alone).
    COLLECTOR_FILES = "tracemap_collector_generated_files", Gauge, ["state"];
    /// Objects that a collector publishes to Kubernetes, as the last whole round left them: `current`, `conflict` (another
    /// field manager has what is to be ours), `foreign` (one of the name is not ours), `refused`. Not there unless configured.
    COLLECTOR_KUBERNETES_OBJECTS = "tracemap_collector_kubernetes_objects", Gauge, ["state"];
    /// Objects in Kubernetes that a collector created or changed (`applied`), and removed, since the start.
    COLLECTOR_KUBERNETES_CHANGES = "tracemap_collector_kubernetes_changes_total", Counter, ["change"];
    /// Rounds of publishing to Kubernetes that broke off since the start, by reason.
    COLLECTOR_KUBERNETES_FAILURES = "tracemap_collector_kubernetes_failures_total", Counter, ["reason"];
    /// When all published objects were last seen as they should be, in seconds since 1970; 0 where they were not yet.
    COLLECTOR_KUBERNETES_LAST_SUCCESS_SECONDS = "tracemap_collector_kubernetes_last_success_timestamp_seconds", Gauge, [];
    /// Bytes that the baselines of operations occupy.
    COLLECTOR_BASELINE_BYTES = "tracemap_collector_baseline_bytes", Gauge, [];
    /// Requests since the start that no baseline of their own judged: folded into a shared one for want of memory, or
    /// unjudged because too little is known.
    COLLECTOR_BASELINE_REQUESTS = "tracemap_collector_baseline_requests_total", Counter, ["outcome"];
    /// Names of nodes and operations that were asked for beyond the budget for names, since the start.
    COLLECTOR_NAMES_BEYOND = "tracemap_collector_names_beyond_budget_total", Counter, [];
    /// Bytes that the journal occupies on disk.
    COLLECTOR_JOURNAL_BYTES = "tracemap_collector_journal_bytes", Gauge, [];
    /// Requests handed to the journal since the start: appended, or refused by reason; the sender was told to come back.
    COLLECTOR_JOURNAL_RECORDS = "tracemap_collector_journal_records_total", Counter, ["outcome"];
    /// Groups of requests that the journal made durable together, since the start.
    COLLECTOR_JOURNAL_SYNCS = "tracemap_collector_journal_syncs_total", Counter, [];
    /// Snapshots of map and counters since the start: written or failed.
    COLLECTOR_SNAPSHOTS = "tracemap_collector_snapshots_total", Counter, ["outcome"];
    /// Spans of closed traces by what tail sampling decided, and the policy or the reason, since the start.
    COLLECTOR_SAMPLED_SPANS = "tracemap_collector_sampled_spans_total", Counter, ["decision", "policy"];
    /// Spans that tail sampling kept: stored, or lost because the journal or the store would not have them.
    COLLECTOR_STORED_SPANS = "tracemap_collector_stored_spans_total", Counter, ["outcome"];
    /// Bytes that stored traces occupy on disk.
    COLLECTOR_STORE_BYTES = "tracemap_collector_store_bytes", Gauge, [];
    /// Stored spans that were removed by age or size, since the start.
    COLLECTOR_STORE_REMOVED_SPANS = "tracemap_collector_store_removed_spans_total", Counter, [];
    /// Blocks of the trace store that were asked for and found damaged, since the start.
    COLLECTOR_STORE_DAMAGED_READS = "tracemap_collector_store_damaged_reads_total", Counter, [];
    /// Merges of segments of the trace store since the start, by outcome: `done`, or `failed` and to be tried again.
    COLLECTOR_STORE_MERGES = "tracemap_collector_store_merges_total", Counter, ["outcome"];
    /// Segments of the trace store that went into larger ones since the start.
    COLLECTOR_STORE_MERGED_SEGMENTS = "tracemap_collector_store_merged_segments_total", Counter, [];
    /// Bytes that merging segments of the trace store wrote since the start.
    COLLECTOR_STORE_MERGED_BYTES = "tracemap_collector_store_merged_bytes_total", Counter, [];
    /// Samples that the receiver of remote write took since the start, stale markers included. A native histogram is one.
    COLLECTOR_REMOTE_WRITE_SENT = "tracemap_collector_remote_write_sent_samples_total", Counter, [];
    /// Stale markers among the samples that the receiver of remote write took: series that ended.
    COLLECTOR_REMOTE_WRITE_STALE = "tracemap_collector_remote_write_sent_stale_markers_total", Counter, [];
    /// Samples that remote write gave up since the start, by reason.
    COLLECTOR_REMOTE_WRITE_DROPPED = "tracemap_collector_remote_write_dropped_samples_total", Counter, ["reason"];
    /// Tries of remote write since the start: `taken`, or to be `retried` because the receiver could not take it yet.
    COLLECTOR_REMOTE_WRITE_REQUESTS = "tracemap_collector_remote_write_requests_total", Counter, ["outcome"];
    /// Bytes that the receiver of remote write took since the start, as compressed.
    COLLECTOR_REMOTE_WRITE_BYTES = "tracemap_collector_remote_write_sent_bytes_total", Counter, [];
    /// Scrapes that wait for the receiver of remote write, that under way included.
    COLLECTOR_REMOTE_WRITE_QUEUED = "tracemap_collector_remote_write_queued_scrapes", Gauge, [];
    /// Memory of the scrapes that wait for the receiver of remote write.
    COLLECTOR_REMOTE_WRITE_QUEUED_BYTES = "tracemap_collector_remote_write_queued_bytes", Gauge, [];
    /// Time of the newest scrape of which the receiver of remote write took something, Unix seconds; 0 before the first.
    COLLECTOR_REMOTE_WRITE_NEWEST = "tracemap_collector_remote_write_newest_sent_timestamp_seconds", Gauge, [];

    /// Requests that passed an agent, by direction and outcome.
    AGENT_REQUESTS = "tracemap_agent_requests_total", Counter, ["direction", "outcome"];
    /// Spans of an agent, its own and relayed ones, by what finally became of them.
    AGENT_SPANS = "tracemap_agent_spans_total", Counter, ["outcome"];
    /// Spans of an agent that did not reach the collector, by reason.
    AGENT_SPANS_DROPPED = "tracemap_agent_spans_dropped_total", Counter, ["reason"];
    /// Requests by the format that their trace context came in.
    AGENT_CONTEXT = "tracemap_agent_context_total", Counter, ["direction", "source"];
    /// Context and ids that were not believed or did not travel on, by format and reason.
    AGENT_CONTEXT_SKIPPED = "tracemap_agent_context_skipped_total", Counter, ["format", "reason"];
    /// Outbound requests and messages by the evidence that found their parent; each message of a batch counts.
    AGENT_CORRELATION = "tracemap_agent_correlation_total", Counter, ["method"];
    /// Requests and messages of an agent's edges by whether their context came through, bounded in peers; each message of a
    /// batch counts. Results: `carried`,
    /// `conflicting` (two traces in two formats), `invalid`, `absent`; of calls also `restored` by other evidence, and `lost`:
    /// a request was in flight, and the call carries nothing of it.
    AGENT_EDGE_CONTEXT = "tracemap_agent_edge_context_total", Counter, ["direction", "peer", "format", "result"];
    /// Requests that an agent counted for edges: under their own far side, or `overflow` beyond the bound of peers.
    AGENT_EDGE_REQUESTS = "tracemap_agent_edge_requests_total", Counter, ["outcome"];
    /// Reports of edge counts by what became of them.
    AGENT_EDGE_REPORTS = "tracemap_agent_edge_reports_total", Counter, ["outcome"];
    /// Lines of an agent's access log by what became of them.
    AGENT_ACCESS_LINES = "tracemap_agent_access_log_lines_total", Counter, ["outcome"];
    /// Calls with exact evidence for which an agent's rule of the only request in flight had an answer too.
    AGENT_EXCLUSIVE_AUDITED = "tracemap_agent_exclusive_audited_total", Counter, ["service", "result"];
    /// How often that rule was switched off because it was wrong too often.
    AGENT_EXCLUSIVE_OFF = "tracemap_agent_exclusive_switched_off_total", Counter, ["service"];
    /// 1 where that rule is in use, else 0.
    AGENT_EXCLUSIVE_ENABLED = "tracemap_agent_exclusive_enabled", Gauge, ["service"];
    /// Calls that began a trace of their own because their parent had gathered enough, by the bound they met.
    AGENT_RESTARTED = "tracemap_agent_restarted_traces_total", Counter, ["cap"];
    /// Questions of an agent for the share of new traces to record, by what became of them.
    AGENT_REMOTE_SAMPLING = "tracemap_agent_remote_sampling_polls_total", Counter, ["outcome"];
    /// TLS handshakes of an agent, by the side they were made with and how they ended.
    AGENT_TLS_HANDSHAKES = "tracemap_agent_tls_handshakes_total", Counter, ["side", "result"];
    /// Changes of an agent's certificates, keys or authorities, by whether they are in use.
    AGENT_TLS_RELOADS = "tracemap_agent_tls_reloads_total", Counter, ["side", "outcome"];
    /// Requests that an agent did not answer because of who asked, by listener (`otlp`, `admin`, `sampling`) and
    /// reason.
    AGENT_DENIED = "tracemap_agent_denied_requests_total", Counter, ["listener", "reason"];
    /// Changes of an agent's token files, by listener and whether they are in use.
    AGENT_TOKEN_RELOADS = "tracemap_agent_token_reloads_total", Counter, ["listener", "outcome"];
    /// Questions of an agent for the plan that it follows, by what became of them.
    AGENT_PLAN_POLLS = "tracemap_agent_plan_polls_total", Counter, ["outcome"];
    /// When an agent last learnt what its plan is, in seconds since 1970; 0 where it has not yet.
    AGENT_PLAN_LAST_SUCCESS_SECONDS = "tracemap_agent_plan_last_success_timestamp_seconds", Gauge, [];
    /// Configurations that a running agent was told to take over, by what became of them.
    AGENT_CONFIG_RELOADS = "tracemap_agent_config_reloads_total", Counter, ["outcome"];
    /// 1 where the configuration of an agent that was read last is in force, 0 where it had problems and the one before stays.
    AGENT_CONFIG_LAST_RELOAD_SUCCESSFUL = "tracemap_agent_config_last_reload_successful", Gauge, [];
    /// When the configuration in force was read, in seconds since 1970.
    AGENT_CONFIG_LAST_RELOAD_SUCCESS_SECONDS = "tracemap_agent_config_last_reload_success_timestamp_seconds", Gauge, [];
    /// Pods that an agent knows by their addresses, where it watches those of its node.
    AGENT_PODS = "tracemap_agent_pods", Gauge, [];
    /// When an agent last heard of its node's pods, in seconds since 1970; 0 where it has not yet.
    AGENT_PODS_LAST_SYNC_SECONDS = "tracemap_agent_pods_last_sync_timestamp_seconds", Gauge, [];
    /// Times that an agent had to begin its watch of pods again, by reason: `ended` is in good order.
    AGENT_POD_WATCH_RESTARTS = "tracemap_agent_pod_watch_restarts_total", Counter, ["reason"];
    /// Times that an agent heard of a pod and left it out, since it already knew `agent.kubernetes.pods.max`.
    AGENT_PODS_LEFT_OUT = "tracemap_agent_pods_left_out_total", Counter, [];
    /// OTLP requests of SDKs that an agent relayed, by what they carry, transport and outcome.
    AGENT_RELAY = "tracemap_agent_relay_requests_total", Counter, ["signal", "transport", "outcome"];
    /// Data points (signal `metrics`) and log records (`logs`) of SDKs that an agent passed on, by what became of them: `sent` or
    /// `dropped`.
    AGENT_PASSED = "tracemap_agent_passed_items_total", Counter, ["signal", "outcome"];
    /// Data points and log records of SDKs that an agent took and could not pass on, by reason.
    AGENT_PASSED_DROPPED = "tracemap_agent_passed_items_dropped_total", Counter, ["signal", "reason"];
    /// Spans that an agent keeps on disk where it can, and kept in memory: the disk is full, failing, slow or not open yet.
    AGENT_FALLBACK_SPANS = "tracemap_agent_buffer_fallback_spans_total", Counter, [];
    /// 1 where an agent's spans wait on disk, 0 where in memory, also because the disk cannot be had yet.
    AGENT_BUFFER_ON_DISK = "tracemap_agent_buffer_on_disk", Gauge, [];
    /// Connections of callers that are open at an agent's proxies.
    AGENT_CONNECTIONS = "tracemap_agent_connections", Gauge, [];
    /// Connections of callers that an agent cut or did not take, by reason.
    AGENT_CONNECTIONS_CUT = "tracemap_agent_connections_cut_total", Counter, ["reason"];
    /// Connections that were redirected to an agent, by what became of them: `http1` and `http2` with spans; as they are
    /// `tls`, `to_proxy`, `server_first`, `blind_port`, `other`, `not_understood` (it began like HTTP) and
    /// `unknown_workload`; refused `not_allowed`, `loop`, `no_destination` and `unreachable`; `gone` without a word.
    AGENT_REDIRECTED = "tracemap_agent_redirected_connections_total", Counter, ["direction", "outcome"];
    /// Messages that an agent saw on their way to a broker (`sent`) or from one (`received`), by what became of them: `ok`,
    /// `failed`, or `open` where their connection ended first.
    AGENT_QUEUE_MESSAGES = "tracemap_agent_queue_messages_total", Counter, ["protocol", "direction", "outcome"];
    /// What passed on its way to or from a broker as it came although more was wanted of it, by reason: of messages
    /// `too_large`, `no_headers`, `compression` and `not_held` (too large to be looked into); `unknown_frame`; of whole
    /// connections `malformed`, `unknown` and `encrypted`.
    AGENT_QUEUE_SKIPPED = "tracemap_agent_queue_skipped_total", Counter, ["protocol", "reason"];
    /// Bytes of encoded spans that wait for the collector.
    AGENT_BUFFERED_BYTES = "tracemap_agent_buffered_bytes", Gauge, [];

    /// Judged requests by entity and window. Longer windows than that of the settings are there for entities with few only.
    RECORDED_JUDGED = "tracemap:judged:increase", Recorded, ["id", "kind", "client", "server", "window"];
    /// Slow share of own time in the window; absent where nothing was judged.
    RECORDED_OWN_SHARE = "tracemap:own_slow:share", Recorded, ["id", "kind", "client", "server", "window"];
    /// Expected slow share of own time in the window.
    RECORDED_OWN_EXPECTED = "tracemap:own_slow:expected", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence in nats that own time is degraded; negative where it is healthier than expected.
    RECORDED_OWN_EVIDENCE = "tracemap:own_slow:evidence", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence of those entities whose own time was degraded within the window and no longer is.
    RECORDED_OWN_OVER = "tracemap:own:over", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence of those entities whose own time is degraded; empty while healthy.
    RECORDED_OWN_DEGRADED = "tracemap:own:degraded", Recorded, ["id", "kind", "client", "server"];
    /// Slow share of total time in the window. Services only: an edge's total is its callee's and its own.
    RECORDED_TOTAL_SHARE = "tracemap:total_slow:share", Recorded, ["id", "kind", "window"];
    /// Expected slow share of total time in the window. Services only.
    RECORDED_TOTAL_EXPECTED = "tracemap:total_slow:expected", Recorded, ["id", "kind", "window"];
    /// Evidence in nats that total time is degraded. Services only.
    RECORDED_TOTAL_EVIDENCE = "tracemap:total_slow:evidence", Recorded, ["id", "kind", "window"];
    /// Evidence of those services whose total time is degraded; empty while healthy.
    RECORDED_TOTAL_DEGRADED = "tracemap:total:degraded", Recorded, ["id", "kind"];
    /// Degraded edges, once for each end that could be the culprit (`side` is `caller` or `callee`), with the evidence.
    RECORDED_EDGE_SUSPECT = "tracemap:edge:suspect", Recorded, ["id", "culprit", "side"];
    /// Evidence in nats that the hypothesis "this node is the culprit" explains; empty while healthy.
    RECORDED_CULPRIT_EXPLAINED = "tracemap:culprit:explained", Recorded, ["culprit"];
    /// What the hypothesis that a node is the culprit explains, less what it should have slowed and did not.
    RECORDED_CULPRIT_SCORE = "tracemap:culprit:score", Recorded, ["culprit"];
    /// Degraded edges, each charged to the better hypothesis at its ends, with the evidence.
    RECORDED_EDGE_CHARGED = "tracemap:edge:charged", Recorded, ["id", "culprit"];
    /// Nodes to which degradation is charged, with the evidence in nats; empty while healthy.
    RECORDED_CULPRIT = "tracemap:culprit:evidence", Recorded, ["culprit"];
    /// Services that are slow in total and wait for a culprit, with their evidence in nats; empty while healthy.
    RECORDED_CULPRIT_SLOWS = "tracemap:culprit:slows", Recorded, ["culprit", "id"];
    /// Share of the waiting of those users that wait for a culprit which is its excess; empty while healthy. Of several windows
    /// the one that says most.
    RECORDED_CULPRIT_FELT = "tracemap:culprit:felt", Recorded, ["culprit"];
    /// 1 for every culprit, with who answers for it; empty while healthy.
    RECORDED_CULPRIT_OWNER = "tracemap:culprit:owner", Recorded, ["culprit", "team", "tier"];
    /// Judged requests by entity and window, as the rules about failures count them.
    RECORDED_ERRORS_JUDGED = "tracemap:errors_judged:increase", Recorded, ["id", "kind", "client", "server", "window"];
    /// Share of the requests in the window that failed by themselves; absent where nothing was judged.
    RECORDED_OWN_FAILED_SHARE = "tracemap:own_failed:share", Recorded, ["id", "kind", "client", "server", "window"];
    /// Share of the requests in the window that was expected to fail by itself.
    RECORDED_OWN_FAILED_EXPECTED = "tracemap:own_failed:expected", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence in nats that more requests fail by themselves than expected; negative where fewer do.
    RECORDED_OWN_FAILED_EVIDENCE = "tracemap:own_failed:evidence", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence of those entities that failed by themselves within the window and no longer do.
    RECORDED_OWN_FAILED_OVER = "tracemap:own_failed:over", Recorded, ["id", "kind", "client", "server", "window"];
    /// Evidence of those entities that fail by themselves; empty while healthy.
    RECORDED_OWN_FAILING = "tracemap:own_failed:degraded", Recorded, ["id", "kind", "client", "server"];
    /// Share of the requests in the window that failed. Services only.
    RECORDED_FAILED_SHARE = "tracemap:failed:share", Recorded, ["id", "kind", "window"];
    /// Share of the requests in the window that was expected to fail. Services only.
    RECORDED_FAILED_EXPECTED = "tracemap:failed:expected", Recorded, ["id", "kind", "window"];
    /// Evidence in nats that more requests fail than expected. Services only.
    RECORDED_FAILED_EVIDENCE = "tracemap:failed:evidence", Recorded, ["id", "kind", "window"];
    /// Evidence of those services that fail; empty while healthy.
    RECORDED_FAILING = "tracemap:failed:degraded", Recorded, ["id", "kind"];
    /// Failing edges, once for each end that could be the culprit (`side` is `caller` or `callee`), with the evidence.
    RECORDED_ERRORS_EDGE_SUSPECT = "tracemap:errors_edge:suspect", Recorded, ["id", "culprit", "side"];
    /// Evidence in nats that the hypothesis "this node is the culprit of the failures" explains; empty while healthy.
    RECORDED_ERRORS_EXPLAINED = "tracemap:errors_culprit:explained", Recorded, ["culprit"];
    /// What the hypothesis explains, less what should have failed and did not.
    RECORDED_ERRORS_SCORE = "tracemap:errors_culprit:score", Recorded, ["culprit"];
    /// Failing edges, each charged to the better hypothesis at its ends, with the evidence.
    RECORDED_ERRORS_EDGE_CHARGED = "tracemap:errors_edge:charged", Recorded, ["id", "culprit"];
    /// Nodes to which failures are charged, with the evidence in nats; empty while healthy.
    RECORDED_ERRORS_CULPRIT = "tracemap:errors_culprit:evidence", Recorded, ["culprit"];
    /// Services that fail and wait for a culprit, with their evidence in nats; empty while healthy.
    RECORDED_ERRORS_FAILS = "tracemap:errors_culprit:fails", Recorded, ["culprit", "id"];
    /// 1 for every culprit of failures, with who answers for it; empty while healthy.
    RECORDED_ERRORS_OWNER = "tracemap:errors_culprit:owner", Recorded, ["culprit", "team", "tier"];
    /// Requests of a service in five minutes, for each objective that was stated before them.
    RECORDED_OBJECTIVE_REQUESTS = "tracemap:objective_requests:increase5m", Recorded, ["id", "latency", "window"];
    /// Those of them that are evidence: not more than were judged, which are not weighted by sampling.
    RECORDED_OBJECTIVE_SEEN = "tracemap:objective_seen:increase5m", Recorded, ["id", "latency", "window"];
    /// Those of them that were answered later than the objective's latency.
    RECORDED_OBJECTIVE_LATE = "tracemap:objective_late:increase5m", Recorded, ["id", "latency", "window"];
    /// Late share of the requests over the time in `range`; absent where no request came.
    RECORDED_OBJECTIVE_SHARE = "tracemap:objective_late:share", Recorded, ["id", "latency", "window", "range"];
    /// How many times faster than allowed an objective's budget of late answers was spent over the time in `range`.
    RECORDED_OBJECTIVE_BURN = "tracemap:objective:burn", Recorded, ["id", "latency", "window", "range"];
    /// The same for objectives whose budget is spent too fast, over the long window in `range`; empty while promises are kept.
    RECORDED_OBJECTIVE_BURNING = "tracemap:objective:burning", Recorded, ["id", "latency", "window", "range"];
    /// The fastest of them by service and long window, where no page for a culprit explains it.
    RECORDED_OBJECTIVE_UNEXPLAINED = "tracemap:objective:unexplained", Recorded, ["id", "range"];

    /// Mean seconds in the window, `measure` being `own` or `total`. Of the profile `static`, like what follows.
    RECORDED_MEAN_SECONDS = "tracemap:seconds:mean", Recorded, ["id", "kind", "client", "server", "measure"];
    /// Those of them that were not degraded, from which is learned what is usual.
    RECORDED_HEALTHY_SECONDS = "tracemap:seconds:healthy", Recorded, ["id", "kind", "client", "server", "measure"];
    /// Their median over the past; absent where too little of it is known.
    RECORDED_USUAL_SECONDS = "tracemap:seconds:usual", Recorded, ["id", "kind", "client", "server", "measure"];
    /// How far healthy means stray above it, as a standard deviation in seconds.
    RECORDED_SECONDS_SPREAD = "tracemap:seconds:spread", Recorded, ["id", "kind", "client", "server", "measure"];
    /// How far the mean lies from what is usual, in standard deviations. Not seconds.
    RECORDED_SECONDS_DEVIATION = "tracemap:seconds:deviation", Recorded, ["id", "kind", "client", "server", "measure"];
    /// Requests that a window usually has.
    RECORDED_JUDGED_USUAL = "tracemap:judged:usual", Recorded, ["id", "kind", "client", "server"];
    /// Services that are slow in total and wait for a culprit, whether it explains that or not; empty while healthy.
    RECORDED_CULPRIT_WAITERS = "tracemap:culprit:waiters", Recorded, ["culprit", "id"];
    /// Seconds that a culprit lost in the window, its own and those of its edges; empty while healthy.
    RECORDED_CULPRIT_EXCESS = "tracemap:culprit:excess", Recorded, ["culprit"];
}

/// The series that a selector's metric name belongs to, histogram suffixes included.
pub fn find(metric: &str) -> Option<&'static Series> {
    ALL.iter().find(|series| {
        series.name == metric
            || series.kind == Type::Histogram
                && metric
                    .strip_prefix(series.name)
                    .is_some_and(|s| matches!(s, "_bucket" | "_sum" | "_count"))
    })
}

/// Upper bounds of the classic buckets of every latency histogram, in seconds: from 2 ms (half a millisecond for the
/// fast callee) to half a minute, twice per octave where requests live.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.048, 0.064, 0.1, 0.128,
    0.2, 0.256, 0.4, 0.512, 0.8, 1.024, 1.5, 2.048, 4.096, 8.192, 16.384, 32.768,
];

/// Upper bounds of the classic buckets of [`FAN_OUT`], in calls.
pub const CALL_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

impl Series {
    /// Upper bounds of its classic buckets, where it is a histogram.
    pub fn buckets(&self) -> &'static [f64] {
        if self.name == FAN_OUT {
            CALL_BUCKETS
        } else {
            LATENCY_BUCKETS
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_said_once_and_follows_prometheus_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), ALL.len());
        for series in ALL {
            let total = series.name.ends_with("_total");
            assert_eq!(total, series.kind == Type::Counter, "{}", series.name);
            assert_eq!(
                series.name.contains(':'),
                series.kind == Type::Recorded,
                "{}",
                series.name
            );
            assert!(!series.help.is_empty(), "{}", series.name);
        }
    }

    #[test]
    fn a_histogram_is_found_by_its_parts_and_a_stranger_is_not() {
        assert_eq!(
            find("traces_spanmetrics_latency_bucket").unwrap().name,
            SPAN_LATENCY
        );
        assert_eq!(find("tracemap_own_slow_total").unwrap().name, OWN_SLOW);
        assert!(find("tracemap_own_slow_total_bucket").is_none());
        assert!(find("up").is_none());
    }

    #[test]
    fn buckets_rise_and_start_at_two_milliseconds_or_finer() {
        assert!(
            [LATENCY_BUCKETS, CALL_BUCKETS]
                .iter()
                .all(|b| b.windows(2).all(|w| w[0] < w[1]))
        );
        assert!(LATENCY_BUCKETS[0] <= 0.002);
    }
}
