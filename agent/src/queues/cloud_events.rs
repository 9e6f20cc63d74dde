//! The trace that a `CloudEvents` event began in: read, never written.
//!
//! In: a message that bears no context of its own; for the structured mode, its content type and its body. Out: the
//! `traceparent` and `tracestate` of the event's distributed tracing extension, as if the message bore them. Source:
//! `CloudEvents` 1.0.2, "Distributed Tracing extension", and the protocol bindings for Kafka, NATS and AMQP. In MQTT 5's binary mode
//! attributes have no prefix, so context is found there without this.
//! Left out on purpose: changes to an event, which are its producer's alone, and batches of events in one body, whose events need
//! not be of one trace.

use propagation::Extract;
use serde::Deserialize;

/// What the bindings put before the names of attributes in the metadata of a message.
const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudEvents_", "cloudEvents:"];
/// The attributes that carry context.
const CONTEXT: [&str; 2] = ["traceparent", "tracestate"];
/// The content type of one event in JSON.
const JSON: &[u8] = b"application/cloudevents+json";

/// Metadata of a message in which attributes of an event stand for context.
pub(super) struct Event<'a>(&'a dyn Extract);

impl<'a> Event<'a> {
    /// `None` if the metadata names no trace that an event began in.
    pub(super) fn of(carried: &'a dyn Extract) -> Option<Self> {
        let mut is = false;
        carried.each(&mut |key, _| is |= attribute(key) == Some(CONTEXT[0]));
        is.then_some(Self(carried))
    }
}

impl Extract for Event<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        if !CONTEXT.contains(&key) {
            return self.0.get_all(key, found);
        }
        self.0.each(&mut |own, value| {
            if attribute(own) == Some(key) {
                found(value);
            }
        });
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.0
            .each(&mut |key, value| found(attribute(key).unwrap_or(key), value));
    }
}

/// The attribute of context that a key of a message names.
fn attribute(key: &str) -> Option<&'static str> {
    let after = |prefix: &str| {
        let (start, rest) = key.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let rest = PREFIXES.into_iter().find_map(after)?;
    CONTEXT.into_iter().find(|name| rest.eq_ignore_ascii_case(name))
}

/// What an event in JSON says of its trace.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Structured<'a> {
    /// As in W3C Trace Context.
    pub(super) traceparent: Option<&'a str>,
    /// As in W3C Trace Context.
    pub(super) tracestate: Option<&'a str>,
}

impl<'a> Structured<'a> {
    /// Reads `body`, the time of which grows with its length. `None` if the content type is another, the body is no such event, or it
    /// names no trace.
    pub(super) fn read(content_type: &[u8], body: &'a [u8]) -> Option<Self> {
        let (start, rest) = content_type.split_at_checked(JSON.len())?;
        let is_event =
            start.eq_ignore_ascii_case(JSON) && matches!(rest.first(), None | Some(b';' | b' ' | b'\t'));
        let event: Self = is_event.then(|| serde_json::from_slice(body).ok()).flatten()?;
        event.traceparent.is_some().then_some(event)
    }

    /// Its attributes as the metadata of a message in binary mode would have them.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let pairs = [
            ("ce_traceparent", self.traceparent),
            ("ce_tracestate", self.tracestate),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(pairs: &[(&str, &str)]) -> Option<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes()));
        let carried: Vec<(String, &[u8])> = owned.collect();
        let extracted = propagation::Propagator::default().extract(&Event::of(&carried)?);
        let correlation = extracted.correlation.map(|id| id.as_str().to_owned());
        Some((
            extracted.context?.trace_id.to_string(),
            correlation.unwrap_or_default(),
        ))
    }

    #[test]
    fn an_event_names_its_trace_under_the_prefix_of_each_binding() {
        for prefix in ["ce_", "ce-", "cloudEvents_", "cloudEvents:", "CE-"] {
            let key = format!("{prefix}traceparent");
            let found = context(&[("ce_id", "1"), (&key, PARENT), ("x-correlation-id", "order-7")]);
            let wanted = ("0af7651916cd43dd8448eb211c80319c", "order-7");
            assert_eq!(found, Some((wanted.0.into(), wanted.1.into())), "{key}");
        }
    }

    #[test]
    fn other_attributes_and_text_that_is_no_context_name_none() {
        assert_eq!(context(&[("ce_id", PARENT), ("x_traceparent", PARENT)]), None);
        assert_eq!(context(&[("ce_tracestate", "a=b")]), None);
        assert_eq!(context(&[("ce_traceparent", "00-0-0-01")]), None);
    }

    #[test]
    fn an_event_in_json_names_its_trace_wherever_it_stands() {
        let body =
            format!(r#"{{"data":{{"traceparent":"no"}},"id":"1","traceparent":"{PARENT}","n":[1,2]}}"#);
        let event = Structured::read(b"Application/CloudEvents+JSON; charset=utf-8", body.as_bytes());
        let metadata: Vec<_> = event.expect("an event").metadata().collect();
        assert_eq!(metadata, [("ce_traceparent", PARENT)]);
    }

    #[test]
    fn what_is_no_event_in_json_names_none() {
        let body = format!(r#"{{"traceparent":"{PARENT}"}}"#);
        let read = |kind: &str, body: &str| Structured::read(kind.as_bytes(), body.as_bytes()).is_some();
        assert!(read("application/cloudevents+json", &body));
        for kind in [
            "application/json",
            "application/cloudevents-batch+json",
            "application/cloudevents+jsonx",
            "",
        ] {
            assert!(!read(kind, &body), "{kind}");
        }
        let deep = "[".repeat(100_000);
        for body in [
            "",
            "{",
            "[]",
            r#"{"traceparent":7}"#,
            r#"{"id":"1"}"#,
            deep.as_str(),
        ] {
            assert!(!read("application/cloudevents+json", body), "{body:.40}");
        }
    }
}
