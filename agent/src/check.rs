//! What the keys of the agent's section can have wrong together.
//!
//! In: an [`AgentConfig`]. Out: every problem at once, each under its key.
//! Left out on purpose: whether addresses are free and names resolve. That is known when they are used.

use std::net::{IpAddr, SocketAddr};

use ::config::Finding;
use http::Uri;
use http::uri::{Authority, Scheme};

use crate::config::{AgentConfig, ExportProtocol, WorkloadConfig};
use crate::detect::Detected;
use crate::routes::Routes;
use crate::trust::Untrusted;

impl AgentConfig {
    /// Every problem of this configuration, with keys as in the file (`agent.inbound[0].upstream`).
    ///
    /// Reads the environment as [`Detected::from_process`] does, for a service name that is not written.
    pub fn check(&self) -> Vec<Finding> {
        self.check_with(&Detected::from_process())
    }

    /// As [`AgentConfig::check`], in the given environment.
    pub fn check_with(&self, detected: &Detected) -> Vec<Finding> {
        let mut findings = Vec::new();
        let flat = self.flat_workload();
        if flat.is_some() && !self.workloads.is_empty() {
            findings.push(finding(
                "agent.workloads",
                "`agent.workloads` stands beside the keys of a single workload".to_owned(),
                "move `service`, `inbound`, `outbound` and the like into an item of `workloads`",
            ));
        }
        if let Some(flat) = &flat {
            self.check_workload("agent", flat, detected.service.is_some(), &mut findings);
        }
        for (index, workload) in self.workloads.iter().enumerate() {
            self.check_workload(
                &format!("agent.workloads[{index}]"),
                workload,
                false,
                &mut findings,
            );
        }
        self.check_listeners(&mut findings);
        findings.extend(crate::edge_rules::problems(self));
        findings.extend(crate::plan::problems(self));
        findings.extend(crate::pods::problems(self, |name| std::env::var(name).ok()));
        findings.extend(crate::tls::problems(self));
        findings.extend(crate::transparent::problems(self));
        let remote = self
            .sampling
            .remote
            .as_ref()
            .map(|remote| remote.endpoint.as_str());
        let key = "agent.sampling.remote.endpoint";
        match remote.map(|remote| (remote, parse_address(remote))) {
            Some((remote, None)) => findings.push(no_address(key, remote, "http://127.0.0.1:5778")),
            Some((remote, Some(authority))) => self.check_own(key, remote, &authority, &mut findings),
            None => {}
        }
        self.check_endpoint(
            "agent.export.endpoint",
            self.export.endpoint.as_deref(),
            &mut findings,
        );
        let metrics = self.export.metrics_endpoint.as_deref();
        self.check_endpoint("agent.export.metrics_endpoint", metrics, &mut findings);
        let logs = self.export.logs_endpoint.as_deref();
        self.check_endpoint("agent.export.logs_endpoint", logs, &mut findings);
        findings.extend(crate::export_rules::problems(&self.export));
        if let Err(problems) = propagation::Propagator::new(self.propagation.for_propagator()) {
            let path = "agent.propagation".to_owned();
            findings.extend(problems.into_iter().map(|problem| Finding {
                path: path.clone(),
                message: problem.to_string(),
                hint: None,
            }));
        }
        findings
    }

