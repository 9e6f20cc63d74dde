//! The pods of the node, as an API server tells of them: what becomes of the spans of SDKs and of calls that come to the node's
//! listeners. A caller's address is one of the loopback network's.

mod api;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use agent::Running;
use bytes::Bytes;
use otlp::encode::{Attributes, SpanRecord, request};
use otlp::{Kind, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use self::api::{Api, bookmark, line, pod};
use crate::support::*;
use crate::tls::pki::Pki;

const POD: &str = "127.0.0.7";
const OTHER: &str = "127.0.0.8";
const STRANGER: &str = "127.0.0.9";

/// An agent that relays to `collector`, and asks the API server at `url`.
fn config_text(url: &str, collector: &Collector, more: &str) -> String {
    format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }},
           kubernetes: {{ pods: {{ watch: true, node: 'n 7', api: '{url}' }} }}{more} }}",
        collector.endpoint()
    )
}

async fn watching(api: &Api, collector: &Collector, more: &str) -> Running {
    start(&config_text(&format!("http://{}", api.address), collector, more)).await
}

/// What is answered to `bytes` from `source`; nothing where the connection is refused.
async fn said_to(source: &str, address: SocketAddr, bytes: &[u8]) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("an address");
    socket.bind(source).expect("a source address");
    let mut stream = socket.connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let exchange = async {
        // Refused at once, what is written may find nobody.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    soon("the answer", exchange).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// What the collector gets of a span `name` that `source` sent, whose resource says `resource`.
async fn relayed(
    (agent, collector): (&Running, &Collector),
    source: &str,
    name: &str,
    resource: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let body = sdk_request(name, resource);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let address = agent.otlp_http_addr.expect("HTTP is on");
    let answer = said_to(source, address, &[head.as_bytes(), &body].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    collector.span(|seen| seen.span.name == name).await.resource
}

fn sdk_request(name: &str, resource: &[(&str, &str)]) -> Bytes {
    let span = SpanRecord {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent_span_id: None,
        trace_state: String::new(),
        name: name.to_owned(),
        kind: Kind::Internal,
        start_unix_nano: 1,
        end_unix_nano: 2,
        flags: 1,
        status: StatusCode::Unset,
        status_message: String::new(),
        attributes: Attributes::default(),
        links: Vec::new(),
    };
    let resource = resource.iter();
    let resource: Vec<_> = resource
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned().into()))
        .collect();
    request(&resource, ("sdk", "1"), &[span])
}

async fn until_pods(agent: &Running, count: f64) {
    until_metric(agent, "tracemap_agent_pods", count).await;
}

async fn restarts(agent: &Running, reason: &str) -> f64 {
    let series = format!("tracemap_agent_pod_watch_restarts_total{{reason=\"{reason}\"}}");
    metric(agent, &series).await
}

fn get<'a>(resource: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    resource.get(key).map(String::as_str)
}

#[tokio::test]
async fn spans_are_of_the_pod_that_they_came_from_as_far_as_they_do_not_say_themselves() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = watching(&api, &collector, "").await;
    let ends = (&agent, &collector);
    let list = api.asked().await;
    let unknown = [("service.name", "unknown_service:java")];
    let early = relayed(ends, POD, "before the list", &unknown).await;
    assert_eq!(
        (get(&early, "k8s.pod.name"), get(&early, "service.name")),
        (None, Some("unknown_service:java")),
        "nothing waits for the API server"
    );
    list.list("1", "", &[pod("u1", "cart", POD, 1)]);
    let _events = api.asked().await.watch();
    until_pods(&agent, 1.0).await;
    let expected = [
        ("k8s.container.name", "app"),
        ("k8s.deployment.name", "cart"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "n 7"),
        ("k8s.pod.ip", POD),
        ("k8s.pod.name", "cart-7d9f8b6c5-x2z4w"),
        ("k8s.pod.uid", "u1"),
        ("k8s.replicaset.name", "cart-7d9f8b6c5"),
        ("service.name", "cart"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(
        relayed(ends, POD, "unnamed", &unknown).await,
        BTreeMap::from(expected)
    );
    let named = relayed(
        ends,
        POD,
        "named",
        &[("service.name", "sdk"), ("k8s.namespace.name", "said")],
    )
    .await;
    let keys = ["service.name", "k8s.namespace.name", "k8s.pod.uid"];
    assert_eq!(
        keys.map(|key| get(&named, key)),
        [Some("sdk"), Some("said"), Some("u1")]
    );
    let of_another = [("k8s.pod.name", "web-0"), ("service.name", "web")];
    let passed_on = relayed(ends, POD, "passed on", &of_another).await;
    assert_eq!(get(&passed_on, "k8s.pod.uid"), None);
    let stranger = relayed(ends, STRANGER, "of a stranger", &unknown).await;
    assert_eq!(get(&stranger, "k8s.pod.uid"), None);
    assert!(metric(&agent, "tracemap_agent_pods_last_sync_timestamp_seconds").await > 1e9);
}

#[tokio::test]
async fn where_nothing_of_kubernetes_is_to_be_added_pods_are_not_either() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0', kubernetes: off }},
           export: {{ endpoint: '{}', delay: 0s }},
           kubernetes: {{ pods: {{ watch: true, node: n7, api: 'http://{}' }} }} }}",
        collector.endpoint(),
        api.address
    ))
    .await;
    let _events = api.watched(&[pod("u1", "cart", POD, 1)]).await;
    until_pods(&agent, 1.0).await;
    let resource = relayed((&agent, &collector), POD, "span", &[("a", "1")]).await;
    assert_eq!(resource, BTreeMap::from([("a".to_owned(), "1".to_owned())]));
}

