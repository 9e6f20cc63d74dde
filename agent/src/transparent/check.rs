//! What the keys about redirected connections can have wrong together.
//!
//! In: an [`AgentConfig`]. Out: every problem, under its key.
//! Left out on purpose: whether the system has the rules that send connections here.

use std::collections::HashMap;

use ::config::Finding;

use crate::config::{AgentConfig, Deliver, InboundConfig, ListenMode, NodeListenConfig, WorkloadConfig};
use crate::trust::Untrusted;

/// Every problem, with keys as in the file.
pub(crate) fn problems(config: &AgentConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flat = config.flat_workload();
    let flat = flat.iter().map(|workload| ("agent".to_owned(), workload));
    let listed = config.workloads.iter().enumerate();
    let listed = listed.map(|(index, workload)| (format!("agent.workloads[{index}]"), workload));
    for (path, workload) in flat.chain(listed) {
        for (index, inbound) in workload.inbound.iter().enumerate() {
            inbound_problems(&format!("{path}.inbound[{index}]"), inbound, &mut findings);
        }
        for (index, port) in workload
            .outbound
            .iter()
            .flat_map(|_| &config.transparent.blind_ports)
            .enumerate()
        {
            zero_port(index, *port, &mut findings);
        }
    }
    addresses(config, &mut findings);
    node_problems(config, &mut findings);
    marks(config, &mut findings);
    findings
}

fn inbound_problems(key: &str, inbound: &InboundConfig, findings: &mut Vec<Finding>) {
    let mode = word(inbound.mode);
    if inbound.mode.is_transparent() && !inbound.upstream.is_empty() {
        findings.push(finding(
            &format!("{key}.upstream"),
            format!(
                "`{key}.upstream` is `{}`, which `mode: {mode}` does not use",
                inbound.upstream
            ),
            "leave it out: a redirected connection goes to the port that it was meant for",
        ));
    }
    if !inbound.mode.is_transparent() && inbound.deliver != Deliver::default() {
        findings.push(finding(
            &format!("{key}.deliver"),
            format!("`{key}.deliver` is set, which `mode: {mode}` does not use"),
            "leave it out: requests go to `upstream`",
        ));
    }
    if inbound.preserve_source && inbound.mode != ListenMode::Tproxy {
        findings.push(no_source(&format!("{key}.preserve_source"), inbound.mode));
    }
}

fn addresses(config: &AgentConfig, findings: &mut Vec<Finding>) {
    let used = config.node.inbound.is_some() || config.node.outbound.is_some();
    let mut first = HashMap::new();
    for (index, workload) in config.workloads.iter().enumerate() {
        let key = format!("agent.workloads[{index}].addresses");
        if !workload.addresses.is_empty() && !used {
            findings.push(finding(
                &key,
                format!("`{key}` tells whose a connection is, but no listener is shared"),
                "add `node: { outbound: { listen: \"0.0.0.0:15001\" } }`, or leave the addresses out",
            ));
        }
        for network in &workload.addresses {
            if let Some(other) = first.insert(*network, index).filter(|other| *other != index) {
                findings.push(finding(
                    &key,
                    format!("`{key}` has `{network}`, as `agent.workloads[{other}].addresses` has"),
                    "an address is one workload's",
                ));
            }
        }
    }
}

fn node_problems(config: &AgentConfig, findings: &mut Vec<Finding>) {
    let known = config
        .workloads
        .iter()
        .any(|workload: &WorkloadConfig| !workload.addresses.is_empty())
        || config.kubernetes.pods.watch;
    let ways = [
        ("inbound", &config.node.inbound),
        ("outbound", &config.node.outbound),
    ];
    for (direction, way) in ways
        .into_iter()
        .filter_map(|(name, way)| Some((name, way.as_ref()?)))
    {
        let key = format!("agent.node.{direction}");
        if !known {
            findings.push(finding(
                &key,
                format!("`{key}` is shared by workloads, but none has `addresses`"),
                "write whose an address is, `workloads: [{ service: cart, addresses: [10.244.1.7] }]`, or on Kubernetes `kubernetes: { pods: { watch: true } }`",
            ));
        }
        node_way(&key, direction, way, findings);
        Untrusted::new(&way.untrusted, |place| {
            let value = way.untrusted.get(place).map_or("", String::as_str);
            let key = format!("{key}.untrusted[{place}]");
            findings.push(finding(
                &key,
                format!("`{key}` is `{value}`, which is no host"),
                "write a name or an address without scheme and port, `*.example.com`, `*`, or one of them after `!`",
            ));
        });
    }
}

fn node_way(key: &str, direction: &str, way: &NodeListenConfig, findings: &mut Vec<Finding>) {
    if way.mode == ListenMode::Proxy {
        if direction == "inbound" {
            findings.push(finding(
                &format!("{key}.mode"),
                format!("`{key}.mode` is `proxy`, but nothing then says which workload a request is for"),
                "write `redirect` or `tproxy`, or give each workload an `inbound` of its own",
            ));
        }
        if !way.allow.is_empty() {
            findings.push(finding(
                &format!("{key}.allow"),
                format!("`{key}.allow` lets unknown callers pass, which `mode: proxy` never does"),
                "leave it out, or list them as addresses of a workload",
            ));
        }
    }
    if way.preserve_source && way.mode != ListenMode::Tproxy {
        findings.push(no_source(&format!("{key}.preserve_source"), way.mode));
    }
}

