//! Tenants of one collector: what each sends, and that nobody else reads it.
//!
//! In: two tenants whose traces have the same ids, by OTLP/HTTP and, by way of an agent, by OTLP/gRPC. Out: a failed test where
//! one of them is told a word of the other's, at any route that the sources have.
//! Left out on purpose: certificates, which are the same for all tenants (`secured.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::peers::{Answer, PATIENCE, Part, curl, free_port};

const SHOP: Tenant = Tenant {
    name: "shop",
    word: "quince",
    send: "shop-sends-0123456789",
    read: "shop-reads-0123456789",
    common: 1,
};
const BANK: Tenant = Tenant {
    name: "bank",
    word: "damson",
    send: "bank-sends-0123456789",
    read: "bank-reads-0123456789",
    common: 3,
};
const TRACE: &str = "5b8efff798038103d269b633813fc60c";

#[derive(Clone, Copy)]
struct Tenant {
    name: &'static str,
    /// In the names of all that it sends.
    word: &'static str,
    send: &'static str,
    read: &'static str,
    /// Requests of a service that both have under one name.
    common: u32,
}

struct System {
    dir: TempDir,
    page: SocketAddr,
    otlp: SocketAddr,
    grpc: SocketAddr,
    config: String,
    collector: Option<Part>,
}

impl System {
    /// A collector whose keys `collector.tenants`, and others, are these.
    fn new(tenants: impl Fn(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let [page, otlp, grpc]: [SocketAddr; 3] =
            std::array::from_fn(|_| SocketAddr::from(([127, 0, 0, 1], free_port())));
        for tenant in [SHOP, BANK] {
            token(dir.path(), &format!("{}-send", tenant.name), tenant.send);
            token(dir.path(), &format!("{}-read", tenant.name), tenant.read);
        }
        let config = format!(
            "collector:\n  otlp: {{ grpc: '{grpc}', http: '{otlp}' }}\n  web: {{ listen: '{page}' }}\n  \
             shards: 1\n  data_dir: {}\n{}generate: {{ out: {}, min_interval: 1s }}\n",
            dir.path().join("data").display(),
            tenants(dir.path()),
            dir.path().join("out").display(),
        );
        let mut system = Self {
            dir,
            page,
            otlp,
            grpc,
            config,
            collector: None,
        };
        system.start();
        system
    }

    /// With a token of each tenant's for senders and for readers.
    fn with_tokens(more: &str) -> Self {
        Self::new(|dir| {
            let tokens = |tenant: &str, what: &str| {
                let file = dir.join(format!("{tenant}-{what}"));
                let may = if what == "read" { ", may: write" } else { "" };
                format!("{what}: [{{ name: team, file: {}{may} }}]", file.display())
            };
            let each = ["shop", "bank"]
                .map(|name| format!("{name}: {{ {}, {} }}", tokens(name, "send"), tokens(name, "read")));
            format!("  tenants: {{ {} }}\n{more}", each.join(", "))
        })
    }

    fn start(&mut self) {
        let ready = format!("http://{}/readyz", self.page);
        let probe = ["curl", "-sf", "-m", "5", ready.as_str()];
        self.collector = Some(Part::start(
            self.dir.path(),
            &[],
            "collector",
            &self.config,
            &probe,
        ));
    }

    fn read(&self, tenant: Tenant, path: &str) -> Answer {
        ask(&[&bearer(tenant.read), &format!("http://{}{path}", self.page)])
    }

    fn send(&self, token: &str, body: &str) -> Answer {
        post(self.otlp, &[&bearer(token)], body)
    }

    /// Waits until a reader is answered this.
    fn until(&self, tenant: Tenant, path: &str, has: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.read(tenant, path);
            if has(&answer) {
                return answer;
            }
            let said = self.collector.as_ref().map(Part::said);
            assert!(
                Instant::now() < deadline,
                "{}, {path}: {answer:?} {said:?}",
                tenant.name
            );
        }
    }

    /// Waits until a tenant has all that [`spans`] of it say.
    fn until_whole(&self, tenant: Tenant) {
        let Tenant { word, common, .. } = tenant;
        self.until(tenant, "/api/v1/map", |map| {
            map.body.contains(&format!("{word}-db"))
        });
        let trace = format!("/jaeger/api/traces/{TRACE}");
        self.until(tenant, &trace, |trace| trace.body.contains(&format!("{word}-db")));
        let counted = |metrics: &Answer| requests_of_common(&metrics.body) == Some(common);
        self.until(tenant, "/metrics", counted);
    }
}

