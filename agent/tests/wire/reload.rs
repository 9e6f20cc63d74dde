//! Another configuration while the agent runs: what changes, what goes on, and that no request notices.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent::{AgentError, ConfigSource, Running};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::edges::{Counting, cart};
use crate::http2::grpc;
use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The configuration of [`cart`] with one thing or another in place of its defaults.
fn cart_yaml(upstream: SocketAddr, export: &str, more: &str) -> String {
    format!(
        "{{ service: cart, namespace: shop, admin: {{ listen: '127.0.0.1:0' }}, export: {{ {export} }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}' }}],
           outbound: {{ listen: '127.0.0.1:0' }}, {more} }}"
    )
}

async fn reload(agent: &mut Running, yaml: &str) -> Vec<&'static str> {
    agent
        .reload(config(yaml))
        .await
        .expect("taken over")
        .needs_restart
}

/// One connection on which requests follow each other; how many were answered with 200 when `stop` was set. Anything
/// else fails the test.
async fn keeps_asking(proxy: SocketAddr, target: String, stop: Arc<AtomicBool>) -> usize {
    let stream = TcpStream::connect(proxy).await.expect("a connection");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a handshake");
    tokio::spawn(connection);
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = Request::get(&target).header("host", "cart");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = sender.send_request(request).await.expect("the connection stays");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.expect("the whole answer");
        answered += 1;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_each_counts_once_while_configurations_change() {
    let counting = Counting::start().await;
    let (upstream, target) = (mirror().await, mirror().await);
    let mut agent = cart(upstream, &counting.endpoint(), "edges: { interval: 100ms }").await;
    let stop = Arc::new(AtomicBool::new(false));
    let ask = |proxy, target| tokio::spawn(keeps_asking(proxy, target, stop.clone()));
    let (inbound, outbound) = (agent.inbound_addrs[0], agent.outbound_addrs[0]);
    let served: Vec<_> = (0..2).map(|_| ask(inbound, "/".to_owned())).collect();
    let called: Vec<_> = (0..2)
        .map(|_| ask(outbound, format!("http://{target}/")))
        .collect();
    for round in 0..12 {
        let export = format!("endpoint: '{}', delay: {}ms", counting.endpoint(), round / 2 % 3);
        let more = format!(
            "edges: {{ interval: {}ms }}, routes: ['/r{round}'], propagation: {{ inject: [tracecontext, b3] }}",
            100 + round / 4
        );
        assert_eq!(
            reload(&mut agent, &cart_yaml(upstream, &export, &more)).await,
            Vec::<&str>::new()
        );
        let asked = metric(
            &agent,
            "tracemap_agent_requests_total{direction=\"outbound\",outcome=\"success\"}",
        );
        let before = asked.await;
        until_more(&agent, before + 5.0).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sums = [0, 0];
    for (sum, tasks) in sums.iter_mut().zip([served, called]) {
        for task in tasks {
            *sum += task.await.expect("every request was answered");
        }
    }
    assert!(
        (agent.inbound_addrs[0], agent.outbound_addrs[0]) == (inbound, outbound),
        "the listeners are the same"
    );
    agent.stop().await;
    let edge = format!("shop/cart -> {target}");
    counting.until(&[(&edge, (sums[1] as u64, 0))]).await;
    let of_kind = |kind| {
        let all = counting.spans().all();
        all.iter().filter(|seen| seen.span.kind == kind).count()
    };
    assert_eq!([of_kind(2), of_kind(3)], sums, "spans of servers and clients");
}

async fn until_more(agent: &Running, than: f64) {
    let series = "tracemap_agent_requests_total{direction=\"outbound\",outcome=\"success\"}";
    let reached = async {
        while metric(agent, series).await < than {
            tokio::task::yield_now().await;
        }
    };
    soon("more requests", reached).await;
}

#[tokio::test]
async fn a_request_in_flight_ends_as_it_began_and_calls_made_for_it_later_find_it() {
    let collector = Collector::start().await;
    let (arrived, mut waiting) = mpsc::unbounded_channel();
    let upstream = raw_service(move |mut stream: TcpStream| {
        let arrived = arrived.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let (go_on, told) = oneshot::channel::<()>();
            arrived.send(go_on).expect("the test");
            told.await.expect("the test goes on");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.expect("the agent");
        }
    })
    .await;
    let export = format!("endpoint: '{}', delay: 0s", collector.endpoint());
    let before = cart_yaml(upstream, &export, "routes: ['/orders/{id}']");
    let mut agent = start(&before).await;
    let head = format!(
        "GET /orders/7 HTTP/1.1\r\nhost: cart\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\nx-correlation-id: o-7\r\n\r\n"
    );
    let mut caller = open(agent.inbound_addrs[0], &head).await;
    let go_on = soon("the request", waiting.recv()).await.expect("the service");

    let after = cart_yaml(
        upstream,
        &format!("endpoint: '{}', delay: 1ms", collector.endpoint()),
        "routes: ['/carts/{id}']",
    );
    reload(&mut agent, &after).await;
    let call = format!("GET http://{}/ HTTP/1.1\nx-correlation-id: o-7", mirror().await);
    ask(agent.outbound_addrs[0], &call).await;
    go_on.send(()).expect("the service waits");
    read_until(&mut caller, "\r\n\r\n").await;

    let (server, client) = (collector.server_span().await, collector.client_span().await);
    assert_eq!(server.get("http.route"), Some("/orders/{id}"));
    assert_eq!(
        (server.trace_id().as_str(), server.parent().as_str()),
        (TRACE, CALLER)
    );
    assert_eq!(
        (client.trace_id(), client.parent()),
        (server.trace_id(), server.span_id())
    );
}

#[tokio::test]
async fn the_next_request_on_a_connection_meets_the_new_configuration() {
    let [first, second] =
        ["first", "second"].map(|name| service(axum::Router::new().fallback(move || async move { name })));
    let (first, second) = (first.await, second.await);
    let mut agent = start(&cart_yaml(first, "", "")).await;
    let head = "GET / HTTP/1.1\r\nhost: cart\r\n\r\n";
    let mut caller = open(agent.inbound_addrs[0], head).await;
    read_until(&mut caller, "first").await;
    let more = "propagation: { correlation_headers: [x-order] }, edges: { mode: count }";
    reload(&mut agent, &cart_yaml(second, "", more)).await;
    caller
        .write_all(head.as_bytes())
        .await
        .expect("the connection stays");
    read_until(&mut caller, "second").await;
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"quiet\"}", 1.0).await;
}

