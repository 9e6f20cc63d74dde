//! Every context format on its way through the agent, and the boundary of trust.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use tokio::sync::watch;

use crate::support::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const XRAY: &str =
    "x-amzn-trace-id: Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1;Self=1-2-3";
const DATADOG: &str = "x-datadog-trace-id: 9532127138774266268
    x-datadog-parent-id: 13235353014750950193
    x-datadog-sampling-priority: 2
    x-datadog-origin: rum
    x-datadog-tags: _dd.p.tid=0af7651916cd43dd,_dd.p.dm=-4";
/// Trace and segment `56a5e1c519ae4c76a2b8b11d92cead7f.12.16563474296430001`, span 3 of `web` at `/cart`.
const SW8: &str = "sw8: 1-NTZhNWUxYzUxOWFlNGM3NmEyYjhiMTFkOTJjZWFkN2YuMTIuMTY1NjM0NzQyOTY0MzAwMDE=-NTZhNWUxYzUxOWFlNGM3NmEyYjhiMTFkOTJjZWFkN2YuMTIuMTY1NjM0NzQyOTY0MzAwMDE=-3-d2Vi-aTE=-L2NhcnQ=-Y2FydDo4MA==";

fn skipped(format: &str, reason: &str) -> String {
    format!("tracemap_agent_context_skipped_total{{format=\"{format}\",reason=\"{reason}\"}}")
}

/// An agent whose inbound listener, outbound proxy and propagation have these further keys.
async fn agent_with(
    upstream: SocketAddr,
    collector: Option<&Collector>,
    inbound: &str,
    outbound: &str,
    propagation: &str,
) -> agent::Running {
    let export = collector.map_or(String::new(), |collector| {
        format!("export: {{ endpoint: '{}', delay: 0s }},", collector.endpoint())
    });
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, {export}
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}', {inbound} }}],
           outbound: {{ listen: '127.0.0.1:0', {outbound} }}, propagation: {{ {propagation} }} }}"
    ))
    .await
}

/// Trace, span and the attributes' values of each link.
fn links(seen: &Seen) -> Vec<(String, String, String)> {
    let values = |link: &Link| {
        let values = link
            .attributes
            .iter()
            .filter_map(|pair| match pair.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()),
                _ => None,
            });
        values.collect::<Vec<_>>().join(" ")
    };
    let links = seen.span.links.iter();
    links
        .map(|link| (hex(&link.trace_id), hex(&link.span_id), values(link)))
        .collect()
}

#[tokio::test]
async fn a_caller_is_continued_in_its_own_format_and_w3c_goes_beside_it() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let jaeger = format!("uber-trace-id: {TRACE}:{SPAN}:0:1");
    let gcp = format!("x-cloud-trace-context: {TRACE}/13235353014750950193;o=1");
    let grpc = "grpc-trace-bin: AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE=";
    for (format, sent, mirrored) in [
        ("jaeger", jaeger.as_str(), "uber-trace-id"),
        ("xray", XRAY, "x-amzn-trace-id"),
        ("datadog", DATADOG, "x-datadog-parent-id"),
        ("gcp", gcp.as_str(), "x-cloud-trace-context"),
        ("grpc-trace-bin", grpc, "grpc-trace-bin"),
    ] {
        let path = format!("/{format}");
        let head = format!("GET {path} HTTP/1.1\nhost: cart\n{sent}");
        let answer = ask(agent.inbound_addrs[0], &head).await;
        let seen = collector
            .span(|seen| seen.get("url.path") == Some(path.as_str()))
            .await;
        let place = (seen.trace_id(), seen.parent());
        assert_eq!(place, (TRACE.to_owned(), SPAN.to_owned()), "{format}");
        let traceparent = format!("00-{TRACE}-{}-01", seen.span_id());
        assert_eq!(
            header(&answer, "traceparent"),
            Some(traceparent.as_str()),
            "{format}"
        );
        let mirrored = header(&answer, mirrored).expect("the caller's format");
        assert!(
            !sent.contains(mirrored),
            "the parent is the agent's span now: {mirrored}"
        );
        let decimal = u64::from_str_radix(&seen.span_id(), 16).expect("hex").to_string();
        let names_span = mirrored.contains(&seen.span_id()) || mirrored.contains(&decimal);
        assert!(names_span || format == "grpc-trace-bin", "{format}: {mirrored}");
        if format == "xray" {
            assert!(mirrored.ends_with(";Sampled=1;Self=1-2-3"), "{mirrored}");
        }
        if format == "datadog" {
            let tags = "_dd.p.tid=0af7651916cd43dd,_dd.p.dm=-4";
            assert_eq!(header(&answer, "x-datadog-tags"), Some(tags));
            assert_eq!(header(&answer, "x-datadog-origin"), Some("rum"));
            assert_eq!(header(&answer, "x-datadog-sampling-priority"), Some("2"));
        }
    }
}

