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
use std::time::SystemTime;

use config::Finding;
use grafana::TooLarge;
use instrumentation::plan::{self, PLAN_PATH};
use map::{Map, NodeId, Services, file};
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
    let plan = plan::of_map(map, &settings.plan, None);
    files.insert(PLAN_PATH.to_owned(), plan.to_yaml());
    files.insert("map.yaml".to_owned(), file::map_to_yaml(map));
    files.insert(STATS_PATH.to_owned(), file::stats_to_yaml(map));
    regenerate_ways(&mut files, settings);
    files
}

/// Dashboards among `files` that the Kubernetes objects among them are without.
pub fn too_large(files: &Artefacts, settings: &GenerateSettings) -> Vec<TooLarge> {
    grafana::files(files, &settings.grafana, &settings.dashboards.web_url).1
}

/// Services that people state something of and the map does not hold, by id or by bare name: slips of the pen, by which
/// an owner or an objective is lost. Keys are those of the section `services`.
pub fn unknown_services(map: &Map, stated: &Services) -> Vec<Finding> {
    let is_known = |name: &str| {
        map.nodes
            .keys()
            .any(|id| id.as_str() == name || id.name() == name)
    };
    let unknown = stated.keys().filter(|name| !is_known(name));
    let finding = |name: &String| Finding {
        path: format!("services.{name}"),
        message: format!("`{name}` is no node of the map"),
        hint: Some(match nearest(map, name) {
            Some(near) => format!("did you mean `{near}`? Else take it out"),
            None => "write the id of a node, or take it out".to_owned(),
        }),
    };
    unknown.map(finding).collect()
}

/// The node whose name begins or ends most like this one, where it is at least half of it.
fn nearest<'a>(map: &'a Map, name: &str) -> Option<&'a NodeId> {
    let common = |id: &NodeId| {
        let same = |pair: &(char, char)| pair.0 == pair.1;
        let begin = id.name().chars().zip(name.chars()).take_while(same).count();
        let end = id
            .name()
            .chars()
            .rev()
            .zip(name.chars().rev())
            .take_while(same)
            .count();
        begin + end
    };
    let nearest = map
        .nodes
        .keys()
        .map(|id| (common(id), id))
        .max_by_key(|(common, _)| *common)?;
    (2 * nearest.0 >= name.chars().count()).then_some(nearest.1)
}

/// Objectives that no request can keep or break, or whose target is no share, and usual times of no time. Keys are those of the
/// section `services`.
pub fn impossible_objectives(stated: &Services) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, service) in stated {
        let usual = service.usual.unwrap_or_default();
        for (key, time) in [("own", usual.own), ("total", usual.total)] {
            if time.is_some_and(|time| time.get().is_zero()) {
                found.push(Finding {
                    path: format!("services.{name}.usual.{key}"),
                    message: format!("`{key}` of what is usual at `{name}` is 0"),
                    hint: Some("write a duration above 0, such as `20ms`, or take it out".to_owned()),
                });
            }
        }
        for (i, objective) in service.objectives.iter().enumerate() {
            let mut say = |key: &str, value: String, hint: &str| {
                found.push(Finding {
                    path: format!("services.{name}.objectives[{i}].{key}"),
                    message: format!("`{key}` of an objective of `{name}` is {value}"),
                    hint: Some(hint.to_owned()),
                });
            };
            if !(objective.target > 0.0 && objective.target < 1.0) {
                say(
                    "target",
                    objective.target.to_string(),
                    "write a share between 0 and 1, such as 0.99 for 99 %",
                );
            }
            if objective.latency.get().is_zero() {
                say(
                    "latency",
                    objective.latency.to_string(),
                    "write a duration above 0, such as `300ms`",
                );
            }
            if objective.window.get().is_zero() {
                say(
                    "window",
                    objective.window.to_string(),
                    "write a duration above 0, such as `30d`",
                );
            }
        }
    }
    found
}

/// Makes anew the files that bring dashboards into Grafana, after dashboards were added.
pub(crate) fn regenerate_ways(files: &mut Artefacts, settings: &GenerateSettings) {
    let (ways, _) = grafana::files(files, &settings.grafana, &settings.dashboards.web_url);
    files.extend(ways);
}

/// What becomes of dashboards of a directory that are generated no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// They are marked, and kept for a time. So it is where the map follows a system by itself.
    Mark,
    /// Those that are marked already are kept for the rest of their time; the others go at once. So it is where somebody
    /// took them out of a map.
    Keep,
}