fn marks(config: &AgentConfig, findings: &mut Vec<Finding>) {
    let (mark, source) = (config.transparent.mark, config.transparent.source_mark);
    let key = "agent.transparent";
    if mark == Some(0) || source == 0 {
        findings.push(finding(
            key,
            format!("`{key}` has a mark of 0, which is that of connections without one"),
            "write a number that no other rule of the host uses, such as 29805",
        ));
    } else if mark == Some(source) {
        findings.push(finding(
            &format!("{key}.mark"),
            format!("`{key}.mark` is {source}, as `{key}.source_mark` is"),
            "give them two numbers: answers to the latter are routed back to this host",
        ));
    }
}

fn zero_port(index: usize, port: u16, findings: &mut Vec<Finding>) {
    let key = format!("agent.transparent.blind_ports[{index}]");
    if port == 0 && !findings.iter().any(|finding| finding.path == key) {
        findings.push(finding(
            &key,
            format!("`{key}` is 0, which is no port"),
            "write 1 to 65535",
        ));
    }
}

fn no_source(key: &str, mode: ListenMode) -> Finding {
    finding(
        key,
        format!(
            "`{key}` is set, but `mode: {}` cannot keep a caller's address",
            word(mode)
        ),
        "write `mode: tproxy`, with the rules of `deploy/redirect`",
    )
}

fn word(mode: ListenMode) -> &'static str {
    match mode {
        ListenMode::Proxy => "proxy",
        ListenMode::Redirect => "redirect",
        ListenMode::Tproxy => "tproxy",
    }
}

fn finding(path: &str, message: String, hint: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        message,
        hint: Some(hint.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Detected;

    fn messages(yaml: &str) -> Vec<String> {
        let config: AgentConfig = ::config::load("f.yaml", yaml, []).expect("a configuration");
        let findings = config.check_with(&Detected::default());
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_sidecar_and_a_node_that_are_redirected_to_have_no_problem() {
        for yaml in [
            "{ service: cart, inbound: [{ listen: '[::]:15006', mode: tproxy, preserve_source: true }],
               outbound: { listen: '[::]:15001', mode: redirect } }",
            "{ service: cart, inbound: [{ mode: redirect, deliver: loopback }] }",
            "{ workloads: [{ service: cart, addresses: [10.244.1.7, 'fd00::/64'] }, { service: web, addresses: [10.244.1.8] }],
               node: { outbound: { listen: '0.0.0.0:15001', allow: [10.244.0.0/16] },
                       inbound: { listen: '0.0.0.0:15006', mode: tproxy } } }",
            "{ workloads: [{ service: cart, addresses: [10.244.1.7] }], node: { outbound: { listen: '0.0.0.0:15001', mode: proxy } } }",
        ] {
            assert_eq!(messages(yaml), Vec::<String>::new(), "{yaml}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_with_its_key() {
        for (yaml, expected) in [
            (
                "{ service: cart, inbound: [{ mode: redirect, upstream: 'http://127.0.0.1:80' }] }",
                "`agent.inbound[0].upstream` is `http://127.0.0.1:80`, which `mode: redirect` does not use",
            ),
            (
                "{ service: cart, inbound: [{ mode: redirect, preserve_source: true }] }",
                "`agent.inbound[0].preserve_source` is set, but `mode: redirect` cannot keep",
            ),
            (
                "{ workloads: [{ service: cart, addresses: [10.0.0.1] }] }",
                "`agent.workloads[0].addresses` tells whose a connection is, but no listener is shared",
            ),
            (
                "{ node: { outbound: { listen: '0.0.0.0:15001' } } }",
                "`agent.node.outbound` is shared by workloads, but none has `addresses`",
            ),
            (
                "{ workloads: [{ service: a, addresses: [10.0.0.1] }, { service: b, addresses: [10.0.0.1] }],
                   node: { outbound: { listen: '0.0.0.0:15001' } } }",
                "`agent.workloads[1].addresses` has `10.0.0.1`, as `agent.workloads[0].addresses` has",
            ),
            (
                "{ workloads: [{ service: a, addresses: [10.0.0.1] }], node: { inbound: { listen: '0.0.0.0:15006', mode: proxy } } }",
                "`agent.node.inbound.mode` is `proxy`",
            ),
            (
                "{ workloads: [{ addresses: [10.0.0.1] }], node: { outbound: { listen: '0.0.0.0:15001' } } }",
                "`agent.workloads[0].service` is missing",
            ),
            (
                "{ workloads: [{ service: a, addresses: [10.0.0.1] }],
                   node: { outbound: { listen: '0.0.0.0:15001', untrusted: ['*', 'https://api'] } } }",
                "`agent.node.outbound.untrusted[1]` is `https://api`, which is no host",
            ),
            (
                "{ transparent: { mark: 7, source_mark: 7 } }",
                "`agent.transparent.mark` is 7, as `agent.transparent.source_mark` is",
            ),
        ] {
            let found = messages(yaml);
            assert!(
                found.len() == 1 && found.iter().all(|message| message.starts_with(expected)),
                "{yaml}: {found:?}"
            );
        }
    }
}
