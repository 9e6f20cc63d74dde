//! The rules of W3C Trace Context Level 2 through the whole agent: into a service, and out of it by three calls.
//!
//! In: the cases of `w3c_cases.txt`. Out: what the service and the targets of its calls got, held against each rule.
//! One service copies trace headers, one only the correlation id, one nothing.
//! Left out on purpose: headers that no HTTP library would send.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use propagation::MAX_TRACESTATE_MEMBERS;
use tokio::sync::watch;

use crate::support::*;

const CASES: &str = include_str!("w3c_cases.txt");
const CALLS: usize = 3;

/// What the service passes on of the headers it got.
#[derive(Clone, Copy, PartialEq)]
enum Service {
    CopiesContext,
    CopiesCorrelationId,
    DropsAll,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Continue,
    Restart,
    Unsampled,
}

struct Case {
    says: String,
    headers: String,
    expected: Expected,
    /// `None` where the case does not say.
    tracestate: Option<String>,
}

#[tokio::test]
async fn a_service_that_copies_trace_headers_keeps_every_rule() {
    every_case(Service::CopiesContext).await;
}

#[tokio::test]
async fn a_service_that_copies_only_the_correlation_id_keeps_every_rule_too() {
    every_case(Service::CopiesCorrelationId).await;
}

#[tokio::test]
async fn the_calls_of_a_service_that_drops_all_carry_valid_context_all_the_same() {
    every_case(Service::DropsAll).await;
}

async fn every_case(service: Service) {
    let (upstream, told) = calling(service, mirror().await).await;
    let agent = sidecar(upstream, None).await;
    told.send_replace(Some(agent.outbound_addrs[0]));
    let cases: Vec<Case> = CASES.split("\n\n").filter_map(Case::parse).collect();
    assert!(cases.len() > 60, "{} cases were read", cases.len());
    for case in cases {
        let head = format!("GET / HTTP/1.1\nhost: cart\n{}", case.headers);
        let answer = ask(agent.inbound_addrs[0], head.trim_end_matches('\n')).await;
        let seen: Vec<&str> = answer.split("== ").skip(1).collect();
        assert_eq!(seen.len(), 1 + CALLS, "{}: {answer}", case.says);
        if service == Service::DropsAll {
            case.check(&seen[..1]);
            for call in &seen[1..] {
                context(call, &case.says);
            }
        } else {
            case.check(&seen);
        }
    }
}

/// A service that makes three calls through the proxy it is told of later, and answers with what it got and what each
/// target got.
async fn calling(copies: Service, target: SocketAddr) -> (SocketAddr, watch::Sender<Option<SocketAddr>>) {
    let (told, proxy) = watch::channel(None);
    let passes: &[&str] = match copies {
        Service::CopiesContext => &["traceparent", "tracestate"],
        Service::CopiesCorrelationId => &["x-correlation-id"],
        Service::DropsAll => &[],
    };
    let answer = move |request: axum::extract::Request| {
        let mut proxy = proxy.clone();
        async move {
            let proxy = crate::support::once_told(&mut proxy).await;
            let mut text = String::from("== got\n");
            let mut head = format!("GET http://{target}/ HTTP/1.1\nhost: {target}\n");
            for (name, value) in request.headers() {
                let value = value.to_str().expect("text");
                let _ = writeln!(text, "{name}: {value}");
                if passes.contains(&name.as_str()) {
                    let _ = writeln!(head, "{name}: {value}");
                }
            }
            for _ in 0..CALLS {
                let seen = ask(proxy, head.trim_end()).await;
                let (_, seen) = seen.split_once("\r\n\r\n").expect("a body");
                let _ = write!(text, "== call\n{seen}");
            }
            text
        }
    };
    (service(axum::Router::new().fallback(answer)).await, told)
}

/// Trace id, parent id and flags of the one `traceparent` of `seen`, which must be a valid version 00.
fn context(seen: &str, says: &str) -> (String, String, u8) {
    let all = all(seen, "traceparent");
    let [value] = all.as_slice() else {
        panic!("{says}: one `traceparent` expected in {seen}")
    };
    assert!(value.starts_with("00-") && value.len() == 55, "{says}: `{value}`");
    let (trace, span, flags) = propagation::parse_traceparent(value.as_bytes())
        .unwrap_or_else(|error| panic!("{says}: `{value}`: {error}"));
    assert!(
        value.ends_with(&format!("{:02x}", flags.bits())),
        "{says}: `{value}` has flags nobody knows"
    );
    (trace.to_string(), span.to_string(), flags.bits())
}

