//! A workload at run time, and what all workloads of an agent share.
//!
//! In: checked configuration. Out: the state that requests of one workload meet.
//! Left out on purpose: listeners, which come and go in `run.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use otlp::encode::AttributeValue;
use propagation::{CorrelationId, Extracted, Inject as _, Propagator};

use crate::access_log::AccessLog;
use crate::config::{AgentConfig, SignedRequests, Trust, WorkloadConfig};
use crate::correlation::LiveRequests;
use crate::detect::Detected;
use crate::edges::EdgeCounts;
use crate::exclusive::Exclusive;
use crate::governor::Governor;
use crate::limits::Admission;
use crate::modes::Modes;
use crate::peer::PeerNames;
use crate::pipeline::{Resource, SpanQueue};
use crate::plan::Plan;
use crate::routes::Routes;
use crate::sampling::{Sampler, Share};
use crate::signed;
use crate::telemetry::{Direction, Metrics, NotCarried, Source};
use crate::trace::Joined;
use crate::trust::{self, Untrusted};
use crate::workers::Workers;

/// What every request meets, whosever it is.
pub(crate) struct Shared {
    pub(crate) propagator: Propagator,
    /// The header that the correlation id is written to; none where it is turned off.
    pub(crate) correlation_header: Option<String>,
    pub(crate) signed_requests: SignedRequests,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) spans: SpanQueue,
    /// Absent where nobody gets the counts.
    pub(crate) edges: Option<Arc<EdgeCounts>>,
    /// Absent where no edge is in mode `log`.
    pub(crate) access_log: Option<AccessLog>,
    /// Callers that may be labels.
    pub(crate) callers: Arc<PeerNames>,
    /// Callees that may be labels.
    pub(crate) callees: Arc<PeerNames>,
    /// Who may come in, on all listeners together.
    pub(crate) admission: Arc<Admission>,
}

/// What the requests of one workload meet.
pub(crate) struct Workload {
    /// Its node id on the map, `[environment/][namespace/]name`.
    pub(crate) node: Arc<str>,
    pub(crate) modes: Modes,
    pub(crate) exclusive: Arc<Exclusive>,
    pub(crate) governor: Arc<Governor>,
    /// Which traces that begin here are recorded.
    pub(crate) share: Arc<Share>,
    /// `service.name`.
    pub(crate) service: String,
    pub(crate) resource: Arc<Resource>,
    pub(crate) routes: Routes,
    pub(crate) live: Arc<LiveRequests>,
    pub(crate) untrusted: Untrusted,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    /// Reads what a request carries as far as its sender is believed, and counts it.
    pub(crate) fn extract(&self, direction: Direction, trust: Trust, head: &Parts) -> Extracted {
        let extracted = self.propagator.extract(&head.headers);
        self.metrics.skipped(&extracted.skipped);
        let (extracted, left) = trust::believed(extracted, trust);
        if let Some(format) = left {
            self.metrics.not_believed(format);
        }
        let format = extracted.format.filter(|_| extracted.context.is_some());
        self.metrics
            .context(direction, format.map_or(Source::None, Source::Format));
        extracted
    }

    /// Whether the request must go on with the headers it came with; counted.
    pub(crate) fn is_left(&self, head: &Parts) -> bool {
        let ours = self.correlation_header.as_deref();
        let left = signed::forbids(self.signed_requests, &head.uri, &head.headers, ours);
        if left {
            self.metrics.not_carried(NotCarried::Signed);
        }
        left
    }

    /// Removes what a caller said who is not believed.
    pub(crate) fn forget(headers: &mut HeaderMap, trust: Trust) {
        if trust == Trust::Ignore {
            propagation::conceal(headers);
        }
        if trust != Trust::Continue {
            propagation::remove_context(headers);
        }
    }

    /// Writes what a request goes on with. Headers that take no more go on without it, counted.
    pub(crate) fn inject(
        &self,
        headers: &mut HeaderMap,
        joined: &Joined,
        correlation: &CorrelationId,
        extracted: &Extracted,
    ) {
        let refused = match (joined.inject, &self.correlation_header) {
            (true, _) => self
                .propagator
                .inject(headers, &joined.context, correlation, extracted.format),
            (false, Some(header)) => headers.set(header, correlation.as_str()),
            (false, None) => Ok(()),
        };
        if refused.is_err() {
            self.metrics.not_carried(NotCarried::HeadersFull);
        }
    }

    /// The correlation id as a span attribute; none where it is turned off.
    pub(crate) fn correlation_attribute(&self, correlation: &CorrelationId) -> Option<String> {
        self.correlation_header.as_ref().map(|_| correlation.to_string())
    }
}

impl Workload {
    /// Removes what a host outside need not know, where the request goes to one; counted.
    pub(crate) fn conceal(&self, head: &mut Parts) {
        let outside = |host| self.untrusted.contains(host);
        if head.uri.host().is_some_and(outside) && propagation::conceal(&mut head.headers) {
            self.shared.metrics.not_carried(NotCarried::UntrustedPeer);
        }
    }

