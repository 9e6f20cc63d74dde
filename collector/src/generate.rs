//! All artefacts of a map, and a directory that holds them.
//!
//! In: the map and settings; a directory. Out: files by path, and what was done with each of them on disk.
//! Files are replaced atomically. `.tracemap.json` lists ours with their hashes; a file that we did not write, or that
//! someone edited, is left alone and reported.
//! Left out on purpose: when to generate; the publisher and `tracemap generate` decide that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use map::{Map, file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::settings::GenerateSettings;

/// Files by path below the output directory. Separators are `/`.
pub type Artefacts = BTreeMap<String, String>;

/// The list of our files, beside them.
pub const MANIFEST: &str = ".tracemap.json";
/// The statistics change with every request; a difference there alone is no difference of the system.
pub const STATS_PATH: &str = "map.stats.yaml";

/// Everything that is generated from `map`. Same map and settings, same bytes.
pub fn artefacts(map: &Map, settings: &GenerateSettings) -> Artefacts {
    let mut files = dashboards::generate(map, &settings.dashboards);
    files.extend(alerts::generate(map, &settings.alerts));
    files.insert("map.yaml".to_owned(), file::map_to_yaml(map));
    files.insert(STATS_PATH.to_owned(), file::stats_to_yaml(map));
    files
}

/// What happened to the files of a directory, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// New, or replaced because the content changed.
    pub written: Vec<String>,
    /// As they were.
    pub unchanged: usize,
    /// Ours no longer; their entity is gone.
    pub removed: Vec<String>,
    /// Not ours, or edited by somebody: left alone.
    pub foreign: Vec<String>,
}

impl SyncReport {
    /// True where the directory holds what it should, foreign files aside.
    pub fn is_current(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }
}

/// A directory cannot be brought in step.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A file of ours cannot be read, written or removed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The list of our files is not what we wrote.
    #[error("`{path}` is not readable: restore it, or remove it together with the files it lists")]
    Manifest {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// SHA-256 in hex, by path.
    files: BTreeMap<String, String>,
}

/// Brings `dir` in step with `files`; with `write` false only says what would be done.
///
/// # Errors
/// The first file that cannot be read or written. What was done until then stays, and is listed as ours.
pub fn sync(dir: &Path, files: &Artefacts, write: bool) -> Result<SyncReport, SyncError> {
    let mut manifest = read_manifest(dir)?;
    let mut report = SyncReport::default();
    let outcome = sync_files(dir, files, write, &mut manifest, &mut report);
    if write {
        manifest.version = 1;
        write_manifest(dir, &manifest)?;
    }
    outcome.map(|()| report)
}

fn sync_files(
    dir: &Path,
    files: &Artefacts,
    write: bool,
    manifest: &mut Manifest,
    report: &mut SyncReport,
) -> Result<(), SyncError> {
    for (name, content) in files {
        let path = dir.join(name);
        let wanted = hash(content.as_bytes());
        let found = read(&path)?.map(|bytes| hash(&bytes));
        let ours = found
            .as_ref()
            .is_none_or(|found| manifest.files.get(name) == Some(found));
        if found.as_ref() == Some(&wanted) {
            report.unchanged += 1;
        } else if !ours {
            report.foreign.push(name.clone());
            continue;
        } else {
            if write {
                replace(&path, content)?;
            }
            report.written.push(name.clone());
        }
        manifest.files.insert(name.clone(), wanted);
    }
    let gone: Vec<String> = manifest
        .files
        .keys()
        .filter(|name| !files.contains_key(*name))
        .cloned()
        .collect();
    for name in gone {
        let path = dir.join(&name);
        match read(&path)?.map(|bytes| hash(&bytes)) {
            None => {}
            Some(found) if manifest.files.get(&name) == Some(&found) => {
                if write {
                    std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
                }
                report.removed.push(name.clone());
            }
            Some(_) => report.foreign.push(name.clone()),
        }
        manifest.files.remove(&name);
    }
    Ok(())
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), SyncError> {
    let text = serde_json::to_string_pretty(manifest).expect("a map of text serialises") + "\n";
    let path = dir.join(MANIFEST);
    match std::fs::read_to_string(&path) {
        Ok(held) if held == text => Ok(()),
        _ => replace(&path, &text),
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, SyncError> {
    let path = dir.join(MANIFEST);
    match read(&path)? {
        None => Ok(Manifest::default()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|source| SyncError::Manifest { path, source }),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SyncError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path)(source)),
    }
}

/// Writes beside the file and renames, so that no reader sees half of it.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>) -> Result<(), SyncError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, content).map_err(io_error("write", &beside))?;
    std::fs::rename(&beside, path).map_err(io_error("replace", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SyncError {
    let path = path.to_owned();
    move |source| SyncError::Io { action, path, source }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Artefacts {
        pairs
            .iter()
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect()
    }

    #[test]
    fn a_directory_follows_the_map_and_leaves_what_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("b.json"), "somebody's").unwrap();

        let first = sync(
            dir.path(),
            &files(&[("a/a.json", "1"), ("b.json", "1"), ("c.json", "1")]),
            true,
        )
        .unwrap();
        assert_eq!(
            (first.written, first.foreign),
            (vec!["a/a.json".into(), "c.json".into()], vec!["b.json".into()])
        );
        assert_eq!(std::fs::read_to_string(at("b.json")).unwrap(), "somebody's");

        let again = sync(dir.path(), &files(&[("a/a.json", "1"), ("c.json", "1")]), true).unwrap();
        assert!(again.is_current() && again.unchanged == 2, "{again:?}");

        std::fs::write(at("c.json"), "edited").unwrap();
        let edited = sync(dir.path(), &files(&[("a/a.json", "2"), ("c.json", "2")]), true).unwrap();
        assert_eq!(
            (edited.written, edited.foreign),
            (vec!["a/a.json".into()], vec!["c.json".into()])
        );
        assert_eq!(std::fs::read_to_string(at("a/a.json")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(at("c.json")).unwrap(), "edited");

        let gone = sync(dir.path(), &files(&[]), true).unwrap();
        assert_eq!(
            (gone.removed, gone.foreign),
            (vec!["a/a.json".into()], vec!["c.json".into()])
        );
        assert!(!at("a/a.json").exists() && at("c.json").exists());
    }

    #[test]
    fn a_look_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let report = sync(dir.path(), &files(&[("a.json", "1")]), false).unwrap();
        assert!(!report.is_current());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
