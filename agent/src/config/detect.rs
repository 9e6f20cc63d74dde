//! What the agent says of the place it runs in.
//!
//! In: `agent.detect` and `agent.otlp.detect`. Out: which detectors are used.
//! Left out on purpose: environment variables, which always count, and Kubernetes, which has a key of its own.

use schemars::JsonSchema;
use serde::Deserialize;

/// A source of resource attributes. What is stated anywhere else wins over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// `host.name`: the name that the system has where the agent runs; in a pod without the host's network the pod's.
    Host,
    /// `os.type` and `host.arch`.
    Os,
    /// `container.id` of the agent's own container: right where the service runs in the same one.
    Container,
}

/// `agent.detect`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Detectors(pub Vec<Detector>);

impl Default for Detectors {
    fn default() -> Self {
        Self(vec![Detector::Host, Detector::Os])
    }
}