#[tokio::test]
async fn pods_that_come_change_and_go_are_known_so_and_a_bookmark_is_where_the_watch_goes_on() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = watching(&api, &collector, "").await;
    let ends = (&agent, &collector);
    let list = api.asked().await;
    assert_eq!(
        list.target,
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dn%207&limit=100&resourceVersion=0"
    );
    assert_eq!(list.token, None, "never in the clear");
    list.list("1", "", &[]);
    let watch = api.asked().await;
    let expected =
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dn%207&watch=1&allowWatchBookmarks=true&timeoutSeconds=";
    assert!(watch.target.starts_with(expected), "{}", watch.target);
    assert!(watch.target.ends_with("&resourceVersion=1"), "{}", watch.target);
    let events = watch.watch();

    let added = line("ADDED", &pod("u1", "cart", POD, 2));
    let (first, rest) = added.split_at(added.len() / 2);
    events.write(first);
    events.write(&(rest.to_owned() + &line("ADDED", &pod("u2", "web", OTHER, 3))));
    until_pods(&agent, 2.0).await;
    assert_eq!(
        get(&relayed(ends, POD, "added", &[]).await, "service.name"),
        Some("cart")
    );

    let mut named = pod("u1", "cart", POD, 4);
    named["metadata"]["labels"]["app.kubernetes.io/name"] = json!("basket");
    events.send("MODIFIED", &named);
    events.send("DELETED", &pod("u2", "web", OTHER, 5));
    until_pods(&agent, 1.0).await;
    assert_eq!(
        get(&relayed(ends, POD, "modified", &[]).await, "service.name"),
        Some("basket")
    );
    assert_eq!(
        get(&relayed(ends, OTHER, "deleted", &[]).await, "service.name"),
        None
    );

    let mut ended = pod("u1", "cart", POD, 6);
    ended["status"]["phase"] = json!("Succeeded");
    events.send("MODIFIED", &ended);
    until_pods(&agent, 0.0).await;
    events.send("BOOKMARK", &bookmark(77));
    drop(events);
    let again = api.asked().await;
    assert!(
        again.target.ends_with("&resourceVersion=77"),
        "no list, and from the bookmark on: {}",
        again.target
    );
    assert!((restarts(&agent, "ended").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_history_that_has_gone_is_made_good_by_a_list_of_now_page_by_page() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = watching(&api, &collector, "").await;
    let events = api.watched(&[pod("u0", "old", STRANGER, 1)]).await;
    until_pods(&agent, 1.0).await;
    events.send(
        "ERROR",
        &json!({ "kind": "Status", "status": "Failure", "code": 410 }),
    );
    let first = api.asked().await;
    assert!(first.target.ends_with("&limit=100"), "{}", first.target);
    first.list("8", "a/b=", &[pod("u1", "cart", POD, 5)]);
    let second = api.asked().await;
    assert!(
        second.target.ends_with("&limit=100&continue=a%2Fb%3D"),
        "{}",
        second.target
    );
    assert!(
        metric(&agent, "tracemap_agent_pods").await < 1.5,
        "half a list is none"
    );
    second.list("8", "", &[pod("u2", "web", OTHER, 6)]);
    until_pods(&agent, 2.0).await;
    let ends = (&agent, &collector);
    assert_eq!(
        get(&relayed(ends, STRANGER, "old", &[]).await, "service.name"),
        None
    );
    assert_eq!(
        get(&relayed(ends, OTHER, "web", &[]).await, "service.name"),
        Some("web")
    );

    api.asked().await.status(410);
    let list = api.asked().await;
    assert!(list.target.ends_with("&limit=100"), "{}", list.target);
    assert!((restarts(&agent, "expired").await - 2.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn while_the_api_server_is_away_what_it_said_holds_and_then_the_watch_goes_on() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = watching(&api, &collector, "").await;
    let events = api.watched(&[pod("u1", "cart", POD, 1)]).await;
    events.send("BOOKMARK", &bookmark(9));
    until_pods(&agent, 1.0).await;
    let address = api.address;
    events.fail();
    drop(api);
    let connection = "tracemap_agent_pod_watch_restarts_total{reason=\"connection\"}";
    soon("a failure", async {
        while metric(&agent, connection).await < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let resource = relayed((&agent, &collector), POD, "meanwhile", &[]).await;
    assert_eq!(get(&resource, "service.name"), Some("cart"));

    let mut api = Api::serve(address, None).await;
    let watch = api.asked().await;
    assert!(watch.target.contains("&watch=1&"), "{}", watch.target);
    watch.watch().send("ADDED", &pod("u2", "web", OTHER, 10));
    until_pods(&agent, 2.0).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_the_pods_are_listed_again() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = watching(&api, &collector, "").await;
    api.asked().await.status(500);
    api.asked().await.list("1", "", &[pod("u1", "cart", POD, 1)]);
    let events = api.asked().await.watch();
    events.write("no event\n");
    let events = api.watched(&[]).await;
    until_pods(&agent, 0.0).await;
    // A line that never ends is not gathered for ever.
    for _ in 0..5 {
        events.write(&"x".repeat(1 << 20));
    }
    let _events = api.watched(&[pod("u2", "web", OTHER, 1)]).await;
    until_pods(&agent, 1.0).await;
    for reason in ["busy", "malformed", "too_large"] {
        let times = restarts(&agent, reason).await;
        assert!((times - 1.0).abs() < f64::EPSILON, "{reason}: {times}");
    }
}

#[tokio::test]
async fn more_pods_than_may_be_known_are_left_out_and_counted() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }},
           kubernetes: {{ pods: {{ watch: true, node: n7, api: 'http://{}', max: 1 }} }} }}",
        collector.endpoint(),
        api.address
    ))
    .await;
    let events = api
        .watched(&[pod("u1", "cart", POD, 1), pod("u2", "web", OTHER, 1)])
        .await;
    until_metric(&agent, "tracemap_agent_pods_left_out_total", 1.0).await;
    events.send("ADDED", &pod("u3", "third", STRANGER, 2));
    until_metric(&agent, "tracemap_agent_pods_left_out_total", 2.0).await;
    until_pods(&agent, 1.0).await;
    events.send("DELETED", &pod("u1", "cart", POD, 3));
    until_pods(&agent, 0.0).await;
    events.send("MODIFIED", &pod("u2", "web", OTHER, 4));
    until_pods(&agent, 1.0).await;
}

