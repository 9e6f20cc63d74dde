//! A contestant of the collector's part: started, fed, and asked whether it did the work.
//!
//! In: what it is, and spans. Out: CPU, memory, and a failure where a span was not accounted for.
//! Left out on purpose: which contestants there are and in what order they take turns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use map::catalogue as names;

use crate::load::{EDGES_PER_TRACE, SPANS_PER_TRACE};
use crate::peers::Role;
use crate::process::{Contestant, READY_EVERY, free_addresses, until};
use crate::sender::{Sender, Sent};
use crate::{Failure, http, otelcol};

/// `pairing.wait`, and the ticks in which a collector looks for what has waited so long.
const CLOSED_AFTER: Duration = Duration::from_millis(2_600);
/// Longer than any turn's work is left; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A way to read how much CPU a process took so far, in seconds.
pub(crate) type Clock = fn(&Contestant) -> Result<f64, Failure>;

/// What a contestant's page says, and where.
enum Account {
    /// It has none; an acknowledgement is all.
    None,
    Collector(SocketAddr),
    Otelcol(SocketAddr),
}

/// A running contestant.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) process: Contestant,
    pub(crate) grpc: SocketAddr,
    account: Account,
    /// Spans that it acknowledged.
    pub(crate) spans: u64,
    /// Requests sent again because it asked for a pause.
    pub(crate) retries: u64,
}

impl Entry {
    fn new(name: &'static str, process: Contestant, grpc: SocketAddr, account: Account) -> Self {
        Self {
            name,
            process,
            grpc,
            account,
            spans: 0,
            retries: 0,
        }
    }

    pub(crate) fn peer(name: &'static str, role: Role) -> Result<Self, Failure> {
        let (process, [grpc]) = Contestant::peer(role.as_str())?;
        Ok(Self::new(name, process, grpc, Account::None))
    }

    /// The collector with `settings` beside its addresses: lines of YAML within the section `collector`.
    pub(crate) fn collector(
        name: &'static str,
        scratch: &Path,
        settings: &[String],
    ) -> Result<Self, Failure> {
        let (process, grpc, web) = start_collector(scratch, name, settings)?;
        Ok(Self::new(name, process, grpc, Account::Collector(web)))
    }

    pub(crate) fn otelcol(path: &Path, scratch: &Path) -> Result<Self, Failure> {
        let otelcol::Started {
            name,
            process,
            grpc,
            own,
        } = otelcol::start(path, scratch)?;
        Ok(Self::new(name, process, grpc, Account::Otelcol(own)))
    }

    /// Rotel, which decodes, batches and forwards; here into nothing.
    pub(crate) fn rotel(path: &Path, scratch: &Path) -> Result<Self, Failure> {
        let [grpc, http] = free_addresses()?;
        let mut command = Command::new(path);
        command
            .args(["start", "--exporter", "blackhole"])
            .arg(format!("--otlp-grpc-endpoint={grpc}"))
            .arg(format!("--otlp-http-endpoint={http}"))
            .current_dir(scratch);
        let process = Contestant::start(&mut command, &scratch.join("rotel.log"))?;
        Contestant::listening("rotel", grpc)?;
        Ok(Self::new(
            "rotel, forwards to a black hole",
            process,
            grpc,
            Account::None,
        ))
    }

    /// Sends spans; what that took of `cpu`, in seconds, until nothing of them was left to do.
    pub(crate) fn feed(&mut self, sender: &Sender, spans: u64, cpu: Clock) -> Result<(Sent, f64), Failure> {
        let before = cpu(&self.process)?;
        let sent = sender
            .send(self.grpc, spans)
            .map_err(|error| format!("{}: {error}", self.name))?;
        self.took(sent.spans, sent.retries);
        Ok((sent, self.settle(cpu)? - before))
    }

    /// Notes what it acknowledged.
    pub(crate) fn took(&mut self, spans: u64, retries: u64) {
        self.spans += spans;
        self.retries += retries;
    }

