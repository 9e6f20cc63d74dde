//! The formats of single vendors: what their headers mean, what is written, and what is refused.
//!
//! Each row: headers in, then what must be found or sent.

mod support;

use propagation::{
    Decision, Extracted, Format, Propagator, PropagatorConfig, TraceId, TraceIdWidth, conceal, remove_context,
};
use support::{extract, headers, hop, hop_through, reasons, records, values};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// 0xb7ad6b7169203331.
const SPAN_DECIMAL: &str = "13235353014750950193";
/// 0x8448eb211c80319c.
const LOW_DECIMAL: &str = "9532127138774266268";
const GRPC_SAMPLED: &str = "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE";

/// Trace, span and decision of the context that `lines` carry.
#[track_caller]
fn found(lines: &[(&str, &str)]) -> (Option<Format>, String, String, Option<Decision>) {
    let found = extract(lines);
    let context = found.context.unwrap_or_else(|| panic!("no context in {lines:?}"));
    (
        found.format,
        context.trace_id.to_string(),
        context.span_id.to_string(),
        found.decision,
    )
}

/// Every context in `lines` is refused, once, with this reason; the request itself begins a trace.
#[track_caller]
fn refused(format: Format, lines: &[(&str, &str)]) {
    let found = extract(lines);
    assert_eq!((found.context, found.start), (None, None), "{lines:?}");
    let labels: Vec<_> = found
        .skipped
        .iter()
        .map(|skip| (skip.format(), skip.reason()))
        .collect();
    assert_eq!(labels, [(format.name(), "context_malformed")], "{lines:?}");
    for skip in &found.skipped {
        let cause = std::error::Error::source(skip).expect("what is wrong");
        assert!(cause.to_string().contains('`'), "`{cause}` names the header");
    }
}

fn starts(found: &Extracted) -> Option<String> {
    found.start.as_ref().map(|start| start.trace_id.to_string())
}

#[test]
fn a_jaeger_id_is_padded_unescaped_and_continued_in_its_width() {
    for (value, trace, decision, sent) in [
        (
            format!("{TRACE}:{SPAN}:0:1"),
            TRACE,
            Decision::Record,
            format!("{TRACE}:SPAN:0:1"),
        ),
        (
            format!("{TRACE}%3A{SPAN}%3a0%3A0"),
            TRACE,
            Decision::Drop,
            format!("{TRACE}:SPAN:0:0"),
        ),
        (
            format!("{}:B7AD6B7169203331:123:3", TRACE.to_uppercase()),
            TRACE,
            Decision::Debug,
            format!("{TRACE}:SPAN:0:3"),
        ),
        (
            format!("af7:{SPAN}:0:2"),
            "00000000000000000000000000000af7",
            Decision::Debug,
            "0000000000000af7:SPAN:0:3".to_owned(),
        ),
        (
            format!("af7:{SPAN}:0:09"),
            "00000000000000000000000000000af7",
            Decision::Record,
            "0000000000000af7:SPAN:0:9".to_owned(),
        ),
    ] {
        let lines = [("Uber-Trace-Id", value.as_str())];
        let expected = (
            Some(Format::Jaeger),
            trace.to_owned(),
            SPAN.to_owned(),
            Some(decision),
        );
        assert_eq!(found(&lines), expected, "{value}");
        let out = hop(&lines);
        let sent = sent.replace("SPAN", "ee00000000000001");
        assert_eq!(values(&out, "uber-trace-id"), [sent], "{value}");
        assert!(
            values(&out, "traceparent")
                .concat()
                .starts_with(&format!("00-{trace}-ee")),
            "W3C beside it"
        );
    }
}

