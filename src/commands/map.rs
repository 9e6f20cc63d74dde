//! `tracemap map FILE…`: a map from recorded traces.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use collector::offline::{OfflineMap, Summary};
use map::{Map, export, file};

use crate::Failure;
use crate::progress::each_request;

/// Arguments of `tracemap map`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recorded traces: OTLP JSON, JSON lines or protobuf, Jaeger JSON, Zipkin v2 JSON; plain, gzip or zstd; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where to write; for YAML the statistics go beside it as `*.stats.yaml`. Default: standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// `flat` leads from producer to consumer directly, `all` keeps queues and topics as nodes (csv and dot)
    #[arg(long, value_enum, default_value_t = Nodes::Flat)]
    nodes: Nodes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
    Csv,
    Dot,
    Text,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Nodes {
    Flat,
    All,
}

/// Reads the files, draws the map, writes it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (map, summary) = read(&args.files)?;
    let all = args.nodes == Nodes::All;
    let text = match args.format {
        Format::Yaml => file::map_to_yaml(&map),
        Format::Json => format!("{:#}\n", export::to_json(&map)),
        Format::Csv => export::to_csv(&map, all),
        Format::Dot => export::to_dot(&map, all),
        Format::Text => export::to_text(&map),
    };
    match &args.output {
        None => std::io::stdout().write_all(text.as_bytes())?,
        Some(path) => {
            write(path, &text)?;
            if args.format == Format::Yaml {
                write(&path.with_extension("stats.yaml"), &file::stats_to_yaml(&map))?;
            }
        }
    }
    if std::io::stderr().is_terminal() || args.output.is_some() {
        report(&map, summary);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(files: &[PathBuf]) -> Result<(Map, Summary), Failure> {
    let mut offline = OfflineMap::default();
    each_request(files, |request| offline.take(&request.body))?;
    Ok(offline.finish())
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| format!("cannot write `{}`: {source}", path.display()).into())
}

fn report(map: &Map, summary: Summary) {
    let Summary {
        spans,
        traces,
        duplicates,
        rejected,
        without_service,
        unnamed_peers,
    } = summary;
    eprintln!(
        "{spans} spans of {traces} traces: {} nodes, {} edges",
        map.nodes.len(),
        map.edges.len()
    );
    let left_out = [
        (duplicates, "came twice and count once"),
        (rejected, "had ids that no trace can have"),
        (without_service, "had no `service.name`"),
        (unnamed_peers, "called somebody whom no attribute names"),
    ];
    for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
        eprintln!("{count} spans {what}");
    }
}