#[tokio::test]
async fn another_trace_in_another_format_is_a_link_and_counted_by_format() {
    let collector = Collector::start().await;
    let agent = sidecar(mirror().await, Some(collector.endpoint())).await;
    let other = "f".repeat(32);
    let head = format!(
        "GET / HTTP/1.1\nhost: cart\ntraceparent: 00-{TRACE}-{SPAN}-01\nuber-trace-id: {other}:1111111111111111:0:1\n{SW8}"
    );
    let answer = ask(agent.inbound_addrs[0], &head).await;
    let seen = collector.server_span().await;
    assert_eq!((seen.trace_id().as_str(), seen.parent().as_str()), (TRACE, SPAN));
    let expected = [
        (other.as_str(), "1111111111111111", "terminated_context jaeger"),
        (
            "56a5e1c515ae4c7613e51e7cf616977f",
            "4640ffb9e3b8db09",
            "foreign_trace sw8",
        ),
    ];
    let expected = expected.map(|(trace, span, why)| (trace.to_owned(), span.to_owned(), why.to_owned()));
    assert_eq!(links(&seen), expected);
    let sw8 = "56a5e1c519ae4c76a2b8b11d92cead7f.12.16563474296430001";
    assert_eq!(seen.get("sw8.trace_id"), Some(sw8));
    assert_eq!(seen.get("correlation.id"), Some(sw8), "no other came");
    assert_eq!(
        header(&answer, "sw8"),
        SW8.strip_prefix("sw8: "),
        "it goes on as it came"
    );
    until_metric(&agent, &skipped("jaeger", "conflicting_trace_id"), 1.0).await;
}

#[tokio::test]
async fn a_listener_may_link_or_ignore_what_callers_say() {
    let collector = Collector::start().await;
    let service = mirror().await;
    let sent = format!(
        "host: cart
         traceparent: 00-{TRACE}-{SPAN}-00
         tracestate: a=1
         uber-trace-id: {TRACE}:{SPAN}:0:0
         {SW8}
         x-b3-flags: 1
         baggage: user=1
         uberctx-user: 1
         x-request-id: r-1"
    );
    for trust in ["link", "ignore"] {
        let agent = agent_with(service, Some(&collector), &format!("trust: {trust}"), "", "").await;
        let path = format!("/{trust}");
        let answer = ask(agent.inbound_addrs[0], &format!("GET {path} HTTP/1.1\n{sent}")).await;
        let seen = collector
            .span(|seen| seen.get("url.path") == Some(path.as_str()))
            .await;
        assert_ne!(seen.trace_id(), TRACE);
        assert_eq!(seen.parent(), "");
        assert_eq!(
            seen.get("correlation.id"),
            Some("r-1"),
            "the correlation id stays with any trust"
        );
        assert!(
            !answer.contains(TRACE),
            "nothing names the caller's trace any more: {answer}"
        );
        assert_eq!(header(&answer, "sw8"), None);
        assert!(header(&answer, "tracestate").is_none_or(|state| !state.contains("a=1")));
        let linked = trust == "link";
        for kept in ["baggage", "uberctx-user", "uber-trace-id"] {
            assert_eq!(header(&answer, kept).is_some(), linked, "{kept}, {trust}");
        }
        let named: Vec<_> = links(&seen)
            .into_iter()
            .map(|(trace, _, why)| (trace, why))
            .collect();
        let expected = [
            (
                TRACE.to_owned(),
                "propagation_behavior_extract tracecontext".to_owned(),
            ),
            (
                "56a5e1c515ae4c7613e51e7cf616977f".to_owned(),
                "foreign_trace sw8".to_owned(),
            ),
        ];
        assert_eq!(named, if linked { expected.to_vec() } else { Vec::new() });
        until_metric(&agent, &skipped("tracecontext", "untrusted_caller"), 1.0).await;
    }
}

