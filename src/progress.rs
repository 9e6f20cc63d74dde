//! How far a long command has come: a bar on a terminal, nothing in a pipe.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use otlp::files::TraceFile;

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

impl Drop for FileProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
