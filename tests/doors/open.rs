//! Listeners at loopback that ask nobody who they are: what they bear all the same.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::peers::{PATIENCE, Part, curl, free_port, raw, service};

/// By then who is cut has been, and who is not would still be waited for.
const CUT: Duration = Duration::from_secs(35);

struct System {
    dir: TempDir,
    page: SocketAddr,
    otlp: SocketAddr,
    admin: SocketAddr,
    inbound: SocketAddr,
    outbound: SocketAddr,
    relay: SocketAddr,
    _parts: [Part; 2],
}

fn system() -> System {
    let dir = tempfile::tempdir().expect("a directory");
    let [page, otlp, grpc, admin, inbound, outbound, relay]: [SocketAddr; 7] =
        std::array::from_fn(|_| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let config = format!(
        "collector:\n  otlp: {{ grpc: '{grpc}', http: '{otlp}', max_request_size: 1MiB }}\n  \
         web: {{ listen: '{page}', hosts: [traces.example] }}\n"
    );
    let ready = format!("http://{page}/readyz");
    let collector = Part::start(dir.path(), &[], "collector", &config, &["curl", "-sf", &ready]);
    let config = format!(
        "agent:\n  service: shop\n  inbound: [{{ listen: '{inbound}', upstream: 'http://{}' }}]\n  \
         outbound: {{ listen: '{outbound}' }}\n  otlp: {{ http: '{relay}' }}\n  admin: {{ listen: '{admin}' }}\n  \
         limits: {{ header_timeout: 1s }}\n",
        service()
    );
    let ready = format!("http://{admin}/readyz");
    let agent = Part::start(dir.path(), &[], "agent", &config, &["curl", "-sf", &ready]);
    System {
        dir,
        page,
        otlp,
        admin,
        inbound,
        outbound,
        relay,
        _parts: [collector, agent],
    }
}

#[test]
fn a_page_elsewhere_that_leads_its_own_name_here_reads_nothing() {
    let system = system();
    for (name, address, path) in [
        ("page", system.page, "/api/v1/map"),
        ("page", system.page, "/"),
        ("administration", system.admin, "/metrics"),
    ] {
        let url = format!("http://{address}{path}");
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a b",
        ] {
            let answer = curl(&["-H", &format!("host: {host}"), &url]);
            assert!([400, 421].contains(&answer.code), "{name}, {host}: {answer:?}");
        }
        for host in ["localhost", "127.0.0.1", "[::1]:7070"] {
            let answer = curl(&["-H", &format!("host: {host}"), &url]);
            assert_eq!(answer.code, 200, "{name}, {host}: {answer:?}");
        }
        // A second name, and one in the first line, which counts before the header (RFC 9112, section 3.2.2).
        let twice = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
        );
        let answer = raw(address, twice.as_bytes(), PATIENCE);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        let absolute =
            format!("GET http://evil.example{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = raw(address, absolute.as_bytes(), PATIENCE);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }
    let url = format!("http://{}/api/v1/map", system.page);
    assert_eq!(
        curl(&["-H", "host: traces.example", &url]).code,
        200,
        "a name of the configuration"
    );
    // What would change something asks a browser first, and it is told no.
    let asked = [
        "-X",
        "OPTIONS",
        "-H",
        "origin: http://evil.example",
        "-H",
        "access-control-request-method: PUT",
    ];
    let pin = format!("http://{}/api/v1/pins/shop", system.page);
    let answer = curl(&[&asked[..], &[pin.as_str()]].concat());
    assert!(!answer.head.contains("access-control-allow"), "{answer:?}");
}

#[test]
fn a_page_elsewhere_that_leads_its_own_name_here_sends_nothing() {
    let system = system();
    for (name, address) in [("OTLP", system.otlp), ("OTLP of the agent", system.relay)] {
        let sent = |headers: &[&str]| {
            let url = format!("http://{address}/v1/traces");
            let headers = headers.iter().flat_map(|header| ["-H", header]);
            let body = [
                "-H",
                "content-type: application/json",
                "-d",
                "{\"resourceSpans\":[]}",
                &url,
            ];
            curl(&headers.chain(body).collect::<Vec<_>>())
        };
        let theirs = sent(&["host: evil.example:4318", "origin: http://evil.example:4318"]);
        assert_eq!(theirs.code, 403, "{name}: {theirs:?}");
        for taken in [
            // A page that may: a browser asked before, and a proxy said yes.
            &["origin: http://shop.example"][..],
            &["host: localhost:4318", "origin: http://localhost:3000"],
            // A program, by way of a proxy that passes on the name it was asked by.
            &["host: collector.example"],
        ] {
            let answer = sent(taken);
            assert_eq!(answer.code, 200, "{name}, {taken:?}: {answer:?}");
        }
    }
}

#[test]
fn no_path_leads_out_of_what_is_served() {
    let system = system();
    let secret = system.dir.path().join("secret.txt");
    fs::write(&secret, "not for you").expect("a file");
    let up = "../".repeat(12);
    let encoded = up.replace('/', "%2f");
    let double = up.replace("../", "%252e%252e%252f");
    for base in [
        "/generated/",
        "/runbooks/",
        "/api/v1/baselines/",
        "/api/traces/",
        "/",
    ] {
        for path in [
            format!("{up}etc/passwd"),
            format!("{encoded}etc%2fpasswd"),
            format!("{double}etc/passwd"),
            format!("{up}{}", secret.display()),
            "..%5c..%5cetc%5cpasswd".to_owned(),
            "%00".to_owned(),
            format!("alerts/{up}etc/passwd"),
        ] {
            let answer = curl(&["--path-as-is", &format!("http://{}{base}{path}", system.page)]);
            assert!((400..500).contains(&answer.code), "{base}{path}: {answer:?}");
            let said = format!("{}{}", answer.head, answer.body);
            assert!(
                !said.contains("root:") && !said.contains("not for you"),
                "{base}{path}"
            );
        }
    }
}

#[test]
fn what_a_request_says_is_no_part_of_the_answer_s_head() {
    let system = system();
    let (page, admin) = (system.page, system.admin);
    for (address, target) in [
        (page, "/generated/a%0d%0ax-evil:%20y"),
        (page, "/?node=a%0d%0ax-evil:%20y"),
        (page, "/api/v1/map?format=%0d%0ax-evil:%20y"),
        (page, "/runbooks/%0d%0ax-evil:%20y.md"),
        (admin, "/%0d%0ax-evil:%20y"),
    ] {
        let answer = curl(&[&format!("http://{address}{target}")]);
        assert!(answer.code >= 200, "{target}: {answer:?}");
        assert!(!answer.head.contains("\nx-evil"), "{target}: {answer:?}");
    }
    let answer = curl(&[&format!("http://{page}/?node=%3Cscript%3Ealert(1)%3C/script%3E")]);
    assert!(
        !answer.body.contains("<script>alert(1)"),
        "the page says what was asked for as it is"
    );
    // Control characters within a value, and a name that is none.
    for (name, address) in [
        ("page", page),
        ("administration", admin),
        ("OTLP", system.otlp),
        ("OTLP of the agent", system.relay),
        ("inbound", system.inbound),
        ("outbound", system.outbound),
    ] {
        for header in [
            "x-a: b\rx-evil: y",
            "x-a: b\0c",
            "x a: b",
            "x-a : b",
            "content-length: 1\r\ncontent-length: 2",
        ] {
            let target = if name == "outbound" {
                format!("http://{}/", system.inbound)
            } else {
                "/".to_owned()
            };
            let request =
                format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n\r\n");
            let answer = raw(address, request.as_bytes(), PATIENCE);
            let refused = answer.starts_with("HTTP/1.1 400 ") || answer.is_empty();
            assert!(refused, "{name}, {header:?}: {answer}");
        }
    }
}

#[test]
fn what_is_too_long_is_refused_and_what_stops_within_a_head_is_cut() {
    let system = system();
    let long = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    for (name, address) in [
        ("page", system.page),
        ("administration", system.admin),
        ("OTLP", system.otlp),
        ("OTLP of the agent", system.relay),
        ("inbound", system.inbound),
        ("outbound", system.outbound),
    ] {
        let answer = raw(address, long.as_bytes(), PATIENCE);
        let refused = answer.starts_with("HTTP/1.1 431 ") || answer.is_empty();
        assert!(refused, "{name}: {answer}");
    }
    let file = |name: &str, bytes: &[u8]| {
        let path = system.dir.path().join(name);
        fs::write(&path, bytes).expect("a file");
        format!("@{}", path.display())
    };
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 64 << 20]).expect("memory");
    let plain = file("plain", &vec![b' '; 2 << 20]);
    let bomb = file("bomb", &bomb.finish().expect("memory"));
    let url = format!("http://{}/v1/traces", system.otlp);
    let json = ["-H", "content-type: application/json", "--data-binary"];
    let answer = curl(&[&json[..], &[plain.as_str(), &url]].concat());
    assert_eq!(answer.code, 413, "{answer:?}");
    let answer = curl(
        &[
            &["-H", "content-encoding: gzip"],
            &json[..],
            &[bomb.as_str(), &url],
        ]
        .concat(),
    );
    assert_eq!(answer.code, 413, "{answer:?}");

    let half = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
    for (name, address) in [
        ("inbound", system.inbound),
        ("outbound", system.outbound),
        ("administration", system.admin),
    ] {
        // Whoever is not cut is waited for, and then the answer is empty because nobody said anything: that takes longer.
        let began = std::time::Instant::now();
        raw(address, half, PATIENCE);
        assert!(began.elapsed() < CUT, "{name} bears half a head for ever");
    }
    for (name, address) in [
        ("page", system.page),
        ("OTLP", system.otlp),
        ("OTLP of the agent", system.relay),
    ] {
        let began = std::time::Instant::now();
        raw(address, b"", PATIENCE);
        assert!(began.elapsed() < CUT, "{name} bears who says nothing for ever");
    }
}
