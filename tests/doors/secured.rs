//! Listeners with certificates and tokens.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::peers::{Answer, Authority, PATIENCE, Pair, Part, curl, free_port, handshake, raw, service};

const READER: &str = "reader-0123456789abcdef";
const WRITER: &str = "writer-0123456789abcdef";
const SENDER: &str = "sender-0123456789abcdef";
const YEARS: (i32, i32) = (2020, 2099);

/// How one asks at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Page,
    OtlpHttp,
    OtlpGrpc,
    Sampling,
    SamplingGrpc,
    /// Anything, of the service behind: a proxy wants certificates and no token.
    Service,
}

#[derive(Debug, Clone, Copy)]
struct Door {
    name: &'static str,
    address: SocketAddr,
    asks: Asks,
    /// The token that opens it.
    token: &'static str,
}

struct System {
    dir: TempDir,
    ours: Authority,
    server: Pair,
    client: Pair,
    doors: Vec<Door>,
    collector: Part,
    agent: Part,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn token(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("{text}\n")).expect("a file");
    path.display().to_string()
}

/// Collector and agent, each listener with TLS, a wanted certificate and, but for the proxy, wanted tokens.
fn system() -> System {
    let dir = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(dir.path(), "ours");
    let (server, client) = (ours.gives("server", YEARS), ours.gives("client", YEARS));
    let [reader, writer, sender] = [("reader", READER), ("writer", WRITER), ("sender", SENDER)]
        .map(|(name, text)| token(dir.path(), name, text));
    let tls = format!(
        "{{ cert: {}, key: {}, client_ca: {} }}",
        server.cert.display(),
        server.key.display(),
        ours.ca.display()
    );
    let ports: [u16; 8] = std::array::from_fn(|_| free_port());
    let [
        grpc,
        http,
        web,
        relay_grpc,
        relay_http,
        admin,
        strategies,
        strategies_grpc,
    ] = ports;
    let inbound = free_port();
    let readers = format!(
        "{{ tokens: [{{ name: reader, file: {reader} }}, {{ name: writer, file: {writer}, may: write }}] }}"
    );
    let senders = format!("{{ tokens: [{{ name: sender, file: {sender} }}] }}");
    let out = dir.path().join("generated");
    let config = format!(
        "collector:\n  otlp: {{ grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}', tls: {tls}, access: {senders} }}\n  \
         web: {{ listen: '127.0.0.1:{web}', tls: {tls}, access: {readers} }}\ngenerate: {{ out: {} }}\n",
        out.display()
    );
    let with_cert = [
        "--cacert",
        ours.ca.to_str().expect("a path"),
        "--cert",
        client.cert.to_str().expect("a path"),
        "--key",
        client.key.to_str().expect("a path"),
    ];
    let ready = |port: u16| format!("https://127.0.0.1:{port}/readyz");
    let asked = ready(web);
    let probe = [&["curl", "-sSf", "-m", "5", &asked], &with_cert[..]].concat();
    let collector = Part::start(dir.path(), &[], "collector", &config, &probe);
    let header = token(dir.path(), "authorization", &format!("Bearer {SENDER}"));
    let config = format!(
        "agent:\n  service: shop\n  inbound: [{{ listen: '127.0.0.1:{inbound}', upstream: 'http://{}', tls: {tls} }}]\n  \
         otlp: {{ grpc: '127.0.0.1:{relay_grpc}', http: '127.0.0.1:{relay_http}', tls: {tls}, access: {senders} }}\n  \
         admin: {{ listen: '127.0.0.1:{admin}', tls: {tls}, access: {readers} }}\n  \
         sampling: {{ listen: '127.0.0.1:{strategies}', grpc: '127.0.0.1:{strategies_grpc}', tls: {tls}, access: {readers} }}\n  \
         export: {{ endpoint: 'https://127.0.0.1:{grpc}', headers_from: {{ authorization: {header} }}, \
         tls: {{ ca: {}, cert: {}, key: {} }} }}\n",
        service(),
        ours.ca.display(),
        client.cert.display(),
        client.key.display(),
    );
    let asked = ready(admin);
    let probe = [&["curl", "-sSf", "-m", "5", &asked], &with_cert[..]].concat();
    let agent = Part::start(dir.path(), &[], "agent", &config, &probe);
    let door = |name, port, asks, token| Door {
        name,
        address: local(port),
        asks,
        token,
    };
    let doors = vec![
        door("collector, OTLP/gRPC", grpc, Asks::OtlpGrpc, SENDER),
        door("collector, OTLP/HTTP", http, Asks::OtlpHttp, SENDER),
        door("collector, page", web, Asks::Page, READER),
        door("agent, OTLP/gRPC", relay_grpc, Asks::OtlpGrpc, SENDER),
        door("agent, OTLP/HTTP", relay_http, Asks::OtlpHttp, SENDER),
        door("agent, administration", admin, Asks::Page, READER),
        door("agent, sampling", strategies, Asks::Sampling, READER),
        door(
            "agent, sampling over gRPC",
            strategies_grpc,
            Asks::SamplingGrpc,
            READER,
        ),
        door("agent, inbound proxy", inbound, Asks::Service, ""),
    ];
    System {
        dir,
        ours,
        server,
        client,
        doors,
        collector,
        agent,
    }
}

