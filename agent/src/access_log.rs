//! The access log: a line of JSON for each request of an edge in mode `log`.
//!
//! In: what a request was and how it ended. Out: its line, on standard output or at the end of a file.
//! Left out on purpose: waiting. Where lines come faster than they can be written, they are dropped and counted. Paths and
//! queries too: they hold secrets and have no bound.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

use propagation::{SpanContext, SpanId};
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::error;

use crate::semconv;
use crate::telemetry::{LineOutcome, Metrics};

/// Lines that may wait, at about 500 bytes each.
const QUEUE: usize = 8_192;

/// What a line says of a request before it has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) time: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_span_id: Option<String>,
    #[serde(rename = "correlation.id", skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    pub(crate) direction: &'static str,
    /// The caller's node id, or `unknown`.
    pub(crate) client: String,
    /// The callee's node id, or outbound `host[:port]`.
    pub(crate) server: String,
    #[serde(rename = "http.request.method")]
    pub(crate) method: &'static str,
    #[serde(rename = "http.route", skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    #[serde(rename = "rpc.method", skip_serializing_if = "Option::is_none")]
    pub(crate) rpc_method: Option<String>,
}

/// The whole line.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    line: &'a Line,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_seconds: f64,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Takes lines. Clones are the same log.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Message>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Flush(oneshot::Sender<()>),
}

/// `time` as RFC 3339 in UTC, to the microsecond.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

impl Line {
    /// The line of a request that begins now, between `ends`: the caller's name and the callee's.
    pub(crate) fn of(
        head: &http::request::Parts,
        context: &SpanContext,
        parent: Option<SpanId>,
        ends: (&str, &str),
    ) -> Self {
        Self {
            time: timestamp(SystemTime::now()),
            trace_id: context.trace_id.to_string(),
            span_id: context.span_id.to_string(),
            parent_span_id: parent.map(|parent| parent.to_string()),
            correlation_id: None,
            direction: "",
            client: ends.0.to_owned(),
            server: ends.1.to_owned(),
            method: semconv::method(&head.method),
            route: None,
            rpc_method: semconv::rpc_method(head).map(str::to_owned),
        }
    }
}

impl AccessLog {
    /// A log at the end of the file `path`, or on standard output, with a thread that writes it and ends with its last
    /// clone.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not be made.
    pub(crate) fn open(path: Option<&Path>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
            None => Box::new(io::stdout()),
        };
        Self::to(out, metrics)
    }

    fn to(out: impl Write + Send + 'static, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(QUEUE);
        let of_writer = metrics.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&waiting, io::BufWriter::new(out), &of_writer))?;
        Ok(Self { lines, metrics })
    }

    /// Takes the line of a request that ended, or drops and counts it.
    pub(crate) fn ended(&self, line: &Line, status: Option<u16>, seconds: f64, error: Option<&str>) {
        let ended = Ended {
            line,
            status,
            duration_seconds: seconds,
            error,
        };
        let taken = serde_json::to_string(&ended).is_ok_and(|mut text| {
            text.push('\n');
            match self.lines.try_send(Message::Line(text)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            }
        });
        if !taken {
            self.metrics.access_line(LineOutcome::Dropped);
        }
    }

    /// Waits until everything taken so far is written.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let lines = self.lines.clone();
        let sent = tokio::task::spawn_blocking(move || lines.send(Message::Flush(done))).await;
        if matches!(sent, Ok(Ok(()))) {
            // A writer that is gone has nothing left to write.
            let _ = flushed.await;
        }
    }
}

/// Writes what comes, and lets go of it whenever nothing more is there.
fn write(lines: &Receiver<Message>, mut out: impl Write, metrics: &Metrics) {
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut flushes = Vec::new();
        let mut count = 0_u32;
        let mut result = Ok(());
        for message in std::iter::once(first).chain(std::iter::from_fn(|| lines.try_recv().ok())) {
            match message {
                Message::Line(line) => {
                    count += 1;
                    result = result.and_then(|()| out.write_all(line.as_bytes()));
                }
                Message::Flush(done) => flushes.push(done),
            }
            if count as usize >= QUEUE {
                break;
            }
        }
        let result = result.and_then(|()| out.flush());
        let outcome = match &result {
            Ok(()) => LineOutcome::Written,
            Err(_) => LineOutcome::Dropped,
        };
        metrics.access_lines(outcome, count.into());
        match result {
            Err(error) if !failing => {
                error!(%error, "access log lines are lost: they cannot be written");
                failing = true;
            }
            Err(_) => {}
            Ok(()) => failing = false,
        }
        for done in flushes {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Blocks until the test has gone on.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line() -> Line {
        Line {
            time: timestamp(SystemTime::UNIX_EPOCH),
            trace_id: "01".repeat(16),
            span_id: "02".repeat(8),
            parent_span_id: None,
            correlation_id: Some("order \"7\"\n".to_owned()),
            direction: "outbound",
            client: "shop/cart".to_owned(),
            server: "db:5432".to_owned(),
            method: "GET",
            route: None,
            rpc_method: None,
        }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new().expect("metrics"))
    }

    #[tokio::test]
    async fn a_request_is_one_line_whatever_is_in_it() {
        let (written, metrics) = (Written::default(), metrics());
        let log = AccessLog::to(written.clone(), metrics.clone()).expect("a log");
        log.ended(&line(), Some(502), 0.25, Some("502"));
        log.flush().await;
        let text = String::from_utf8(written.0.lock().expect("a lock").clone()).expect("text");
        let expected = format!(
            "{{\"time\":\"1970-01-01T00:00:00.000000Z\",\"trace_id\":\"{}\",\"span_id\":\"{}\",\
             \"correlation.id\":\"order \\\"7\\\"\\n\",\"direction\":\"outbound\",\"client\":\"shop/cart\",\
             \"server\":\"db:5432\",\"http.request.method\":\"GET\",\"http.response.status_code\":502,\
             \"duration_seconds\":0.25,\"error.type\":\"502\"}}\n",
            "01".repeat(16),
            "02".repeat(8)
        );
        assert_eq!(text, expected);
        let series = String::from_utf8(metrics.render().expect("text")).expect("text");
        assert!(
            series.contains("tracemap_agent_access_log_lines_total{outcome=\"written\"} 1\n"),
            "{series}"
        );
    }

    #[test]
    fn where_lines_cannot_be_written_they_are_dropped_and_counted_and_nobody_waits() {
        let (go_on, stuck) = sync_channel(0);
        let metrics = metrics();
        let log = AccessLog::to(Stuck(stuck), metrics.clone()).expect("a log");
        // One round of the writer and a full queue are taken at most.
        for _ in 0..3 * QUEUE {
            log.ended(&line(), None, 0.0, None);
        }
        let series = String::from_utf8(metrics.render().expect("text")).expect("text");
        let dropped = series
            .lines()
            .find_map(|line| line.strip_prefix("tracemap_agent_access_log_lines_total{outcome=\"dropped\"} "))
            .and_then(|count| count.parse::<usize>().ok());
        assert!(dropped.is_some_and(|count| count >= QUEUE), "{series}");
        drop(go_on);
    }
}
