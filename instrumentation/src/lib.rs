//! What the map says about instrumentation and architecture.
//!
//! In: the map and settings. Out: the plan of what is traced ([`plan`]), logging configuration ([`logging`]), findings ([`check`])
//! and numbers for resilience ([`resilience`]), as values, paths and texts. Pure: the same map and settings give the same bytes.
//! Left out on purpose: writing files, telling agents and SDKs, any clock.

pub mod check;
pub mod logging;
pub mod plan;
pub mod resilience;
