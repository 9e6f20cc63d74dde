//! A backtest as people and programs read it.
//!
//! In: outcomes. Out: text, or JSON with the same content.
//! Left out on purpose: colours and bars.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::faults::Class;
use super::score::{Score, Verdict, median};
use super::{Outcome, Page};

/// Everything as text.
pub fn text(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let learned = outcome.learning.as_str();
        let _ = writeln!(text, "baselines: {learned}");
        match &outcome.score {
            None => teams(&mut text, outcome),
            Some(score) => scored(&mut text, score),
        }
        if !outcome.tickets.is_empty() {
            let _ = writeln!(text, "\n  tickets, which wake nobody");
            for ticket in &outcome.tickets {
                let _ = writeln!(
                    text,
                    "    {}  {:<28}  {}  team {}",
                    time(ticket.from),
                    ticket.alert,
                    ticket.node,
                    ticket.team
                );
            }
        }
        text.push('\n');
    }
    text
}

fn teams(text: &mut String, outcome: &Outcome) {
    let pages = outcome.pages.len();
    let _ = match pages {
        0 => writeln!(text, "  nobody would have been paged"),
        1 => writeln!(text, "  this page would have gone out"),
        _ => writeln!(text, "  these {pages} pages would have gone to these teams"),
    };
    for page in &outcome.pages {
        let _ = writeln!(text, "    {}", line(page));
    }
}

fn line(page: &Page) -> String {
    let waiting = match page.symptoms.len() {
        0 => String::new(),
        n => format!(", {n} wait for it"),
    };
    format!(
        "{}  for {:>3.0} min  {}  team {}{waiting}",
        time(page.from),
        page.until.saturating_sub(page.from) as f64 / 60e9,
        page.culprit,
        page.team
    )
}

fn scored(text: &mut String, score: &Score) {
    for hit in &score.hits {
        let verdict = match &hit.verdict {
            Verdict::Named(delay) => format!("named after {delay:.0} s"),
            Verdict::StillOpen => "named by a page that was still open".to_owned(),
            Verdict::Other { culprit, followed } => match followed {
                Some(delay) => format!("first page named {culprit}, the right one came after {delay:.0} s"),
                None => format!("first page named {culprit}"),
            },
            Verdict::Silent if hit.class.is_owed() => "silent".to_owned(),
            Verdict::Silent => "silent, as it may be".to_owned(),
        };
        let count =
            |value: Option<f64>, unit: &str| value.map_or("-".to_owned(), |v| format!("{v:.0}{unit}"));
        let _ = writeln!(
            text,
            "  {}  {:<10}  {:<28}  {:<16}  {:>6} calls  {:>5}  {verdict}",
            time(hit.fault.at),
            hit.class.as_str(),
            hit.fault.service,
            hit.fault.kind,
            count(hit.fault.calls.map(|calls| calls as f64), ""),
            count(hit.fault.effect, "x"),
        );
    }
    if score.not_recorded > 0 {
        let _ = writeln!(
            text,
            "  {} labels fall into times without a span",
            score.not_recorded
        );
    }
    figures(text, score);
    for (what, pages) in [
        ("pages during a fault that name another", &score.wrong),
        ("pages on controls", &score.on_controls),
        ("false pages", &score.false_pages),
    ] {
        if !pages.is_empty() {
            let _ = writeln!(text, "\n  {what}");
            for page in pages {
                let _ = writeln!(text, "    {}", line(page));
            }
        }
    }
}