impl System {
    /// One request at a door, with a certificate or none and a value of `Authorization` or none.
    fn ask(&self, door: Door, pair: Option<&Pair>, authorization: Option<&str>) -> Answer {
        let mut args: Vec<String> = vec!["--cacert".into(), self.ours.ca.display().to_string()];
        if let Some(Pair { cert, key }) = pair {
            args.extend(["--cert".into(), cert.display().to_string()]);
            args.extend(["--key".into(), key.display().to_string()]);
        }
        if let Some(value) = authorization {
            args.extend(["-H".into(), format!("authorization: {value}")]);
        }
        let empty = self.dir.path().join("empty.grpc");
        fs::write(&empty, [0; 5]).expect("a file");
        let path = match door.asks {
            Asks::Page => "metrics",
            Asks::Sampling => "sampling?service=shop",
            Asks::Service => {
                // What it asks by is what the service is asked by.
                args.push("--http1.1".into());
                ""
            }
            Asks::OtlpHttp => {
                args.extend(["-H", "content-type: application/json", "-d", "{}"].map(String::from));
                "v1/traces"
            }
            Asks::OtlpGrpc | Asks::SamplingGrpc => {
                let body = format!("@{}", empty.display());
                let head = ["--http2", "-H", "content-type: application/grpc", "--data-binary"];
                args.extend(head.map(String::from));
                args.push(body);
                if door.asks == Asks::OtlpGrpc {
                    "opentelemetry.proto.collector.trace.v1.TraceService/Export"
                } else {
                    "jaeger.api_v2.SamplingManager/GetSamplingStrategy"
                }
            }
        };
        args.push(format!("https://{}/{path}", door.address));
        curl(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// What opens a door, as a header says it.
fn bearer_of(door: Door) -> Option<String> {
    (!door.token.is_empty()).then(|| format!("Bearer {}", door.token))
}

/// Whether somebody came in.
fn is_in(door: Door, answer: &Answer) -> bool {
    match door.asks {
        // curl shows no trailers behind a body whose length was told.
        Asks::SamplingGrpc => answer.code == 200 && answer.body.starts_with("\0\0\0\0"),
        Asks::OtlpGrpc => {
            answer.code == 200 && format!("{}{}", answer.head, answer.body).contains("grpc-status: 0")
        }
        Asks::Service => answer.code == 204,
        Asks::Page | Asks::OtlpHttp | Asks::Sampling => answer.code == 200,
    }
}

/// Whether somebody was told to bring a token.
fn is_unauthorized(door: Door, answer: &Answer) -> bool {
    match door.asks {
        Asks::OtlpGrpc | Asks::SamplingGrpc => answer.head.contains("grpc-status: 16"),
        _ => answer.code == 401 && answer.head.contains("www-authenticate: "),
    }
}

#[test]
fn every_door_opens_to_who_has_certificate_and_token_and_to_nobody_else() {
    let system = system();
    let theirs = Authority::new(system.dir.path(), "theirs");
    let strangers = theirs.gives("stranger", YEARS);
    let expired = system.ours.gives("expired", (2020, 2021));
    for door in &system.doors {
        let (door, name) = (*door, door.name);
        let (right, bearer) = (Some(&system.client), bearer_of(door));
        let bearer = bearer.as_deref();
        let answer = system.ask(door, right, bearer);
        assert!(is_in(door, &answer), "{name}: {answer:?}");

        for (what, pair) in [
            ("none", None),
            ("of a stranger", Some(&strangers)),
            ("expired", Some(&expired)),
        ] {
            let answer = system.ask(door, pair, bearer);
            assert_eq!(answer.code, 0, "{name}, certificate {what}: {answer:?}");
        }
        if door.token.is_empty() {
            continue;
        }
        let other = [READER, SENDER]
            .into_iter()
            .find(|token| *token != door.token)
            .expect("two");
        let wrong = [
            None,
            Some("Bearer guessed-0123456789abcdef".to_owned()),
            Some(format!("Bearer {other}")),
            Some(format!("Bearer {}x", door.token)),
            Some(format!("Token {}", door.token)),
        ];
        for wrong in wrong {
            let answer = system.ask(door, right, wrong.as_deref());
            assert!(is_unauthorized(door, &answer), "{name}, {wrong:?}: {answer:?}");
        }
    }
}

#[test]
fn every_door_speaks_tls_1_2_and_1_3_and_neither_older_ones_nor_plain_text() {
    let system = system();
    let (cert, key) = (&system.client.cert, &system.client.key);
    let (cert, key) = (cert.to_str().expect("a path"), key.to_str().expect("a path"));
    for door in &system.doors {
        let name = door.name;
        for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let output = handshake(door.address, &[flag, "-cert", cert, "-key", key, "-alpn", "h2"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                said.contains(&format!("Protocol version: {version}")),
                "{name}: {said}"
            );
        }
        for flag in ["-tls1", "-tls1_1"] {
            let output = handshake(door.address, &[flag, "-cipher", "ALL:@SECLEVEL=0"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // Said by the server: a client that never asked would prove nothing.
            let refused = ["alert protocol version", "alert handshake failure"];
            assert!(
                refused.iter().any(|alert| said.contains(alert)),
                "{name}, {flag}: {said}"
            );
        }
        let plain = raw(
            door.address,
            b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
            PATIENCE,
        );
        assert!(plain.starts_with("HTTP/1.1 400 "), "{name}: {plain}");
        assert!(plain.contains("this address speaks TLS"), "{name}: {plain}");
        let prior = raw(
            door.address,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            PATIENCE,
        );
        assert!(!prior.contains("grpc-status"), "{name}: {prior}");
    }
}

#[test]
fn a_reader_changes_nothing_probes_need_no_token_and_browsers_are_asked_for_one() {
    let system = system();
    let page = system.doors[2];
    let answered = |bearer: Option<String>, method: &str, path: &str| {
        let (cacert, cert, key) = (&system.ours.ca, &system.client.cert, &system.client.key);
        let url = format!("https://{}{path}", page.address);
        let files = [cacert, cert, key].map(|path| path.display().to_string());
        let mut args = vec![
            "--cacert", &files[0], "--cert", &files[1], "--key", &files[2], "-X", method,
        ];
        let header = bearer
            .map(|token| format!("authorization: {token}"))
            .unwrap_or_default();
        if !header.is_empty() {
            args.extend(["-H", &header]);
        }
        args.push(&url);
        curl(&args)
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    for method in ["PUT", "DELETE"] {
        let answer = answered(bearer(READER), method, "/api/v1/pins/shop");
        assert_eq!(answer.code, 403, "{method}: {answer:?}");
        let answer = answered(bearer(WRITER), method, "/api/v1/pins/shop");
        assert!(![401, 403].contains(&answer.code), "{method}: {answer:?}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(answered(None, "GET", path).code, 200, "{path}");
    }
    for path in [
        "/",
        "/metrics",
        "/api/v1/map",
        "/api/traces/1",
        "/api/search",
        "/generated/map.yaml",
        "/nowhere",
    ] {
        let answer = answered(None, "GET", path);
        assert_eq!(answer.code, 401, "{path}: {answer:?}");
        assert!(
            answer.head.contains("www-authenticate: basic realm="),
            "{path}: {answer:?}"
        );
    }
    // As a browser sends what its user typed: any name, and the token.
    let basic = "Basic YW55b25lOnJlYWRlci0wMTIzNDU2Nzg5YWJjZGVm".to_owned();
    assert_eq!(answered(Some(basic), "GET", "/").code, 200);
}

#[test]
fn a_replaced_token_and_a_replaced_certificate_are_taken_up_and_the_old_token_is_not_taken_any_more() {
    let system = system();
    let fresh = "Bearer fresh-0123456789abcdef";
    let readers = system.doors.iter().copied().filter(|door| door.token == READER);
    token(system.dir.path(), "reader", "fresh-0123456789abcdef");
    for door in readers {
        let deadline = Instant::now() + PATIENCE;
        while !is_in(door, &system.ask(door, Some(&system.client), Some(fresh))) {
            assert!(
                Instant::now() < deadline,
                "{}: the new token is not taken",
                door.name
            );
        }
        let old = system.ask(door, Some(&system.client), bearer_of(door).as_deref());
        assert!(is_unauthorized(door, &old), "{}: {old:?}", door.name);
    }
    // A file that is empty for a moment locks nobody out.
    fs::write(system.dir.path().join("sender"), "").expect("a file");
    let later = Authority::new(system.dir.path(), "later");
    let renewed = later.gives("renewed", YEARS);
    fs::copy(&renewed.cert, &system.server.cert).expect("a file");
    fs::copy(&renewed.key, &system.server.key).expect("a file");
    for door in &system.doors {
        let deadline = Instant::now() + PATIENCE;
        // Whoever trusts the authority before no longer trusts the server.
        while system
            .ask(*door, Some(&system.client), bearer_of(*door).as_deref())
            .code
            != 0
        {
            assert!(
                Instant::now() < deadline,
                "{}: the old certificate is shown",
                door.name
            );
        }
    }
    // A file that was looked at while it was written is looked at once more before anything is said.
    let deadline = Instant::now() + PATIENCE;
    while !system.collector.said().contains("holds no token of `sender`") {
        assert!(Instant::now() < deadline, "{}", system.collector.said());
    }
}

#[test]
fn no_secret_is_in_logs_metrics_or_generated_files() {
    let system = system();
    for door in &system.doors {
        let bearer = bearer_of(*door);
        system.ask(*door, Some(&system.client), bearer.as_deref());
        system.ask(
            *door,
            Some(&system.client),
            Some("Bearer guessed-0123456789abcdef"),
        );
    }
    let key = fs::read_to_string(&system.server.key).expect("a key");
    let secrets = [
        READER,
        WRITER,
        SENDER,
        "guessed-0123456789abcdef",
        key.lines().nth(1).expect("base64"),
    ];
    let mut texts = vec![
        ("the collector's log".to_owned(), system.collector.said()),
        ("the agent's log".to_owned(), system.agent.said()),
    ];
    for index in [2, 5] {
        let door = system.doors[index];
        let answer = system.ask(door, Some(&system.client), bearer_of(door).as_deref());
        let denied = "denied_requests_total{listener=";
        assert!(answer.body.contains(denied), "{}: {}", door.name, answer.body);
        texts.push((format!("series of {}", door.name), answer.body));
    }
    let mut dirs = vec![system.dir.path().join("generated")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = fs::read(&path).expect("a file");
                texts.push((
                    path.display().to_string(),
                    String::from_utf8_lossy(&text).into_owned(),
                ));
            }
        }
    }
    for (place, text) in &texts {
        for secret in secrets {
            assert!(!text.contains(secret), "{place} holds a secret");
        }
    }
}
