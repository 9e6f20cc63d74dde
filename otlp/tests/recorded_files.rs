//! Recorded files as OTLP: what the fixtures hold, by hand, against what is read.

mod recorded;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Status, span::SpanKind};
use otlp::files::Format;
use recorded::{Row, outcome, rows, string};

fn by_id<'a>(rows: &'a [Row], id: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.id() == id).collect()
}

fn only<'a>(rows: &'a [Row], id: &str) -> &'a Row {
    match by_id(rows, id).as_slice() {
        [row] => row,
        other => panic!("{} spans have the id {id}", other.len()),
    }
}

fn services(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<_> = rows.iter().filter_map(Row::service).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Caller and callee of each span whose parent is of another service.
fn edges(rows: &[Row]) -> Vec<String> {
    let edge = |child: &Row| {
        let parent = rows
            .iter()
            .find(|row| row.id() == child.parent() && row.service() != child.service())?;
        Some(format!("{} -> {}", parent.service()?, child.service()?))
    };
    let mut edges: Vec<_> = rows.iter().filter_map(edge).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn tempos_bookinfo_trace_has_its_known_topology() {
    let (format, rows) = rows("kiali-bookinfo/responseTrace.json");
    assert_eq!((format, rows.len()), (Format::OtlpJson, 8));
    assert_eq!(
        edges(&rows),
        [
            "istio-ingressgateway.istio-system -> productpage.bookinfo",
            "productpage.bookinfo -> details.bookinfo",
            "productpage.bookinfo -> reviews.bookinfo",
            "reviews.bookinfo -> ratings.bookinfo",
        ]
    );
    let root = only(&rows, "49cd77d1f9dcd936");
    assert_eq!((root.span.kind(), root.parent().as_str()), (SpanKind::Client, ""));
    assert_eq!(
        recorded::hex(&root.span.trace_id),
        "3ba55609c3cde49649cd77d1f9dcd936"
    );
    assert_eq!(root.span.start_time_unix_nano, 1_701_779_876_570_888_000);
}

#[test]
fn hotel_traces_have_eleven_spans_each_and_client_and_server_pairs() {
    let (format, rows) = rows("hotel-jaeger/hotel_load25.jsonl.gz");
    assert_eq!((format, rows.len()), (Format::JaegerJson, 20 * 11));
    assert_eq!(
        services(&rows),
        ["frontend", "geo", "profile", "rate", "reservation", "search"]
    );
    assert_eq!(
        edges(&rows),
        [
            "frontend -> profile",
            "frontend -> reservation",
            "frontend -> search",
            "search -> geo",
            "search -> rate"
        ]
    );
    let clients = rows
        .iter()
        .filter(|row| row.span.kind() == SpanKind::Client)
        .count();
    let servers = rows
        .iter()
        .filter(|row| row.span.kind() == SpanKind::Server)
        .count();
    assert_eq!((clients, servers), (20 * 5, 20 * 6));
}

#[test]
fn a_jaeger_span_keeps_its_id_parent_times_and_typed_tags() {
    let (_, rows) = rows("hotel-jaeger/hotel_load25.jsonl.gz");
    let server = only(&rows, "5ee7fa9542e2afdb");
    assert_eq!(server.service(), Some("reservation"));
    assert_eq!(recorded::text(&server.resource, "ip"), Some("10.0.1.212"));
    assert_eq!(server.parent(), "768b9a7bddbf20f0");
    assert_eq!(
        recorded::hex(&server.span.trace_id),
        "000000000000000000202d6c6c17bfe5"
    );
    assert_eq!(server.span.name, "/reservation.Reservation/CheckAvailability");
    assert_eq!(server.span.start_time_unix_nano, 1_655_753_768_523_213_000);
    assert_eq!(server.span.end_time_unix_nano, 1_655_753_768_525_284_000);
    assert_eq!(
        (server.span.status.clone(), server.attribute("span.kind")),
        (None, None)
    );

    let root = only(&rows, "00202d6c6c17bfe5");
    assert_eq!(root.parent(), "");
    assert_eq!(root.attribute("sampler.param"), Some(Value::DoubleValue(0.3)));
    assert_eq!(root.attribute("http.status_code"), Some(Value::IntValue(200)));
    assert_eq!(root.attribute("http.method"), string("GET"));
}

#[test]
fn references_make_the_parent_that_jaeger_takes_and_the_rest_are_links() {
    let reference = |kind: &str, trace: &str, span: &str| {
        format!(r#"{{"refType": "{kind}", "traceID": "{trace}", "spanID": "{span}"}}"#)
    };
    let check = |references: &[String], parent: &str, links: &[(&str, &str)]| {
        let span = format!(
            r#"{{"traceID": "a", "spanID": "b", "references": [{}]}}"#,
            references.join(",")
        );
        let (rows, errors) = outcome(format!(
            r#"{{"traceID": "a", "spans": [{span}], "processes": {{}}}}"#
        ));
        let [row] = rows.as_slice() else {
            panic!("one span, not {rows:?} and {errors:?}")
        };
        let found: Vec<_> = row
            .span
            .links
            .iter()
            .map(|link| {
                let kind = recorded::text(&link.attributes, "opentracing.ref_type").unwrap_or_default();
                (
                    recorded::hex(&link.span_id).trim_start_matches('0').to_owned(),
                    kind.to_owned(),
                )
            })
            .collect();
        let links: Vec<_> = links
            .iter()
            .map(|(id, kind)| ((*id).to_owned(), (*kind).to_owned()))
            .collect();
        assert_eq!((row.parent().trim_start_matches('0'), found), (parent, links));
    };
    let (child, follows) = ("CHILD_OF", "FOLLOWS_FROM");
    check(&[], "", &[]);
    check(
        &[reference(follows, "a", "1"), reference(child, "a", "2")],
        "2",
        &[("1", "follows_from")],
    );
    check(
        &[reference(child, "a", "1"), reference(child, "a", "2")],
        "1",
        &[("2", "child_of")],
    );
    check(&[reference(follows, "a", "1")], "1", &[]);
    check(&[reference(child, "c", "1")], "", &[("1", "child_of")]);
}

#[test]
fn a_jaeger_span_that_failed_has_the_status_and_its_logs_are_events() {
    let (rows, errors) = outcome(
        r#"{"data": [{"traceID": "1", "processes": {"p1": {"serviceName": "cart"}}, "spans": [{
            "traceID": "1", "spanID": "2", "processID": "p1", "startTime": 1000, "duration": 5, "operationName": "add",
            "tags": [{"key": "error", "type": "bool", "value": true},
                     {"key": "otel.status_description", "type": "string", "value": "no stock"}],
            "logs": [{"timestamp": 1001, "fields": [{"key": "event", "type": "string", "value": "retry"},
                                                    {"key": "attempt", "type": "int64", "value": "2"}]}]}]}]}"#,
    );
    let [row] = rows.as_slice() else {
        panic!("one span, not {errors:?}")
    };
    assert_eq!(
        row.span.status,
        Some(Status {
            code: 2,
            message: "no stock".into()
        })
    );
    assert_eq!(row.span.attributes, []);
    let [event] = row.span.events.as_slice() else {
        panic!("one event")
    };
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("retry", 1_001_000));
    assert_eq!(
        recorded::value(&event.attributes, "attempt"),
        Some(Value::IntValue(2))
    );
}

