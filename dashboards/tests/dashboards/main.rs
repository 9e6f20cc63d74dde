//! The generated files, held to what Grafana, its linter and Prometheus ask for.
//!
//! In: sample maps. Out: nothing but verdicts; files that people read are in `golden/`.
//! Left out on purpose: a running Grafana; the system's own tests ask a real Prometheus.

mod golden;
mod identity;
mod linter;
mod promql;
mod sample;
mod schema;
mod texts;