#[tokio::test]
async fn the_server_is_verified_and_shown_the_token_as_it_is_now() {
    let (pki, strange) = (Pki::new(), Pki::new());
    let collector = Collector::start().await;
    let mut api = Api::serve(([127, 0, 0, 1], 0).into(), Some(pki.server("127.0.0.1"))).await;
    let (token, ca) = (pki.path("token"), pki.path("of-the-cluster.crt"));
    std::fs::copy(&strange.ca, &ca).expect("a file");
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }},
           kubernetes: {{ pods: {{ watch: true, node: n7, api: 'https://{}', token_file: '{}', ca_file: '{}' }} }} }}",
        collector.endpoint(),
        api.address,
        token.display(),
        ca.display()
    ))
    .await;
    let counted = |reason: &'static str| {
        let series = format!("tracemap_agent_pod_watch_restarts_total{{reason=\"{reason}\"}}");
        let agent = &agent;
        soon(reason, async move {
            while metric(agent, &series).await < 1.0 {
                tokio::task::yield_now().await;
            }
        })
    };
    counted("no_token").await;
    std::fs::write(&token, "first\n").expect("a file");
    counted("tls").await;
    std::fs::copy(&pki.ca, &ca).expect("a file");

    let list = api.asked().await;
    assert_eq!(list.token.as_deref(), Some("Bearer first"));
    std::fs::write(&token, "second\n").expect("a file");
    list.status(401);
    let list = api.asked().await;
    assert_eq!(list.token.as_deref(), Some("Bearer second"));
    list.list("1", "", &[pod("u1", "cart", POD, 1)]);
    let watch = api.asked().await;
    assert_eq!(watch.token.as_deref(), Some("Bearer second"));
    let _events = watch.watch();
    until_pods(&agent, 1.0).await;
    assert!((restarts(&agent, "unauthorized").await - 1.0).abs() < f64::EPSILON);
    let refused = "tracemap_agent_tls_handshakes_total{result=\"unknown_issuer\",side=\"kubernetes\"}";
    assert!(metric(&agent, refused).await >= 1.0);
}