#[test]
fn a_jaeger_id_that_is_none_is_refused() {
    for value in [
        String::new(),
        format!("{TRACE}:{SPAN}:0"),
        format!("{TRACE}:{SPAN}:0:1:2"),
        format!("0:{SPAN}:0:1"),
        format!("{TRACE}:0:0:1"),
        format!("{TRACE}f:{SPAN}:0:1"),
        format!("{TRACE}:{SPAN}1:0:1"),
        format!("{TRACE}:{SPAN}:0:xyz"),
        format!("+1:{SPAN}:0:1"),
        format!("{TRACE}:{SPAN}:{}:1", "0".repeat(100)),
    ] {
        refused(Format::Jaeger, &[("uber-trace-id", &value)]);
    }
}

#[test]
fn jaegers_baggage_is_read_below_w3cs_and_goes_on_as_it_came() {
    let lines = [
        ("uberctx-user", "alice+b%2Fc"),
        ("UberCtx-tier", "gold"),
        ("baggage", "tier=silver"),
        ("uberctx-bad", "a;b\""),
    ];
    let found = extract(&lines);
    assert_eq!(found.baggage.get("user").as_deref(), Some("alice b/c"));
    assert_eq!(found.baggage.get("tier").as_deref(), Some("silver"));
    let labels: Vec<_> = found
        .skipped
        .iter()
        .map(|skip| (skip.format(), skip.reason()))
        .collect();
    assert_eq!(labels, [("jaeger", "baggage_member_malformed")]);
    assert_eq!(values(&hop(&lines), "uberctx-user"), ["alice+b%2Fc"]);
}

#[test]
fn an_xray_header_is_continued_and_what_others_wrote_into_it_is_kept() {
    let (time, rest) = TRACE.split_at(8);
    for (value, decision, sent) in [
        (
            format!("Root=1-{time}-{rest};Parent={SPAN};Sampled=1"),
            Some(Decision::Record),
            ";Sampled=1",
        ),
        (
            format!(
                "Self=1-67891234-12456789abcdef012345678; Root=1-{time}-{rest} ;Parent={SPAN};Sampled=0;Lineage=a87bd80c:1"
            ),
            Some(Decision::Drop),
            ";Sampled=0;Self=1-67891234-12456789abcdef012345678;Lineage=a87bd80c:1",
        ),
        (
            format!("Parent={SPAN};Sampled=?;Root=1-{time}-{rest}"),
            None,
            ";Sampled=1",
        ),
        (format!("Root=1-{time}-{rest};Parent={SPAN}"), None, ";Sampled=1"),
    ] {
        let lines = [("X-Amzn-Trace-Id", value.as_str())];
        assert_eq!(
            found(&lines),
            (Some(Format::XRay), TRACE.to_owned(), SPAN.to_owned(), decision),
            "{value}"
        );
        let sent = format!("Root=1-{time}-{rest};Parent=ee00000000000001{sent}");
        assert_eq!(values(&hop(&lines), "x-amzn-trace-id"), [sent], "{value}");
    }
}

#[test]
fn a_root_without_parent_as_a_load_balancer_sends_it_names_the_trace_to_begin() {
    let (time, rest) = TRACE.split_at(8);
    let value = format!("Root=1-{time}-{rest}");
    let lines = [("x-amzn-trace-id", value.as_str())];
    let found = extract(&lines);
    assert_eq!(
        (found.context.clone(), starts(&found)),
        (None, Some(TRACE.to_owned()))
    );
    let out = hop(&lines);
    let traceparent = values(&out, "traceparent").concat();
    assert_eq!(
        traceparent,
        format!("00-{TRACE}-ee00000000000002-01"),
        "no random flag: its first bytes are a time"
    );
    assert_eq!(
        values(&out, "x-amzn-trace-id"),
        [format!("{value};Parent=ee00000000000002;Sampled=1")]
    );
}