/// Adds to `files` our dashboards in `dir` that are generated no longer, for as long as `generate.grafana.keep_gone` says.
///
/// # Errors
/// A file of ours that cannot be read.
pub fn keep_gone(
    dir: &Path,
    files: &mut Artefacts,
    settings: &GenerateSettings,
    gone: Gone,
    now: SystemTime,
) -> Result<(), SyncError> {
    let manifest = read_manifest(dir)?;
    let mut before = Artefacts::new();
    for (name, ours) in manifest
        .files
        .iter()
        .filter(|(name, _)| !files.contains_key(*name))
    {
        let text = read(&dir.join(name))?.filter(|bytes| hash(bytes) == *ours);
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        before.extend(text.map(|text| (name.clone(), text)));
    }
    if gone == Gone::Keep {
        before.retain(|_, text| {
            let json = serde_json::from_str(text).unwrap_or_default();
            grafana::gone_since(&json).is_some()
        });
    }
    if grafana::keep_gone(files, &before, settings.grafana.keep_gone.get(), now) > 0 {
        regenerate_ways(files, settings);
    }
    Ok(())
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
    fn a_dashboard_that_is_generated_no_longer_is_kept_with_a_notice_where_the_map_follows_a_system() {
        let dir = tempfile::tempdir().unwrap();
        let name = "dashboards/service-cart.json";
        let mut settings = GenerateSettings::default();
        settings.grafana.sidecar = Some(grafana::SidecarSettings::default());
        let cart = r#"{"uid": "cart", "title": "Cart", "tags": ["tracemap"], "panels": []}"#;
        sync(dir.path(), &files(&[(name, cart)]), true).unwrap();
        let day = |days: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(24 * days);
        let next = |gone, day| {
            let mut files = Artefacts::new();
            keep_gone(dir.path(), &mut files, &settings, gone, day).unwrap();
            files
        };

        assert!(!next(Gone::Keep, day(9)).contains_key(name), "nobody marked it");
        let marked = next(Gone::Mark, day(9));
        assert!(marked[name].contains("gone-since-1970-01-10"), "{}", marked[name]);
        let config_maps = &marked[grafana::CONFIG_MAPS_FILE];
        assert!(config_maps.contains("gone-since-1970-01-10"), "{config_maps}");

        sync(dir.path(), &marked, true).unwrap();
        assert_eq!(next(Gone::Mark, day(16)), marked, "the same bytes a week later");
        assert_eq!(next(Gone::Keep, day(16)), marked);
        assert!(next(Gone::Mark, day(17)).is_empty(), "its time is over");

        std::fs::write(dir.path().join(name), cart.replace("Cart", "Mine")).unwrap();
        assert!(
            next(Gone::Mark, day(9)).is_empty(),
            "what somebody edited is not ours to mark"
        );
    }

    #[test]
    fn a_service_that_the_map_lacks_is_named_with_the_nearest_that_it_has() {
        let map =
            file::map_from_yaml("version: 1\nedges: [{client: prod/web, server: prod/cart}]\n").unwrap();
        let found = |yaml: &str| -> Vec<String> {
            let services: Services = serde_yaml::from_str(yaml).unwrap();
            let found = unknown_services(&map, &services).into_iter();
            found
                .map(|f| format!("{}: {}: {}", f.path, f.message, f.hint.unwrap_or_default()))
                .collect()
        };
        assert!(
            found("{prod/web: {tier: 1}, cart: {team: a}}").is_empty(),
            "by id, and by bare name"
        );
        assert_eq!(
            found("{crat: {team: a}, billing: {team: b}}"),
            [
                "services.billing: `billing` is no node of the map: write the id of a node, or take it out",
                "services.crat: `crat` is no node of the map: did you mean `prod/cart`? Else take it out",
            ]
        );
    }

    #[test]
    fn an_objective_out_of_range_is_named_with_its_key() {
        let stated = "{a: {usual: {own: 0s, total: 1s}, objectives: [{latency: 1s, target: 0.9, window: 30d}, \
                      {latency: 0s, target: 99, window: 0s}]}}";
        let paths = impossible_objectives(&serde_yaml::from_str(stated).unwrap());
        let paths: Vec<String> = paths.into_iter().map(|f| f.path).collect();
        let keys = [
            "usual.own",
            "objectives[1].target",
            "objectives[1].latency",
            "objectives[1].window",
        ];
        assert_eq!(paths, keys.map(|key| format!("services.a.{key}")));
    }

    #[test]
    fn a_look_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let report = sync(dir.path(), &files(&[("a.json", "1")]), false).unwrap();
        assert!(!report.is_current());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
