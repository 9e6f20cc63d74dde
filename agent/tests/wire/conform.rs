//! The command that asks a service whether it passes context on, against services that do and services that do not.

use std::fmt::Write as _;
use std::net::SocketAddr;

use agent::conform::{ConformArgs, ConformError, Report, conform};
use axum::extract::{Query, Request};
use axum::http::HeaderMap;
use clap::Parser as _;
use tokio::sync::watch;

use crate::support::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: ConformArgs,
}

fn args(words: &[&str]) -> ConformArgs {
    Line::parse_from([&["conform"], words].concat()).args
}

#[derive(serde::Deserialize)]
struct Asked {
    url: String,
}

/// The headers of a service's call, made of those that it got.
type Passes = fn(&HeaderMap) -> Vec<(String, String)>;

/// A service that calls what its query `url` names; by way of a proxy, once it is told of one.
async fn calling(passes: Passes, proxy: watch::Receiver<Option<SocketAddr>>) -> SocketAddr {
    let answer = move |Query(asked): Query<Asked>, request: Request| {
        let proxy = *proxy.borrow();
        async move {
            let target: http::Uri = asked.url.parse().expect("a target");
            let host = target.authority().expect("a host").to_string();
            let mut head = match proxy {
                Some(_) => format!("GET {target} HTTP/1.1\nhost: {host}\n"),
                None => format!("GET {} HTTP/1.1\nhost: {host}\n", target.path()),
            };
            for (name, value) in passes(request.headers()) {
                let _ = writeln!(head, "{name}: {value}");
            }
            let to = proxy.unwrap_or_else(|| host.parse().expect("an address"));
            ask(to, head.trim_end()).await
        }
    };
    service(axum::Router::new().fallback(answer)).await
}

/// All headers of these names.
fn copied(headers: &HeaderMap, names: &[&str]) -> Vec<(String, String)> {
    let named = headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
    named
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect()
}

fn everything(headers: &HeaderMap) -> Vec<(String, String)> {
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-correlation-id",
        "x-request-id",
    ];
    copied(headers, &names)
}

fn w3c_and_ids(headers: &HeaderMap) -> Vec<(String, String)> {
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "x-correlation-id",
        "x-request-id",
    ];
    copied(headers, &names)
}

async fn asked(passes: Passes) -> Report {
    let service = calling(passes, watch::channel(None).1).await;
    let url = format!("http://{service}/fetch?url={{callback}}");
    conform(&args(&[&url])).await.expect("a report")
}

fn failed(report: &Report) -> Vec<&'static str> {
    let failed = report.cases.iter().filter(|case| !case.passed);
    failed.map(|case| case.name).collect()
}

const INVALID: [&str; 4] = [
    "invalid-trace-id",
    "invalid-span-id",
    "invalid-version",
    "invalid-length",
];

#[tokio::test]
async fn a_service_that_copies_blindly_fails_only_where_what_came_was_invalid() {
    let report = asked(everything).await;
    assert_eq!(failed(&report), INVALID);
    let case = report.cases.iter().find(|case| case.name == "invalid-version");
    let arrived = case.and_then(|case| case.arrived.clone()).expect("what arrived");
    assert!(arrived.starts_with("`traceparent: ff-"), "{arrived}");
}

#[tokio::test]
async fn a_service_that_drops_all_fails_wherever_something_should_have_come() {
    let report = asked(|_| Vec::new()).await;
    let passed: Vec<_> = report
        .cases
        .iter()
        .filter(|case| case.passed)
        .map(|case| case.name)
        .collect();
    assert_eq!(passed, INVALID);
}

#[tokio::test]
async fn a_service_that_copies_traceparent_alone_loses_what_travels_beside_it() {
    let report = asked(|headers| copied(headers, &["traceparent"])).await;
    let lost: Vec<_> = failed(&report)
        .into_iter()
        .filter(|name| !INVALID.contains(name))
        .collect();
    assert_eq!(
        lost,
        [
            "tracestate-kept",
            "tracestate-joined",
            "baggage-kept",
            "correlation-id-kept",
            "request-id-kept",
            "b3-continued",
            "b3-multi-continued"
        ]
    );
}

#[tokio::test]
async fn a_service_that_begins_a_trace_with_each_call_is_told_which_one_came() {
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    let report = asked(|_| {
        let own = "00-11111111111111111111111111111111-2222222222222222-01";
        vec![("traceparent".to_owned(), own.to_owned())]
    })
    .await;
    let first = report.cases.first().expect("a case");
    assert_eq!((first.name, first.passed), ("trace-continued", false));
    assert_eq!(first.arrived, Some(format!("`traceparent: {own}`")));
}

#[tokio::test]
async fn behind_an_agent_a_service_that_copies_w3c_headers_and_ids_passes_everywhere() {
    let (told, proxy) = watch::channel(None);
    let service = calling(w3c_and_ids, proxy).await;
    let agent = sidecar(service, None).await;
    told.send_replace(Some(agent.outbound_addrs[0]));
    let url = format!("http://{}/fetch?url={{callback}}", agent.inbound_addrs[0]);
    let report = conform(&args(&[&url])).await.expect("a report");
    assert_eq!(failed(&report), Vec::<&str>::new(), "{report}");
}

