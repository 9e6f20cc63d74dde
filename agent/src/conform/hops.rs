//! Where a trace ends.
//!
//! In: a trace as Jaeger's query API gives it. Out: the service that was reached last in it, and whom that called, if the
//! trace says so.
//! Left out on purpose: all branches but the deepest: one request is followed to one call.
//! Source: Jaeger's query API, `/api/traces/{id}`.

use std::collections::HashMap;

use serde::Deserialize;

/// Most parents that are followed; a trace may be a circle.
const MAX_DEPTH: usize = 1_000;

/// The answer of Jaeger's query API.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    data: Vec<Trace>,
}

#[derive(Debug, Deserialize)]
struct Trace {
    #[serde(default)]
    spans: Vec<Span>,
    #[serde(default)]
    processes: HashMap<String, Process>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "spanID")]
    id: String,
    #[serde(rename = "processID")]
    process_id: String,
    #[serde(default)]
    start_time: u64,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Deserialize)]
struct Tag {
    key: String,
    value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

/// The way of a request, as far as its trace knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Services in the order in which they were reached.
    pub(super) services: Vec<String>,
    /// `server.address` of the last one's call, where the trace has that.
    pub(super) called: Option<String>,
}

impl Answer {
    /// How many spans there are.
    pub(super) fn spans(&self) -> usize {
        self.data.iter().map(|trace| trace.spans.len()).sum()
    }

    /// The deepest way; `None` where there are no spans.
    pub(super) fn way(&self) -> Option<Way> {
        let trace = self.data.first()?;
        let by_id: HashMap<&str, &Span> = trace.spans.iter().map(|span| (span.id.as_str(), span)).collect();
        let way = |span| trace.way_to(span, &by_id);
        let longest = trace
            .spans
            .iter()
            .map(|span| (way(span), span))
            .max_by_key(|(way, span)| (way.len(), span.start_time));
        let (services, last) = longest?;
        let called = last.tag("span.kind").filter(|kind| kind == "client");
        Some(Way {
            services,
            called: called.and_then(|_| last.tag("server.address")),
        })
    }
}

impl Trace {
    /// Services from the root to `span`.
    fn way_to(&self, span: &Span, by_id: &HashMap<&str, &Span>) -> Vec<String> {
        let parent = |span: &&Span| span.parent().and_then(|id| by_id.get(id).copied());
        let back = std::iter::successors(Some(span), parent).take(MAX_DEPTH);
        let name = |span: &Span| {
            let process = self.processes.get(&span.process_id);
            process.map_or_else(String::new, |process| process.service_name.clone())
        };
        let mut services: Vec<String> = back.map(name).collect();
        services.reverse();
        services.dedup();
        services
    }
}

impl Span {
    fn parent(&self) -> Option<&str> {
        let mut parents = self.references.iter().filter(|of| of.ref_type == "CHILD_OF");
        parents.next().map(|of| of.span_id.as_str())
    }

    fn tag(&self, key: &str) -> Option<String> {
        let tag = self.tags.iter().find(|tag| tag.key == key)?;
        Some(match &tag.value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

impl Way {
    /// Where the trace ends, for people.
    pub(super) fn told(&self, carried: bool) -> String {
        let way = self.services.join(" → ");
        let last = self.services.last().map_or("?", String::as_str);
        match (&self.called, carried) {
            (_, true) => format!("the trace goes through {way}, and on with the call"),
            (Some(called), false) => format!(
                "the trace goes through {way} and ends on the way to `{called}`: `{last}` called it in this trace, and what \
                 `{called}` did next is not in it"
            ),
            (None, false) => {
                format!(
                    "the trace goes through {way} and ends in `{last}`: its next call left without the trace"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id parent service kind [peer]`, a span a line.
    fn way(spans: &[&str]) -> Option<Way> {
        let span = |(at, line): (usize, &&str)| {
            let words: Vec<&str> = line.split(' ').collect();
            serde_json::json!({
                "spanID": words[0], "processID": words[2], "startTime": at,
                "references": [{ "refType": "CHILD_OF", "spanID": words[1] }],
                "tags": [{ "key": "span.kind", "value": words[3] },
                         { "key": "server.address", "value": words.get(4) }],
            })
        };
        let spans: Vec<_> = spans.iter().enumerate().map(span).collect();
        let processes = serde_json::json!({
            "orders": { "serviceName": "orders" }, "payments": { "serviceName": "payments" },
        });
        let answer = serde_json::json!({ "data": [{ "spans": spans, "processes": processes }] });
        serde_json::from_value::<Answer>(answer).expect("an answer").way()
    }

    #[test]
    fn the_last_service_on_the_deepest_way_is_where_a_trace_ends() {
        let orders = [
            "a x orders server",
            "b a orders client payments:80",
            "c b payments server",
        ];
        let found = way(&orders).expect("a way");
        assert_eq!(
            (found.services.as_slice(), &found.called),
            (["orders", "payments"].map(str::to_owned).as_slice(), &None)
        );
        assert!(
            found
                .told(false)
                .ends_with("ends in `payments`: its next call left without the trace")
        );
        let found = way(&orders[..2]).expect("a way");
        assert_eq!(found.called.as_deref(), Some("payments:80"));
        assert!(found.told(false).contains("on the way to `payments:80`"));
    }

    #[test]
    fn a_trace_without_spans_has_no_way_and_one_that_is_a_circle_has_an_end() {
        assert_eq!(way(&[]), None);
        let circle = way(&["a b orders server", "b a payments server"]).expect("a way");
        assert!(circle.services.len() <= MAX_DEPTH);
    }
}