    /// `before` is asked, by the node id, for the same workload under the configuration before.
    ///
    /// # Errors
    /// The first route that is no template.
    pub(crate) fn new<'a>(
        config: &WorkloadConfig,
        detected: &Detected,
        agent: &AgentConfig,
        shared: Arc<Shared>,
        before: impl FnOnce(&str) -> Before<'a>,
    ) -> Result<Self, String> {
        let resource = resource(config, detected);
        let node = node(&resource);
        let before = before(&node);
        let Learnt { exclusive, governor } = before.learnt().unwrap_or_else(|| {
            let exclusive = Exclusive::new(&agent.correlation, node.to_string(), shared.metrics.clone());
            Learnt {
                exclusive: Arc::new(exclusive),
                governor: Arc::new(Governor::new(&agent.correlation)),
            }
        });
        let share = before.share().unwrap_or_else(|| {
            let meters = before.workload.map(|workload| workload.share.meters());
            Arc::new(Share::with(
                Sampler::new(&agent.sampling),
                meters.unwrap_or_default(),
            ))
        });
        let plan = before.plan;
        if let Some(planned) = plan.and_then(|plan| plan.shares_of(&node)) {
            share.set(&planned);
        }
        let rules = plan.map_or_else(Vec::new, |plan| plan.rules_of(&node, &agent.edges));
        Ok(Self {
            modes: Modes::new(&agent.edges).and(rules),
            exclusive,
            node,
            governor,
            share,
            service: text_of(&resource, "service.name").to_owned(),
            resource: Arc::new(resource),
            routes: Routes::new(&config.routes)?,
            live: before
                .workload
                .map_or_else(Arc::default, |workload| workload.live.clone()),
            // Checked before: `AgentConfig::check_with` names what is no host.
            untrusted: untrusted(config, agent)
                .map_or_else(Untrusted::default, |hosts| Untrusted::new(hosts, |_| {})),
            shared,
        })
    }
}

/// A workload under the configuration before, of which the requests in flight are always kept.
#[derive(Clone, Copy, Default)]
pub(crate) struct Before<'a> {
    pub(crate) workload: Option<&'a Workload>,
    /// What was learnt by `agent.correlation` still holds.
    pub(crate) same_correlation: bool,
    /// What was set by `agent.sampling`, or from afar, still holds.
    pub(crate) same_sampling: bool,
    /// What is to be followed now.
    pub(crate) plan: Option<&'a Plan>,
}

struct Learnt {
    exclusive: Arc<Exclusive>,
    governor: Arc<Governor>,
}

impl Before<'_> {
    fn learnt(self) -> Option<Learnt> {
        let workload = self.workload.filter(|_| self.same_correlation)?;
        Some(Learnt {
            exclusive: workload.exclusive.clone(),
            governor: workload.governor.clone(),
        })
    }

    fn share(self) -> Option<Arc<Share>> {
        let workload = self.workload.filter(|_| self.same_sampling)?;
        Some(workload.share.clone())
    }
}

/// Hosts outside, as the workload's own proxy has them, else the node's.
fn untrusted<'a>(config: &'a WorkloadConfig, agent: &'a AgentConfig) -> Option<&'a [String]> {
    let own = config.outbound.as_ref().map(|way| way.untrusted.as_slice());
    let node = agent.node.outbound.as_ref();
    own.or_else(|| node.map(|way| way.untrusted.as_slice()))
}

/// The node id that the collector gives to spans with these attributes.
fn node(resource: &Resource) -> Arc<str> {
    let text = |key| text_of(resource, key);
    let environment = match text("deployment.environment.name") {
        "" => text("deployment.environment"),
        named => named,
    };
    let id = map::NodeId::qualified(environment, text("service.namespace"), text("service.name"));
    id.as_str().into()
}

/// The text of an attribute; empty where there is none.
fn text_of<'a>(resource: &'a Resource, key: &str) -> &'a str {
    match resource.iter().find(|(name, _)| name == key) {
        Some((_, AttributeValue::Str(text))) => text,
        _ => "",
    }
}

/// Resource attributes, each key once: detected ones, over them `resource`, over them the keys of their own.
fn resource(config: &WorkloadConfig, detected: &Detected) -> Resource {
    let mut attributes: BTreeMap<&str, &str> = BTreeMap::new();
    let pairs = detected.attributes.iter().chain(&config.resource);
    attributes.extend(pairs.map(|(key, value)| (key.as_str(), value.as_str())));
    let own = [
        (
            "service.name",
            config.service.as_ref().or(detected.service.as_ref()),
        ),
        ("service.namespace", config.namespace.as_ref()),
        ("deployment.environment.name", config.environment.as_ref()),
    ];
    attributes.extend(
        own.into_iter()
            .filter_map(|(key, value)| Some((key, value?.as_str()))),
    );
    attributes
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_their_own_win_over_resource_and_resource_over_the_environment() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let config = WorkloadConfig {
            service: Some("cart".to_owned()),
            resource: pairs(&[("service.name", "no"), ("service.version", "2")]),
            ..WorkloadConfig::default()
        };
        let detected = Detected {
            service: Some("detected".to_owned()),
            attributes: pairs(&[("service.version", "1"), ("service.namespace", "shop")]),
        };
        let expected = [
            ("service.name", "cart"),
            ("service.namespace", "shop"),
            ("service.version", "2"),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned().into()));
        assert_eq!(resource(&config, &detected), expected);
        assert_eq!(&*node(&resource(&config, &detected)), "shop/cart");
    }
}
