//! One agent on a node with several pods, told apart by their addresses.

use std::collections::BTreeMap;
use std::process::{Child, Command};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{FAR, FAR6, Host, Pair, SCRIPT, at, cable, redirected, until};
use crate::sidecar::{mirror, serve};
use crate::support::{Seen, header, read_until};

const PODS: &str = "10.88.1.0/24,fd88:1::/64";

/// A node between its pods and everybody else; the node is the host that a [`Pair`] calls `app`.
struct Node {
    pods: Vec<Host>,
    pair: Pair,
}

impl Node {
    /// With `count` pods: `10.88.1.7`, `10.88.1.8` and so on, and `fd88:1::7`, `fd88:1::8`.
    fn new(count: usize, rules: &str, config: &str) -> Self {
        let pair = Pair::without_agent();
        let node = &pair.app;
        node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let pods = (0..count).map(|number| pod(node, number)).collect();
        pair.far
            .sh("ip route add 10.88.1.0/24 via 10.99.0.1; ip -6 route add fd88:1::/64 via fd99::1");
        let (made, said) = node.redirect(rules);
        assert!(made, "{said}");
        Self {
            pods,
            pair: pair.with_agent(config),
        }
    }

    /// How often each service made a call to `far`, by the spans.
    fn calls(&self) -> BTreeMap<String, usize> {
        let spans = self.pair.collector.all();
        let services = spans.iter().filter(|seen| seen.span.kind == 3);
        services.fold(BTreeMap::new(), |mut out, seen| {
            *out.entry(service(seen)).or_default() += 1;
            out
        })
    }
}

fn service(seen: &Seen) -> String {
    seen.resource.get("service.name").cloned().unwrap_or_default()
}

fn pod(node: &Host, number: usize) -> Host {
    let pod = Host::new(&format!("pod{number}"));
    let last = number + 7;
    let (own, own6) = (format!("10.88.1.{last}/32"), format!("fd88:1::{last}/128"));
    cable(node, &["169.254.1.1/32", "fe80::1:1/64"], &pod, &[&own, &own6]);
    let to_pod = node.sh("ip -o link | grep -o 'to[0-9]*a' | tail -n 1");
    let to_node = to_pod.trim().replace('a', "b");
    node.sh(&format!(
        "ip route add 10.88.1.{last}/32 dev {dev}; ip -6 route add fd88:1::{last}/128 dev {dev}",
        dev = to_pod.trim()
    ));
    pod.sh(&format!(
        "ip route add 169.254.1.1 dev {to_node}; ip route add default via 169.254.1.1 dev {to_node}; \
         ip -6 route add default via fe80::1:1 dev {to_node}"
    ));
    pod
}

const WORKLOADS: &str = "workloads:
- { service: cart, addresses: [10.88.1.7, 'fd88:1::7'] }
- { service: web, addresses: [10.88.1.8/31] }
";

#[test]
fn calls_of_two_workloads_on_one_listener_are_each_ones_own() {
    for mode in ["redirect", "tproxy"] {
        let rules = format!("node --pods {PODS} --outbound {mode}");
        let config = format!("{WORKLOADS}node: {{ outbound: {{ listen: '[::]:15001', mode: {mode} }} }}");
        let node = Node::new(2, &rules, &config);
        serve(&node.pair.far, at("::", 9090), mirror());
        for (pod, address, times) in [(0, FAR, 1), (1, FAR, 2), (0, FAR6, 3)] {
            let url = format!("http://{}/", at(address, 9090));
            for _ in 0..times {
                assert!(node.pods[pod].curl(&[&url]).starts_with("GET /"), "{mode}");
            }
        }
        let expected = BTreeMap::from([("cart".to_owned(), 4), ("web".to_owned(), 2)]);
        until(&format!("{mode}: {expected:?}"), || node.calls() == expected);
    }
}

#[test]
fn unknown_callers_are_refused_unless_they_are_allowed_and_then_leave_no_span() {
    for (allow, outcome) in [("[]", "not_allowed"), ("[10.88.1.0/24]", "unknown_workload")] {
        let rules = format!("node --pods {PODS}");
        let config = format!("{WORKLOADS}node: {{ outbound: {{ listen: '[::]:15001', allow: {allow} }} }}");
        let node = Node::new(4, &rules, &config);
        serve(&node.pair.far, at(FAR, 9090), mirror());
        let stranger = &node.pods[3];
        let output = stranger.command(
            "curl",
            &["-s", "--max-time", "15", &format!("http://{FAR}:9090/")],
        );
        assert_eq!(output.status.success(), outcome == "unknown_workload");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("traceparent"));
        until(outcome, || redirected(&node.pair.app, "outbound", outcome) >= 1.0);
        // A known one's call comes after, so the stranger's span would have been there.
        node.pods[0].curl(&[&format!("http://{FAR}:9090/")]);
        until("one call", || !node.calls().is_empty());
        assert_eq!(node.calls(), BTreeMap::from([("cart".to_owned(), 1)]));
    }
}

