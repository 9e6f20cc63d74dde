//! Numbers for resilience of whole maps.
//!
//! In: maps with statistics, drawn and written. Out: `resilience.yaml` and the fragments, as golden files, as
//! properties and as a mesh reads them.
//! Left out on purpose: a running mesh.

mod golden;
mod mesh;
mod properties;
mod scene;
mod stated;
mod still;
