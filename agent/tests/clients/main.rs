//! Real clients and servers on both sides of the agent, in the languages that services are written in.
//!
//! In: a program for each of Python, Node and Go (`peer.py`, `peer.js`, `main.go`) that can be a service and its caller, and
//! curl. Out: every caller content with every service through the agent, and the spans that tell of it.
//! Left out on purpose: how the agent's own ends speak, byte by byte; the tests of `wire` do that.

mod peers;
#[path = "../wire/support.rs"]
#[allow(dead_code, reason = "the tests of `wire` use more of it")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use agent::Running;

use crate::peers::{Language, Peer, run};
use crate::support::{Collector, Seen, soon, start};

const ALL: [Language; 3] = [Language::Python, Language::Node, Language::Go];

/// An agent before the HTTP and the gRPC side of one service.
async fn before(http: u16, grpc: u16, collector: &Collector) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, routes: ['/{{*all}}'],
           export: {{ endpoint: '{}', delay: 0s }}, outbound: {{ listen: '127.0.0.1:0' }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:{http}' }},
                     {{ listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:{grpc}' }}] }}",
        collector.endpoint()
    ))
    .await
}

async fn spans(collector: &Collector, number: usize) -> Vec<Seen> {
    let enough = async {
        while collector.all().len() < number {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{number} spans"), enough).await;
    collector.all()
}

/// The SERVER spans by what was asked and how it ended, each with its number.
fn told(spans: &[Seen]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for seen in spans.iter().filter(|seen| seen.span.kind == 2) {
        let path = seen.get("url.path").unwrap_or_default();
        let ended = seen
            .get("rpc.response.status_code")
            .or(seen.get("http.response.status_code"));
        let method = seen.get("http.request.method").unwrap_or_default();
        let error = seen
            .get("error.type")
            .map_or(String::new(), |error| format!(" {error}"));
        *out.entry(format!("{method} {path} {}{error}", ended.unwrap_or("-")))
            .or_default() += 1;
    }
    out
}

fn expected(websocket: bool) -> BTreeMap<String, usize> {
    let http = [
        ("GET /hello 200", 2),
        ("HEAD /hello 200", 1),
        ("POST /echo 200", 2),
        ("GET /events 200", 1),
        ("GET /fail 503 503", 1),
        ("GET /large 200", 1),
        ("POST /story.Story/Unary OK", 1),
        ("POST /story.Story/Stream OK", 1),
        ("POST /story.Story/Bidi OK", 1),
        ("POST /story.Story/Missing NOT_FOUND", 1),
    ];
    let chat = websocket.then_some(("GET /chat 101", 1));
    http.into_iter()
        .chain(chat)
        .map(|(told, number)| (told.to_owned(), number))
        .collect()
}

/// Every service is called by `caller`, over everything that both speak.
async fn every_service_is_called_by(caller: Language) {
    let caller = Peer::build(caller).await;
    for language in ALL {
        let service = Peer::build(language).await.serve().await;
        let collector = Collector::start().await;
        let agent = before(service.http, service.grpc, &collector).await;
        let websocket = service.websocket && caller.language != Language::Go;
        caller
            .call(&agent, websocket)
            .await
            .unwrap_or_else(|complaint| panic!("{:?} calls {language:?}: {complaint}", caller.language));
        // One more SERVER span is of the call that was given up, one span of the proxy.
        let all = spans(&collector, 12 + usize::from(websocket) + 2).await;
        let mut told = told(&all);
        let given_up: Vec<_> = told
            .keys()
            .filter(|told| told.contains("/Slow "))
            .cloned()
            .collect();
        assert_eq!(given_up.len(), 1, "{told:?}");
        let how = told
            .remove_entry(&given_up[0])
            .map(|(how, _)| how)
            .unwrap_or_default();
        let ends = [
            "client_disconnected",
            "CANCELLED",
            "DEADLINE_EXCEEDED",
            "upstream_closed",
        ];
        assert!(ends.iter().any(|end| how.contains(end)), "{how}");
        assert_eq!(
            told,
            expected(websocket),
            "{:?} calls {language:?}",
            caller.language
        );
        let client = all
            .iter()
            .find(|seen| seen.span.kind == 3)
            .expect("the call through the proxy");
        let server = all
            .iter()
            .find(|seen| seen.parent() == client.span_id())
            .expect("its other side");
        assert_eq!((server.span.kind, server.get("url.path")), (2, Some("/hello")));
        assert_eq!(server.trace_id(), client.trace_id());
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_calls_services_in_every_language_through_the_agent() {
    every_service_is_called_by(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_calls_services_in_every_language_through_the_agent() {
    every_service_is_called_by(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_calls_services_in_every_language_through_the_agent() {
    every_service_is_called_by(Language::Go).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_every_version_of_http_through_the_agent_and_by_it() {
    let service = Peer::build(Language::Go).await.serve().await;
    let collector = Collector::start().await;
    let agent = before(service.http, service.grpc, &collector).await;
    let (inbound, proxy) = (agent.inbound_addrs[0], agent.outbound_addrs[0]);
    let hello = format!("http://{inbound}/hello");
    let through = format!("http://{proxy}");
    let curl = async |words: &[&str]| {
        let words = [&["curl", "--silent", "--show-error", "--max-time", "20"], words].concat();
        run(&words, Path::new("."), &[("http_proxy", "")])
            .await
            .expect("curl")
    };
    assert_eq!(curl(&[&hello]).await, "hello");
    assert_eq!(curl(&["--http1.0", &hello]).await, "hello");
    assert_eq!(
        curl(&["--http2", &hello]).await,
        "hello",
        "an upgrade that is not taken is no failure"
    );
    assert_eq!(curl(&["--proxy", &through, &hello]).await, "hello");
    assert_eq!(
        curl(&["--proxy", &through, "--proxytunnel", &hello]).await,
        "hello"
    );
    let echo = format!("http://{inbound}/echo");
    let expect = [
        "--header",
        "expect: 100-continue",
        "--data",
        "body",
        echo.as_str(),
    ];
    assert_eq!(curl(&expect).await, "body");
    let known = [
        "--http2-prior-knowledge",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version} %{http_code}",
    ];
    let grpc = format!("http://{}/story.Story/Nothing", agent.inbound_addrs[1]);
    let told = curl(&[&known[..], &[grpc.as_str()]].concat()).await;
    assert!(told.starts_with("2 "), "{told}");
    let by_env = ["curl", "--silent", "--max-time", "20", hello.as_str()];
    let told = run(
        &by_env,
        Path::new("."),
        &[("http_proxy", &through), ("no_proxy", "")],
    )
    .await;
    assert_eq!(told.expect("curl"), "hello");
    let all = spans(&collector, 10).await;
    let clients = all.iter().filter(|seen| seen.span.kind == 3).count();
    assert_eq!(clients, 2, "a tunnel is no span");
}

#[tokio::test]
async fn a_language_that_is_not_installed_is_a_failure_that_says_what_installs_it() {
    let told = run(&["no-such-language"], &std::env::temp_dir(), &[]).await;
    let told = told.expect_err("there is no such program");
    assert!(
        told.contains("`no-such-language`") && told.contains("tests/run.sh"),
        "{told}"
    );
}