#[test]
fn requests_to_two_workloads_through_one_listener_are_each_ones_own() {
    for mode in ["redirect", "tproxy"] {
        let rules = format!("node --pods {PODS} --outbound off --inbound {mode}");
        let config = format!("{WORKLOADS}node: {{ inbound: {{ listen: '[::]:15006', mode: {mode} }} }}");
        let node = Node::new(4, &rules, &config);
        for pod in &node.pods {
            serve(pod, at("::", 8080), mirror());
        }
        for address in ["10.88.1.7", "10.88.1.8", "fd88:1::7"] {
            let answer = node.pair.far.curl(&[&format!("http://{}/", at(address, 8080))]);
            assert!(answer.contains("traceparent: "), "{mode} {address}: {answer}");
        }
        let stranger = format!("http://{}/", at("10.88.1.10", 8080));
        assert!(
            !node
                .pair
                .far
                .command("curl", &["-s", "--max-time", "15", &stranger])
                .status
                .success()
        );
        until(&format!("{mode}: three requests"), || {
            node.pair.collector.all().len() == 3
        });
        let mut services: Vec<_> = node.pair.collector.all().iter().map(service).collect();
        services.sort();
        assert_eq!(services, ["cart", "cart", "web"], "{mode}");
        assert!(redirected(&node.pair.app, "inbound", "not_allowed") >= 1.0);
    }
}

/// An API server that knows the pods `10.88.1.7` and `10.88.1.8`, of which nothing more will ever happen.
fn api_server() -> axum::Router {
    let pod = |name: &str, address: &str| {
        serde_json::json!({
            "metadata": { "name": format!("{name}-0"), "uid": name, "resourceVersion": "1",
                "ownerReferences": [{ "kind": "StatefulSet", "name": name, "controller": true }] },
            "spec": {},
            "status": { "phase": "Running", "podIP": address },
        })
    };
    let list = serde_json::json!({
        "metadata": { "resourceVersion": "1" },
        "items": [pod("cart", "10.88.1.7"), pod("web", "10.88.1.8")],
    });
    axum::Router::new().fallback(move |uri: axum::http::Uri| async move {
        if uri.query().is_some_and(|query| query.contains("watch=1")) {
            return std::future::pending().await;
        }
        list.to_string()
    })
}

#[test]
fn pods_that_the_api_server_tells_of_are_workloads_in_both_directions() {
    let rules = format!("node --pods {PODS} --inbound redirect");
    let config = "kubernetes: { pods: { watch: true, node: n7, api: 'http://127.0.0.1:6443' } }
node: { outbound: { listen: '[::]:15001', allow: [10.88.1.0/24] }, inbound: { listen: '[::]:15006' } }";
    let node = Node::new(2, &rules, config);
    serve(&node.pair.far, at(FAR, 9090), mirror());
    serve(&node.pods[0], at("10.88.1.7", 8080), mirror());
    let url = format!("http://{FAR}:9090/");
    let answer = node.pods[0].curl(&[&url]);
    assert!(
        !answer.contains("traceparent"),
        "not known, and passes as it is: {answer}"
    );
    serve(&node.pair.app, at("127.0.0.1", 6443), api_server());
    until("pods are known", || {
        node.pods[1].curl(&[&url]).contains("traceparent")
    });
    let answer = node.pair.far.curl(&["http://10.88.1.7:8080/"]);
    assert!(answer.contains("traceparent"), "{answer}");
    until("both spans", || {
        let spans = node.pair.collector.all();
        let mut services: Vec<_> = spans.iter().map(|seen| (service(seen), seen.span.kind)).collect();
        services.sort();
        services == [("cart".to_owned(), 2), ("web".to_owned(), 3)]
    });
}