fn token(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), format!("{text}\n")).expect("a file");
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// Asks with headers, the address last.
fn ask(headers_and_url: &[&str]) -> Answer {
    let (url, headers) = headers_and_url.split_last().expect("an address");
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    curl(&headers.chain([*url]).collect::<Vec<_>>())
}

fn post(otlp: SocketAddr, headers: &[&str], body: &str) -> Answer {
    let url = format!("http://{otlp}/v1/traces");
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    let head = headers.chain(["-H", "content-type: application/json"]);
    curl(&head.chain(["--data-binary", body, &url]).collect::<Vec<_>>())
}

fn requests_of_common(metrics: &str) -> Option<u32> {
    let line = metrics.lines().find(|line| {
        line.starts_with("traces_service_graph_request_total{") && line.contains("server=\"common\"")
    })?;
    let (_, count) = line.rsplit_once(' ')?;
    count.parse::<f64>().ok().map(|count| count as u32)
}

/// A resource with one span, as OTLP/JSON. `ids` are those of the trace, the span and its parent.
fn resource(service: &str, name: &str, kind: u8, [trace, span, parent]: [&str; 3]) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_nanos();
    format!(
        "{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"{service}\"}}}}]}},\
         \"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"parentSpanId\":\"{parent}\",\
         \"name\":\"{name}\",\"kind\":{kind},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{now}\",\
         \"status\":{{\"code\":2}}}}]}}]}}",
        now - 5_000_000
    )
}

/// What a tenant sends: its word in every name, ids that the other has too, and requests of a service that both name alike.
fn spans(Tenant { word, common, .. }: Tenant) -> String {
    let (web, db) = (format!("{word}-web"), format!("{word}-db"));
    let (get, select) = (format!("{word}.get"), format!("{word}.select"));
    let mut all = vec![
        resource(&web, &get, 2, [TRACE, "00000000000000a1", ""]),
        resource(&web, &select, 3, [TRACE, "00000000000000a2", "00000000000000a1"]),
        resource(&db, &select, 2, [TRACE, "00000000000000a3", "00000000000000a2"]),
    ];
    for n in 0..common {
        let (trace, span) = (format!("{:032x}", n + 1), format!("{:016x}", n + 1));
        all.push(resource("common", "GET /", 2, [&trace, &span, ""]));
    }
    format!("{{\"resourceSpans\":[{}]}}", all.join(","))
}