#[test]
fn zipkin_halves_that_share_a_span_id_keep_it() {
    let (format, rows) = rows("zipkin/skew.json");
    assert_eq!((format, rows.len()), (Format::ZipkinJson, 4));
    let halves = by_id(&rows, "74280ae0c10d8062");
    let facts: Vec<_> = halves
        .iter()
        .map(|row| (row.service(), row.span.kind(), row.parent()))
        .collect();
    let parent = "bf396325699c84bf".to_owned();
    assert_eq!(
        facts,
        [
            (Some("serviceb"), SpanKind::Server, parent.clone()),
            (Some("servicea"), SpanKind::Client, parent)
        ]
    );
    let local = only(&rows, "43210ae0c10d1234");
    assert_eq!(
        (local.span.kind(), local.parent().as_str()),
        (SpanKind::Unspecified, "74280ae0c10d8062")
    );
    assert_eq!(
        recorded::hex(&local.span.trace_id),
        "00000000000000001e223ff1f80f1c69"
    );
    assert_eq!(local.span.start_time_unix_nano, 1_470_150_004_008_762_000);
    assert_eq!(local.span.end_time_unix_nano, 1_470_150_004_073_762_000);
}

#[test]
fn a_zipkin_span_without_a_service_name_has_none() {
    let (_, rows) = rows("zipkin/envoy.json");
    let row = only(&rows, "978883983d506fa5");
    assert_eq!(
        (row.resource.as_slice(), row.span.kind()),
        ([].as_slice(), SpanKind::Server)
    );
    assert_eq!(row.attribute("upstream_cluster"), string("service_google"));
    assert_eq!(row.attribute("network.local.address"), string("169.254.65.45"));
}

