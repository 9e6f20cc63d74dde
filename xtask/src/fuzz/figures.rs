//! What libFuzzer says at its end, and the page that keeps it.
//!
//! In: its standard error, or the page as it was. Out: figures, and the page as it is.
//! Left out on purpose: running anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one run of a target did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cpu_seconds: u64,
    pub(crate) executions: u64,
    /// Edges of the program that were reached, and how many there are.
    pub(crate) edges: (u64, u64),
    /// Inputs that broke a property, as the file's name.
    pub(crate) findings: Vec<String>,
}

impl Figures {
    /// Reads libFuzzer's standard error.
    pub(crate) fn read(told: &str) -> Self {
        let mut figures = Self::default();
        for line in told.lines() {
            if let Some(executions) = after(line, "stat::number_of_executed_units:") {
                figures.executions = executions;
            } else if line.starts_with('#') {
                figures.edges.0 = after(line, " cov:").unwrap_or(figures.edges.0);
            } else if line.contains("inline 8-bit counters)") {
                figures.edges.1 = after(line, "(").unwrap_or_default();
            } else if let Some((_, path)) = line.split_once("Test unit written to ") {
                figures.findings.push(path.trim().to_owned());
            }
        }
        figures
    }

    /// A row of the page.
    pub(crate) fn row(&self, name: &str, measured: &str) -> String {
        let Self {
            cpu_seconds,
            executions,
            edges: (reached, all),
            findings,
        } = self;
        let findings = findings.len();
        format!("| `{name}` | {cpu_seconds} | {executions} | {reached} | {all} | {findings} | {measured} |")
    }
}

/// The number behind `key`.
fn after(line: &str, key: &str) -> Option<u64> {
    let rest = line.split_once(key)?.1.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// The rows of a page, by target.
pub(crate) fn rows(page: &str) -> BTreeMap<String, String> {
    let name = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    page.lines()
        .filter_map(|row| Some((name(row)?, row.to_owned())))
        .collect()
}

/// The page.
pub(crate) fn markdown(rows: &BTreeMap<String, String>) -> String {
    let mut text = String::from(
        "# Decoders and whatever comes\n\n\
         Claim: no bytes from outside make a decoder panic, hang or take memory without bound, and what each target of\n\
         [fuzz](../../fuzz/README.md) says must hold does.\n\n\
         Measured by\n\n```sh\ncargo xtask proof fuzz [TARGET…] [--seconds 600]\n```\n\n\
         which runs one target after the other on one core, with overflow checks and debug assertions on, and puts its row here. Each\n\
         run goes on from the inputs that earlier ones kept. A run ends at its first finding. Edges are those of the whole program\n\
         with its libraries, most of which no input of that target can reach; they say whether a longer run got further.\n\n\
         | target | CPU s | executions | edges reached | of | findings | measured |\n|---|---:|---:|---:|---:|---:|---|\n",
    );
    for row in rows.values() {
        let _ = writeln!(text, "{row}");
    }
    text.push_str(
        "\nWhat was found on the way stands in the table at the end of [fuzz/README.md](../../fuzz/README.md), each with its test.\n\n\
         What this does not show: that longer runs find nothing; sockets and framing, which are hyper's, tonic's and the agent's\n\
         proxies; threads, since each input is worked on by one or waits for the other.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "INFO: Loaded 1 modules   (67890 inline 8-bit counters): 67890 [0x1, 0x2), \n\
        #2\tINITED cov: 17 ft: 18 corp: 1/1b exec/s: 0 rss: 40Mb\n\
        #4096\tpulse  cov: 1234 ft: 5000 corp: 80/9Kb lim: 43 exec/s: 2048 rss: 50Mb\n\
        SUMMARY: libFuzzer: deadly signal\n\
        artifact_prefix='artifacts/x/'; Test unit written to artifacts/x/crash-00ff\n\
        stat::number_of_executed_units: 4100\n";

    fn figures() -> Figures {
        Figures {
            cpu_seconds: 0,
            executions: 4100,
            edges: (1234, 67890),
            findings: vec!["artifacts/x/crash-00ff".to_owned()],
        }
    }

    #[test]
    fn what_the_fuzzer_says_at_its_end_is_read() {
        assert_eq!(Figures::read(TOLD), figures());
        assert_eq!(Figures::read("Killed"), Figures::default());
    }

    #[test]
    fn a_row_replaces_that_of_its_target_and_no_other() {
        let mut first = rows(&markdown(&BTreeMap::from([
            ("a".to_owned(), Figures::default().row("a", "yesterday")),
            ("b".to_owned(), Figures::default().row("b", "yesterday")),
        ])));
        first.insert("b".to_owned(), figures().row("b", "today"));
        let page = markdown(&first);
        assert!(page.contains("| `a` | 0 | 0 | 0 | 0 | 0 | yesterday |"), "{page}");
        assert!(
            page.contains("| `b` | 0 | 4100 | 1234 | 67890 | 1 | today |"),
            "{page}"
        );
        assert_eq!(rows(&page), first);
    }
}