#[test]
fn an_xray_header_that_is_none_is_refused_and_a_bad_sampling_state_costs_only_itself() {
    let (time, rest) = TRACE.split_at(8);
    for value in [
        String::new(),
        "Root".to_owned(),
        "Sampled=1".to_owned(),
        format!("Root=2-{time}-{rest};Parent={SPAN}"),
        format!("Root=1-{time}0-{rest};Parent={SPAN}"),
        format!("Root={TRACE};Parent={SPAN}"),
        "Root=1-00000000-000000000000000000000000;Parent=b7ad6b7169203331".to_owned(),
        format!("Root=1-{time}-{rest};Parent=0000000000000000"),
        format!("Root=1-{time}-{rest};Parent=b7ad"),
        format!("Root=1-{time}-{rest};Parent={SPAN};Self={}", "x".repeat(1024)),
    ] {
        refused(Format::XRay, &[("x-amzn-trace-id", &value)]);
    }
    let value = format!("Root=1-{time}-{rest};Parent={SPAN};Sampled=yes");
    let found = extract(&[("x-amzn-trace-id", &value)]);
    assert!(found.context.is_some() && found.decision.is_none());
    assert_eq!(reasons(&found), ["context_malformed"]);
}

#[test]
fn datadog_ids_are_decimal_halves_and_its_tags_and_origin_go_on() {
    let tags = format!("_dd.p.dm=-4,_dd.p.tid={},_dd.p.usr=Ym9i", &TRACE[..16]);
    let lines = [
        ("x-datadog-trace-id", LOW_DECIMAL),
        ("x-datadog-parent-id", SPAN_DECIMAL),
        ("x-datadog-sampling-priority", "2"),
        ("x-datadog-origin", "rum"),
        ("x-datadog-tags", tags.as_str()),
    ];
    let expected = (
        Some(Format::Datadog),
        TRACE.to_owned(),
        SPAN.to_owned(),
        Some(Decision::Record),
    );
    assert_eq!(found(&lines), expected);
    let out = hop(&lines);
    for (key, value) in [
        ("x-datadog-trace-id", LOW_DECIMAL),
        ("x-datadog-parent-id", "17149707381026848769"),
        ("x-datadog-sampling-priority", "2"),
        ("x-datadog-origin", "rum"),
        (
            "x-datadog-tags",
            "_dd.p.tid=0af7651916cd43dd,_dd.p.dm=-4,_dd.p.usr=Ym9i",
        ),
    ] {
        assert_eq!(values(&out, key), [value], "{key}");
    }
    assert!(
        values(&out, "traceparent")
            .concat()
            .starts_with(&format!("00-{TRACE}-ee"))
    );
}

#[test]
fn a_64_bit_datadog_trace_stays_one_and_agrees_with_its_w3c_twin() {
    let lines = [
        ("x-datadog-trace-id", LOW_DECIMAL),
        ("x-datadog-parent-id", SPAN_DECIMAL),
        ("x-datadog-sampling-priority", "-1"),
    ];
    let found = extract(&lines);
    let context = found.context.expect("a context");
    assert_eq!(context.trace_id.to_string(), format!("{:016}{}", 0, &TRACE[16..]));
    assert_eq!(
        (context.traits.width, found.decision),
        (TraceIdWidth::Bits64, Some(Decision::Drop))
    );
    assert_eq!(
        values(&hop(&lines), "x-datadog-sampling-priority"),
        ["-1"],
        "a person's no stays one"
    );
    assert_eq!(values(&hop(&lines), "x-datadog-tags"), Vec::<String>::new());

    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let found = extract(&[lines[0], lines[1], ("traceparent", &w3c)]);
    assert_eq!((reasons(&found).len(), found.formats.iter().count()), (0, 2));
}

#[test]
fn a_datadog_parent_of_zero_names_the_trace_to_begin() {
    for parent in [vec![("x-datadog-parent-id", "0")], vec![]] {
        let mut lines = vec![
            ("x-datadog-trace-id", LOW_DECIMAL),
            ("x-datadog-origin", "synthetics"),
        ];
        lines.extend(parent);
        let found = extract(&lines);
        assert!(found.context.is_none() && found.start.is_some(), "{lines:?}");
        assert_eq!(values(&hop(&lines), "x-datadog-origin"), ["synthetics"]);
    }
}