/// A call through the listener of the node.
async fn call(agent: &Running, source: &str, target: SocketAddr, path: &str) -> String {
    let head = format!("GET http://{target}{path} HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
    said_to(source, agent.outbound_addrs[0], head.as_bytes()).await
}

#[tokio::test]
async fn calls_on_the_nodes_listener_are_the_pods_while_it_is_known_also_under_another_configuration() {
    const NODE: &str = ", workloads: [{ service: fixed, addresses: [127.0.0.8] }],
        node: { outbound: { listen: '127.0.0.1:0', mode: proxy, deny: [] } }";
    let (mut api, collector, target) = (Api::start().await, Collector::start().await, mirror().await);
    let mut agent = watching(&api, &collector, NODE).await;
    assert_eq!(
        call(&agent, POD, target, "/early").await,
        "",
        "unknown as without the watch"
    );
    let pods = [pod("u1", "cart", POD, 1), pod("u2", "web", OTHER, 1)];
    let events = api.watched(&pods).await;
    soon("a call", async {
        while call(&agent, POD, target, "/known").await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let path = |wanted: &'static str| {
        move |seen: &Seen| {
            seen.get("url.full")
                .is_some_and(|url| url.contains(wanted) && seen.span.kind == 3)
        }
    };
    let seen = collector.span(path("/known")).await;
    let resource = ["service.name", "k8s.pod.uid", "k8s.namespace.name"].map(|key| get(&seen.resource, key));
    assert_eq!(resource, [Some("cart"), Some("u1"), Some("shop")]);
    assert_ne!(call(&agent, OTHER, target, "/fixed").await, "");
    let seen = collector.span(path("/fixed")).await;
    assert_eq!(
        get(&seen.resource, "service.name"),
        Some("fixed"),
        "a configured address stays its workload's"
    );

    let url = format!("http://{}", api.address);
    let mut other = config(&config_text(&url, &collector, NODE));
    other.propagation.correlation_headers = vec!["x-other-id".to_owned()];
    agent.reload(other).await.expect("a configuration");
    let answer = call(&agent, POD, target, "/reloaded").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "no moment without pods: {answer}"
    );

    events.send("DELETED", &pod("u1", "cart", POD, 2));
    soon("a refusal", async {
        while !call(&agent, POD, target, "/gone").await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    events.send("ADDED", &pod("u3", "bill", POD, 3));
    soon("a call", async {
        while call(&agent, POD, target, "/next").await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seen = collector.span(path("/next")).await;
    assert_eq!(get(&seen.resource, "service.name"), Some("bill"));
}

#[tokio::test]
async fn whoever_asks_for_a_plan_says_how_many_traces_begin_with_each_pod() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::<(String, f64)>::new()));
    let heard = asked.clone();
    let answer = move |request: axum::extract::Request| {
        let of = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (nodes, rates) = (of("tracemap-agent-nodes"), of("tracemap-agent-rates"));
        let rates = rates.split(',').map(|rate| rate.parse().unwrap_or_default());
        heard
            .lock()
            .expect("a lock")
            .extend(nodes.split(',').map(str::to_owned).zip(rates));
        async move { "{\"version\":1,\"revision\":\"r1\",\"edges\":[]}" }
    };
    let source = service(axum::Router::new().fallback(answer)).await;
    let more = format!(
        ", workloads: [{{ service: fixed, addresses: [127.0.0.8] }}],
          plan: {{ url: 'http://{source}/plan', interval: 100ms }},
          node: {{ outbound: {{ listen: '127.0.0.1:0', mode: proxy, deny: [] }} }}"
    );
    let (mut api, collector, target) = (Api::start().await, Collector::start().await, mirror().await);
    let agent = watching(&api, &collector, &more).await;
    let _events = api.watched(&[pod("u1", "cart", POD, 1)]).await;
    let says = |node: &str, least: f64| {
        let asked = asked.lock().expect("a lock");
        asked.iter().any(|(of, rate)| of == node && *rate >= least)
    };
    soon("rates of the pod", async {
        while !says("cart", 1.0) {
            call(&agent, POD, target, "/").await;
        }
    })
    .await;
    assert!(says("fixed", 0.0) && !says("fixed", 0.1), "nothing began there");
}

#[tokio::test]
async fn a_watch_that_is_turned_off_leaves_no_pod_known() {
    let (mut api, collector) = (Api::start().await, Collector::start().await);
    let mut agent = watching(&api, &collector, "").await;
    let _events = api.watched(&[pod("u1", "cart", POD, 1)]).await;
    until_pods(&agent, 1.0).await;
    let mut off = config(&config_text(&format!("http://{}", api.address), &collector, ""));
    off.kubernetes.pods.watch = false;
    agent.reload(off).await.expect("a configuration");
    until_pods(&agent, 0.0).await;
    let resource = relayed((&agent, &collector), POD, "span", &[]).await;
    assert_eq!(resource, BTreeMap::new());
}