#[tokio::test]
async fn a_host_outside_gets_neither_baggage_nor_the_names_of_our_services() {
    let target = mirror().await;
    for (untrusted, outside) in [("['*']", true), ("['*', '!127.0.0.1']", false), ("[]", false)] {
        let agent = agent_with(target, None, "", &format!("untrusted: {untrusted}"), "").await;
        for flags in ["01", "00"] {
            let head = format!(
                "GET http://{target}/ HTTP/1.1
                 host: x
                 traceparent: 00-{TRACE}-{SPAN}-{flags}
                 tracestate: a=1,tm=c:cart;k:h;t:1
                 baggage: user=1
                 uberctx-user: 1"
            );
            let answer = ask(agent.outbound_addrs[0], &head).await;
            let state = header(&answer, "tracestate").expect("a tracestate");
            assert_eq!(state.contains("tm="), !outside, "{untrusted} {flags}: {state}");
            assert!(state.contains("a=1"), "{state}");
            for gone in ["baggage", "uberctx-user"] {
                assert_eq!(header(&answer, gone).is_none(), outside, "{untrusted} {flags}");
            }
            assert!(header(&answer, "traceparent").is_some_and(|value| value.contains(TRACE)));
        }
        let counted = if outside { 2.0 } else { 0.0 };
        until_metric(&agent, &skipped("none", "untrusted_peer"), counted).await;
    }
}

#[tokio::test]
async fn a_request_signed_for_aws_arrives_with_the_headers_it_left_with() {
    let collector = Collector::start().await;
    let target = mirror().await;
    let agent = agent_with(target, Some(&collector), "", "untrusted: ['*']", "").await;
    let signature = "AWS4-HMAC-SHA256 Credential=AKID/20300101/eu-west-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab";
    for (uri, authorization) in [("/signed", signature), ("/signed?X-Amz-Signature=ab", "Basic x")] {
        let headers = format!(
            "host: {target}\nauthorization: {authorization}\nx-amz-date: 20300101T000000Z\n{XRAY}\nbaggage: a=1"
        );
        let mut sent: Vec<&str> = headers.lines().collect();
        sent.sort_unstable();
        for address in [agent.outbound_addrs[0], agent.inbound_addrs[0]] {
            let answer = ask(address, &format!("GET http://{target}{uri} HTTP/1.1\n{headers}")).await;
            let (_, mirrored) = answer.split_once("\r\n\r\n").expect("a body");
            let mut came: Vec<&str> = mirrored.lines().skip(1).collect();
            came.sort_unstable();
            assert_eq!(came, sent, "{uri}");
        }
    }
    until_metric(&agent, &skipped("none", "signed"), 4.0).await;
    let seen = collector.client_span().await;
    let place = (seen.trace_id(), seen.parent());
    assert_eq!(
        place,
        (TRACE.to_owned(), SPAN.to_owned()),
        "it has a span all the same"
    );
}

#[tokio::test]
async fn context_is_added_to_signed_requests_on_request_unless_the_signature_covers_it() {
    let target = mirror().await;
    let agent = agent_with(target, None, "", "", "signed_requests: add").await;
    for (covered, added) in [("host;x-amz-date", true), ("host;x-amzn-trace-id", false)] {
        let head = format!(
            "GET http://{target}/ HTTP/1.1
             host: {target}
             authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders={covered}, Signature=ab"
        );
        let answer = ask(agent.outbound_addrs[0], &head).await;
        assert_eq!(header(&answer, "traceparent").is_some(), added, "{covered}");
    }
    until_metric(&agent, &skipped("none", "signed"), 1.0).await;
}