    fn check_workload(
        &self,
        path: &str,
        workload: &WorkloadConfig,
        named: bool,
        findings: &mut Vec<Finding>,
    ) {
        let serves = !workload.inbound.is_empty()
            || workload.outbound.is_some()
            || !workload.queues.is_empty()
            || !workload.addresses.is_empty();
        if serves && !named && workload.service.as_deref().is_none_or(str::is_empty) {
            findings.push(finding(
                &format!("{path}.service"),
                format!("`{path}.service` is missing"),
                "name the service that the spans are of, such as `service: cart`",
            ));
        }
        if let Err(message) = Routes::new(&workload.routes) {
            findings.push(Finding {
                path: format!("{path}.routes"),
                message,
                hint: None,
            });
        }
        findings.extend(crate::queues::problems(path, &workload.queues));
        for (index, queue) in workload.queues.iter().enumerate() {
            let key = format!("{path}.queues[{index}].upstream");
            if let Some(authority) = queue
                .upstream
                .parse()
                .ok()
                .filter(|_| crate::queues::is_broker(&queue.upstream))
            {
                self.check_own(&key, &queue.upstream, &authority, findings);
            }
        }
        if let Some(outbound) = &workload.outbound {
            let listen = outbound.listen.0;
            if !outbound.mode.is_transparent() && !listen.ip().is_loopback() && outbound.allow.is_empty() {
                let key = format!("{path}.outbound.listen");
                findings.push(finding(
                    &key,
                    format!("`{key}` is `{listen}`, which would be an open proxy for every host that reaches it"),
                    "write an address of loopback, or name who may call in `allow`, such as `allow: [10.244.1.0/24]`",
                ));
            }
            Untrusted::new(&outbound.untrusted, |place| {
                let value = outbound.untrusted.get(place).map_or("", String::as_str);
                let key = format!("{path}.outbound.untrusted[{place}]");
                findings.push(finding(
                    &key,
                    format!("`{key}` is `{value}`, which is no host"),
                    "write a name or an address without scheme and port, `*.example.com`, `*`, or one of them after `!`",
                ));
            });
        }
        for (index, inbound) in workload.inbound.iter().enumerate() {
            if inbound.mode.is_transparent() {
                continue;
            }
            let key = format!("{path}.inbound[{index}].upstream");
            match parse_target(&inbound.upstream) {
                None => findings.push(no_target(&key, &inbound.upstream, "http://127.0.0.1:8080")),
                Some((_, authority)) => self.check_own(&key, &inbound.upstream, &authority, findings),
            }
        }
    }

    fn check_endpoint(&self, key: &str, endpoint: Option<&str>, findings: &mut Vec<Finding>) {
        let Some(endpoint) = endpoint else {
            return;
        };
        let address = match self.export.protocol {
            ExportProtocol::Grpc => endpoint,
            ExportProtocol::Http => without_path(endpoint),
        };
        match parse_target(address) {
            None => findings.push(no_target(key, endpoint, "http://127.0.0.1:4317")),
            Some((_, authority)) => self.check_own(key, endpoint, &authority, findings),
        }
    }

    /// An address that leads to a listener of the agent's own would send it its own requests.
    fn check_own(&self, key: &str, value: &str, authority: &Authority, findings: &mut Vec<Finding>) {
        let own = self
            .listeners()
            .into_iter()
            .find(|(_, listen)| is_at(*listen, authority));
        if let Some((listener, listen)) = own {
            findings.push(finding(
                key,
                format!("`{key}` is `{value}`, which is the agent's own `{listener}` (`{listen}`)"),
                "write the address of the other side",
            ));
        }
    }

    fn check_listeners(&self, findings: &mut Vec<Finding>) {
        let listeners = self.listeners();
        for (index, (key, listen)) in listeners.iter().enumerate() {
            let earlier = listeners
                .iter()
                .take(index)
                .find(|(_, other)| collide(*listen, *other));
            if let Some((other, _)) = earlier {
                findings.push(finding(
                    key,
                    format!("`{key}` is `{listen}`, where `{other}` already listens"),
                    "give each listener a port of its own",
                ));
            }
        }
    }

    /// Every address the agent listens at, with its key.
    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let flat = self.flat_workload().map(|flat| ("agent".to_owned(), flat));
        let listed = self.workloads.iter().cloned().enumerate();
        let listed = listed.map(|(index, workload)| (format!("agent.workloads[{index}]"), workload));
        let mut out = Vec::new();
        for (path, workload) in flat.into_iter().chain(listed) {
            for (index, inbound) in workload.inbound.iter().enumerate() {
                out.push((format!("{path}.inbound[{index}].listen"), inbound.listen.0));
            }
            for (index, queue) in workload.queues.iter().enumerate() {
                out.push((format!("{path}.queues[{index}].listen"), queue.listen.0));
            }
            let outbound = workload.outbound.map(|outbound| outbound.listen.0);
            out.extend(outbound.map(|listen| (format!("{path}.outbound.listen"), listen)));
        }
        let node = [
            ("agent.node.inbound.listen", &self.node.inbound),
            ("agent.node.outbound.listen", &self.node.outbound),
        ];
        out.extend(
            node.into_iter()
                .filter_map(|(key, way)| Some((key.to_owned(), way.as_ref()?.listen.0))),
        );
        let otlp = [
            ("agent.otlp.grpc", self.otlp.grpc),
            ("agent.otlp.http", self.otlp.http),
            ("agent.sampling.listen", self.sampling.listen),
            ("agent.sampling.grpc", self.sampling.grpc),
        ];
        out.extend(
            otlp.into_iter()
                .filter_map(|(key, listen)| Some((key.to_owned(), listen?.0))),
        );
        out.push(("agent.admin.listen".to_owned(), self.admin.listen.0));
        out
    }
}