#[test]
fn zipkins_remote_endpoint_is_the_peer() {
    let (_, messaging) = rows("zipkin/messaging.json");
    let producer = only(&messaging, "05e3ac9a4f6e3b90");
    assert_eq!(
        (producer.span.kind(), producer.attribute("peer.service")),
        (SpanKind::Producer, string("rabbitmq"))
    );
    assert_eq!(
        only(&messaging, "e457b5a2e4d86bd1").span.kind(),
        SpanKind::Consumer
    );
    let server = only(&messaging, "b33447baae403ed6");
    assert_eq!(server.attribute("network.peer.address"), string("::1"));
    assert_eq!(
        server.attribute("network.peer.port"),
        Some(Value::IntValue(54602))
    );
    assert_eq!(server.attribute("peer.service"), None);
}

#[test]
fn zipkin_spans_without_times_and_with_an_error_tag_are_read() {
    let (rows, errors) = outcome(
        r#"[[{"traceId": "1", "id": "2", "tags": {"error": "refused"}}], [{"traceId": "3", "id": "4"}]]"#,
    );
    assert_eq!((rows.len(), errors.len()), (2, 0));
    assert_eq!(
        rows[0].span.status,
        Some(Status {
            code: 2,
            message: "refused".into()
        })
    );
    assert_eq!(
        (rows[0].span.start_time_unix_nano, rows[0].span.end_time_unix_nano),
        (0, 0)
    );
    assert_eq!(rows[1].span.status, None);
}

#[test]
fn every_fixture_gives_the_spans_it_holds() {
    use Format::{OtlpJson, ZipkinJson};
    for (name, expected, spans) in [
        ("jaeger-otlp/example_trace.json", OtlpJson, 5),
        ("jaeger-otlp/link_attributes_trace.json", OtlpJson, 1),
        ("jaeger-otlp/log_tags_trace.json", OtlpJson, 1),
        ("jaeger-ui/otlp2jaeger-in.json", OtlpJson, 2),
        ("jaeger-ui/otlp2jaeger-multi-in-combined.json", OtlpJson, 4),
        ("zipkin/ascend.json", ZipkinJson, 8),
        ("zipkin/messaging2.json", ZipkinJson, 11),
        ("zipkin/yelp.json", ZipkinJson, 16),
    ] {
        let (format, rows) = rows(name);
        assert_eq!((format, rows.len()), (expected, spans), "{name}");
    }
}

/// Jaeger holds microseconds, and no schema: both sides are cut to that.
fn as_jaeger_holds_it(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        let micros = row
            .span
            .end_time_unix_nano
            .saturating_sub(row.span.start_time_unix_nano)
            / 1000;
        row.span.start_time_unix_nano -= row.span.start_time_unix_nano % 1000;
        row.span.end_time_unix_nano = row.span.start_time_unix_nano + micros * 1000;
        row.span.status = row
            .span
            .status
            .take()
            .filter(|status| *status != Status::default());
        row.resource.sort_by(|a, b| a.key.cmp(&b.key));
        row.span.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    }
    rows.sort_by_key(Row::id);
    rows
}

#[test]
fn otlp_and_the_jaeger_json_made_of_it_read_the_same() {
    for (otlp, jaeger) in [
        ("jaeger-ui/otlp2jaeger-in.json", "jaeger-ui/otlp2jaeger-out.json"),
        (
            "jaeger-ui/otlp2jaeger-multi-in-combined.json",
            "jaeger-ui/oltp2jaeger-multi-out.json",
        ),
    ] {
        let ((_, otlp), (format, jaeger)) = (rows(otlp), rows(jaeger));
        assert_eq!(format, Format::JaegerJson);
        assert_eq!(as_jaeger_holds_it(jaeger), as_jaeger_holds_it(otlp));
    }
}
