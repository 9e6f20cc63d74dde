//! Prometheus and Alertmanager before a running `tracemap up`: they scrape its page, and load what it generates.
//!
//! In: where both are. Out: their processes, to be asked and to be restarted.
//! Left out on purpose: what is expected of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Process, Prometheus, free_port, get, until};

/// Longest wait for any one state.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Both, ready.
pub(crate) struct Watch {
    pub(crate) prometheus: Prometheus,
    alertmanager: Option<Process>,
    alertmanager_port: u16,
    alertmanager_args: Vec<String>,
    dir: PathBuf,
    _prometheus: Process,
}

impl Watch {
    /// Starts both in `dir`, for rules below `out` and the page on port `page`.
    pub(crate) async fn start(dir: &Path, out: &Path, page: u16) -> Self {
        let [prometheus, alertmanager] = std::array::from_fn(|_| free_port());
        let text = |path: &Path| path.display().to_string();
        let scrape = dir.join("prometheus.yml");
        std::fs::write(&scrape, config(out, page, prometheus, alertmanager)).unwrap();
        let prometheus_args = [
            format!("--config.file={}", text(&scrape)),
            format!("--storage.tsdb.path={}", text(&dir.join("tsdb"))),
            format!("--web.listen-address=127.0.0.1:{prometheus}"),
        ];
        let alertmanager_args = vec![
            format!("--config.file={}", text(&out.join("alerts/alertmanager.yaml"))),
            format!("--storage.path={}", text(&dir.join("am"))),
            format!("--web.listen-address=127.0.0.1:{alertmanager}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let mut watch = Self {
            prometheus: Prometheus {
                url: format!("http://127.0.0.1:{prometheus}"),
            },
            alertmanager: None,
            alertmanager_port: alertmanager,
            alertmanager_args,
            dir: dir.to_owned(),
            _prometheus: Process::start("prometheus", "prometheus", &prometheus_args, dir),
        };
        ready(prometheus).await;
        watch.restart_alertmanager().await;
        watch
    }

    /// Ends Alertmanager as an upgrade does, and starts it again with what it has stored.
    pub(crate) async fn restart_alertmanager(&mut self) {
        if let Some(running) = self.alertmanager.take() {
            running.terminate();
        }
        let args = &self.alertmanager_args;
        self.alertmanager = Some(Process::start(
            "alertmanager",
            "prometheus-alertmanager",
            args,
            &self.dir,
        ));
        ready(self.alertmanager_port).await;
    }

    /// Waits until the rules were evaluated `times` more.
    pub(crate) async fn evaluations(&self, times: f64) {
        let counted =
            "prometheus_rule_group_iterations_total - prometheus_rule_group_iterations_missed_total";
        let seen = async || self.prometheus.value(&format!("sum({counted})")).await;
        let from = until("the first evaluation", PATIENCE, seen).await;
        until("further evaluations", PATIENCE, async || {
            let now = self.prometheus.value(&format!("sum({counted})")).await?;
            (now >= from + times).then_some(())
        })
        .await;
    }
}

async fn ready(port: u16) {
    let ready = format!("http://127.0.0.1:{port}/-/ready");
    until("Prometheus and Alertmanager", PATIENCE, async || {
        (get(&ready).await?.0 == 200).then_some(())
    })
    .await;
}

fn config(out: &Path, page: u16, prometheus: u16, alertmanager: u16) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}/alerts/rules/*.yaml']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}\n\
         scrape_configs:\n- {{job_name: tracemap, static_configs: [{{targets: ['127.0.0.1:{page}']}}]}}\n\
         - {{job_name: prometheus, static_configs: [{{targets: ['127.0.0.1:{prometheus}']}}]}}\n",
        out.display()
    )
}

/// Short windows, so that a test takes minutes, and a margin above what other work on a shared machine does to every service: the
/// faults are larger. `rest` ends the file.
pub(crate) fn settings(webhook: &str, [grpc, http, page]: [u16; 3], rest: &str) -> String {
    format!(
        "agent:\n  admin: {{listen: '127.0.0.1:0'}}\n\
         collector:\n  otlp: {{grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}'}}\n  web: {{listen: '127.0.0.1:{page}'}}\n  \
         pairing: {{wait: 1s}}\n  baseline: {{learn: 15s, min_requests: 60, margin: 100ms}}\n\
         generate:\n  min_interval: 1s\n  alerts:\n    window: 30s\n    evaluation_interval: 1s\n    page_for: 3s\n    \
         keep_firing_for: 5s\n    notify: {{group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n    \
         receivers: {{page: '{webhook}/page', ticket: '{webhook}/ticket', info: '{webhook}/info'}}\n{rest}"
    )
}
