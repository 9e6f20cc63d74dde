//! The sections `collector` and `generate` of the configuration.
//!
//! In: YAML, by way of the `config` crate. Out: settings with a default for every key.
//! Left out on purpose: the section `services`, which is the map's.

mod tenants;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use alerts::AlertSettings;
use config::{ByteSize, Finding, HumanDuration};
use dashboards::DashboardSettings;
use exposition::remote::RemoteWriteSettings;
use grafana::GrafanaSettings;
use instrumentation::check::CheckSettings;
use instrumentation::logging::LoggingSettings;
use instrumentation::plan::PlanSettings;
use instrumentation::resilience::ResilienceSettings;
use map::Services;
use otlp::access::AccessSettings;
pub use sampling::SamplingSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::tenants::Part;
pub use self::tenants::{TenantHeaderSettings, TenantSettings};
pub use crate::cluster::{KubernetesPublishSettings, PublishSettings, PublishedObjects};
use crate::ledger::{LedgerSettings, MapBudget};
use crate::series::SeriesLimits;
use crate::table::TableSettings;
pub use crate::tls::TlsSettings;

/// The section `collector`: what comes in, how it is paired, what is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorSettings {
    /// Where spans come in.
    pub otlp: OtlpSettings,
    /// Where the page, the API and the metrics are served.
    pub web: WebSettings,
    /// Where map, counters and baselines are kept over a restart. Default: nowhere, a restart begins with an empty
    /// map. `tracemap up` sets `./tracemap-data`.
    pub data_dir: Option<PathBuf>,
    /// How long traces are waited for.
    pub pairing: PairingSettings,
    /// How normal latencies are learned.
    pub baseline: LearnSettings,
    /// How large the map may grow.
    pub map: MapSettings,
    /// What is written before a sender is told that its spans are safe. Only with `data_dir`.
    pub journal: JournalSettings,
    /// Traces that are kept to be looked at. Only with `data_dir` and the journal.
    pub store: StoreSettings,
    /// Which traces are kept. The map and the metrics have counted every span before.
    pub sampling: SamplingSettings,
    /// Where series are pushed to, for those who do not scrape. Default: nowhere.
    pub remote_write: Option<RemoteWriteSettings>,
    /// Where generated objects are kept in step, besides `generate.out`. Default: nowhere.
    pub publish: PublishSettings,
    /// Shards, each a thread with its own traces. Default 0: as many as there are cores.
    pub shards: usize,
    /// Teams that must not see each other's traces, by name, each with a map, series, traces and files of its own behind the
    /// same listeners. Default: none, and all is one. What a request is for is said by its token, or by `tenant_header`.
    /// `map`, `pairing.max_memory`, `baseline.max_memory`, `journal.max_size`, `store.max_size` and
    /// `remote_write.max_memory` are what all of them have together.
    pub tenants: BTreeMap<String, TenantSettings>,
    /// A header that names the tenant of a request, for callers that are trusted with it: those with a token of
    /// `access.tokens`, which is no tenant's, and everybody at a listener without any token. Default: none is looked at.
    pub tenant_header: Option<TenantHeaderSettings>,
}

/// Where spans come in. Both bind to loopback unless another address is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// OTLP/gRPC. Default `127.0.0.1:4317`; port 0 lets the system choose.
    pub grpc: String,
    /// OTLP/HTTP, protobuf and JSON. Default `127.0.0.1:4318`.
    pub http: String,
    /// TLS for senders, on both. Default: none.
    pub tls: Option<TlsSettings>,
    /// Who may send, and how much. Default: whoever reaches the addresses.
    pub access: AccessSettings,
    /// Names under which browsers may send to OTLP/HTTP while it listens at loopback without tokens, beside addresses and
    /// `localhost`: a web page elsewhere may lead its own name here. Default `[]`. Programs may use any name.
    pub hosts: Vec<String>,
    /// Longest request after decompression. Default `64MiB`; longer ones are refused with 413.
    pub max_request_size: ByteSize,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            grpc: "127.0.0.1:4317".to_owned(),
            http: "127.0.0.1:4318".to_owned(),
            tls: None,
            access: AccessSettings::default(),
            hosts: Vec::new(),
            max_request_size: ByteSize::mib(64),
        }
    }
}