#[tokio::test]
async fn listeners_that_appear_are_bound_and_those_that_vanish_are_drained() {
    let upstream = mirror().await;
    let free = nobody().await;
    let with = |more: &str| {
        format!(
            "{{ admin: {{ listen: '127.0.0.1:0' }}, workloads: [
              {{ service: cart, inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}' }}] }}, {more} ] }}"
        )
    };
    let stock = format!(
        "{{ service: stock, inbound: [{{ listen: '{free}', upstream: 'http://{upstream}' }}], outbound: {{ listen: '127.0.0.1:0' }} }}"
    );
    let mut agent = start(&with("")).await;
    let kept = agent.inbound_addrs[0];
    reload(&mut agent, &with(&stock)).await;
    assert_eq!(agent.inbound_addrs, [kept, free]);
    assert_eq!(agent.outbound_addrs.len(), 1);
    let mut caller = open(free, "GET / HTTP/1.1\r\nhost: stock\r\n\r\n").await;
    read_until(&mut caller, "host: stock").await;

    reload(&mut agent, &with("")).await;
    assert_eq!(
        (agent.inbound_addrs.as_slice(), agent.outbound_addrs.len()),
        ([kept].as_slice(), 0)
    );
    let mut rest = Vec::new();
    soon("the end of the idle connection", caller.read_to_end(&mut rest))
        .await
        .expect("closed in good order");
    let refused = async { while TcpStream::connect(free).await.is_ok() {} };
    soon("a free address", refused).await;
    TcpListener::bind(free).await.expect("the address is free");
    assert!(
        ask(kept, "GET / HTTP/1.1\nhost: cart")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn an_address_that_cannot_be_had_changes_nothing() {
    let [first, second] =
        ["first", "second"].map(|name| service(axum::Router::new().fallback(move || async move { name })));
    let (first, second) = (first.await, second.await);
    let taken = mirror().await;
    let mut agent = start(&cart_yaml(first, "", "")).await;
    let more = format!("otlp: {{ http: '{taken}' }}");
    let error = agent.reload(config(&cart_yaml(second, "", &more))).await;
    assert!(matches!(error, Err(AgentError::Listen { key, .. }) if key == "agent.otlp.http"));
    assert!(
        ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart")
            .await
            .ends_with("first")
    );
    let rejected = "tracemap_agent_config_reloads_total{outcome=\"rejected\"}";
    until_metric(&agent, rejected, 1.0).await;
    until_metric(&agent, "tracemap_agent_config_last_reload_successful", 0.0).await;
}

#[tokio::test]
async fn what_only_a_restart_changes_is_named_and_stays() {
    let mut agent = start(&cart_yaml(mirror().await, "", "")).await;
    let named = reload(
        &mut agent,
        &cart_yaml(mirror().await, "", "edges: { max_peers: 3 }"),
    )
    .await;
    assert_eq!(named, ["agent.edges.max_peers"]);
    let again = reload(&mut agent, &cart_yaml(mirror().await, "", "")).await;
    assert_eq!(again, Vec::<&str>::new());
}

/// What a collector that was away must get, after the agent was told of another.
async fn goes_to_the_next_collector(buffer: &str) -> (Running, Counting, SocketAddr) {
    let (upstream, target) = (mirror().await, mirror().await);
    let gone = nobody().await;
    let buffer = format!("buffer: {{ {buffer} }}");
    let yaml = |endpoint: &str| {
        let export = format!("endpoint: '{endpoint}', delay: 0s, {buffer}");
        cart_yaml(upstream, &export, "edges: { interval: 100ms }")
    };
    let mut agent = start(&yaml(&format!("http://{gone}"))).await;
    ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    let waits = async { while metric(&agent, "tracemap_agent_buffered_bytes").await < 1.0 {} };
    soon("a span that waits", waits).await;
    let next = Counting::start().await;
    reload(&mut agent, &yaml(&next.endpoint())).await;
    ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    (agent, next, target)
}

#[tokio::test]
async fn what_waits_on_disk_for_one_collector_goes_to_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_agent, next, target) =
        goes_to_the_next_collector(&format!("path: '{}'", dir.path().display())).await;
    next.until(&[(&format!("shop/cart -> {target}"), (2, 0))]).await;
    let both = async {
        while next.spans().all().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("both spans", both).await;
}

#[tokio::test]
async fn what_waits_in_memory_is_still_tried_where_it_was_meant_to_go() {
    let (upstream, target) = (mirror().await, mirror().await);
    let late = nobody().await;
    let next = Counting::start().await;
    let yaml = |endpoint: &str| {
        let export = format!("endpoint: '{endpoint}', delay: 0s");
        cart_yaml(upstream, &export, "edges: { interval: 100ms }")
    };
    let mut agent = start(&yaml(&format!("http://{late}"))).await;
    ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    let waits = async { while metric(&agent, "tracemap_agent_buffered_bytes").await < 1.0 {} };
    soon("a span that waits", waits).await;
    reload(&mut agent, &yaml(&next.endpoint())).await;
    ask(
        agent.outbound_addrs[0],
        &format!("GET http://{target}/two HTTP/1.1"),
    )
    .await;
    assert_eq!(
        next.spans().client_span().await.get("url.full"),
        Some(format!("http://{target}/two").as_str())
    );
    let before = Collector::start_at(late).await;
    assert_eq!(
        before.client_span().await.get("url.full"),
        Some(format!("http://{target}/").as_str())
    );
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"sent\"}", 2.0).await;
}

#[tokio::test]
async fn an_sdk_reaches_the_relay_before_and_after_its_collector_is_another() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let upstream = mirror().await;
    let yaml = |endpoint: &str| {
        let more = "otlp: { http: '127.0.0.1:0' }";
        cart_yaml(upstream, &format!("endpoint: '{endpoint}', delay: 0s"), more)
    };
    let mut agent = start(&yaml(&first.endpoint())).await;
    let relay = agent.otlp_http_addr.expect("an address");
    let send = async |name: &str| {
        let body = format!(
            "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{TRACE}\",\"spanId\":\"{CALLER}\",\
              \"name\":\"{name}\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":\"2\"}}]}}]}}]}}"
        );
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = open(relay, &head).await;
        let mut answer = String::new();
        soon("the answer", stream.read_to_string(&mut answer))
            .await
            .expect("text");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    send("before").await;
    first.span(|seen| seen.span.name == "before").await;
    reload(&mut agent, &yaml(&second.endpoint())).await;
    assert_eq!(agent.otlp_http_addr, Some(relay));
    send("after").await;
    second.span(|seen| seen.span.name == "after").await;
    assert_eq!((first.all().len(), second.all().len()), (1, 1));
}

#[tokio::test]
async fn an_agent_without_a_collector_exports_from_the_moment_that_one_is_named() {
    let (upstream, counting) = (mirror().await, Counting::start().await);
    let mut agent = start(&cart_yaml(upstream, "", "")).await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    let dropped = "tracemap_agent_spans_dropped_total{reason=\"no_endpoint\"}";
    until_metric(&agent, dropped, 1.0).await;
    let export = format!("endpoint: '{}', delay: 0s", counting.endpoint());
    reload(&mut agent, &cart_yaml(upstream, &export, "")).await;
    ask(agent.inbound_addrs[0], "GET /two HTTP/1.1\nhost: cart").await;
    let span = counting.spans().server_span().await;
    assert_eq!(span.get("url.path"), Some("/two"));
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"sent\"}", 1.0).await;
    assert!((metric(&agent, dropped).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_file_that_changes_is_taken_over_and_one_with_problems_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("agent.yaml");
    let [first, second] =
        ["first", "second"].map(|name| service(axum::Router::new().fallback(move || async move { name })));
    let (first, second) = (first.await, second.await);
    let write = |text: &str| {
        // As editors and configuration tools do: a new file in place of the old.
        let new = dir.path().join("agent.yaml.new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, &file).expect("renamed");
    };
    write(&cart_yaml(first, "", ""));
    let mut agent = start(&cart_yaml(first, "", "")).await;
    let (inbound, admin) = (agent.inbound_addrs[0], agent.admin_addr);
    let read = file.clone();
    let source = ConfigSource::new(Some(file.clone()), move || ::config::read_file(&read, []))
        .every(Duration::from_millis(5));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        agent.follow(Some(source), async { drop(stopped.await) }).await;
        agent.stop().await;
    });
    let says = async |word: &str| {
        while !ask(inbound, "GET / HTTP/1.1\nhost: cart").await.ends_with(word) {}
    };
    write(&cart_yaml(second, "", ""));
    soon("the second service", says("second")).await;
    write(&cart_yaml(first, "", "routs: []"));
    let rejected = "tracemap_agent_config_reloads_total{outcome=\"rejected\"} 1\n";
    let counted = async {
        while !ask(admin, "GET /metrics HTTP/1.1\nhost: localhost")
            .await
            .contains(rejected)
        {}
    };
    soon("the count of the bad file", counted).await;
    says("second").await;
    write(&cart_yaml(first, "", ""));
    soon("the first service", says("first")).await;
    drop(stop);
    soon("the end", running).await.expect("stopped");
}

#[tokio::test]
async fn an_agent_that_is_asked_to_stop_says_so_first_and_serves_on_for_its_drain_delay() {
    let agent = start(&cart_yaml(mirror().await, "", "drain_delay: 1h")).await;
    let (inbound, admin) = (agent.inbound_addrs[0], agent.admin_addr);
    assert!(
        ask(admin, "GET /readyz HTTP/1.1\nhost: localhost")
            .await
            .contains("200 OK")
    );
    let request = "GET / HTTP/1.1\r\nhost: cart\r\n\r\n";
    let mut kept = open(inbound, request).await;
    assert!(
        !read_until(&mut kept, "host: cart")
            .await
            .contains("connection: close")
    );
    let stopping = tokio::spawn(agent.stop());
    let leaving = async {
        while !ask(admin, "GET /readyz HTTP/1.1\nhost: localhost")
            .await
            .contains("503 ")
        {}
    };
    soon("the word that it leaves", leaving).await;
    assert!(
        ask(inbound, "GET / HTTP/1.1\nhost: cart")
            .await
            .starts_with("HTTP/1.1 200")
    );
    kept.write_all(request.as_bytes()).await.expect("written");
    let mut last = String::new();
    soon(
        "the last answer, and the end after it",
        kept.read_to_string(&mut last),
    )
    .await
    .expect("a text");
    assert!(last.contains("HTTP/1.1 200"), "{last}");
    assert_eq!(header(&last, "connection"), Some("close"), "{last}");
    assert!(
        ask(admin, "GET /healthz HTTP/1.1\nhost: agent")
            .await
            .contains("200 OK")
    );
    stopping.abort();
}

#[tokio::test]
async fn at_the_end_idle_connections_close_and_http2_is_told_to_go_away_after_its_last_answer() {
    let (arrived, mut waiting) = mpsc::unbounded_channel();
    let upstream = service(axum::Router::new().fallback(move || {
        let arrived = arrived.clone();
        async move {
            let (go_on, told) = oneshot::channel::<()>();
            arrived.send(go_on).expect("the test");
            drop(told.await);
            "answered"
        }
    }))
    .await;
    let agent = start(&cart_yaml(upstream, "", "")).await;
    let address = agent.inbound_addrs[0];
    let mut idle = open(address, "").await;
    let stream = TcpStream::connect(address).await.expect("a connection");
    let executor = hyper_util::rt::TokioExecutor::new();
    let handshake = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let request = grpc("http://cart/a")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let answer = tokio::spawn(sender.send_request(request));
    let go_on = soon("the request", waiting.recv()).await.expect("the service");
    let stopped = tokio::spawn(agent.stop());
    let mut rest = Vec::new();
    soon("the end of the idle connection", idle.read_to_end(&mut rest))
        .await
        .expect("closed in good order");
    drop(go_on);
    let response = answer.await.expect("asked").expect("an answer");
    let body = response.into_body().collect().await.expect("the whole answer");
    assert_eq!(body.to_bytes(), "answered");
    // The peer closes after GOAWAY; without it the connection would stay open as long as `sender` lives.
    soon("the end of the connection", connection)
        .await
        .expect("a task")
        .expect("closed in good order");
    soon("the end of the agent", stopped).await.expect("stopped");
    drop(sender);
}

/// A process that is killed where it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_hangup_opens_the_access_log_anew_and_reads_the_file_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let [inbound, admin] = [nobody().await, nobody().await];
    let upstream = mirror().await;
    let yaml = format!(
        "agent: {{ service: cart, admin: {{ listen: '{admin}' }}, edges: {{ mode: log, access_log: '{}' }},
           inbound: [{{ listen: '{inbound}', upstream: 'http://{upstream}' }}] }}",
        log.display()
    );
    let file = dir.path().join("agent.yaml");
    std::fs::write(&file, yaml).expect("a file");
    let child = Command::new(env!("CARGO_BIN_EXE_tracemap-agent"))
        .args([Path::new("--config"), &file])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let agent = Killed(child.expect("the agent's binary"));
    let ready = async {
        while TcpStream::connect(inbound).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("the agent", ready).await;
    let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let asked = AtomicUsize::new(0);
    let until_written = async |path: &Path| {
        ask(inbound, "GET / HTTP/1.1\nhost: cart").await;
        asked.fetch_add(1, Ordering::Relaxed);
        let written = async {
            while lines(path) == 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("a line", written).await;
    };
    until_written(&log).await;
    std::fs::rename(&log, &moved).expect("moved away");
    let pid = agent.0.id().to_string();
    let told = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(told.expect("`kill` is installed").success());
    let applied = "tracemap_agent_config_reloads_total{outcome=\"applied\"} 1\n";
    let counted = async {
        while !ask(admin, "GET /metrics HTTP/1.1\nhost: localhost")
            .await
            .contains(applied)
        {}
    };
    soon("the new log", counted).await;
    until_written(&log).await;
    assert_eq!((lines(&log), lines(&moved)), (1, 1));
}

/// A server of one document, which says of it that it has not changed where it is asked so.
async fn publishes(document: Arc<std::sync::Mutex<String>>) -> SocketAddr {
    let answer = move |request: axum::extract::Request| {
        let document = document.lock().expect("a lock").clone();
        async move {
            let tag = format!("\"{}\"", document.len());
            let known = request.headers().get("if-none-match");
            let status = if known.is_some_and(|known| known == tag.as_str()) {
                StatusCode::NOT_MODIFIED
            } else {
                StatusCode::OK
            };
            (status, [("etag", tag)], document)
        }
    };
    service(axum::Router::new().fallback(answer)).await
}

#[tokio::test]
async fn a_plan_that_changes_changes_modes_and_shares_and_one_with_problems_does_not() {
    let plan = |edge: &str| format!("{{\"version\":1,\"edges\":[{{\"callee\":\"shop/cart\",{edge}}}]}}");
    let document = Arc::new(std::sync::Mutex::new(plan(
        "\"caller\":\"unknown\",\"mode\":\"count\"",
    )));
    let source = publishes(document.clone()).await;
    let more = format!(
        "plan: {{ url: 'http://{source}/plan', interval: 100ms }}, sampling: {{ listen: '127.0.0.1:0' }}"
    );
    let mut agent = start(&cart_yaml(mirror().await, "", &more)).await;
    let (inbound, admin) = (agent.inbound_addrs[0], agent.admin_addr);
    let sampling = agent.sampling_addr.expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        agent.follow(None, async { drop(stopped.await) }).await;
        agent.stop().await;
    });
    let says = async |series: &str| {
        let head = "GET /metrics HTTP/1.1\nhost: localhost";
        while !ask(admin, head)
            .await
            .contains(&format!("tracemap_agent_{series}"))
        {}
    };
    let quiet = async {
        while !ask(admin, "GET /metrics HTTP/1.1\nhost: localhost")
            .await
            .contains("{outcome=\"quiet\"} ")
        {
            ask(inbound, "GET / HTTP/1.1\nhost: cart").await;
        }
    };
    soon("a request that is only counted", quiet).await;
    soon(
        "an answer without a body",
        says("plan_polls_total{outcome=\"unchanged\"} "),
    )
    .await;

    *document.lock().expect("a lock") = plan("\"caller\":\"shop/web\",\"share\":0.5");
    soon(
        "the count of the bad plan",
        says("plan_polls_total{outcome=\"rejected\"} 1\n"),
    )
    .await;
    *document.lock().expect("a lock") = plan("\"caller\":\"user\",\"share\":0.25");
    let question = "GET /sampling?service=cart HTTP/1.1\nhost: agent";
    let shared = async { while !ask(sampling, question).await.contains("\"samplingRate\":0.25}") {} };
    soon("the share of the plan", shared).await;
    soon("two plans", says("plan_polls_total{outcome=\"applied\"} 2\n")).await;
    drop(stop);
    soon("the end", running).await.expect("stopped");
}

