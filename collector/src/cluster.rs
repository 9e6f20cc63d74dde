//! Generated objects of Kubernetes in step with the map, through the API server of the cluster.
//!
//! In: generated files, settings, a publisher of the crate `kubernetes`. Out: the objects among the files, and a namespace
//! that has them ([`in_step`]); for a running collector as often as they change (`follow`).
//! Left out on purpose: what objects say. What is applied is what the files say, which the page offers too.

mod counts;
mod follow;
mod settings;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use ::kubernetes::{Failure, Kind, Object, ObjectError, Publisher, Report};
use serde_json::Value;

pub(crate) use self::counts::ClusterCounts;
pub(crate) use self::follow::run;
pub use self::settings::{KubernetesPublishSettings, NotInAPod, PublishSettings, PublishedObjects};
use crate::generate::{Artefacts, regenerate_ways};
use crate::settings::GenerateSettings;

/// The files that hold objects.
const FILES: [(&str, Kind); 3] = [
    (alerts::PROMETHEUS_RULE_PATH, Kind::PrometheusRule),
    (alerts::ALERTMANAGER_CONFIG_PATH, Kind::AlertmanagerConfig),
    (grafana::CONFIG_MAPS_FILE, Kind::ConfigMap),
];

/// Nothing could be brought in step, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A generated file does not hold what it should.
    #[error("`{file}` holds no objects for Kubernetes")]
    File {
        /// Which.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file is not generated, and all that the cluster has of its kind would go.
    #[error("`{file}` is not generated: set `{key}`")]
    Missing {
        /// Which.
        file: &'static str,
        /// The key that has it generated.
        key: &'static str,
    },
    /// The API server cannot be asked.
    #[error("the API server gives no useful answer")]
    Server(#[from] Failure),
}

/// How a namespace is brought in step.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the dashboard of what is gone stays, with a notice.
    pub keep_gone: Duration,
    /// The API server only says what would become of each object.
    pub dry_run: bool,
    /// The time.
    pub now: SystemTime,
}

/// Brings the publisher's namespace in step with `files`.
///
/// # Errors
/// Files that hold no objects: nothing was changed. An API server that cannot be asked: what was done until then is done.
pub async fn in_step(
    publisher: &mut Publisher,
    files: &Artefacts,
    generate: &GenerateSettings,
    options: Options,
) -> Result<Report, ClusterError> {
    let kinds = publisher.target().kinds.clone();
    let (texts, wanted) = (files_of(files), kinds.clone());
    let mut objects = blocking(move || objects(&texts, &wanted)).await?;
    let there = publisher.look().await?;
    let instance = publisher.target().instance.clone();
    let gone: Vec<_> = there.gone(&instance, &objects).cloned().collect();
    let mut before = Artefacts::new();
    for key in gone.iter().filter(|key| key.kind == Kind::ConfigMap) {
        if options.keep_gone.is_zero() {
            break;
        }
        let json = publisher.read(key).await?.unwrap_or_default();
        let data = json["data"].as_object().into_iter().flatten();
        before.extend(
            data.filter_map(|(name, text)| Some((format!("dashboards/{name}"), text.as_str()?.to_owned()))),
        );
    }
    if !before.is_empty() {
        let (mut files, generate) = (files.clone(), generate.clone());
        objects = blocking(move || {
            if grafana::keep_gone(&mut files, &before, options.keep_gone, options.now) > 0 {
                regenerate_ways(&mut files, &generate);
            }
            self::objects(&files, &kinds)
        })
        .await?;
    }
    Ok(publisher.publish(&there, &objects, options.dry_run).await?)
}

/// Reads and writes of megabytes of YAML, beside the threads that others wait for.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("generators do not panic")
}

/// Those that hold objects.
fn files_of(files: &Artefacts) -> Artefacts {
    let held = |(file, _): (&'static str, Kind)| Some((file.to_owned(), files.get(file)?.clone()));
    FILES.into_iter().filter_map(held).collect()
}

/// The objects among `files`, of the kinds that are `wanted`; rules come first.
///
/// # Errors
/// A file of such a kind that is not there, or is not what it should be.
fn objects(files: &Artefacts, wanted: &BTreeSet<Kind>) -> Result<Vec<Object>, ClusterError> {
    let mut found = Vec::new();
    for (file, kind) in FILES.into_iter().filter(|(_, kind)| wanted.contains(kind)) {
        let key = generator_of(kind);
        let text = files.get(file).ok_or(ClusterError::Missing { file, key })?;
        for document in documents(text) {
            let wrong = |source| ClusterError::File { file, source };
            let json: Value = serde_yaml::from_str(document).map_err(|error| wrong(error.into()))?;
            let object = Object::new(json).map_err(|error: ObjectError| wrong(error.into()))?;
            found.push(object);
        }
    }
    Ok(found)
}

/// The key that has objects of a kind generated.
fn generator_of(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "generate.grafana.sidecar",
        Kind::PrometheusRule | Kind::AlertmanagerConfig => "generate.alerts.notify.kubernetes",
    }
}

/// The documents of a generated file: each is read alone, since together they may be more than a reader takes. A dashboard
/// stands on one line that is indented, so no line of it is a mark.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let is_content = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    text.split("\n---\n")
        .filter(move |document| document.lines().any(is_content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_the_files_is_found_and_a_comment_is_none() {
        let large = "x".repeat(1 << 20);
        let maps = format!(
            "# How to apply it.\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  \"a.json\": |-\n    \
             {{\"d\": \"--- {large}\"}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: b}}\n"
        );
        let files = Artefacts::from([(grafana::CONFIG_MAPS_FILE.to_owned(), maps)]);
        let found = objects(&files, &BTreeSet::from([Kind::ConfigMap])).unwrap();
        let names: Vec<&str> = found.iter().map(|object| object.key.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let text = found[0].json["data"]["a.json"].as_str().unwrap();
        assert_eq!(text.len(), large.len() + 13);
        let none = Artefacts::from([(grafana::CONFIG_MAPS_FILE.to_owned(), "# None yet.\n".to_owned())]);
        assert!(
            objects(&none, &BTreeSet::from([Kind::ConfigMap]))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_file_that_is_not_generated_or_holds_something_else_removes_nothing() {
        let missing = objects(&Artefacts::new(), &BTreeSet::from(Kind::ALL)).unwrap_err();
        assert!(
            missing.to_string().contains("generate.alerts.notify.kubernetes"),
            "{missing}"
        );
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n".to_owned();
        let files = Artefacts::from([(grafana::CONFIG_MAPS_FILE.to_owned(), secret)]);
        let error = objects(&files, &BTreeSet::from([Kind::ConfigMap])).unwrap_err();
        assert!(error.to_string().contains("grafana-configmaps.yaml"), "{error}");
    }
}