fn all<'a>(seen: &'a str, name: &str) -> Vec<&'a str> {
    let lines = seen.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

impl Case {
    fn parse(block: &str) -> Option<Self> {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let says = lines.find(|line| !line.is_empty())?.to_owned();
        let (mut headers, mut expected, mut tracestate) = (String::new(), None, None);
        for line in lines {
            match line.split_once(' ').unwrap_or((line, "")) {
                (">", header) => headers.extend([&filled(header), "\n"]),
                ("=", "continue") => expected = Some(Expected::Continue),
                ("=", "restart") => expected = Some(Expected::Restart),
                ("=", "unsampled") => expected = Some(Expected::Unsampled),
                ("=", list) => {
                    let list = list
                        .strip_prefix("tracestate")
                        .unwrap_or_else(|| panic!("`{line}`"));
                    tracestate = Some(filled(list.trim_start()));
                }
                _ => panic!("`{line}` in the case `{says}`"),
            }
        }
        let expected = expected.unwrap_or_else(|| panic!("`{says}` expects nothing"));
        Some(Self {
            says,
            headers,
            expected,
            tracestate,
        })
    }

    /// Holds what the service and the targets of its calls got against the rule.
    fn check(&self, seen: &[&str]) {
        let came = all(&self.headers, "traceparent")
            .first()
            .map_or("", |value| *value)
            .to_owned();
        let mut fields = came.split('-').skip(1);
        let mut next = || fields.next().unwrap_or("-").to_owned();
        let (trace, parent, flags) = (next(), next(), next());
        let flags = u8::from_str_radix(flags.get(..2).unwrap_or("0"), 16).unwrap_or(0) & 3;
        let says = &self.says;
        let contexts: Vec<_> = seen.iter().map(|seen| context(seen, says)).collect();
        for (place, found) in contexts.iter().enumerate() {
            match self.expected {
                Expected::Continue => {
                    assert_eq!((&found.0, found.2), (&trace, flags), "{says}: trace and flags");
                    assert_ne!(found.1, parent, "{says}: a new parent");
                }
                Expected::Unsampled => assert_eq!((&found.0, found.2), (&trace, flags), "{says}"),
                Expected::Restart => {
                    assert_ne!(found.0, trace, "{says}: another trace");
                    assert_eq!(
                        (&found.0, found.2),
                        (&contexts[0].0, 3),
                        "{says}: one trace, its id random"
                    );
                }
            }
            if let Some(expected) = &self.tracestate {
                self.check_tracestate(&all(seen[place], "tracestate").join(","), expected);
            }
        }
        let parents: BTreeSet<_> = contexts.iter().map(|(_, parent, _)| parent).collect();
        assert!(
            self.expected == Expected::Unsampled || parents.len() == contexts.len(),
            "{says}: each call has a parent of its own"
        );
    }

    /// The agent may add its own member on the left; in a full list the right-most then goes, as the specification says.
    fn check_tracestate(&self, list: &str, expected: &str) {
        let is_own = |member: &&str| member.starts_with("tm=");
        let members = list.split(',').filter(|member| !member.is_empty());
        let room = MAX_TRACESTATE_MEMBERS - members.clone().filter(is_own).count();
        let others: Vec<&str> = members.clone().filter(|member| !is_own(member)).collect();
        let expected = expected.split(',').filter(|member| !member.is_empty()).take(room);
        assert_eq!(others, expected.collect::<Vec<_>>(), "{}: tracestate", self.says);
        assert!(
            members.skip(1).all(|member| !is_own(&member)),
            "{}: `{list}`",
            self.says
        );
    }
}

/// `text` with `{x*256}` and `{members 32}` written out.
fn filled(text: &str) -> String {
    let Some((before, inner, after)) = text
        .split_once('{')
        .and_then(|(before, rest)| rest.split_once('}').map(|(inner, after)| (before, inner, after)))
    else {
        return text.to_owned();
    };
    let repeated = inner
        .split_once('*')
        .and_then(|(text, count)| Some(text.repeat(count.parse().ok()?)));
    let members = inner.strip_prefix("members ").and_then(|count| {
        let members = (1..=count.parse::<u32>().ok()?).map(|n| format!("k{n}=v{n}"));
        Some(members.collect::<Vec<_>>().join(","))
    });
    match repeated.or(members) {
        Some(written) => format!("{before}{written}{after}"),
        None => text.to_owned(),
    }
}
