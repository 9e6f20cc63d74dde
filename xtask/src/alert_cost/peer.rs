//! A real Prometheus that scrapes the exporter and evaluates rules.
//!
//! In: rule files, the past. Out: what it tells of itself.
//! Left out on purpose: notifications; there is nobody to notify.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::Exporter;
use crate::agent_process::pause;
use crate::{Failure, output};

/// How long it may take to start or to answer.
const PATIENCE: Duration = Duration::from_mins(2);
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A Prometheus; it ends with the value.
pub(super) struct Peer {
    child: Child,
    address: SocketAddr,
}

/// What it tells of itself.
pub(super) struct Figures {
    pub(super) cpu_seconds: f64,
    pub(super) series: f64,
    pub(super) rules: f64,
    pub(super) last_duration: f64,
    pub(super) missed: f64,
}

impl Peer {
    /// Starts it in a directory of its own, with the past as blocks.
    pub(super) fn start(
        dir: &Path,
        exporter: &Exporter,
        every: Duration,
        rules: &[&str],
        past: Option<&str>,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let data = dir.join("data");
        if let Some(past) = past {
            let text = dir.join("past.txt");
            std::fs::write(&text, past)?;
            let mut promtool = Command::new("promtool");
            output(
                promtool
                    .args(["tsdb", "create-blocks-from", "openmetrics"])
                    .args([&text, &data]),
            )?;
            std::fs::remove_file(&text)?;
        }
        let mut config = format!(
            "global: {{scrape_interval: 15s, scrape_timeout: 14s, evaluation_interval: {}s}}\n\
             scrape_configs: [{{job_name: tracemap, static_configs: [{{targets: ['{}']}}]}}]\nrule_files:\n",
            every.as_secs(),
            exporter.address
        );
        for (number, text) in rules.iter().enumerate() {
            std::fs::write(dir.join(format!("{number}.yaml")), text)?;
            let _ = writeln!(config, "- '{number}.yaml'");
        }
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log"))?)
            .spawn()
            .map_err(|error| {
                format!("cannot run `prometheus` ({error}): install the package of that name")
            })?;
        let mut peer = Self { child, address };
        peer.until_ready(dir)?;
        Ok(peer)
    }

    fn until_ready(&mut self, dir: &Path) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while !self.get("/-/ready").is_ok_and(|answer| answer.contains(" 200 ")) {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                return Err(format!("`prometheus` ended with {status}: {last}").into());
            }
            if Instant::now() > until {
                return Err("`prometheus` was not ready in time".into());
            }
            pause(ASK_EVERY);
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: prometheus\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What it tells of itself now.
    pub(super) fn figures(&self) -> Result<Figures, Failure> {
        let text = self.get("/metrics")?;
        let sum = |name: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let values = lines.filter(|rest| rest.starts_with([' ', '{']));
            values
                .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>()
        };
        if !text.contains("process_cpu_seconds_total ") {
            return Err("`prometheus` tells nothing of its CPU".into());
        }
        Ok(Figures {
            cpu_seconds: sum("process_cpu_seconds_total"),
            series: sum("prometheus_tsdb_head_series"),
            rules: sum("prometheus_rule_group_rules"),
            last_duration: sum("prometheus_rule_group_last_duration_seconds"),
            missed: sum("prometheus_rule_group_iterations_missed_total"),
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
