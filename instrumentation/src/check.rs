//! Findings about the architecture and the instrumentation.
//!
//! In: the map with its statistics, thresholds, what people silenced. Out: findings with evidence, as text, JSON and SARIF.
//! Left out on purpose: what to do about them by itself.
