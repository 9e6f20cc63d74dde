//! How far a long command has come: a bar on a terminal, nothing in a pipe.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use otlp::files::{Request, TraceFile};

use crate::Failure;

/// A bar over the bytes of one recorded file.
pub(crate) struct FileProgress(ProgressBar);

impl FileProgress {
    /// Shows itself only where standard error is a terminal.
    pub(crate) fn new(name: &str, file: &TraceFile) -> Self {
        let total = file.progress().total;
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = "{prefix}  {bytes} of {total_bytes}  {wide_bar}  {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(name.to_owned());
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self(bar)
    }

    /// Shows how much of the file has been read and how many spans it gave.
    pub(crate) fn update(&self, file: &TraceFile, spans: u64) {
        self.0.set_position(file.progress().read);
        self.0.set_message(format!("{spans} spans"));
    }
}

/// Hands every request of recorded files to `take`, in the order of the files, with a bar for each.
pub(crate) fn each_request<E>(
    files: &[PathBuf],
    mut take: impl FnMut(&Request) -> Result<(), E>,
) -> Result<(), Failure>
where
    Failure: From<E>,
{
    for path in files {
        let mut file = otlp::files::open(path)?;
        let bar = FileProgress::new(&path.display().to_string(), &file);
        let mut spans = 0;
        while let Some(request) = file.next() {
            let request = request?;
            spans += request.spans;
            take(&request)?;
            bar.update(&file, spans);
        }
    }
    Ok(())
}

impl Drop for FileProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
