//! `tracemap replay FILE…`: sends recorded traces to a collector.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::HumanDuration;
use otlp::export::{Compression, ExportSettings, Exporter};
use otlp::view::for_each_span_unchecked;
use tokio::time::Instant;

use crate::Failure;
use crate::progress::FileProgress;

/// Arguments of `tracemap replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recorded traces: OTLP JSON, JSON lines or protobuf, Jaeger JSON, Zipkin v2 JSON; plain, gzip or zstd; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The collector's OTLP/gRPC address
    #[arg(long, default_value = "http://127.0.0.1:4317")]
    to: String,
    /// How many times faster than recorded, or `max`
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// How long the collector may take over the last spans once everything was read
    #[arg(long, default_value = "1m")]
    wait: HumanDuration,
}

/// Pace of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.parse().ok().filter(|f: &f64| f.is_finite() && *f > 0.0);
        factor
            .map(Self::Times)
            .ok_or_else(|| format!("`{text}` is no speed: write `max` or a factor such as 10"))
    }
}

/// Sends every file in turn and waits until the collector has taken it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(replay(args))
}

async fn replay(args: &Args) -> Result<ExitCode, Failure> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let settings = ExportSettings {
        endpoint: args.to.clone(),
        // New for every run, so that a second replay of the same file is not taken for a repeat of the first.
        instance: format!("replay-{}-{}", std::process::id(), since_epoch.as_nanos()),
        compression: Compression::None,
        ..ExportSettings::default()
    };
    let (exporter, task) = Exporter::spawn(settings)?;
    let mut sent = 0;
    for path in &args.files {
        sent += replay_file(path, args.speed, &exporter).await?;
    }
    exporter.shutdown(args.wait.get()).await.map_err(|left| {
        format!(
            "{left}: is a collector listening at `{}`? it was tried for {}",
            args.to, args.wait
        )
    })?;
    task.await?;
    let stats = exporter.stats();
    let dropped = stats.dropped_total();
    println!("{} of {sent} spans sent", stats.sent_spans);
    if dropped > 0 {
        return Err(format!("the collector did not take {dropped} spans").into());
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay_file(path: &Path, speed: Speed, exporter: &Exporter) -> Result<u64, Failure> {
    let mut file = otlp::files::open(path)?;
    let bar = FileProgress::new(&path.display().to_string(), &file);
    let (mut sent, began, mut first) = (0, Instant::now(), None);
    while let Some(request) = file.next() {
        let request = request?;
        if let Speed::Times(factor) = speed {
            let ends = latest_end(&request.body);
            let first = *first.get_or_insert(ends);
            let offset = Duration::from_nanos(ends.saturating_sub(first)).div_f64(factor);
            tokio::time::sleep_until(began + offset).await;
        }
        exporter.send(request.body, request.spans).await?;
        sent += request.spans;
        bar.update(&file, sent);
    }
    Ok(sent)
}

/// When a request's last span ended: the moment at which its sender could have sent it.
fn latest_end(body: &[u8]) -> u64 {
    let mut latest = 0;
    for_each_span_unchecked(body, |_, _, span| latest = latest.max(span.end_unix_nano));
    latest
}