fn figures(text: &mut String, score: &Score) {
    let share = |(n, of): (usize, usize)| {
        let percent = 100.0 * n as f64 / of.max(1) as f64;
        if of == 0 {
            "none to find".to_owned()
        } else {
            format!("{n} of {of} ({percent:.0} %)")
        }
    };
    let chance = &score.chance;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut row = |what: &str, found: String, by_chance: String| {
        let _ = writeln!(text, "    {what:<34}  {found:<22}  {by_chance}");
    };
    row("", String::new(), "by chance".to_owned());
    for class in [Class::Busy, Class::Quiet, Class::Unmeasured] {
        let named = score.named(class);
        if named.1 > 0 {
            let what = format!("first page right, {} faults", class.as_str());
            row(&what, share(named), String::new());
        }
    }
    row("recall", share(score.recalled()), percent(chance.recall));
    row(
        "first page right, where any came",
        share(score.first()),
        percent(chance.first),
    );
    let precision = score.precision().map_or("no page".to_owned(), percent);
    row("precision", precision, percent(chance.precision));
    let delays = score.delays();
    let delay = median(&delays).map_or("-".to_owned(), |median| {
        format!("{median:.0} s, at most {:.0} s", delays.last().unwrap_or(&median))
    });
    row("delay, median", delay, format!("{:.0} s", chance.delay));
    row(
        "pages on controls",
        score.on_controls.len().to_string(),
        String::new(),
    );
    let exposure = &score.exposure;
    let exposed = format!(
        "{} in {:.2} service-weeks",
        score.false_pages.len(),
        exposure.service_weeks
    );
    row("false pages", exposed, format!("{:.1}", chance.false_pages));
    row(
        "watched while healthy",
        format!("{} min x {}", exposure.healthy_minutes, exposure.services),
        String::new(),
    );
}

/// Everything as one JSON object; times are RFC 3339, delays seconds.
pub fn json(outcomes: &[Outcome]) -> Value {
    let all: Vec<Value> = outcomes.iter().map(outcome_json).collect();
    json!({ "backtests": all })
}

fn outcome_json(outcome: &Outcome) -> Value {
    let tickets: Vec<Value> = outcome
        .tickets
        .iter()
        .map(|ticket| {
            json!({
                "alert": ticket.alert, "node": ticket.node, "team": ticket.team,
                "from": time(ticket.from), "until": time(ticket.until),
            })
        })
        .collect();
    json!({
        "baselines": outcome.learning.as_str(),
        "pages": pages_json(&outcome.pages),
        "tickets": tickets,
        "score": outcome.score.as_ref().map(score_json),
    })
}

fn pages_json(pages: &[Page]) -> Vec<Value> {
    let page = |page: &Page| {
        json!({
            "culprit": page.culprit, "team": page.team,
            "from": time(page.from), "until": time(page.until), "symptoms": page.symptoms,
        })
    };
    pages.iter().map(page).collect()
}

fn score_json(score: &Score) -> Value {
    let hits: Vec<Value> = score
        .hits
        .iter()
        .map(|hit| {
            let (verdict, delay, culprit) = match &hit.verdict {
                Verdict::Named(delay) => ("named", Some(*delay), None),
                Verdict::StillOpen => ("still_open", None, None),
                Verdict::Other { culprit, followed } => ("other", *followed, Some(culprit)),
                Verdict::Silent => ("silent", None, None),
            };
            json!({
                "time": time(hit.fault.at), "service": hit.fault.service, "type": hit.fault.kind,
                "calls": hit.fault.calls, "effect": hit.fault.effect, "class": hit.class.as_str(),
                "verdict": verdict, "delay_seconds": delay, "named_first": culprit,
            })
        })
        .collect();
    let of = |(n, of): (usize, usize)| json!({ "count": n, "of": of });
    let (exposure, chance) = (&score.exposure, &score.chance);
    json!({
        "faults": hits,
        "labels_not_recorded": score.not_recorded,
        "recall": of(score.recalled()),
        "first_page_right": of(score.first()),
        "busy_faults_named": of(score.named(Class::Busy)),
        "quiet_faults_named": of(score.named(Class::Quiet)),
        "unmeasured_faults_named": of(score.named(Class::Unmeasured)),
        "precision": score.precision(),
        "delays_seconds": score.delays(),
        "median_delay_seconds": median(&score.delays()),
        "right_pages": score.right,
        "wrong_pages": pages_json(&score.wrong),
        "control_pages": pages_json(&score.on_controls),
        "false_pages": pages_json(&score.false_pages),
        "exposure": {
            "services": exposure.services, "healthy_minutes": exposure.healthy_minutes,
            "service_weeks": exposure.service_weeks,
        },
        "chance": {
            "recall": chance.recall, "first_page_right": chance.first, "precision": chance.precision,
            "false_pages": chance.false_pages, "mean_delay_seconds": chance.delay,
        },
    })
}

fn time(nanos: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(nanos)).to_string()
}