/// Where the page, the API and the metrics are served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSettings {
    /// Default `127.0.0.1:7070`. Beyond loopback it wants `access.tokens`, or something before it that asks who is there.
    pub listen: String,
    /// TLS for readers. Default: none.
    pub tls: Option<TlsSettings>,
    /// Who may read, and change baselines. Default: whoever reaches the address.
    pub access: AccessSettings,
    /// Names under which the page may be asked for while it listens at loopback without tokens, beside addresses and
    /// `localhost`: a web page elsewhere may lead its own name here, and would read it as its own. Default `[]`.
    pub hosts: Vec<String>,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7070".to_owned(),
            tls: None,
            access: AccessSettings::default(),
            hosts: Vec::new(),
        }
    }
}

/// How long traces are waited for, and how much memory that may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairingSettings {
    /// A trace is closed when no span of it came for this long. Default `2s`. Longer joins slower senders and shows
    /// edges later. A trace that lacks a half of a call whose halves use to come later is waited for as long as all but
    /// a thousandth of them take, at most `max_wait`; that is learned.
    pub wait: HumanDuration,
    /// A trace that never falls quiet is closed this long after its first span. Default `30s`.
    pub max_wait: HumanDuration,
    /// How long a closed trace is kept so that late spans still correct the map. Default `1m`.
    pub keep: HumanDuration,
    /// Memory for spans of open and kept traces. Default `256MiB`. At the bound kept traces go first, then senders
    /// are told to come back.
    pub max_memory: ByteSize,
}

impl Default for PairingSettings {
    fn default() -> Self {
        let table = TableSettings::default();
        Self {
            wait: HumanDuration(table.wait),
            max_wait: HumanDuration(table.max_open),
            keep: HumanDuration(table.keep),
            max_memory: ByteSize(table.max_bytes as u64),
        }
    }
}

/// What is written before a sender is told that its spans are safe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// `sync` (default): acknowledged spans survive the loss of power. `write`: they survive the end of the process, at
    /// a smaller cost. `off`: they survive neither; map and counters are still saved every ten seconds, and no trace
    /// is stored.
    pub durability: Durability,
    /// Disk that it may take. Default `4GiB`, at least `256MiB`. At the bound senders are told to come back.
    pub max_size: ByteSize,
}

/// How safe acknowledged spans are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// From loss of power.
    #[default]
    Sync,
    /// From the end of the process.
    Write,
    /// Not at all.
    Off,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            max_size: ByteSize(4 << 30),
        }
    }
}

/// Traces that are kept to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Default true. False keeps no trace; the map, the metrics and the alerts need none.
    pub enabled: bool,
    /// Older traces are removed. Default `3d`.
    pub max_age: HumanDuration,
    /// Disk that they may take; the oldest go first. Default `10GiB`.
    pub max_size: ByteSize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_age: HumanDuration::from_secs(3 * 24 * 3600),
            max_size: ByteSize(10 << 30),
        }
    }
}

/// How normal latencies are learned, per operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnSettings {
    /// How long an operation is watched before it is judged. Default `5m`; `up --demo` sets `1m`.
    pub learn: HumanDuration,
    /// How many requests it must have had by then. Default 200: below that the share above the edge says little.
    pub min_requests: u64,
    /// How often what was learned is renewed. Default `1h`. Degraded intervals are never learned.
    pub refresh: HumanDuration,
    /// The edge is at least this much above the 95th percentile. Default `5ms`: less is noise to whoever waits.
    pub margin: HumanDuration,
    /// And at least this many times the 95th percentile. Default 1.2.
    pub factor: f64,
    /// Also learn what is normal for the hour of the week and of the day, so that a nightly job is no fault. Default
    /// true.
    pub hours: bool,
    /// A shift that lasted this long raises a ticket: is this the new normal? Default `6h`.
    pub shift_after: HumanDuration,
    /// It is learned this long after the ticket, unless the node or edge is among `pins`. Default `6h`.
    pub learn_after: HumanDuration,
    /// Nodes (`shop/cart`) and edges (`shop/web->shop/cart`) whose baseline is held: no lasting shift is learned.
    pub pins: Vec<String>,
    /// Memory for baselines. Default `128MiB`. Beyond it operations of one node or edge share a baseline.
    pub max_memory: ByteSize,
}