#[test]
fn datadog_ids_that_are_none_are_refused_and_bad_extras_cost_only_themselves() {
    for (trace, parent) in [
        ("0", SPAN_DECIMAL),
        ("", SPAN_DECIMAL),
        ("18446744073709551616", SPAN_DECIMAL),
        ("-1", SPAN_DECIMAL),
        (TRACE, SPAN_DECIMAL),
        (LOW_DECIMAL, "b7ad"),
    ] {
        refused(
            Format::Datadog,
            &[("x-datadog-trace-id", trace), ("x-datadog-parent-id", parent)],
        );
    }
    let long = format!("_dd.p.dm={}", "x".repeat(512));
    for extra in [
        ("x-datadog-sampling-priority", "3"),
        ("x-datadog-tags", "_dd.p.tid=zz"),
        ("x-datadog-tags", "no equals"),
        ("x-datadog-tags", long.as_str()),
        ("x-datadog-origin", "\u{e9}"),
    ] {
        let found = extract(&[
            ("x-datadog-trace-id", LOW_DECIMAL),
            ("x-datadog-parent-id", SPAN_DECIMAL),
            extra,
        ]);
        assert!(found.context.is_some(), "{extra:?}");
        assert_eq!(reasons(&found), ["context_malformed"], "{extra:?}");
    }
}

#[test]
fn a_cloud_trace_context_has_a_decimal_span_and_may_lack_span_and_options() {
    for (value, decision, sent) in [
        (
            format!("{TRACE}/{SPAN_DECIMAL};o=1"),
            Some(Decision::Record),
            ";o=1",
        ),
        (
            format!("{}/{SPAN_DECIMAL};o=0", TRACE.to_uppercase()),
            Some(Decision::Drop),
            ";o=0",
        ),
        (
            format!("{TRACE}/{SPAN_DECIMAL};o=3"),
            Some(Decision::Record),
            ";o=1",
        ),
        (format!("{TRACE}/{SPAN_DECIMAL}"), None, ";o=1"),
    ] {
        let lines = [("X-Cloud-Trace-Context", value.as_str())];
        assert_eq!(
            found(&lines),
            (Some(Format::Gcp), TRACE.to_owned(), SPAN.to_owned(), decision),
            "{value}"
        );
        let sent = format!("{TRACE}/17149707381026848769{sent}");
        assert_eq!(values(&hop(&lines), "x-cloud-trace-context"), [sent], "{value}");
    }
    for value in [TRACE.to_owned(), format!("{TRACE}/0;o=1"), format!("{TRACE};o=1")] {
        let found = extract(&[("x-cloud-trace-context", &value)]);
        assert_eq!(
            (found.context.clone(), starts(&found)),
            (None, Some(TRACE.to_owned())),
            "{value}"
        );
    }
}

#[test]
fn a_cloud_trace_context_that_is_none_is_refused() {
    for value in [
        String::new(),
        TRACE[1..].to_owned(),
        format!("{TRACE}/{SPAN}"),
        format!("{TRACE}/18446744073709551616;o=1"),
        format!("{:032}/1;o=1", 0),
        format!("{TRACE}/{};o=1", "1".repeat(128)),
    ] {
        refused(Format::Gcp, &[("x-cloud-trace-context", &value)]);
    }
}

#[test]
fn a_grpc_trace_bin_is_read_with_and_without_padding_and_as_bytes() {
    let bytes =
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, GRPC_SAMPLED).expect("base64");
    let padded = format!("{GRPC_SAMPLED}=");
    let joined = format!("{GRPC_SAMPLED}, AAAA");
    for value in [
        GRPC_SAMPLED.as_bytes(),
        padded.as_bytes(),
        joined.as_bytes(),
        &bytes,
    ] {
        let found = Propagator::default().extract(&vec![("Grpc-Trace-Bin".to_owned(), value.to_vec())]);
        let context = found.context.expect("a context");
        assert_eq!(
            (
                context.trace_id.to_string().as_str(),
                context.span_id.to_string().as_str()
            ),
            (TRACE, SPAN)
        );
        assert_eq!(found.decision, Some(Decision::Record));
    }
    let out = hop(&[("grpc-trace-bin", GRPC_SAMPLED)]);
    let sent = values(&out, "grpc-trace-bin").concat();
    assert!(sent.starts_with(&GRPC_SAMPLED[..24]) && sent.len() == GRPC_SAMPLED.len() && !sent.contains('='));
}