/// `http://host:port` of `http://host:port/path`.
fn without_path(text: &str) -> &str {
    let authority = text.find("://").map_or(0, |scheme| scheme + 3);
    let path = text.get(authority..).and_then(|rest| rest.find(['/', '?']));
    path.and_then(|path| text.get(..authority + path)).unwrap_or(text)
}

/// Scheme and authority of `http://host:port` or `https://host:port`, without a path; the authority has a port.
pub(crate) fn parse_target(text: &str) -> Option<(Scheme, Authority)> {
    let Some(rest) = text.strip_prefix("https://") else {
        return Some((Scheme::HTTP, parse_address(text)?));
    };
    let authority = parse_address(&format!("http://{rest}"))?;
    if authority.port().is_some() {
        return Some((Scheme::HTTPS, authority));
    }
    let with_port = Authority::try_from(format!("{authority}:443")).ok()?;
    Some((Scheme::HTTPS, with_port))
}

/// The authority of `http://host:port`, without a path.
pub(crate) fn parse_address(text: &str) -> Option<Authority> {
    let uri: Uri = text.parse().ok()?;
    let bare = uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none();
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    (bare && !authority.as_str().contains('@')).then(|| authority.clone())
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

/// Whether `authority` leads to `listen`, as far as can be said without resolving names.
fn is_at(listen: SocketAddr, authority: &Authority) -> bool {
    if listen.port() == 0 || authority.port_u16().unwrap_or(80) != listen.port() {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) => {
            ip == listen.ip() || listen.ip().is_unspecified() && ip.is_loopback() || ip.is_unspecified()
        }
        Err(_) => {
            host.eq_ignore_ascii_case("localhost")
                && (listen.ip().is_loopback() || listen.ip().is_unspecified())
        }
    }
}

fn no_target(key: &str, value: &str, example: &str) -> Finding {
    finding(
        key,
        format!(
            "`{key}` is `{value}`, but it must be `http://host:port` or `https://host:port` without a path"
        ),
        &format!("write such as `{example}`"),
    )
}