/// An agent before the collector, with these headers to it; and where it takes OTLP/HTTP.
fn agent(system: &System, headers: &str) -> (Part, SocketAddr) {
    let [relay, admin]: [SocketAddr; 2] =
        std::array::from_fn(|_| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let config = format!(
        "agent:\n  service: shop\n  otlp: {{ http: '{relay}' }}\n  admin: {{ listen: '{admin}' }}\n  \
         export: {{ endpoint: 'http://{}', {headers} }}\n",
        system.grpc
    );
    let ready = format!("http://{admin}/readyz");
    let agent = Part::start(system.dir.path(), &[], "agent", &config, &["curl", "-sf", &ready]);
    (agent, relay)
}

/// Both tenants' spans: the shop's by OTLP/HTTP, the bank's by an agent with its token over OTLP/gRPC.
fn both_send(system: &System) -> Part {
    let answer = system.send(SHOP.send, &spans(SHOP));
    assert_eq!(answer.code, 200, "{answer:?}");
    let file = system.dir.path().join("authorization");
    fs::write(&file, format!("Bearer {}\n", BANK.send)).expect("a file");
    let (agent, relay) = agent(
        system,
        &format!("headers_from: {{ authorization: {} }}", file.display()),
    );
    let answer = post(relay, &[], &spans(BANK));
    assert_eq!(answer.code, 200, "{answer:?}");
    for tenant in [SHOP, BANK] {
        system.until_whole(tenant);
    }
    agent
}

/// A route of the page's listener, as it stands in the sources.
struct Route {
    template: String,
    /// Whether it has an answer to GET.
    is_read: bool,
}

/// Every `.route(…)` of the collector's crates, so that a route that somebody adds is asked too.
fn routes() -> Vec<Route> {
    let collector = Path::new(env!("CARGO_MANIFEST_DIR")).join("collector");
    let mut routes = Vec::new();
    let mut dirs = vec![collector.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("one"))
        {
            let path = entry.path();
            if path.is_dir() {
                if !["tests", "benches"].contains(&entry.file_name().to_str().expect("UTF-8")) {
                    dirs.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let below = path
                .strip_prefix(&collector)
                .expect("below")
                .display()
                .to_string();
            let prefix = match &below {
                page if page == "src/web.rs" => "",
                tempo if tempo.starts_with("query/src/tempo") => "/tempo",
                jaeger if jaeger.starts_with("query/src/jaeger") => "/jaeger",
                _ => "?",
            };
            let text = fs::read_to_string(&path).expect("a source");
            for (at, _) in text.match_indices(".route(") {
                let rest = text[at + ".route(".len()..].trim_start();
                let Some(rest) = rest.strip_prefix('"') else {
                    // A method of that name, of something else.
                    assert!(
                        !text.contains("axum"),
                        "{below} has a route without its path: {rest:.60}"
                    );
                    continue;
                };
                assert_ne!(prefix, "?", "{below} has routes: say here what they are below");
                let (template, handlers) = rest.split_once('"').expect("a string ends");
                let handlers = handlers.split(".route(").next().unwrap_or_default();
                routes.push(Route {
                    template: format!("{prefix}{template}"),
                    is_read: handlers.contains("get("),
                });
            }
        }
    }
    routes
}

/// The names of generated files.
fn files_below(dir: &Path) -> Vec<String> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(inner) = dirs.pop() {
        for entry in fs::read_dir(inner).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push(path.strip_prefix(dir).expect("below").display().to_string());
            }
        }
    }
    files
}

/// The addresses to ask a route at, about what `of` has.
fn addresses(route: &Route, of: Tenant, files: &[String]) -> Vec<String> {
    let web = format!("{}-web", of.word);
    let template = route.template.as_str();
    let runbooks = || {
        files
            .iter()
            .filter_map(|file| file.strip_prefix("alerts/runbooks/"))
    };
    let paths: Vec<String> = match template {
        "/generated/{*path}" => files.iter().map(|file| format!("/generated/{file}")).collect(),
        "/runbooks/{name}" => runbooks().map(|name| format!("/runbooks/{name}")).collect(),
        _ => {
            let filled = template
                .replace("{service}", &web)
                .replace("{tag}", "service.name")
                .replace("{*rest}", "query_range");
            // Below `/api/v1` ids are those of nodes, elsewhere of traces.
            let id = if template.starts_with("/api/v1/") {
                &web
            } else {
                TRACE
            };
            vec![filled.replace("{id}", id).replace("{*id}", id)]
        }
    };
    let query = match template {
        "/" => format!("?node={web}"),
        "/api/v1/why" => format!("?from={web}&to={}-db", of.word),
        "/jaeger/api/traces" | "/jaeger/api/operations" | "/jaeger/api/v3/operations" => {
            format!("?service={web}")
        }
        "/jaeger/api/dependencies" => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("a clock")
                .as_millis();
            format!("?endTs={now}&lookback=3600000")
        }
        "/jaeger/api/v3/traces" => format!(
            "?query.service_name={web}&query.start_time_min=2020-01-01T00:00:00Z&query.start_time_max=2099-01-01T00:00:00Z"
        ),
        "/tempo/api/search" => "?q=%7B%7D".to_owned(),
        _ => String::new(),
    };
    paths.into_iter().map(|path| format!("{path}{query}")).collect()
}