#[test]
fn a_grpc_trace_bin_that_is_none_is_refused() {
    let zero_trace = format!("AAA{}Abeta3FpIDMxAgE", "A".repeat(19));
    for value in [
        "",
        "AAAA",
        "!!!!",
        &GRPC_SAMPLED[..30],
        &zero_trace,
        &"A".repeat(200),
        "Af92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE",
    ] {
        refused(Format::GrpcTraceBin, &[("grpc-trace-bin", value)]);
    }
}

const SW_TRACE: &str = "NTZhNWUxYzUxOWFlNGM3NmEyYjhiMTFkOTJjZWFkN2YuMTIuMTY1NjM0NzQyOTY0MzAwMDE=";

fn sw8() -> String {
    // 56a5e1c519ae4c76a2b8b11d92cead7f.12.16563474296430001 as trace and segment, span 3 of `web` at `/cart`.
    format!("1-{SW_TRACE}-{SW_TRACE}-3-d2Vi-aTE=-L2NhcnQ=-Y2FydDo4MA==")
}

#[test]
fn sw8_gives_a_correlation_id_and_a_link_and_never_a_parent() {
    let value = sw8();
    let found = extract(&[("sw8", &value)]);
    assert_eq!(
        (found.context.clone(), found.start.clone(), found.decision),
        (None, None, None)
    );
    let id = found.correlation.as_ref().expect("a correlation id");
    assert_eq!(
        id.as_str(),
        "56a5e1c519ae4c76a2b8b11d92cead7f.12.16563474296430001"
    );
    let seen = found.skywalking.as_ref().expect("what it says");
    assert_eq!(
        (seen.service.as_str(), seen.endpoint.as_str(), seen.span_id),
        ("web", "/cart", 3)
    );
    // Sequence and thread are folded in little-endian order, as the Collector's receiver does it.
    let links: Vec<_> = found
        .others
        .iter()
        .map(|other| {
            (
                other.trace_id.to_string(),
                other.span_id.to_string(),
                other.format,
            )
        })
        .collect();
    let expected = (
        "56a5e1c515ae4c7613e51e7cf616977f".to_owned(),
        "4640ffb9e3b8db09".to_owned(),
        Format::Sw8,
    );
    assert_eq!(links, [expected]);
    let out = hop(&[("sw8", &value)]);
    assert_eq!(values(&out, "sw8"), [value], "it goes on as it came");
    assert_eq!(
        extract(&[("sw8", &sw8()), ("x-request-id", "mine")])
            .correlation
            .map(|id| id.to_string())
            .as_deref(),
        Some("mine")
    );
}

#[test]
fn an_sw8_that_is_none_is_refused() {
    for value in [
        String::new(),
        "1-2-3".to_owned(),
        sw8().replace("1-", "2-"),
        sw8().replace("-3-", "-x-"),
        sw8().replace("-3-", "-4294967296-"),
        sw8() + "-more",
        sw8().replace("d2Vi", "!!!!"),
        sw8().replace(SW_TRACE, ""),
        "1".repeat(2049),
    ] {
        refused(Format::Sw8, &[("sw8", &value)]);
    }
}

