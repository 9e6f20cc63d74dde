//! `tracemap check`: questions to a map file.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::generate::read;
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
