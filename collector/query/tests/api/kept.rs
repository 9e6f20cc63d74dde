//! The shop's traces in the real store, half of them on disk.
//!
//! In: the same traces. Out: a [`Backend`] over a [`TraceStore`], as the collector has it.
//! Left out on purpose: the map, which the shop answers for.

use bytes::Bytes;
use otlp::Kind;
use query::{Backend, BackendError, Dependency};
use store::{
    Condition, Field, Found, Fragment, Scope, Search, StoreSettings, TagValue, TimeRange, TraceStore,
};
use tempfile::TempDir;

use super::shop::Shop;

pub(crate) struct Kept {
    store: TraceStore,
    shop: Shop,
    _dir: TempDir,
}

impl Kept {
    pub(crate) fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = TraceStore::open(dir.path(), StoreSettings::default(), None).expect("an empty store");
        let shop = Shop::open();
        let ids = shop.ids();
        for (index, id) in ids.iter().enumerate() {
            let data = shop.trace(*id).expect("no failure").expect("a trace of the shop");
            store.put(Fragment { trace_id: *id, data }).expect("room");
            if index == ids.len() / 2 {
                store.seal().expect("a writable directory");
            }
        }
        Self {
            store,
            shop,
            _dir: dir,
        }
    }
}

impl Backend for Kept {
    fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.store.trace(id)?)
    }

    fn search(&self, search: &Search) -> Result<Found, BackendError> {
        Ok(self.store.search(search)?)
    }

    fn services(&self) -> Result<Vec<String>, BackendError> {
        Ok(self.store.services())
    }

    fn operations(&self, service: &str) -> Result<Vec<(String, Kind)>, BackendError> {
        Ok(self.store.operations(service))
    }

    fn tags(
        &self,
        scope: Option<Scope>,
        range: TimeRange,
    ) -> Result<Vec<(Scope, Vec<String>)>, BackendError> {
        Ok(self.store.tags(scope, range))
    }

    fn tag_values(&self, tag: &Field, range: TimeRange, limit: usize) -> Result<Vec<TagValue>, BackendError> {
        Ok(self.store.tag_values(tag, range, limit))
    }

    fn dependencies(&self, end_unix_nano: u64, lookback_nanos: u64) -> Result<Vec<Dependency>, BackendError> {
        self.shop.dependencies(end_unix_nano, lookback_nanos)
    }

    fn node_condition(&self, id: &str) -> Option<Condition> {
        self.shop.node_condition(id)
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn now_unix_nano(&self) -> u64 {
        self.shop.now_unix_nano()
    }
}