#[test]
fn a_vendors_header_that_comes_twice_counts_once_with_its_first_value() {
    let other = format!("{}:{SPAN}:0:1", "f".repeat(32));
    let first = format!("{TRACE}:{SPAN}:0:1");
    let found = extract(&[("uber-trace-id", &first), ("uber-trace-id", &other)]);
    assert_eq!(
        found
            .context
            .map(|context| context.trace_id.to_string())
            .as_deref(),
        Some(TRACE)
    );
    let labels: Vec<_> = found
        .skipped
        .iter()
        .map(|skip| (skip.format(), skip.reason()))
        .collect();
    assert_eq!(labels, [("jaeger", "context_duplicated")]);
}

#[test]
fn the_first_valid_format_in_order_wins_and_every_other_trace_is_there_to_link() {
    let jaeger = format!("{}:{SPAN}:0:1", "f".repeat(32));
    let gcp = format!("{}/7;o=1", "e".repeat(32));
    let lines = [
        ("uber-trace-id", jaeger.as_str()),
        ("x-cloud-trace-context", gcp.as_str()),
        ("b3", "broken"),
        ("grpc-trace-bin", GRPC_SAMPLED),
    ];
    let found = extract(&lines);
    assert_eq!(found.format, Some(Format::GrpcTraceBin));
    let links: Vec<_> = found
        .others
        .iter()
        .map(|other| (other.format, other.flags.is_sampled()))
        .collect();
    assert_eq!(links, [(Format::Jaeger, true), (Format::Gcp, true)]);
    assert_eq!(
        reasons(&found),
        ["b3_malformed", "conflicting_trace_id", "conflicting_trace_id"]
    );

    let config = PropagatorConfig {
        extract: vec![Format::Gcp, Format::Jaeger],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(config).expect("a sound configuration");
    assert_eq!(propagator.extract(&headers(&lines)).format, Some(Format::Gcp));
}

#[test]
fn a_trace_with_a_span_beats_one_without_whatever_their_order() {
    let (time, rest) = TRACE.split_at(8);
    let root = format!("Root=1-{time}-{rest};Sampled=0");
    let gcp = format!("{}/7;o=1", "e".repeat(32));
    let found = extract(&[("x-amzn-trace-id", &root), ("x-cloud-trace-context", &gcp)]);
    assert_eq!((found.format, starts(&found)), (Some(Format::Gcp), None));
    assert_eq!(
        found.decision,
        Some(Decision::Record),
        "the other trace's decision is not this one's"
    );
    assert_eq!(reasons(&found), ["conflicting_trace_id"]);
    let same = format!("{TRACE}/7;o=1");
    let found = extract(&[("x-amzn-trace-id", &root), ("x-cloud-trace-context", &same)]);
    assert_eq!(
        (found.format, found.decision, reasons(&found).len()),
        (Some(Format::Gcp), Some(Decision::Drop), 0)
    );
}

#[test]
fn every_format_that_came_goes_on_and_sw8_as_it_was() {
    let jaeger = format!("{TRACE}:{SPAN}:0:1");
    let b3 = format!("{TRACE}-{SPAN}-1");
    let out = hop(&[("uber-trace-id", &jaeger), ("b3", &b3), ("sw8", &sw8())]);
    for (key, value) in [
        ("uber-trace-id", format!("{TRACE}:ee00000000000001:0:1")),
        ("b3", format!("{TRACE}-ee00000000000001-1")),
        ("traceparent", format!("00-{TRACE}-ee00000000000001-01")),
        ("sw8", sw8()),
    ] {
        assert_eq!(values(&out, key), [value], "{key}");
    }
    assert!(
        values(&out, "x-amzn-trace-id").is_empty(),
        "what did not come is not written"
    );
}

#[test]
fn a_request_id_becomes_the_trace_id_only_where_it_is_asked_for_and_random() {
    let uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    let config = PropagatorConfig {
        trace_id_keys: vec!["X-Request-Id".to_owned()],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(config).expect("a sound configuration");
    let traceparent =
        |id: &str| values(&hop_through(&propagator, &[("x-request-id", id)]), "traceparent").concat();
    let expected = "00-f47ac10b58cc4372a5670e02b2c3d479-ee00000000000002-03";
    assert_eq!(traceparent(uuid), expected);
    for envoys in ['9', 'a', 'B'] {
        let mut id = uuid.to_owned();
        id.replace_range(14..15, &envoys.to_string());
        assert_eq!(traceparent(&id), expected, "Envoy's digit is masked in `{id}`");
    }
    assert_eq!(traceparent(&uuid.to_uppercase()), expected);
    for id in [
        "f47ac10b-58cc-1372-a567-0e02b2c3d479",
        "f47ac10b-58cc-7372-a567-0e02b2c3d479",
        "f47ac10b-58cc-4372-c567-0e02b2c3d479",
        "f47ac10b58cc4372a5670e02b2c3d479",
        "f47ac10b-58cc-4372-a5670-e02b2c3d479",
        "order-7",
        "",
    ] {
        assert!(traceparent(id).starts_with("00-ee"), "`{id}`");
        let found = propagator.extract(&headers(&[("x-request-id", id)]));
        assert!(reasons(&found).contains(&"request_id_not_random"), "`{id}`");
    }
    assert!(
        values(&hop(&[("x-request-id", uuid)]), "traceparent")
            .concat()
            .starts_with("00-ee"),
        "off by default"
    );
    let b3 = format!("{TRACE}-{SPAN}-1");
    let found = propagator.extract(&headers(&[("x-request-id", uuid), ("b3", &b3)]));
    assert!(found.start.is_none(), "a context is better evidence");
}

#[test]
fn a_restart_keeps_the_correlation_id_and_names_what_it_left_as_links_or_not_at_all() {
    let jaeger = format!("{TRACE}:{SPAN}:0:0");
    let lines = [
        ("uber-trace-id", jaeger.as_str()),
        ("x-request-id", "r-1"),
        ("baggage", "a=1"),
    ];
    let linked = extract(&lines).restarted(true);
    assert_eq!((linked.context.clone(), linked.decision), (None, None));
    assert_eq!(
        linked.correlation.as_ref().map(ToString::to_string).as_deref(),
        Some("r-1")
    );
    let links: Vec<TraceId> = linked.others.iter().map(|other| other.trace_id).collect();
    assert_eq!(links, [TRACE.parse().expect("an id")]);
    assert!(
        linked.formats.contains(Format::Jaeger),
        "the service behind reads this format"
    );
    assert!(!linked.baggage.is_empty());
    let ignored = extract(&lines).restarted(false);
    assert!(ignored.others.is_empty() && ignored.formats.is_empty() && ignored.baggage.is_empty());
    assert!(ignored.correlation.is_some());
}

#[test]
fn what_comes_from_outside_loses_context_in_every_format_and_what_goes_there_names_nobody() {
    let mut carrier = records(&[
        ("TraceParent", "x"),
        ("tracestate", "x"),
        ("x-b3-flags", "1"),
        ("x-datadog-origin", "rum"),
        ("SW8-Correlation", "x"),
        ("x-request-id", "kept"),
        ("cookie", "kept"),
    ]);
    remove_context(&mut carrier);
    assert_eq!(carrier, records(&[("x-request-id", "kept"), ("cookie", "kept")]));

    let mut carrier = headers(&[
        ("traceparent", "kept"),
        ("tracestate", "a=1"),
        ("tracestate", "tm=c:cart,b=2"),
        ("baggage", "user=1"),
        ("uberctx-user", "1"),
    ]);
    assert!(conceal(&mut carrier));
    assert_eq!(values(&carrier, "tracestate"), ["a=1,b=2"]);
    assert_eq!(carrier.len(), 2, "{carrier:?}");
    let mut only = headers(&[("tracestate", "tm=c:cart")]);
    assert!(conceal(&mut only) && only.is_empty());
    assert!(!conceal(&mut headers(&[
        ("tracestate", "atm=1"),
        ("traceparent", "x")
    ])));
}
