//! `tracemap check`: questions to a map file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use map::Map;
use map::file::{map_from_yaml, read_stats};

use crate::Failure;

/// Arguments of `tracemap check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The map, as `tracemap map` or a collector wrote it or a person did; statistics are read from beside it
    #[arg(long)]
    map: PathBuf,
    /// Says why A calls B on the map, or the most likely reason why it does not
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    why: Option<Vec<String>>,
}

/// Answers what was asked. An explanation is an answer whether there is an edge or not.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some([client, server]) = args.why.as_deref() else {
        return Err("nothing to check yet: give `--why A B`".into());
    };
    let why = read(&args.map)?.why(client, server);
    writeln!(std::io::stdout(), "{why}")?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Map, Failure> {
    let text = config::read_text(path)?;
    let mut map = map_from_yaml(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let stats = path.with_extension("stats.yaml");
    if stats.exists() {
        let text = config::read_text(&stats)?;
        read_stats(&mut map, &text).map_err(|error| format!("`{}`: {error}", stats.display()))?;
    }
    Ok(map)
}
