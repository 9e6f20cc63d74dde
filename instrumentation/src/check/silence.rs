//! Findings that people know of and accept for a time.
//!
//! In: findings, silences, the date. Out: a [`Report`] in which silenced findings stand apart, and what is to be said of silences.
//! Left out on purpose: patterns. A silence is of one finding, or it hides the next one.

use super::date::Date;
use super::settings::Silence;
use super::{Finding, NotChecked, Report, Silenced};

pub(super) fn apply(
    findings: Vec<Finding>,
    not_checked: Vec<NotChecked>,
    silences: &[Silence],
    today: Date,
) -> Report {
    let mut notes = Vec::new();
    for silence in silences {
        let Silence { id, reason, until } = silence;
        let is_found = findings.iter().any(|finding| finding.id == *id);
        let kind = id.split(':').next().unwrap_or_default();
        if let Some(not) = not_checked.iter().find(|not| not.kind == kind) {
            notes.push(format!("silence of `{id}`: not looked for, {}", not.why));
        } else if !is_found {
            notes.push(format!(
                "silence of `{id}`: there is no such finding any more, take the silence out ({reason})"
            ));
        } else if *until < today {
            notes.push(format!(
                "silence of `{id}`: over since {until}, so it is a finding again ({reason})"
            ));
        }
    }
    let holds = |finding: &Finding| {
        let mut of = silences.iter().filter(|silence| silence.id == finding.id);
        of.find(|silence| today <= silence.until)
    };
    let (mut open, mut silenced) = (Vec::new(), Vec::new());
    for finding in findings {
        match holds(&finding) {
            None => open.push(finding),
            Some(silence) => silenced.push(Silenced {
                finding,
                reason: silence.reason.clone(),
                until: silence.until,
            }),
        }
    }
    Report {
        findings: open,
        silenced,
        not_checked,
        notes,
    }
}
