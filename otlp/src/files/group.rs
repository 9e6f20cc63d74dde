//! Single spans to resource spans.
//!
//! In: spans, each with the key of its resource and its instrumentation scope. Out: one `ResourceSpans` for
//! each key, in the order in which the keys came, and in it one `ScopeSpans` for each scope.

use std::collections::HashMap;
use std::hash::Hash;

use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

/// The instrumentation scope as tags name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
}

pub(super) struct Groups<K> {
    resources: Vec<ResourceSpans>,
    by_key: HashMap<K, usize>,
    by_scope: HashMap<(usize, Scope), usize>,
}

impl<K: Hash + Eq> Groups<K> {
    pub(super) fn new() -> Self {
        Self {
            resources: Vec::new(),
            by_key: HashMap::new(),
            by_scope: HashMap::new(),
        }
    }

    /// Adds `span`; `resource` is asked for once for each `key`.
    pub(super) fn add(&mut self, key: K, resource: impl FnOnce(&K) -> Resource, scope: Scope, span: Span) {
        let place = self.by_key.get(&key).copied().unwrap_or_else(|| {
            let resource = Some(resource(&key));
            self.resources.push(ResourceSpans {
                resource,
                ..ResourceSpans::default()
            });
            self.by_key.insert(key, self.resources.len() - 1);
            self.resources.len() - 1
        });
        let scopes = &mut self.resources[place].scope_spans;
        let at = *self
            .by_scope
            .entry((place, scope))
            .or_insert_with_key(|(_, scope)| {
                scopes.push(empty(scope));
                scopes.len() - 1
            });
        scopes[at].spans.push(span);
    }

    pub(super) fn finish(self) -> Vec<ResourceSpans> {
        self.resources
    }
}

fn empty(scope: &Scope) -> ScopeSpans {
    let named = InstrumentationScope {
        name: scope.name.clone(),
        version: scope.version.clone(),
        ..InstrumentationScope::default()
    };
    ScopeSpans {
        scope: (*scope != Scope::default()).then_some(named),
        ..ScopeSpans::default()
    }
}