impl Default for LearnSettings {
    fn default() -> Self {
        Self {
            learn: HumanDuration::from_secs(300),
            min_requests: 200,
            refresh: HumanDuration::from_secs(3600),
            margin: HumanDuration::from_millis(5),
            factor: 1.2,
            hours: true,
            shift_after: HumanDuration::from_secs(6 * 3600),
            learn_after: HumanDuration::from_secs(6 * 3600),
            pins: Vec::new(),
            max_memory: ByteSize::mib(128),
        }
    }
}

/// How large the map may grow. Beyond it new virtual nodes and edges are folded into `__overflow__`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MapSettings {
    /// Default 5000.
    pub max_nodes: usize,
    /// Default 50000.
    pub max_edges: usize,
    /// A node or edge that nothing was seen of for so long is removed, and its series end. Default `1d`: long enough for
    /// what runs once a day, since a counter that ends and begins anew loses its first increase.
    pub stale_after: HumanDuration,
}

impl Default for MapSettings {
    fn default() -> Self {
        let budget = MapBudget::default();
        Self {
            max_nodes: budget.nodes,
            max_edges: budget.edges,
            stale_after: HumanDuration::from_secs(24 * 3600),
        }
    }
}

/// The section `generate`: what is written from the map, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateSettings {
    /// The directory that is kept generated. Default: none; the page still offers every file.
    pub out: Option<PathBuf>,
    /// Files are written at most this often. Default `1m`.
    pub min_interval: HumanDuration,
    /// Alert rules and Alertmanager.
    pub alerts: AlertSettings,
    /// What Grafana shows.
    pub dashboards: DashboardSettings,
    /// What is traced, and what that may cost.
    pub plan: PlanSettings,
    /// Timeouts, retries, circuit breakers and pools.
    pub resilience: ResilienceSettings,
    /// How it gets there.
    pub grafana: GrafanaSettings,
    /// Files that make log lines join their traces.
    pub logging: LoggingSettings,
    /// What `tracemap check` finds, and what is known.
    pub check: CheckSettings,
}

impl Default for GenerateSettings {
    fn default() -> Self {
        Self {
            out: None,
            min_interval: HumanDuration::from_secs(60),
            alerts: AlertSettings::default(),
            dashboards: DashboardSettings::default(),
            plan: PlanSettings::default(),
            resilience: ResilienceSettings::default(),
            grafana: GrafanaSettings::default(),
            logging: LoggingSettings::default(),
            check: CheckSettings::default(),
        }
    }
}

