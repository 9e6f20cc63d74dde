//! A workload at run time, and what all workloads of an agent share.
//!
//! In: checked configuration. Out: the state that requests of one workload meet.
//! Left out on purpose: listeners, which come and go in `run.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use propagation::{CorrelationId, Extracted, Inject as _, Propagator};

use crate::config::WorkloadConfig;
use crate::correlation::LiveRequests;
use crate::detect::Detected;
use crate::pipeline::{Resource, SpanQueue};
use crate::routes::Routes;
use crate::telemetry::{Direction, Metrics, NotCarried, Source};
use crate::trace::Joined;

/// What every request meets, whosever it is.
pub(crate) struct Shared {
    pub(crate) propagator: Propagator,
    /// The header that the correlation id is written to; none where it is turned off.
    pub(crate) correlation_header: Option<String>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) spans: SpanQueue,
}

/// What the requests of one workload meet.
pub(crate) struct Workload {
    pub(crate) resource: Arc<Resource>,
    pub(crate) routes: Routes,
    pub(crate) live: Arc<LiveRequests>,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    /// Reads what a request carries, and counts it.
    pub(crate) fn extract(&self, direction: Direction, headers: &HeaderMap) -> Extracted {
        let extracted = self.propagator.extract(headers);
        let format = extracted.format.filter(|_| extracted.context.is_some());
        self.metrics
            .context(direction, format.map_or(Source::None, Source::Format));
        self.metrics.skipped(&extracted.skipped);
        extracted
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
    /// # Errors
    /// The first route that is no template.
    pub(crate) fn new(
        config: &WorkloadConfig,
        detected: &Detected,
        shared: Arc<Shared>,
    ) -> Result<Self, String> {
        Ok(Self {
            resource: Arc::new(resource(config, detected)),
            routes: Routes::new(&config.routes)?,
            live: Arc::default(),
            shared,
        })
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
    }
}