#[tokio::test]
async fn whoever_asks_for_a_plan_says_who_it_is_and_one_that_cannot_be_asked_for_holds_for_its_age() {
    let plan = "{\"version\":1,\"revision\":\"r1\",\"edges\":[{\"caller\":\"user\",\"callee\":\"shop/cart\",\"share\":0.25}]}";
    let (asked, up) = (
        Arc::new(std::sync::Mutex::new(Vec::<String>::new())),
        Arc::new(std::sync::atomic::AtomicBool::new(true)),
    );
    let (heard, alive) = (asked.clone(), up.clone());
    let answer = move |request: axum::extract::Request| {
        let of = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("-").to_owned()
        };
        let told = ["authorization", "tracemap-agent-nodes", "tracemap-plan-applied"].map(of);
        assert!(of("tracemap-agent").starts_with("agent-"));
        heard.lock().expect("a lock").push(told.join(" "));
        let status = if alive.load(std::sync::atomic::Ordering::Relaxed) {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        async move { (status, plan) }
    };
    let source = service(axum::Router::new().fallback(answer)).await;
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "sesame\n").expect("a file");
    let more = format!(
        "plan: {{ url: 'http://{source}/plan', interval: 100ms, max_age: 1s, token_file: '{}' }}, sampling: {{ listen: '127.0.0.1:0' }}",
        token.display()
    );
    let mut agent = start(&cart_yaml(mirror().await, "", &more)).await;
    let sampling = agent.sampling_addr.expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        agent.follow(None, async { drop(stopped.await) }).await;
        agent.stop().await;
    });
    let question = "GET /sampling?service=cart HTTP/1.1\nhost: agent";
    let share = async |share: &str| {
        while !ask(sampling, question)
            .await
            .contains(&format!("\"samplingRate\":{share}}}"))
        {}
    };
    soon("the share of the plan", share("0.25")).await;
    let says = async || {
        let wanted = "Bearer sesame shop/cart r1";
        while !asked.lock().expect("a lock").iter().any(|told| told == wanted) {
            tokio::task::yield_now().await;
        }
    };
    soon("what it follows", says()).await;
    up.store(false, std::sync::atomic::Ordering::Relaxed);
    soon("the configuration's own share", share("1.0")).await;
    up.store(true, std::sync::atomic::Ordering::Relaxed);
    soon("the plan again", share("0.25")).await;
    drop(stop);
    soon("the end", running).await.expect("stopped");
}