    /// Waits until nothing of what it took is left to do; what the clock showed then.
    ///
    /// It is asked afterwards, and seldom: a page of ten thousand edges costs more than many spans do.
    #[expect(
        clippy::disallowed_methods,
        reason = "the state is another process's, and to ask for it would change the figure"
    )]
    pub(crate) fn settle(&self, cpu: Clock) -> Result<f64, Failure> {
        let started = Instant::now();
        loop {
            if self.web().is_some() {
                std::thread::sleep(CLOSED_AFTER);
            }
            let now = cpu(&self.process)?;
            if self.is_done()? {
                return Ok(now);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} did not end its work within {PATIENCE:?}", self.name).into());
            }
        }
    }

    fn is_done(&self) -> Result<bool, Failure> {
        match self.account {
            Account::None => Ok(true),
            Account::Collector(web) => {
                let page = http::get(web, "/metrics")?;
                let mapped = http::sum(&page, names::COLLECTOR_SPANS, r#"outcome="mapped"#);
                let open = http::sum(&page, names::COLLECTOR_TRACES, r#"state="open""#);
                Ok(mapped >= self.spans as f64 && open == 0.0)
            }
            Account::Otelcol(own) => {
                let page = http::get(own, "/metrics")?;
                Ok(http::sum(&page, otelcol::ACCEPTED, "") >= self.spans as f64)
            }
        }
    }

    /// Every span was mapped and every call became a request on an edge; else the figure is of less than the work.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let Some(page) = self.page("/metrics") else {
            return Ok(());
        };
        let page = page?;
        let mapped = http::sum(&page, names::COLLECTOR_SPANS, r#"outcome="mapped"#);
        let edges = http::sum(&page, names::EDGE_REQUESTS, "");
        let (spans, requests) = (
            self.spans as f64,
            (self.spans / SPANS_PER_TRACE * EDGES_PER_TRACE) as f64,
        );
        // Where it had to forget traces early, a half that a pause held up is a call by itself.
        let forgotten = http::sum(&page, names::COLLECTOR_CUT_SHORT, "") * EDGES_PER_TRACE as f64;
        if (spans..=spans).contains(&mapped) && (requests..=requests + forgotten).contains(&edges) {
            return Ok(());
        }
        let name = self.name;
        Err(format!(
            "no figure: of {spans} spans `{name}` mapped {mapped}, of {requests} requests it has {edges} on edges"
        )
        .into())
    }

    /// A page of the collector; `None` for others.
    pub(crate) fn page(&self, path: &str) -> Option<Result<String, Failure>> {
        let web = self.web()?;
        Some(http::get(web, path))
    }

    /// Where the collector's pages are; `None` for others.
    pub(crate) fn web(&self) -> Option<SocketAddr> {
        match self.account {
            Account::Collector(web) => Some(web),
            _ => None,
        }
    }
}

/// Starts the real collector with every setting but its addresses and `settings` at the default; OTLP/gRPC and web page.
pub(crate) fn start_collector(
    scratch: &Path,
    name: &str,
    settings: &[String],
) -> Result<(Contestant, SocketAddr, SocketAddr), Failure> {
    let [grpc, http, web] = free_addresses()?;
    let file =
        |ending: &str| -> PathBuf { scratch.join(format!("{}.{ending}", name.replace([' ', ','], "-"))) };
    let mut text =
        format!("collector:\n  otlp: {{ grpc: {grpc}, http: {http} }}\n  web: {{ listen: {web} }}\n");
    for line in settings {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    std::fs::write(file("yaml"), text)?;
    let process = start_tracemap("collector", &file("yaml"), &file("log"))?;
    let what = "the collector was not ready";
    until(what, web, "/readyz", READY_EVERY, |_| true)?;
    Ok((process, grpc, web))
}

/// Starts the `tracemap` command of this build as `part`; what it logs goes to `log`.
pub(crate) fn start_tracemap(part: &str, config: &Path, log: &Path) -> Result<Contestant, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    command.arg(part).arg("--config").arg(config);
    Contestant::start(&mut command, log)
}
