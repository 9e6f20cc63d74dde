//! The image, and the compose file that runs it, without a container engine: what `deploy/image/oci.sh` packs is unpacked and run by
//! `runc`, in networks of its own.
//!
//! In: the program that this build made, or the archive that `TRACEMAP_IMAGE` names; `deploy/compose`; Debian's Prometheus and
//! Alertmanager in the places of their images. Out: what a container engine would have met.
//! Left out on purpose: Grafana, of which there is none here; pulling and pushing; the Dockerfile, which calls the same scripts.
//! Needs root, and `umoci`, `runc`, `skopeo`, `jq`, `ip`, `curl` and `openssl`; a test that lacks one fails and says which.

mod compose;
mod container;
mod network;
mod packed;