#[test]
fn a_proxy_of_the_node_knows_its_callers_and_nobody_else() {
    let config = format!(
        "{WORKLOADS}node: {{ outbound: {{ listen: '0.0.0.0:15001', mode: proxy, untrusted: [{FAR}] }} }}"
    );
    let node = Node::new(4, "down", &config);
    serve(&node.pair.far, at(FAR, 9090), mirror());
    let call = [
        "-s",
        "--max-time",
        "15",
        "-x",
        "http://169.254.1.1:15001",
        &format!("http://{FAR}:9090/"),
    ];
    let answer = node.pods[1].curl(&call);
    assert!(
        answer.starts_with("GET /") && answer.contains("traceparent: "),
        "{answer}"
    );
    assert!(
        !answer.contains("tm="),
        "our names are not for hosts outside: {answer}"
    );
    assert!(!node.pods[3].command("curl", &call).status.success());
    until("one call", || {
        node.calls() == BTreeMap::from([("web".to_owned(), 1)])
    });
    assert!(redirected(&node.pair.app, "outbound", "not_allowed") >= 1.0);
}

/// The script that keeps rules while an agent listens.
struct Keeper(Child);

impl Keeper {
    fn start(node: &Host) -> Self {
        let mut keeper = node.prepared("sh");
        keeper.args([SCRIPT, "node", "--pods", PODS, "--keep", "on"]);
        Self(keeper.spawn().expect("a shell"))
    }

    /// Asks it to end, and waits until it has.
    fn end(mut self) {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("`kill`").success());
        assert!(self.0.wait().expect("a child").success());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks on an open connection; the agent's part in the answer.
fn traced_on(pod: &Host, mut stream: TcpStream) -> (TcpStream, bool) {
    pod.run(async move {
        let request = b"GET / HTTP/1.1\r\nhost: far\r\n\r\n";
        stream.write_all(request).await.expect("written");
        let mut answer = read_until(&mut stream, "\r\n\r\n").await.into_bytes();
        let head = String::from_utf8_lossy(&answer).into_owned();
        let body = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
        let (_, begun) = head.split_once("\r\n\r\n").expect("an empty line");
        let mut rest = vec![0; body.expect("a length") - begun.len()];
        stream
            .read_exact(&mut rest)
            .await
            .expect("the rest of the answer");
        answer.extend(rest);
        let answer = String::from_utf8_lossy(&answer);
        (stream, header(&answer, "traceparent").is_some())
    })
}

#[test]
fn rules_that_are_kept_come_and_go_with_the_agent_and_cut_no_connection() {
    let config = format!("{WORKLOADS}node: {{ outbound: {{ listen: '[::]:15001' }} }}");
    let mut node = Node::new(2, "down", &config);
    serve(&node.pair.far, at("::", 9090), mirror());
    let url = format!("http://{FAR}:9090/");
    let connect = |node: &Node| {
        node.pods[0]
            .run(TcpStream::connect(at(FAR, 9090)))
            .expect("a connection")
    };
    let traced = |node: &Node| node.pods[1].curl(&[&url]).contains("traceparent");

    let (before, is_traced) = traced_on(&node.pods[0], connect(&node));
    assert!(!is_traced);
    let keeper = Keeper::start(&node.pair.app);
    until("rules", || traced(&node));
    let (before, is_traced) = traced_on(&node.pods[0], before);
    assert!(!is_traced, "it goes on as it began");
    let (through, is_traced) = traced_on(&node.pods[0], connect(&node));
    assert!(is_traced);

    keeper.end();
    let (through, is_traced) = traced_on(&node.pods[0], through);
    assert!(is_traced, "it goes on through the agent");
    let (between, is_traced) = traced_on(&node.pods[0], connect(&node));
    assert!(!is_traced);

    let keeper = Keeper::start(&node.pair.app);
    until("rules again", || traced(&node));
    for (stream, expected) in [(before, false), (through, true), (between, false)] {
        assert_eq!(traced_on(&node.pods[0], stream).1, expected);
    }
    node.pair.kill_agent();
    until("a call without an agent", || {
        let output = node.pods[1].command("curl", &["-sS", "--max-time", "15", &url]);
        output.status.success()
    });
    keeper.end();
    assert!(node.pair.app.redirect("down").0);
    assert!(!node.pair.app.rules().contains("TRACEMAP"));
}

#[test]
fn requests_to_ports_of_a_nodes_pods_that_are_left_alone_pass_by_the_agent() {
    let rules = format!("node --pods {PODS} --inbound redirect --skip-inbound-ports 4317,4318");
    let config = format!("{WORKLOADS}node: {{ inbound: {{ listen: '[::]:15006' }} }}");
    let node = Node::new(1, &rules, &config);
    for (port, expected) in [(4317, false), (8080, true)] {
        serve(&node.pods[0], at("10.88.1.7", port), mirror());
        let answer = node.pair.far.curl(&[&format!("http://10.88.1.7:{port}/")]);
        assert_eq!(answer.contains("traceparent"), expected, "{port}: {answer}");
    }
}
