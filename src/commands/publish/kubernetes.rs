//! `tracemap publish kubernetes`: a namespace of a cluster in step with the generated objects, once.
//!
//! In: a map or a generated directory; the section `collector.publish.kubernetes`, with arguments over it. Out: each object
//! applied where it differs, and those of ours that are generated no longer removed; a line for each.
//! Left out on purpose: how it is done, which is what a running collector does (`collector::cluster`); kubeconfig files, for
//! which `kubectl proxy` gives an address.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use collector::cluster::{ClusterError, Options, in_step};
use collector::settings::{KubernetesPublishSettings, PublishedObjects};
use config::HumanDuration;
use kubernetes::{Report, delay};

use super::Source;
use crate::Failure;
use crate::settings::Settings;

/// The files of a directory that are read: objects, and the dashboards that they are made of.
const READ: [(&str, &str); 3] = [
    ("dashboards", "json"),
    ("kubernetes", "yaml"),
    ("alerts/kubernetes", "yaml"),
];

/// Arguments of `tracemap publish kubernetes`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The API server, `https://host:port`; `http://127.0.0.1:8001` for `kubectl proxy`. Default: the configuration's, else
    /// that of the pod
    #[arg(long)]
    api: Option<String>,
    /// The namespace. Default: the configuration's, else that of the pod
    #[arg(long)]
    namespace: Option<String>,
    /// Tells these objects from those of another tracemap there. Default: the configuration's
    #[arg(long)]
    instance: Option<String>,
    /// A file with the token of a service account. Default: the configuration's, else that of the pod
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// PEM file of the authority of the API server. Default: the configuration's, else that of the pod
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Takes fields from other managers, and objects of the same names that are not ours
    #[arg(long)]
    force: bool,
    /// Shows what would change and writes nothing; exit 1 where something would
    #[arg(long)]
    dry_run: bool,
    /// How long what is generated no longer stays there with a notice. Default: `generate.grafana.keep_gone`
    #[arg(long)]
    keep_gone: Option<HumanDuration>,
    /// How long the API server may be away before this gives up
    #[arg(long, default_value = "2m")]
    wait: HumanDuration,
    /// Objects that are as they should be as well
    #[arg(long)]
    verbose: bool,
}

/// Publishes, and says what became of each object.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (files, settings) = args.source.read_each(&READ)?;
    let target = args.over(&settings)?;
    let options = Options {
        keep_gone: args
            .keep_gone
            .unwrap_or(settings.generate.grafana.keep_gone)
            .get(),
        dry_run: args.dry_run,
        now: SystemTime::now(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let user_agent = concat!("tracemap/", env!("CARGO_PKG_VERSION"));
        let mut publisher = target.publisher(user_agent, |name| std::env::var(name).ok())?;
        patiently(args.wait, async || {
            in_step(&mut publisher, &files, &settings.generate, options).await
        })
        .await
    })?;
    for step in &report.steps {
        if args.verbose || step.fate != kubernetes::Fate::Unchanged {
            println!("{step}");
        }
    }
    if report.problems().next().is_some() {
        return Err(
            "not everything could be published: the lines above say what is done and what is not".into(),
        );
    }
    Ok(ExitCode::from(u8::from(args.dry_run && !report.is_current())))
}

impl Args {
    /// The configuration's section with the arguments over it; without one, all that is generated for Kubernetes.
    fn over(&self, settings: &Settings) -> Result<KubernetesPublishSettings, Failure> {
        let generate = &settings.generate;
        let mut target = match &settings.collector.publish.kubernetes {
            Some(target) => target.clone(),
            None => KubernetesPublishSettings {
                objects: PublishedObjects::generated(generate).collect(),
                ..KubernetesPublishSettings::default()
            },
        };
        target.api = self.api.clone().or(target.api);
        target.namespace = self.namespace.clone().or(target.namespace);
        target.force |= self.force;
        if let Some(instance) = &self.instance {
            target.instance.clone_from(instance);
        }
        if let Some(file) = &self.token_file {
            target.token_file.clone_from(file);
        }
        if let Some(file) = &self.ca {
            target.ca_file.clone_from(file);
        }
        match target.check(generate).into_iter().next() {
            None => Ok(target),
            Some(found) => {
                let hint = found.hint.map(|hint| format!(": {hint}")).unwrap_or_default();
                Err(format!("{}{hint}", found.message).into())
            }
        }
    }
}

/// Tries again while the API server cannot be asked, for as long as `wait`.
async fn patiently(
    wait: HumanDuration,
    mut round: impl AsyncFnMut() -> Result<Report, ClusterError>,
) -> Result<Report, Failure> {
    let (began, mut failures) = (Instant::now(), 0);
    loop {
        let failure = match round().await {
            Ok(report) => return Ok(report),
            Err(ClusterError::Server(failure)) if failure.may_pass() => failure,
            Err(error) => return Err(error.into()),
        };
        failures += 1;
        let pause = delay(
            failures,
            wait.get().div_f64(4.0),
            failure.retry_after,
            rand::random(),
        );
        if began.elapsed() + pause > wait.get() {
            return Err(ClusterError::Server(failure).into());
        }
        tokio::time::sleep(pause).await;
    }
}
