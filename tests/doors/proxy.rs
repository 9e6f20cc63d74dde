//! The forward proxy is no way to where its callers may not go, and none for strangers.
//!
//! It runs in a network namespace of its own, from which nothing leads out: what a broken guard let through would end there.

use std::process::Command;

use super::peers::{Answer, Part, curl_behind};

/// A network namespace with loopback alone; deleted when dropped.
struct Alone(String);

impl Alone {
    fn new(name: &str) -> Self {
        let alone = Self(format!("tm-{name}-{}", std::process::id()));
        run(&["ip", "netns", "add", &alone.0]);
        run(&["ip", "-n", &alone.0, "link", "set", "lo", "up"]);
        alone
    }

    fn behind(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn run(words: &[&str]) {
    let status = Command::new(words[0])
        .args(&words[1..])
        .status()
        .expect("the command runs");
    assert!(status.success(), "{words:?}: {status}");
}

/// An agent with this `outbound`, and what asks through it.
fn agent(alone: &Alone, outbound: &str) -> (tempfile::TempDir, Part) {
    agent_with(alone, &format!("service: shop\n  outbound: {outbound}"))
}

fn agent_with(alone: &Alone, keys: &str) -> (tempfile::TempDir, Part) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!("agent:\n  {keys}\n  admin: {{ listen: '127.0.0.1:7071' }}\n");
    let ready = [
        &alone.behind()[..],
        &["curl", "-sf", "http://127.0.0.1:7071/readyz"],
    ]
    .concat();
    let part = Part::start(dir.path(), &alone.behind(), "agent", &config, &ready);
    (dir, part)
}

fn through(alone: &Alone, proxy: &str, args: &[&str]) -> Answer {
    curl_behind(&alone.behind(), &[&["--noproxy", "", "-x", proxy], args].concat())
}

/// The host itself and what is beside it, in every way that it can be written.
const NEAR: [&str; 16] = [
    "169.254.169.254",
    "169.254.170.2",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "127.0.0.1:7071",
    "127.1:7071",
    "[::1]:7071",
    "[::ffff:127.0.0.1]:7071",
    "0.0.0.0:7071",
    "[::]:7071",
    "localhost:7071",
];

#[test]
fn who_calls_from_another_host_reaches_neither_the_agent_s_own_host_nor_what_is_beside_it() {
    let alone = Alone::new("near");
    let (_dir, agent) = agent(&alone, "{ listen: '127.0.0.1:15001', allow: [127.0.0.0/8] }");
    for host in NEAR {
        let url = format!("http://{host}/latest/meta-data/");
        let answer = through(&alone, "http://127.0.0.1:15001", &[&url]);
        assert_eq!(answer.code, 403, "{host}: {answer:?}");
        // A tunnel is asked for by name and port, and refused before there is one.
        let answer = through(&alone, "http://127.0.0.1:15001", &["-p", &url]);
        assert!(answer.errors.contains("403"), "{host}, by CONNECT: {answer:?}");
    }
    let metrics = curl_behind(&alone.behind(), &["http://127.0.0.1:7071/metrics"]);
    let counted = r#"tracemap_agent_requests_total{direction="outbound",outcome="denied"} 32"#;
    assert!(
        metrics.body.contains(counted),
        "{}\n{}",
        metrics.body,
        agent.said()
    );
}

#[test]
fn pods_reach_neither_the_node_nor_what_is_beside_it_through_the_node_s_agent() {
    let alone = Alone::new("node");
    let node = "workloads: [{ service: shop, addresses: [127.0.0.1] }]\n  \
        node: { outbound: { listen: '127.0.0.1:15001', mode: proxy } }";
    let (_dir, _agent) = agent_with(&alone, node);
    for host in NEAR {
        let url = format!("http://{host}/latest/meta-data/");
        let answer = through(&alone, "http://127.0.0.1:15001", &[&url]);
        assert_eq!(answer.code, 403, "{host}: {answer:?}");
    }
    // Beyond the host there is no way here, and nobody forbids it.
    let answer = through(&alone, "http://127.0.0.1:15001", &["http://192.0.2.1/"]);
    assert_eq!(answer.code, 502, "{answer:?}");
}

#[test]
fn who_is_not_allowed_is_refused_before_anything_is_looked_up() {
    let alone = Alone::new("allow");
    let (_dir, _agent) = agent(
        &alone,
        "{ listen: '127.0.0.1:15001', allow: [10.244.1.0/24], deny: [] }",
    );
    for args in [
        &["http://127.0.0.1:7071/metrics"][..],
        &["-p", "http://127.0.0.1:7071/metrics"],
    ] {
        let answer = through(&alone, "http://127.0.0.1:15001", args);
        assert!(
            answer.code == 403 || answer.errors.contains("403"),
            "{args:?}: {answer:?}"
        );
        assert!(!answer.body.contains("tracemap_agent_"), "{args:?}: {answer:?}");
    }
}

#[test]
fn at_loopback_the_callers_are_on_the_host_themselves_and_go_where_they_could() {
    let alone = Alone::new("own");
    let (_dir, _agent) = agent(&alone, "{ listen: '127.0.0.1:15001' }");
    let answer = through(
        &alone,
        "http://127.0.0.1:15001",
        &["http://127.0.0.1:7071/healthz"],
    );
    assert_eq!(answer.code, 200, "{answer:?}");
    // Nobody is there, and nobody is kept from asking.
    let answer = through(&alone, "http://127.0.0.1:15001", &["http://169.254.169.254/"]);
    assert_eq!(answer.code, 502, "{answer:?}");
}

#[test]
fn a_proxy_that_other_hosts_reach_does_not_start_without_who_may_call() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("agent.yaml");
    let config = "agent:\n  service: shop\n  outbound: { listen: '0.0.0.0:15001' }\n";
    std::fs::write(&file, config).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(["agent", "--config"])
        .arg(&file)
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("allow"), "{said}");
}
