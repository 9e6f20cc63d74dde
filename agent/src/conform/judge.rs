//! Whether a call carries what it should.
//!
//! In: a case, the ids that were sent, the headers of the call. Out: what is wrong with it, or nothing.
//! Left out on purpose: who should have carried it. One call shows that context was lost; where, the trace knows.
//! Sources: W3C Trace Context Level 2, "Processing Model"; W3C Baggage, "Baggage Propagation".

use http::HeaderMap;
use propagation::{Extracted, Propagator, PropagatorConfig};

use super::cases::{Case, Expected, Ids};
use crate::config::PropagationConfig;

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What came, as it was written.
    pub(super) arrived: String,
    /// What would have been right.
    pub(super) right: String,
}

/// Reads calls in every format.
#[derive(Debug)]
pub(super) struct Judge(Propagator);

impl Judge {
    pub(super) fn new() -> Self {
        let all = PropagatorConfig {
            trace_id_keys: Vec::new(),
            ..PropagationConfig::default().for_propagator()
        };
        Self(Propagator::new(all).unwrap_or_default())
    }

    /// The first thing that is wrong with a call.
    pub(super) fn judge(&self, case: &Case, ids: &Ids, call: &HeaderMap) -> Option<Fault> {
        let extracted = self.0.extract(call);
        let wrong = |expected: &Expected| match *expected {
            Expected::Trace => same_trace(&extracted, ids, call),
            Expected::Sampled(sampled) => {
                same_trace(&extracted, ids, call).or_else(|| decided(&extracted, sampled, call))
            }
            Expected::NoTrace => not_believed(&extracted, case, ids, call),
            Expected::Tracestate(list) => tracestate(list, call),
            Expected::Baggage(list) => baggage(list, call),
            Expected::Header(name) => kept(name, &case.sent(name, ids), call),
        };
        case.expected.iter().find_map(wrong)
    }
}

fn same_trace(extracted: &Extracted, ids: &Ids, call: &HeaderMap) -> Option<Fault> {
    let arrived = extracted
        .context
        .as_ref()
        .map(|context| context.trace_id.to_string());
    (arrived.as_ref() != Some(&ids.trace)).then(|| Fault {
        arrived: context_of(call),
        right: format!("trace `{}` with a parent of the service's own", ids.trace),
    })
}

fn decided(extracted: &Extracted, sampled: bool, call: &HeaderMap) -> Option<Fault> {
    let is = extracted
        .context
        .as_ref()
        .is_some_and(|context| context.flags.is_sampled());
    (is != sampled).then(|| Fault {
        arrived: context_of(call),
        right: format!("the flag `sampled` as it came, which was {}", u8::from(sampled)),
    })
}

/// The trace of what is not to be believed must not go on, neither whole nor mended.
fn not_believed(extracted: &Extracted, case: &Case, ids: &Ids, call: &HeaderMap) -> Option<Fault> {
    let continued = extracted
        .context
        .as_ref()
        .is_some_and(|context| context.trace_id.to_string() == ids.trace);
    let copied = all(call, "traceparent").contains(&case.sent("traceparent", ids));
    (continued || copied).then(|| Fault {
        arrived: context_of(call),
        right: "a trace of the service's own, or none: what came was invalid".to_owned(),
    })
}

fn tracestate(list: &str, call: &HeaderMap) -> Option<Fault> {
    let came = all(call, "tracestate").join(",");
    let mut members = came.split(',').map(str::trim);
    // Members in front are those of the service itself; what was sent must follow in its order.
    let kept = list
        .split(',')
        .all(|wanted| members.any(|member| member == wanted));
    (!kept).then(|| Fault {
        arrived: shown("tracestate", &came),
        right: format!("`{list}` in this order"),
    })
}

fn baggage(list: &str, call: &HeaderMap) -> Option<Fault> {
    let came = all(call, "baggage").join(",");
    let read = |text: &str| propagation::Baggage::parse(text.as_bytes(), &mut |_| {});
    let (wanted, found) = (read(list), read(&came));
    let kept = |key: &str| wanted.get(key) == found.get(key);
    let all_kept = wanted.members().iter().all(|member| kept(member.key()));
    (!all_kept).then(|| Fault {
        arrived: shown("baggage", &came),
        right: format!("`{list}`"),
    })
}

