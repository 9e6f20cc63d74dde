//! Every generated file, held to Grafana's linter, Grafana's schema, and to what a person has to be able to read.
//!
//! In: maps of the demo, of nothing and of hostile names, generated in both forms. Out: verdicts, each with the file and the
//! panel. `rules` tells dashboard-linter's rules again, `schema` asks the types that Grafana publishes, `looks` judges the
//! layout by its numbers.
//! Left out on purpose: whether queries find data (the system's own tests ask a real Prometheus), and how a panel looks
//! when it is drawn.

mod document;
mod looks;
mod promql;
mod rules;
mod samples;
mod schema;
