//! The cases, as data.
//!
//! In: `cases.txt`, and ids. Out: what to send, and what to expect of the call that follows.
//! Left out on purpose: what is known only of gRPC or of vendors' formats, which the agent itself reads and writes.

use http::{HeaderName, HeaderValue};

const CASES: &str = include_str!("cases.txt");

/// One question to a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    /// Headers as written, with `{trace}` and `{span}`.
    headers: Vec<(&'static str, &'static str)>,
    pub(super) expected: Vec<Expected>,
}

/// What must be so of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The same trace, in any format.
    Trace,
    /// The same trace, recorded or not.
    Sampled(bool),
    /// Another trace or none.
    NoTrace,
    /// These members in this order.
    Tracestate(&'static str),
    /// These entries.
    Baggage(&'static str),
    /// This header as it was sent.
    Header(&'static str),
}

/// The ids of one question, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: String,
    pub(super) span: String,
}

impl Ids {
    /// New ones, of which none is all zero.
    pub(super) fn new() -> Self {
        let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
        Self {
            trace: format!("{trace:032x}"),
            span: format!("{span:016x}"),
        }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{trace}", &self.trace).replace("{span}", &self.span)
    }
}

impl Case {
    /// Headers to send.
    pub(super) fn headers(&self, ids: &Ids) -> Vec<(HeaderName, HeaderValue)> {
        let header = |(name, value): &(&'static str, &'static str)| {
            let value = HeaderValue::try_from(ids.fill(value)).ok()?;
            Some((HeaderName::from_static(name), value))
        };
        self.headers.iter().filter_map(header).collect()
    }

    /// The value that was sent in the first header of this name; empty where none was.
    pub(super) fn sent(&self, name: &str, ids: &Ids) -> String {
        let of_name = self.headers.iter().find(|(header, _)| *header == name);
        of_name.map_or_else(String::new, |(_, value)| ids.fill(value))
    }
}

/// All cases, in their order.
pub(super) fn all() -> Vec<Case> {
    CASES.split("\n\n").filter_map(parse).collect()
}

fn parse(block: &'static str) -> Option<Case> {
    let mut lines = block
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let (name, says) = lines.next()?.split_once(": ")?;
    let (mut headers, mut expected) = (Vec::new(), Vec::new());
    for line in lines {
        match line.split_once(' ')? {
            (">", header) => headers.push(header.split_once(": ")?),
            (_, wanted) => expected.push(expectation(wanted)?),
        }
    }
    Some(Case {
        name,
        says,
        headers,
        expected,
    })
}

fn expectation(text: &'static str) -> Option<Expected> {
    Some(match text.split_once(' ').unwrap_or((text, "")) {
        ("trace", "") => Expected::Trace,
        ("sampled", "") => Expected::Sampled(true),
        ("unsampled", "") => Expected::Sampled(false),
        ("no", "trace") => Expected::NoTrace,
        ("tracestate", list) => Expected::Tracestate(list),
        ("baggage", list) => Expected::Baggage(list),
        ("header", name) => Expected::Header(name),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_a_case_with_something_to_send_and_something_to_expect() {
        let cases = all();
        let blocks = CASES.lines().filter(|line| line.starts_with("= ")).count();
        let expected: usize = cases.iter().map(|case| case.expected.len()).sum();
        assert_eq!((cases.len(), expected), (16, blocks));
        for case in &cases {
            let sent = case.headers(&Ids::new());
            assert_eq!(sent.len(), case.headers.len(), "{}", case.name);
            assert!(!sent.is_empty() && !case.expected.is_empty(), "{}", case.name);
        }
    }
}