#[tokio::test]
async fn a_random_request_id_becomes_the_trace_id_where_it_is_asked_for() {
    let collector = Collector::start().await;
    let propagation = "trace_id_headers: [x-request-id]";
    let agent = agent_with(mirror().await, Some(&collector), "", "", propagation).await;
    let id = "f47ac10b-58cc-9372-a567-0e02b2c3d479";
    let head = format!("GET / HTTP/1.1\nhost: cart\nx-request-id: {id}");
    let answer = ask(agent.inbound_addrs[0], &head).await;
    let seen = collector.server_span().await;
    assert_eq!(
        seen.trace_id(),
        "f47ac10b58cc4372a5670e02b2c3d479",
        "Envoy's 9 is read as 4"
    );
    let traceparent = format!("00-{}-{}-03", seen.trace_id(), seen.span_id());
    assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(
        header(&answer, "x-request-id"),
        Some(id),
        "the id itself is left alone"
    );
    let head = "GET / HTTP/1.1\nhost: cart\nx-request-id: order-7";
    ask(agent.inbound_addrs[0], head).await;
    until_metric(&agent, &skipped("correlation", "request_id_not_random"), 1.0).await;
}

#[tokio::test]
async fn a_call_restored_by_its_correlation_id_is_written_in_the_formats_of_its_request() {
    let target = mirror().await;
    let (told, proxy) = watch::channel(None::<SocketAddr>);
    let call = move |request: axum::extract::Request| {
        let mut proxy = proxy.clone();
        async move {
            let proxy = crate::support::once_told(&mut proxy).await;
            let id = request.headers()["x-correlation-id"].to_str().expect("text");
            let head = format!("GET http://{target}/ HTTP/1.1\nhost: x\nx-correlation-id: {id}");
            ask(proxy, &head).await
        }
    };
    let upstream = service(axum::Router::new().fallback(call)).await;
    let agent = sidecar(upstream, None).await;
    told.send_replace(Some(agent.outbound_addrs[0]));
    let head = format!("GET / HTTP/1.1\nhost: cart\n{XRAY}\nb3: {TRACE}-{SPAN}-1");
    let answer = ask(agent.inbound_addrs[0], &head).await;
    for key in ["traceparent", "b3", "x-amzn-trace-id"] {
        assert!(header(&answer, key).is_some(), "{key} at the target: {answer}");
    }
    assert!(header(&answer, "x-amzn-trace-id").is_some_and(|value| value.ends_with("Self=1-2-3")));
}

#[tokio::test]
async fn a_call_of_a_skywalking_service_finds_its_request_by_their_common_trace_id() {
    let collector = Collector::start().await;
    let target = mirror().await;
    let (told, proxy) = watch::channel(None::<SocketAddr>);
    // The same trace, a segment of the service's own.
    let own = SW8.replace("-3-d2Vi-", "-0-Y2FydA==-");
    let call = move |_: axum::extract::Request| {
        let (mut proxy, own) = (proxy.clone(), own.clone());
        async move {
            let proxy = crate::support::once_told(&mut proxy).await;
            ask(proxy, &format!("GET http://{target}/ HTTP/1.1\nhost: x\n{own}")).await
        }
    };
    let upstream = service(axum::Router::new().fallback(call)).await;
    let agent = sidecar(upstream, Some(collector.endpoint())).await;
    told.send_replace(Some(agent.outbound_addrs[0]));
    ask(
        agent.inbound_addrs[0],
        &format!("GET / HTTP/1.1\nhost: cart\n{SW8}"),
    )
    .await;
    let (server, client) = (collector.server_span().await, collector.client_span().await);
    assert_eq!(
        (client.trace_id(), client.parent()),
        (server.trace_id(), server.span_id())
    );
    assert_eq!(client.get("correlation.method"), Some("id"));
}

#[tokio::test]
async fn garbage_in_every_header_costs_the_request_nothing_and_is_counted_once_for_each() {
    let agent = sidecar(mirror().await, None).await;
    let mut head = String::from("GET / HTTP/1.1\nhost: cart");
    let garbage = "A-:;=/,%".repeat(400);
    for key in propagation::Format::ALL
        .iter()
        .filter_map(|format| format.keys().first())
    {
        head.extend(["\n", key, ": \u{fe}\t", &garbage]);
    }
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for format in propagation::Format::ALL {
        let reason = match format.name() {
            "tracecontext" => "traceparent_malformed",
            "b3" | "b3multi" => "b3_malformed",
            _ => "context_malformed",
        };
        until_metric(&agent, &skipped(format.name(), reason), 1.0).await;
    }
}