fn no_address(key: &str, value: &str, example: &str) -> Finding {
    finding(
        key,
        format!("`{key}` is `{value}`, but it must be `http://host:port` without a path"),
        &format!("write such as `{example}`"),
    )
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

    #[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
    #[serde(default)]
    struct File {
        agent: AgentConfig,
    }

    fn problems(yaml: &str) -> Vec<String> {
        let check = |file: &File| file.agent.check_with(&Detected::default());
        let loaded = ::config::Loader::new("f.yaml").load_checked::<File>(yaml, [], check);
        let lines = loaded.map(|_| Vec::new()).map_err(|errors| errors.to_string());
        lines.unwrap_or_else(|errors| errors.lines().map(str::to_owned).collect())
    }

    #[test]
    fn the_smallest_useful_configuration_has_no_problem() {
        let yaml = "agent:
  service: cart
  routes: [\"/orders/{id}\"]
  inbound: [{ listen: 127.0.0.1:15006, upstream: http://127.0.0.1:8080, trust: link }]
  outbound: { listen: localhost:15001, untrusted: ['*', '!*.svc.cluster.local', '!10.1.2.3'] }
  otlp: { grpc: 127.0.0.1:14317, http: 127.0.0.1:14318 }
  export: { endpoint: http://127.0.0.1:4317, buffer: { max_size: 512MiB } }
  propagation: { extract: [tracecontext, b3, xray, grpc-trace-bin], inject: [b3multi], correlation_headers: [x-request-id],
                 trace_id_headers: [x-request-id], signed_requests: add }
";
        assert_eq!(problems(yaml), Vec::<String>::new());
        assert_eq!(problems(""), Vec::<String>::new());
    }

    #[test]
    fn a_proxy_that_other_hosts_reach_names_who_may_call() {
        let outbound = |keys: &str| problems(&format!("agent:\n  service: cart\n  outbound: {{ {keys} }}\n"));
        for open in [
            "listen: 0.0.0.0:15001",
            "listen: '[::]:15001'",
            "listen: 10.1.2.3:15001, allow: []",
        ] {
            let found = outbound(open);
            assert!(
                found.len() == 1 && found[0].contains("open proxy"),
                "{open}: {found:?}"
            );
        }
        for closed in [
            "listen: 127.0.0.9:15001",
            "listen: '[::1]:15001'",
            "listen: 0.0.0.0:15001, allow: [10.244.1.0/24]",
            "listen: 0.0.0.0:15001, mode: redirect",
        ] {
            assert_eq!(outbound(closed), Vec::<String>::new(), "{closed}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_key_and_line() {
        let yaml = "agent:
  inbound:
    - { listen: 127.0.0.1:15006, upstream: ftp://cart }
    - { listen: 0.0.0.0:15006, upstream: http://localhost:15001 }
  outbound: { listen: 127.0.0.1:15001, untrusted: ['*', 'https://api'] }
  routes: [orders]
  otlp: { grpc: 127.0.0.1:4317 }
  export: { endpoint: http://127.0.0.1:4317 }
  propagation: { extract: [b3, b3], inject: [sw8], correlation_headers: [traceparent] }
  workloads: [{ outbound: {} }]
";
        let expected = [
            "f.yaml:2: `agent.service` is missing",
            "f.yaml:3: `agent.inbound[0].upstream` is `ftp://cart`",
            "f.yaml:4: `agent.inbound[1].listen` is `0.0.0.0:15006`, where `agent.inbound[0].listen` already",
            "f.yaml:4: `agent.inbound[1].upstream` is `http://localhost:15001`, which is the agent's own",
            "f.yaml:5: `agent.outbound.untrusted[1]` is `https://api`, which is no host",
            "f.yaml:6: route `orders` does not begin with a slash",
            "f.yaml:8: `agent.export.endpoint` is `http://127.0.0.1:4317`, which is the agent's own `agent.otlp.grpc`",
            "f.yaml:9: correlation key `traceparent` already has another meaning",
            "f.yaml:9: format `b3` is listed twice in `extract`",
            "f.yaml:9: format `sw8` cannot be written: take it out of `inject`",
            "f.yaml:10: `agent.workloads[0].outbound.listen` is `127.0.0.1:15001`, where `agent.outbound.listen`",
            "f.yaml:10: `agent.workloads[0].service` is missing",
            "f.yaml:10: `agent.workloads` stands beside the keys of a single workload",
        ];
        let mut found = problems(yaml);
        found.sort_by_key(|line| {
            (
                line.split(':').nth(1).and_then(|n| n.parse::<u32>().ok()),
                line.clone(),
            )
        });
        let mut missing: Vec<&str> = expected.to_vec();
        missing.retain(|start| !found.iter().any(|line| line.starts_with(start)));
        assert!(
            missing.is_empty() && found.len() == expected.len(),
            "missing {missing:#?} in {found:#?}"
        );
    }

    #[test]
    fn a_wrong_address_and_an_unknown_key_say_what_would_be_right() {
        let lines = problems("agent:\n  outbound: { listen: 15001 }\n  inbond: []\n");
        assert!(
            lines
                .iter()
                .any(|l| l.contains("`15001` is no address to listen at")),
            "{lines:?}"
        );
        assert!(
            lines.iter().any(|l| l.contains("did you mean `inbound`?")),
            "{lines:?}"
        );
    }

    #[test]
    fn a_service_name_from_the_environment_serves_the_flat_workload_only() {
        let config = |workloads| AgentConfig {
            outbound: Some(crate::config::OutboundConfig::default()),
            workloads,
            ..AgentConfig::default()
        };
        let detected = Detected {
            service: Some("cart".to_owned()),
            ..Detected::default()
        };
        assert_eq!(config(Vec::new()).check_with(&detected), []);
        assert_eq!(config(Vec::new()).check_with(&Detected::default()).len(), 1);
    }
}