#[tokio::test]
async fn a_header_or_a_body_can_lead_the_call_too() {
    let answer = |headers: HeaderMap, body: String| async move {
        let target = headers
            .get("x-target")
            .map_or(body, |value| value.to_str().expect("text").to_owned());
        let target: http::Uri = target.parse().expect("a target");
        let host = target.authority().expect("a host").to_string();
        let head = format!("GET {} HTTP/1.1\nhost: {host}", target.path());
        ask(host.parse().expect("an address"), &head).await
    };
    let service = service(axum::Router::new().fallback(answer)).await;
    let url = format!("http://{service}/");
    for way in [["--header", "x-target: {callback}"], ["--body", "{callback}"]] {
        let words = [&[url.as_str()], way.as_slice()].concat();
        let report = conform(&args(&words)).await.expect("a report");
        assert_eq!(
            report.cases.iter().filter(|case| case.passed).count(),
            INVALID.len()
        );
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_asked_is_an_error_that_says_what_to_change() {
    let url = format!("http://{}/", nobody().await);
    let nothing = conform(&args(&[&url])).await;
    assert!(matches!(nothing, Err(ConformError::NothingToSee)));
    let gone = conform(&args(&[&format!("{url}{{callback}}")])).await;
    assert!(matches!(gone, Err(ConformError::NoAnswer { .. })));
    let deaf = format!("http://{}/{{callback}}", mirror().await);
    let silent = conform(&args(&[&deaf, "--timeout", "10ms"]))
        .await
        .expect_err("no call");
    let told = silent.to_string();
    assert!(
        told.contains("answers 200 OK and makes no call to `http://127.0.0.1:"),
        "{told}"
    );
    let other = conform(&args(&["ftp://cart/{callback}"]))
        .await
        .expect_err("no request");
    assert!(
        other.to_string().contains("write `http://host:port/path`"),
        "{other}"
    );
}

/// A collector that has a trace of two services for every id it is asked for.
async fn knows_two_services() -> SocketAddr {
    let span = |id: &str, parent: &str, service: &str, kind: &str| {
        format!(
            "{{\"traceID\":\"\",\"spanID\":\"{id}\",\"operationName\":\"GET\",\"processID\":\"{service}\",\"startTime\":1,
              \"references\":[{{\"refType\":\"CHILD_OF\",\"traceID\":\"\",\"spanID\":\"{parent}\"}}],
              \"tags\":[{{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"{kind}\"}}]}}"
        )
    };
    let spans = [
        span("a", "x", "p1", "server"),
        span("b", "a", "p1", "client"),
        span("c", "b", "p2", "server"),
    ];
    let answer = format!(
        "{{\"data\":[{{\"traceID\":\"\",\"spans\":[{}],\"processes\":{{\"p1\":{{\"serviceName\":\"orders\",\"tags\":[]}},
          \"p2\":{{\"serviceName\":\"payments\",\"tags\":[]}}}}}}]}}",
        spans.join(",")
    );
    let route = axum::routing::get(move || async move { answer });
    service(axum::Router::new().route("/jaeger/api/traces/{id}", route)).await
}

#[tokio::test]
async fn a_collector_names_the_service_in_which_a_trace_ends() {
    let service = calling(|_| Vec::new(), watch::channel(None).1).await;
    let url = format!("http://{service}/fetch?url={{callback}}");
    let collector = format!("http://{}", knows_two_services().await);
    let report = conform(&args(&[&url, "--collector", &collector]))
        .await
        .expect("a report");
    assert_eq!(
        report.way.as_deref(),
        Some(
            "the trace goes through orders → payments and ends in `payments`: its next call left without the trace"
        )
    );
    let alone = format!("http://{}/", mirror().await);
    let report = conform(&args(&[&alone, "--collector", &collector]))
        .await
        .expect("a report");
    assert!(report.passed() && report.way.is_some_and(|way| way.contains("orders → payments")));
}

#[tokio::test]
async fn the_command_says_no_with_its_exit_code_and_prints_what_it_was_asked_for() {
    let dropping = calling(|_| Vec::new(), watch::channel(None).1).await;
    let url = format!("http://{dropping}/fetch?url={{callback}}");
    let run = async |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tracemap-agent"));
        command.args(["conform", &url]).args(more);
        let ran = tokio::task::spawn_blocking(move || command.output());
        let output = soon("the end of the command", ran)
            .await
            .expect("a task")
            .expect("it ran");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("text"),
        )
    };
    let (code, table) = run(&[]).await;
    assert_eq!(code, Some(1));
    assert!(
        table.contains("FAIL  trace-continued") && table.contains("4 of 16 passed"),
        "{table}"
    );
    let (code, json) = run(&["--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["cases"][0]["passed"]), (Some(1), &false.into()));
}
