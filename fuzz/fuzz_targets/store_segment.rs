//! Damage to a segment of the trace store: the store opens, gives whole traces or says that it cannot, and takes new ones.
//!
//! In: changes to the file of a segment, and whether all checksums are made to fit again. Out: a panic where the store
//! panics, gives a trace that nobody put, or does not give one that was put after.
//! Left out on purpose: which traces are lost; a block is one unit, and so is each index.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use bytes::Bytes;
use fuzz::bend::Change;
use fuzz::kept::{TRACES, filled, id, searches, settings, trace};
use store::{Field, Fragment, Scope, Search, StoreSettings, TimeRange, TraceStore};

const NAME: &str = "traces-v1-s0-00000000000000000001.seg";
/// Words of the footer before the sections, bytes of the footer, and where its checksum stands.
const FOOTER_HEAD: usize = 10;
const FOOTER: usize = 36 * 8;
const HEADER: usize = 48;
const DIRECTORY: usize = 0;
const SLICES: usize = 6;

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    changes: Vec<Change<'a>>,
    /// Numbers of the footer that are something else.
    words: Vec<(u8, Word)>,
    refit: bool,
    longest: bool,
}

#[derive(Debug, Arbitrary)]
enum Word {
    Add(i8),
    Extreme(u8),
}

static SEGMENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let store = filled(dir.path());
    let sealed = store
        .seal()
        .expect("the disk has room")
        .expect("there was something to seal");
    assert_eq!(sealed.to_string(), NAME);
    std::fs::read(dir.path().join(NAME)).expect("it was just written")
});

static DIR: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a directory for temporary files"));

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(to) = bytes.get_mut(at..at + 8) {
        to.copy_from_slice(&value.to_le_bytes());
    }
}

fn bend_words(bytes: &mut [u8], words: &[(u8, Word)]) {
    let Some(footer) = bytes.len().checked_sub(FOOTER) else {
        return;
    };
    for (at, how) in words.iter().take(4) {
        let at = footer + usize::from(*at) % 34 * 8;
        let Some(old) = word(bytes, at) else { continue };
        let new = match how {
            Word::Add(by) => old.wrapping_add_signed(i64::from(*by)),
            Word::Extreme(which) => [0, 1, u32::MAX.into(), 1 << 32, u64::MAX][usize::from(*which) % 5],
        };
        put(bytes, at, new);
    }
}

/// Makes every checksum fit what it stands for, as far as the file says where that is.
fn refit(bytes: &mut [u8]) -> Option<()> {
    let footer = bytes.len().checked_sub(FOOTER).filter(|at| *at >= HEADER)?;
    let header = crc32c::crc32c(&bytes[..HEADER - 8]);
    put(bytes, HEADER - 8, header.into());
    let section = |bytes: &[u8], part: usize| {
        let at = footer + (FOOTER_HEAD + 3 * part) * 8;
        let (offset, len) = (word(bytes, at)?, word(bytes, at + 8)?);
        let range = usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(len)?).ok()?;
        (range.end <= footer).then_some((range, at + 16))
    };
    if let Some((range, _)) = section(bytes, DIRECTORY) {
        for entry in range.step_by(24) {
            let offset = word(bytes, entry)? as usize;
            let len = word(bytes, entry + 8)? as u32 as usize;
            let Some(block) = offset.checked_add(len).and_then(|end| bytes.get(offset..end)) else {
                continue;
            };
            let crc = crc32c::crc32c(block).to_le_bytes();
            if let Some(to) = bytes.get_mut(entry + 20..entry + 24) {
                to.copy_from_slice(&crc);
            }
        }
    }
    let blocks = word(bytes, footer + 8)? as usize;
    let stride = blocks.div_ceil(8).checked_add(4)?;
    if let Some((range, _)) = section(bytes, SLICES) {
        for slice in bytes.get_mut(range)?.chunks_exact_mut(stride) {
            let (bits, crc) = slice.split_at_mut(stride - 4);
            crc.copy_from_slice(&crc32c::crc32c(bits).to_le_bytes());
        }
    }
    for part in 0..8 {
        if let Some((range, checksum)) = section(bytes, part) {
            let crc = crc32c::crc32c(&bytes[range]);
            put(bytes, checksum, crc.into());
        }
    }
    let crc = crc32c::crc32c(&bytes[footer..footer + FOOTER - 16]);
    put(bytes, footer + FOOTER - 16, crc.into());
    Some(())
}

fn ask(store: &TraceStore, searches: &[Search]) {
    for search in searches {
        drop(store.search(search));
    }
    for service in store.services() {
        store.operations(&service);
    }
    for (scope, keys) in store.tags(None, TimeRange::ALL) {
        for key in keys {
            let scope = Some(scope);
            store.tag_values(&Field::Attribute { scope, key }, TimeRange::ALL, 10);
        }
    }
    store.tag_values(&Field::Name, TimeRange { start: 5, end: 6 }, 10);
    store.tags(Some(Scope::Link), TimeRange { start: 0, end: 0 });
    store.stats();
}

fn check(dir: &Path, forged: bool, longest: bool) {
    let settings = StoreSettings {
        max_bytes: Some(1 << 30),
        max_age: longest.then_some(std::time::Duration::MAX),
        ..settings()
    };
    let store = TraceStore::open(dir, settings, None).expect("damage is no reason to refuse a store");
    ask(&store, &searches());
    for n in 0..TRACES {
        if let Ok(Some(found)) = store.trace(id(n)) {
            assert!(forged || found == trace(n), "trace {n} is not what was put");
        }
    }
    // New spans for a trace that may be damaged, and a trace that was never there.
    for n in [3, 200] {
        let data = Bytes::from(trace(n));
        let put = store.put(Fragment {
            trace_id: id(n),
            data,
        });
        assert!(forged || put.is_ok(), "{put:?}");
    }
    assert!(store.seal().is_ok() || forged);
    ask(&store, &searches());
    let found = store.trace(id(200));
    assert!(
        forged
            || found
                .as_ref()
                .is_ok_and(|found| found.as_deref() == Some(&trace(200)[..]))
    );
    store.enforce(u64::MAX).expect("the files can be removed");
    store.stats();
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    let mut files = vec![SEGMENT.clone()];
    for change in case.changes.iter().take(6) {
        change.apply(&mut files);
    }
    let mut bytes = files.remove(0);
    if case.refit {
        bend_words(&mut bytes, &case.words);
        refit(&mut bytes);
    }
    let dir = DIR.path();
    for entry in std::fs::read_dir(dir).expect("it is ours") {
        std::fs::remove_file(entry.expect("it is ours").path()).expect("it is ours");
    }
    std::fs::write(dir.join(NAME), bytes).expect("there is room");
    check(dir, case.refit, case.longest);
});