#[test]
fn a_tenant_is_told_of_its_own_at_every_route_and_no_word_of_another_s() {
    let system = System::with_tokens("");
    let _agent = both_send(&system);
    let out = |tenant: Tenant| system.dir.path().join("out").join(tenant.name);
    for tenant in [SHOP, BANK] {
        let dashboard = format!("/generated/dashboards/service-{}-db.json", tenant.word);
        system.until(tenant, &dashboard, |file| file.code == 200);
    }
    let routes = routes();
    assert!(routes.len() > 25, "{} routes in the sources", routes.len());
    let mut told = BTreeSet::new();
    for (asks, other) in [(SHOP, BANK), (BANK, SHOP)] {
        // No address has the other's words but for the name of one service, so none of these is what was asked for.
        let foreign = [".get", ".select", "-db"].map(|end| format!("{}{end}", other.word));
        let own = [".get", ".select", "-db"].map(|end| format!("{}{end}", asks.word));
        for route in &routes {
            for about in [asks, other] {
                for address in addresses(route, about, &files_below(&out(about))) {
                    let address = if about.name == other.name {
                        // Its files are asked for by their names, which say what is in them.
                        address.replace(&format!("{}-db", other.word), "a")
                    } else {
                        address
                    };
                    let answer = system.read(asks, &address);
                    let said = format!("{}{}", answer.head, answer.body);
                    for word in &foreign {
                        assert!(!said.contains(word), "{} at {address}: {said}", asks.name);
                    }
                    if own.iter().any(|word| said.contains(word)) {
                        told.insert(route.template.clone());
                    }
                    if route.is_read && about.name == asks.name {
                        assert!(
                            ![401, 403, 405, 500].contains(&answer.code),
                            "{address}: {answer:?}"
                        );
                    }
                    if !["/healthz", "/readyz"].contains(&address.as_str()) {
                        let url = format!("http://{}{address}", system.page);
                        let nobodys = ask(&[&url]);
                        assert_eq!(nobodys.code, 401, "{address} without a token: {nobodys:?}");
                        let senders = ask(&[&bearer(asks.send), &url]);
                        assert_eq!(senders.code, 401, "{address} with a sender's token: {senders:?}");
                    }
                }
            }
        }
    }
    // Else nothing above could have failed.
    for template in [
        "/",
        "/map.svg",
        "/api/v1/map",
        "/metrics",
        "/generated/{*path}",
        "/api/v1/baselines",
        "/jaeger/api/services",
        "/jaeger/api/traces",
        "/jaeger/api/traces/{id}",
        "/jaeger/api/dependencies",
        "/jaeger/api/v3/traces/{id}",
        "/tempo/api/search",
        "/tempo/api/traces/{id}",
        "/tempo/api/v2/traces/{id}",
        "/tempo/api/search/tag/{tag}/values",
    ] {
        assert!(
            told.contains(template),
            "{template} says nothing of anybody: {told:?}"
        );
    }
    // What is on disk, too.
    for (tenant, other) in [(SHOP, BANK), (BANK, SHOP)] {
        for base in ["out", "data"] {
            let dir = system.dir.path().join(base).join(tenant.name);
            let files = files_below(&dir);
            let texts = files.iter().map(|file| fs::read(dir.join(file)).expect("a file"));
            let text = String::from_utf8_lossy(&texts.flatten().collect::<Vec<_>>()).into_owned();
            assert!(
                text.contains(tenant.word),
                "{} has nothing of its own",
                dir.display()
            );
            assert!(!text.contains(other.word), "{} has the other's", dir.display());
        }
    }
}

#[test]
fn a_change_is_the_tenant_s_whose_token_it_is() {
    let system = System::with_tokens("");
    let _agent = both_send(&system);
    let pin = format!("http://{}/api/v1/pins/common", system.page);
    let answer = curl(&["-X", "PUT", "-H", &bearer(SHOP.read), &pin]);
    assert!((200..300).contains(&answer.code), "{answer:?}");
    let pinned = |answer: &Answer| answer.body.contains("\"pinned\":\"");
    system.until(SHOP, "/api/v1/baselines/common", pinned);
    let banks = system.read(BANK, "/api/v1/baselines/common");
    assert!(banks.code == 200 && !pinned(&banks), "{banks:?}");
}

#[test]
fn a_killed_collector_goes_on_with_every_tenant_where_it_was() {
    let mut system = System::with_tokens("");
    let agent = both_send(&system);
    drop(agent);
    for round in 0..2 {
        // Dropped is killed, by a signal that nothing can answer.
        drop(system.collector.take());
        system.start();
        for tenant in [SHOP, BANK] {
            system.until_whole(tenant);
            let map = system.read(tenant, "/api/v1/map").body;
            let other = if tenant.name == SHOP.name { BANK } else { SHOP };
            assert!(!map.contains(other.word), "after restart {round}: {map}");
        }
    }
}

