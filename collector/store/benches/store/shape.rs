//! What the stored traces look like: chains of HTTP services, written straight as protobuf.
//!
//! In: the number of a trace. Out: its id and its bytes; the same number gives the same bytes.
//! Left out on purpose: anything rare but errors (1 trace in 50), slow traces (1 in 1,000) and 503s (1 in 20,000).
//! Protobuf is written by hand because messages made with prost would take longer than storing them.

/// Spans in each trace.
pub(crate) const SPANS: u64 = 10;
/// 2026-01-01; traces start 2 ms apart.
const EPOCH: u64 = 1_767_225_600_000_000_000;
const APART: u64 = 2_000_000;

/// `splitmix64`, whose outputs differ for different inputs.
pub(crate) fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn trace_id(trace: u64) -> [u8; 16] {
    (u128::from(mixed(trace)) << 64 | u128::from(mixed(trace ^ u64::MAX))).to_be_bytes()
}

/// When the trace began, in nanoseconds since 1970, UTC.
pub(crate) fn start(trace: u64) -> u64 {
    EPOCH + trace * APART
}

pub(crate) fn service_name(service: usize) -> &'static str {
    const NAMES: [&str; 10] = [
        "web",
        "gateway",
        "catalogue",
        "pricing",
        "cart",
        "checkout",
        "payment",
        "fraud",
        "ledger",
        "orders",
    ];
    NAMES[service % NAMES.len()]
}

pub(crate) fn operation(service: usize, random: u64) -> String {
    let verb = ["GET", "POST"][(random % 2) as usize];
    let noun = ["items", "quotes", "carts", "orders", "offers"][service % 5];
    format!("{verb} /api/v1/{noun}/{{id}}")
}

/// A chain through five services: the server span of each and its call to the next, the last to a database.
pub(crate) fn trace(trace: u64) -> ([u8; 16], Vec<u8>) {
    let random = mixed(trace);
    let first = (random % 6) as usize;
    let id = trace_id(trace);
    let mut out = Vec::with_capacity(SPANS as usize * 600);
    for hop in 0..SPANS as usize / 2 {
        let service = first + hop;
        let last = hop + 1 == SPANS as usize / 2;
        let server = Span {
            trace,
            id: &id,
            hop,
            service,
            is_client: false,
            is_database: false,
        };
        let client = Span {
            is_client: true,
            is_database: last,
            ..server
        };
        let scope_spans = [
            bytes(1, &scope()),
            bytes(2, &server.encode()),
            bytes(2, &client.encode()),
        ]
        .concat();
        out.extend(bytes(
            1,
            &[bytes(1, &resource(service)), bytes(2, &scope_spans)].concat(),
        ));
    }
    (id, out)
}

#[derive(Clone, Copy)]
struct Span<'a> {
    trace: u64,
    id: &'a [u8; 16],
    hop: usize,
    service: usize,
    is_client: bool,
    is_database: bool,
}

impl Span<'_> {
    fn encode(&self) -> Vec<u8> {
        let random = mixed(self.trace);
        let number = (self.hop * 2 + usize::from(self.is_client)) as u64;
        let span_id = |number| mixed(self.trace << 8 | number).to_be_bytes();
        let slow = if random.is_multiple_of(1_000) { 400 } else { 1 };
        let stretch = (50 + random % 100) * slow * 1_000;
        let start = start(self.trace) + number * stretch;
        let end = start + (2 * SPANS - number) * stretch;
        let failed = random.is_multiple_of(50) && self.hop == 3;
        let mut out = Vec::with_capacity(600);
        out.extend(bytes(1, self.id));
        out.extend(bytes(2, &span_id(number)));
        if number > 0 {
            out.extend(bytes(4, &span_id(number - 1)));
        }
        let name = if self.is_database {
            "SELECT orders".to_owned()
        } else {
            operation(self.service, random)
        };
        out.extend(bytes(5, name.as_bytes()));
        out.extend([6 << 3, if self.is_client { 3 } else { 2 }]);
        out.extend(fixed64(7, start));
        out.extend(fixed64(8, end));
        let attributes = if self.is_database {
            database(random)
        } else {
            http(self.service, self.is_client, random)
        };
        for pair in &attributes {
            out.extend(bytes(9, pair));
        }
        if number == 4 {
            let event = [
                bytes(2, b"cache.miss"),
                bytes(3, &text("cache.key", "price:1007:eur")),
            ]
            .concat();
            out.extend(bytes(11, &event));
        }
        out.extend(bytes(15, &[3 << 3, if failed { 2 } else { 0 }]));
        out
    }
}