fn kept(name: &str, sent: &str, call: &HeaderMap) -> Option<Fault> {
    let came = all(call, name);
    (!came.iter().any(|value| value == sent)).then(|| Fault {
        arrived: shown(name, &came.join(", ")),
        right: format!("`{sent}`"),
    })
}

/// What a call says of its trace.
fn context_of(call: &HeaderMap) -> String {
    let names = ["traceparent", "b3", "x-b3-traceid", "uber-trace-id"];
    let said = names.iter().find_map(|name| {
        let values = all(call, name);
        (!values.is_empty()).then(|| shown(name, &values.join(", ")))
    });
    said.unwrap_or_else(|| "no trace context".to_owned())
}

fn shown(name: &str, value: &str) -> String {
    if value.is_empty() {
        format!("no `{name}`")
    } else {
        format!("`{name}: {value}`")
    }
}

fn all(call: &HeaderMap, name: &str) -> Vec<String> {
    let values = call.get_all(name).into_iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Ids {
        Ids {
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            span: "00f067aa0ba902b7".to_owned(),
        }
    }

    /// What is wrong in the case `name` with a call that has these headers.
    fn wrong(name: &str, call: &[(&'static str, &str)]) -> Option<String> {
        let case = super::super::cases::all()
            .into_iter()
            .find(|case| case.name == name)
            .expect("a case");
        let mut headers = HeaderMap::new();
        for (key, value) in call {
            headers.append(*key, value.parse().expect("a value"));
        }
        let fault = Judge::new().judge(&case, &ids(), &headers)?;
        Some(fault.arrived)
    }

    #[test]
    fn a_trace_may_go_on_in_any_format_and_below_any_parent() {
        let ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01";
        let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-1";
        assert_eq!(wrong("trace-continued", &[("traceparent", ours)]), None);
        assert_eq!(wrong("trace-continued", &[("b3", b3)]), None);
        assert_eq!(wrong("trace-continued", &[]), Some("no trace context".to_owned()));
        let other = "00-11111111111111111111111111111111-1111111111111111-01";
        assert_eq!(
            wrong("trace-continued", &[("traceparent", other)]),
            Some(format!("`traceparent: {other}`"))
        );
    }

    #[test]
    fn the_sampled_flag_must_be_what_it_was() {
        let with = |flags| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-{flags}");
        for (case, flags, right) in [
            ("sampled-kept", "01", true),
            ("sampled-kept", "00", false),
            ("unsampled-kept", "00", true),
            ("unsampled-kept", "01", false),
        ] {
            let fault = wrong(case, &[("traceparent", &with(flags))]);
            assert_eq!(fault.is_none(), right, "{case} {flags}: {fault:?}");
        }
    }

    #[test]
    fn what_came_invalid_must_neither_be_copied_nor_mended() {
        let copied = "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mended = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01";
        let own = "00-11111111111111111111111111111111-1111111111111111-01";
        assert!(wrong("invalid-version", &[("traceparent", copied)]).is_some());
        assert!(wrong("invalid-version", &[("traceparent", mended)]).is_some());
        assert_eq!(wrong("invalid-version", &[("traceparent", own)]), None);
        assert_eq!(wrong("invalid-version", &[]), None);
    }

    #[test]
    fn members_of_others_may_stand_before_but_none_may_be_lost_or_out_of_order() {
        let context = (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01",
        );
        let with = |list| wrong("tracestate-joined", &[context, ("tracestate", list)]);
        assert_eq!(with("tm=c:cart,foo=1,bar=2"), None);
        assert_eq!(with("foo=1"), Some("`tracestate: foo=1`".to_owned()));
        assert_eq!(with("bar=2,foo=1"), Some("`tracestate: bar=2,foo=1`".to_owned()));
    }

    #[test]
    fn baggage_may_be_rewritten_and_ids_may_not() {
        let kept = "user.tier=gold%20plus, tenant=acme, more=1";
        assert_eq!(wrong("baggage-kept", &[("baggage", kept)]), None);
        assert!(wrong("baggage-kept", &[("baggage", "tenant=acme")]).is_some());
        let id = "conform-00f067aa0ba902b7";
        assert_eq!(wrong("request-id-kept", &[("x-request-id", id)]), None);
        assert_eq!(
            wrong("request-id-kept", &[("x-request-id", "other")]),
            Some("`x-request-id: other`".to_owned())
        );
    }
}