#[test]
fn tokens_lead_to_their_tenant_alone_and_are_replaced_while_it_runs() {
    let system = System::with_tokens("  tenant_header: {}\n");
    let metrics = format!("http://{}/metrics", system.page);
    let empty = "{\"resourceSpans\":[]}";
    let of = |token: &str, tenant: &str| {
        let (bearer, header) = (bearer(token), format!("x-scope-orgid: {tenant}"));
        (
            ask(&[&bearer, &header, &metrics]).code,
            post(system.otlp, &[&bearer, &header], empty).code,
        )
    };
    assert_eq!(of(SHOP.read, "shop").0, 200);
    assert_eq!(of(SHOP.send, "shop").1, 200);
    for other in ["bank", "none", ""] {
        // curl leaves out a header without a value.
        let other = if other.is_empty() { "shop,bank" } else { other };
        assert_eq!(of(SHOP.read, other).0, 403, "{other}");
        assert_eq!(of(SHOP.send, other).1, 403, "{other}");
    }
    // Over gRPC without a token: 16 is UNAUTHENTICATED.
    let body = system.dir.path().join("empty.grpc");
    fs::write(&body, [0; 5]).expect("a file");
    let call = |headers: &[&str]| {
        let url = format!(
            "http://{}/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            system.grpc
        );
        let data = format!("@{}", body.display());
        let head = [
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
            "--data-binary",
        ];
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        curl(
            &headers
                .chain(head)
                .chain([data.as_str(), &url])
                .collect::<Vec<_>>(),
        )
    };
    let said = |answer: &Answer| format!("{}{}", answer.head, answer.body);
    assert!(said(&call(&[])).contains("grpc-status: 16"), "{:?}", call(&[]));
    let wrong = call(&[&bearer(SHOP.read)]);
    assert!(said(&wrong).contains("grpc-status: 16"), "{wrong:?}");
    let right = call(&[&bearer(SHOP.send), "x-scope-orgid: shop"]);
    assert!(said(&right).contains("grpc-status: 0"), "{right:?}");
    let others = call(&[&bearer(SHOP.send), "x-scope-orgid: bank"]);
    assert!(said(&others).contains("grpc-status: 7"), "{others:?}");

    // A token that is another tenant's already is not taken up: whose a request is must not depend on who reads it first.
    token(system.dir.path(), "bank-read", SHOP.read);
    let deadline = Instant::now() + PATIENCE;
    let told = || system.collector.as_ref().map(Part::said).unwrap_or_default();
    while !told().contains("have the same token") {
        assert!(Instant::now() < deadline, "{}", told());
    }
    assert_eq!(of(BANK.read, "bank").0, 200, "what was taken before still is");
    assert_eq!(of(SHOP.read, "shop").0, 200);
    assert!(!told().contains(SHOP.read), "a token is in the log");

    let fresh = "bank-later-0123456789";
    token(system.dir.path(), "bank-read", fresh);
    let deadline = Instant::now() + PATIENCE;
    while of(fresh, "bank").0 != 200 {
        assert!(Instant::now() < deadline, "{}", told());
    }
    assert_eq!(of(BANK.read, "bank").0, 401);
    assert_eq!(of(fresh, "shop").0, 403);
    assert_eq!(of(SHOP.read, "shop").0, 200, "nobody else's is touched");
}