fn http(service: usize, is_client: bool, random: u64) -> Vec<Vec<u8>> {
    let peer = service_name(service + usize::from(is_client));
    let path = format!("/api/v1/items/{}", random % 100_000_000);
    let status = if random.is_multiple_of(20_000) { 503 } else { 200 };
    let host = format!("{peer}.shop.svc.cluster.local");
    let target = if is_client {
        text("url.full", &format!("http://{host}:8080{path}"))
    } else {
        text("url.path", &path)
    };
    vec![
        text("http.request.method", ["GET", "POST"][(random % 2) as usize]),
        target,
        text("http.route", "/api/v1/items/{id}"),
        text("url.scheme", "http"),
        text("server.address", &host),
        text("client.address", &format!("10.42.7.{}", random % 200)),
        text("network.protocol.version", "1.1"),
        text(
            "user_agent.original",
            "okhttp/4.12.0 (build 10071; android 14; tablet; 10.1 inch)",
        ),
        int("http.response.status_code", status),
        int("server.port", 8080),
        int("thread.id", mixed(random ^ service as u64) % 64),
        flag("app.cache.hit", mixed(random).is_multiple_of(2)),
    ]
}

fn database(random: u64) -> Vec<Vec<u8>> {
    vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "orders"),
        text("db.operation.name", "SELECT"),
        text("db.collection.name", "orders"),
        text(
            "db.query.text",
            "SELECT id, total, state, placed_at FROM orders WHERE customer = $1 LIMIT 50",
        ),
        text("server.address", "orders-db.shop.svc.cluster.local"),
        text("network.peer.address", &format!("10.42.9.{}", random % 200)),
        text("network.transport", "tcp"),
        int("server.port", 5432),
        text("order.id", &format!("{:016x}", mixed(random ^ 0x4d))),
        int("db.response.returned_rows", random % 50),
        flag("app.cache.hit", false),
    ]
}

fn resource(service: usize) -> Vec<u8> {
    let name = service_name(service);
    [
        text("service.name", name),
        text("service.namespace", "shop"),
        text("service.version", "2026.11.3"),
        text("service.instance.id", &format!("{:016x}", mixed(service as u64))),
        text("deployment.environment.name", "production"),
        text("host.name", &format!("node-{service}.eu-central")),
        text("k8s.pod.name", &format!("{name}-6c9d8f7b5-x{service}kzq")),
        text("telemetry.sdk.language", "java"),
    ]
    .iter()
    .flat_map(|pair| bytes(1, pair))
    .collect()
}

fn scope() -> Vec<u8> {
    [bytes(1, b"http"), bytes(2, b"1.4.2")].concat()
}

fn text(key: &str, value: &str) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat()
}

fn int(key: &str, value: u64) -> Vec<u8> {
    let mut any = vec![3 << 3];
    varint(&mut any, value);
    [bytes(1, key.as_bytes()), bytes(2, &any)].concat()
}

fn flag(key: &str, value: bool) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, &[2 << 3, u8::from(value)])].concat()
}

fn bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 3);
    out.push(field << 3 | 2);
    varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn fixed64(field: u8, number: u64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(number.to_le_bytes());
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
