//! The API server of a cluster: a client for what this workspace asks, and objects that are kept in step there.
//!
//! In: where a pod is told that the API server is, requests, objects. Out: answers, or a [`Failure`] whose [`Reason`] is
//! one of a short list; a namespace with the objects in it ([`Publisher`]).
//! Left out on purpose: types of the API, which the callers read as far as they need; what objects say. And `kube`, the
//! usual client: for a list, a watch, a patch and a removal it brings the types of the whole API, a second TLS stack's
//! glue and `tower`'s layers.

mod client;
mod failure;
mod object;
mod publish;
mod report;
mod server;
mod status;

pub use client::{Answer, Client, Connection, Content};
pub use failure::{Failure, Reason, delay};
pub use object::{Key, Kind, Object, ObjectError};
pub use publish::{INSTANCE, MANAGED_BY, Publisher, Target, There};
pub use report::{Fate, Report, Step};
pub use server::{SERVICE_ACCOUNT, Server, address_of_pod, encoded, namespace_of_pod, parse_address};