impl CollectorSettings {
    /// What the shards need of them; the budget is for all shards together.
    pub fn table(&self, places: bool) -> TableSettings {
        TableSettings {
            wait: self.pairing.wait.get(),
            max_open: self.pairing.max_wait.get(),
            keep: self.pairing.keep.get(),
            max_bytes: self.pairing.max_memory.as_usize() / self.shards(),
            places,
            ..TableSettings::default()
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        if self.shards > 0 {
            return self.shards;
        }
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// What the ledger needs of them.
    pub fn ledger(&self, services: Services) -> LedgerSettings {
        LedgerSettings {
            baseline: baseline::Settings {
                learn: self.baseline.learn.get(),
                min_requests: self.baseline.min_requests,
                refresh: self.baseline.refresh.get(),
                margin: self.baseline.margin.get(),
                factor: self.baseline.factor,
                hours: self.baseline.hours,
                shift_after: self.baseline.shift_after.get(),
                learn_after: self.baseline.learn_after.get(),
                max_bytes: self.baseline.max_memory.as_usize(),
                ..baseline::Settings::default()
            },
            pins: self.baseline.pins.clone(),
            budget: MapBudget {
                nodes: self.map.max_nodes,
                edges: self.map.max_edges,
            },
            services,
            stale_after: self.map.stale_after.get(),
            // A replay brings back what tables held, which is no older than this.
            remember_flows: self.pairing.keep.get() + 2 * self.pairing.max_wait.get(),
            series: SeriesLimits::default(),
        }
    }
}

/// What the types of `generate` and `services` allow and good sense does not.
pub fn check(
    collector: &CollectorSettings,
    generate: &GenerateSettings,
    services: &Services,
) -> Vec<Finding> {
    let mut found = check_generated(generate, services, "");
    found.extend(collector.check_tenants(generate, services));
    found.extend(collector.sampling.check("collector.sampling"));
    let doors = [
        ("collector.otlp", &collector.otlp.tls, &collector.otlp.access),
        ("collector.web", &collector.web.tls, &collector.web.access),
    ];
    for (path, tls, access) in doors {
        found.extend(tls.as_ref().and_then(|tls| tls.check(&format!("{path}.tls"))));
        found.extend(access.check(&format!("{path}.access")));
    }
    if let Some(remote_write) = &collector.remote_write {
        found.extend(remote_write.check("collector.remote_write"));
    }
    if let Some(kubernetes) = collector
        .publish
        .kubernetes
        .as_ref()
        .filter(|_| collector.tenants.is_empty())
    {
        found.extend(kubernetes.check(generate));
    }
    if collector.journal.max_size < MIN_JOURNAL {
        found.push(Finding {
            path: "collector.journal.max_size".to_owned(),
            message: format!(
                "`max_size` is {}, but four segments must fit",
                collector.journal.max_size
            ),
            hint: Some(format!("write at least {MIN_JOURNAL}")),
        });
    }
    found
}

/// What is wrong with `generate` and `services` below `path`, which ends in a dot or is empty.
fn check_generated(generate: &GenerateSettings, services: &Services, path: &str) -> Vec<Finding> {
    let mut found = generate.alerts.check(&format!("{path}generate.alerts"));
    found.extend(generate.grafana.check(&format!("{path}generate.grafana")));
    found.extend(generate.check.check(&format!("{path}generate.check")));
    found.extend(instrumentation::plan::problems(
        &generate.plan,
        &format!("{path}generate.plan"),
    ));
    found.extend(generate.resilience.check(&format!("{path}generate.resilience")));
    found.extend(generate.logging.check(&format!("{path}generate.logging")));
    let logging = instrumentation::logging::check_services(services).into_iter();
    found.extend(logging.map(|of| Finding {
        path: format!("{path}{}", of.path),
        ..of
    }));
    for (name, settings) in services {
        if let Some(share) = settings.plan.share
            && !(0.0..=1.0).contains(&share)
        {
            found.push(Finding {
                path: format!("{path}services.{name}.plan.share"),
                message: format!("`share` of `{name}` is {share}, but it must be between 0 and 1"),
                hint: None,
            });
        }
        for (i, objective) in settings.objectives.iter().enumerate() {
            let target = objective.target;
            if !(target > 0.0 && target < 1.0) {
                found.push(Finding {
                    path: format!("{path}services.{name}.objectives[{i}].target"),
                    message: format!("`target` is {target}, but a target is a share between 0 and 1"),
                    hint: Some("write 0.99 for 99 %".to_owned()),
                });
            }
        }
    }
    found
}

/// Four segments of the journal.
const MIN_JOURNAL: ByteSize = ByteSize::mib(256);
/// How often closed traces are looked for.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// How often the state is saved while it changes.
pub(crate) const SAVE: Duration = Duration::from_secs(10);
/// As much where a journal has what came since: a longer replay for fewer segments of the trace store.
pub(crate) const SAVE_WITH_JOURNAL: Duration = Duration::from_mins(1);