#[test]
fn a_trusted_header_names_the_tenant_and_what_names_none_is_refused() {
    let system = System::new(|_| "  tenants: { shop: {}, bank: {} }\n  tenant_header: {}\n".to_owned());
    let header = |tenant: Tenant| format!("x-scope-orgid: {}", tenant.name);
    let answer = post(system.otlp, &[&header(SHOP)], &spans(SHOP));
    assert_eq!(answer.code, 200, "{answer:?}");
    let (_agent, relay) = agent(&system, "headers: { X-Scope-OrgID: bank }");
    let answer = post(relay, &[], &spans(BANK));
    assert_eq!(answer.code, 200, "{answer:?}");
    let map = format!("http://{}/api/v1/map", system.page);
    for (tenant, other) in [(SHOP, BANK), (BANK, SHOP)] {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask(&[&header(tenant), &map]);
            assert!(!answer.body.contains(other.word), "{answer:?}");
            if answer.body.contains(tenant.word) {
                break;
            }
            assert!(Instant::now() < deadline, "{answer:?}");
        }
    }
    for wrong in [
        &[][..],
        &["x-scope-orgid: none"],
        &["x-scope-orgid: shop|bank"],
        &["x-scope-orgid: shop", "x-scope-orgid: bank"],
    ] {
        let read = ask(&[wrong, &[&map]].concat());
        assert_eq!(read.code, 403, "{wrong:?}: {read:?}");
        let sent = post(system.otlp, wrong, &spans(SHOP));
        assert_eq!(sent.code, 403, "{wrong:?}: {sent:?}");
    }
    let said = ask(&[&map]).body;
    assert!(said.contains("X-Scope-OrgID"), "{said}");
}

#[test]
fn a_tenant_that_sends_without_end_is_pushed_back_alone() {
    let system = System::with_tokens("  pairing: { max_memory: 2MiB, wait: 20s }\n");
    let many = |from: u64| {
        let spans = (from..from + 500).map(|n| {
            let (trace, span) = (format!("{n:032x}"), format!("{n:016x}"));
            resource("quince-web", "GET /", 2, [&trace, &span, ""])
        });
        format!("{{\"resourceSpans\":[{}]}}", spans.collect::<Vec<_>>().join(","))
    };
    let file = system.dir.path().join("many.json");
    let pushed_back = (0..100).find_map(|n| {
        fs::write(&file, many(1 + n * 500)).expect("a file");
        let answer = system.send(SHOP.send, &format!("@{}", file.display()));
        assert!([200, 503].contains(&answer.code), "{answer:?}");
        (answer.code == 503).then_some(answer)
    });
    let pushed_back = pushed_back.expect("its share of the memory is used up by then");
    assert!(pushed_back.head.contains("retry-after: "), "{pushed_back:?}");
    for _ in 0..20 {
        let answer = system.send(BANK.send, &spans(BANK));
        assert_eq!(answer.code, 200, "the other has room: {answer:?}");
    }
    let series = |tenant: Tenant| system.read(tenant, "/metrics").body;
    let busy =
        "tracemap_collector_requests_total{signal=\"traces\",transport=\"http_json\",outcome=\"busy\"} ";
    let count = |metrics: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(busy));
        line.map(str::to_owned).expect("there from the start")
    };
    assert_ne!(count(&series(SHOP)), "0");
    assert_eq!(count(&series(BANK)), "0");
}

#[test]
fn a_rate_of_a_tenant_is_for_all_who_send_to_it_and_for_nobody_else() {
    let system = System::new(|dir| {
        let send = |name: &str| dir.join(name).display().to_string();
        token(dir, "other", "shop-other-0123456789");
        format!(
            "  tenants:\n    shop: {{ send: [{{ name: a, file: {} }}, {{ name: b, file: {} }}], \
             read: [{{ name: team, file: {} }}], rate: {{ requests: 4 }} }}\n    \
             bank: {{ send: [{{ name: a, file: {} }}], read: [{{ name: team, file: {} }}] }}\n",
            send("shop-send"),
            send("other"),
            send("shop-read"),
            send("bank-send"),
            send("bank-read"),
        )
    });
    let empty = "{\"resourceSpans\":[]}";
    // Two tokens in turn, faster than four in a second.
    let codes: Vec<u16> = (0..40)
        .map(|n| {
            let token = [SHOP.send, "shop-other-0123456789"][n % 2];
            system.send(token, empty).code
        })
        .collect();
    assert!(codes.contains(&200) && codes.contains(&429), "{codes:?}");
    for _ in 0..40 {
        assert_eq!(system.send(BANK.send, empty).code, 200);
    }
    let denied = "tracemap_collector_denied_requests_total{listener=\"otlp\",reason=\"too_much\"} ";
    for (tenant, is_denied) in [(SHOP, true), (BANK, false)] {
        let metrics = system.read(tenant, "/metrics").body;
        let count = metrics.lines().find_map(|line| line.strip_prefix(denied));
        assert_eq!(count != Some("0"), is_denied, "{}: {count:?}", tenant.name);
    }
}
