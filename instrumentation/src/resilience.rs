//! Timeouts, retries, circuit breakers and pools, from what the map saw and what people promise.
//!
//! In: the map with its statistics and objectives. Out: `resilience.yaml`, and the same for meshes.
//! Left out on purpose: applying it.
