//! `tracemap publish`: a folder of a running Grafana in step with the generated dashboards, a namespace of Mimir's ruler
//! with the generated rules, a namespace of a cluster with the generated objects.
//!
//! In: arguments; a map or a generated directory. Out: what became of each dashboard and group of rules.
//! Left out on purpose: what they say.

pub(super) mod http;
mod kubernetes;
mod mimir;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use collector::generate::{Artefacts, artefacts};
use config::HumanDuration;
use grafana::publish::{Options, dashboards, publish};
use grafana::{Client, ClientSettings, Token};

use crate::Failure;
use crate::settings::{GRAFANA_TOKEN, Settings, Uses};

/// Arguments of `tracemap publish`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Into what
    #[command(subcommand)]
    to: Target,
}

#[derive(Subcommand)]
enum Target {
    /// By Grafana's HTTP API, into one folder; what others have there stays
    Grafana(GrafanaArgs),
    /// By the API of Mimir's ruler, into one namespace; other namespaces stay
    Mimir(mimir::Args),
    /// By the API server of a cluster, into one namespace; objects of others there stay
    Kubernetes(kubernetes::Args),
}

/// Where dashboards and rules come from.
#[derive(clap::Args)]
pub(super) struct Source {
    /// A map to generate from; statistics are read from beside it
    #[arg(long, conflicts_with = "dir")]
    map: Option<PathBuf>,
    /// A directory that `generate` or a collector keeps. Default: `generate.out` of the configuration
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The configuration file, for `generate` and `services`
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Arguments of `tracemap publish grafana`.
#[derive(clap::Args)]
struct GrafanaArgs {
    /// Grafana's address, with the path below which it is served
    #[arg(long)]
    url: String,
    /// A file with the token of a service account that may write dashboards and folders. Better than `--token`, which
    /// other users of this host can see; else the variable `TRACEMAP_GRAFANA_TOKEN` is taken
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The token itself
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,
    #[command(flatten)]
    source: Source,
    /// The folder; made where there is none. Default: `generate.grafana.folder`
    #[arg(long)]
    folder: Option<String>,
    /// Shows what would change and writes nothing; exit 1 where something would
    #[arg(long)]
    dry_run: bool,
    /// Also takes dashboards of ours that lie in another folder
    #[arg(long)]
    take_over: bool,
    /// How long what is generated no longer stays there with a notice. Default: `generate.grafana.keep_gone`
    #[arg(long)]
    keep_gone: Option<HumanDuration>,
    /// PEM file of the authorities that Grafana's certificate must lead to. Default: those of this host
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How long Grafana may be away before this gives up
    #[arg(long, default_value = "2m")]
    wait: HumanDuration,
    /// Every value that differs
    #[arg(long)]
    verbose: bool,
}

/// How long one answer may take; Grafana saves a large dashboard in well under a second.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes, and says what became of each dashboard.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match &args.to {
        Target::Grafana(args) => run_grafana(args),
        Target::Mimir(args) => mimir::run(args),
        Target::Kubernetes(args) => kubernetes::run(args),
    }
}

fn run_grafana(args: &GrafanaArgs) -> Result<ExitCode, Failure> {
    let (files, settings) = args.source.read()?;
    let generate = settings.generate;
    let options = Options {
        folder: args.folder.clone().unwrap_or(generate.grafana.folder),
        tag: generate.dashboards.tag,
        take_over: args.take_over,
        keep_gone: args.keep_gone.unwrap_or(generate.grafana.keep_gone).get(),
        dry_run: args.dry_run,
        now: SystemTime::now(),
    };
    let wanted = dashboards(&files, &options.tag)?;
    let token = token(
        args.token_file.as_deref(),
        args.token.as_deref(),
        Some(GRAFANA_TOKEN),
    )?;
    let settings = ClientSettings {
        url: args.url.clone(),
        token,
        ca: args.ca.clone(),
        timeout: TIMEOUT,
        patience: args.wait.get(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let client = Client::new(settings)?;
        Ok::<_, Failure>(publish(&client, &wanted, &options).await?)
    })?;
    for line in report.lines(args.verbose) {
        println!("{line}");
    }
    if report.failed() {
        return Err(
            "not everything could be published: the lines above say what is done and what is not".into(),
        );
    }
    Ok(if args.dry_run && !report.is_current() {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

impl Source {
    /// The generated dashboards, among other files, and the settings that they are of.
    pub(super) fn read(&self) -> Result<(Artefacts, Settings), Failure> {
        self.read_of("dashboards", "json")
    }

    /// The generated files, of a directory only those that lie in `below` with that extension.
    fn read_of(&self, below: &str, extension: &str) -> Result<(Artefacts, Settings), Failure> {
        self.read_each(&[(below, extension)])
    }

    /// Likewise those of several directories; only the first must be there.
    fn read_each(&self, each: &[(&str, &str)]) -> Result<(Artefacts, Settings), Failure> {
        let mut settings = Settings::read(self.config.as_deref(), Uses::Collector)?;
        if let Some(path) = &self.map {
            let mut map = super::generate::read(path)?;
            map.services.extend(std::mem::take(&mut settings.services));
            return Ok((artefacts(&map, &settings.generate), settings));
        }
        let dir = self.dir.as_ref().or(settings.generate.out.as_ref());
        let dir = dir.ok_or(
            "nothing to publish: give `--dir` or `--map`, or set `generate.out` in the configuration",
        )?;
        let mut files = Artefacts::new();
        for (i, (below, extension)) in each.iter().enumerate() {
            if i == 0 || dir.join(below).is_dir() {
                files.extend(read_files(dir, below, extension)?);
            }
        }
        Ok((files, settings))
    }
}

/// The files of the directory `below` in `dir` with that extension, by path from `dir`.
fn read_files(dir: &Path, below: &str, extension: &str) -> Result<Artefacts, Failure> {
    let within = dir.join(below);
    let cannot = |error| format!("cannot read `{}`: {error}", within.display());
    let mut files = Artefacts::new();
    for entry in std::fs::read_dir(&within).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
            files.insert(format!("{below}/{name}"), text);
        }
    }
    Ok(files)
}

/// The token of a file, of the command line, or of a variable; in this order.
pub(super) fn token(
    file: Option<&Path>,
    given: Option<&str>,
    variable: Option<&str>,
) -> Result<Option<Token>, Failure> {
    let text = match (file, given) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file);
            Some(text.map_err(|error| format!("cannot read `{}`: {error}", file.display()))?)
        }
        (None, Some(given)) => Some(given.to_owned()),
        (None, None) => variable.and_then(|name| std::env::var(name).ok()),
    };
    Ok(text.map(|text| Token::new(&text)).transpose()?)
}
