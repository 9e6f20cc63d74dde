//! Who sent a request, and what that adds to it.
//!
//! In: what is known of the other end of a connection. Out: attributes for its resources, as long as they say nothing else.
//! Left out on purpose: finding out who it is.

use crate::wire::{Payload, Reader};

use super::{STRING, fields, key_of, messages, resource_attributes};

const SERVICE_NAME: &str = "service.name";
/// How the value begins that SDKs give to [`SERVICE_NAME`] where nobody gave it a name.
const UNKNOWN_SERVICE: &[u8] = b"unknown_service";

/// Who sent a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    pub(super) resource: Vec<(String, String)>,
    identity: &'static [&'static str],
}

impl Sender {
    /// `resource` is added to the resources of the request that have no such key; `service` is the `service.name` of those
    /// that have none, an empty one, or `unknown_service…`.
    ///
    /// `identity` are the keys of `resource` that tell the sender from others. To a resource that has another value under
    /// one of them nothing is added: it is somebody else's, and the sender passes it on.
    pub fn new(
        mut resource: Vec<(String, String)>,
        service: Option<String>,
        identity: &'static [&'static str],
    ) -> Self {
        resource.extend(service.map(|name| (SERVICE_NAME.to_owned(), name)));
        Self { resource, identity }
    }

    /// Whether a `ResourceSpans` says that it is of somebody else.
    pub(super) fn is_denied_by(&self, resource_spans: Reader<'_>) -> bool {
        resource_attributes(resource_spans).any(|pair| {
            let key = key_of(pair);
            self.identity.iter().any(|name| name.as_bytes() == key)
                && self
                    .resource
                    .iter()
                    .any(|(name, value)| name.as_bytes() == key && value.as_bytes() != text_of(pair))
        })
    }
}

/// Whether an attribute is a `service.name` that says nothing.
pub(super) fn names_nothing(pair: Reader<'_>) -> bool {
    let name = || text_of(pair);
    key_of(pair) == SERVICE_NAME.as_bytes() && (name().is_empty() || name().starts_with(UNKNOWN_SERVICE))
}

/// The text of a `KeyValue`; empty where its value is none.
fn text_of(pair: Reader<'_>) -> &[u8] {
    let values = messages(pair, 2).flat_map(fields);
    let texts = values.filter_map(|field| match field.payload {
        Payload::Bytes(text) if field.number == STRING => Some(text.bytes()),
        _ => None,
    });
    texts.last().unwrap_or_default()
}
