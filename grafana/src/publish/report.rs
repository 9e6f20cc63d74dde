//! What was done with each dashboard, or would be.
//!
//! In: decisions and how they ended. Out: lines for people.
//! Left out on purpose: exit codes.

use std::fmt;

use super::plan::Decision;
use crate::client::HttpError;

/// A dashboard's differences are told so far unless all are asked for.
const FEW: usize = 12;

/// What is to be done with a dashboard; in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It has been gone for long enough.
    Remove,
    /// It is wanted no longer, and says so from now on.
    MarkGone,
    /// It is another than the generated one.
    Update,
    /// Grafana does not have it.
    Create,
    /// It is not ours to change.
    LeaveAlone,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not yet.
    Planned,
    /// As planned.
    Done,
    /// Nothing is to be done.
    LeftAlone,
    /// It cannot be done, and why.
    Failed(String),
    /// Something else ended all before its turn.
    NotTried,
}

/// One dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is to be done.
    pub action: Action,
    /// Its uid.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// What differs, a line each; or why it is left alone.
    pub details: Vec<String>,
    /// How it ended.
    pub fate: Fate,
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nothing was to be changed.
    pub dry_run: bool,
    /// The folder's title.
    pub folder: String,
    /// It was not there.
    pub new_folder: bool,
    /// Dashboards that are as they should be.
    pub unchanged: usize,
    /// All others.
    pub steps: Vec<Step>,
    /// What ended all early.
    pub stopped: Option<String>,
}

impl Report {
    pub(super) fn note(&mut self, uid: &str, title: &str, decision: Decision) {
        let (action, details, fate) = match decision {
            Decision::Unchanged => {
                self.unchanged += 1;
                return;
            }
            Decision::Save {
                action, differences, ..
            } => (action, differences, Fate::Planned),
            Decision::Remove => (Action::Remove, Vec::new(), Fate::Planned),
            Decision::LeaveAlone(why) => (Action::LeaveAlone, vec![why], Fate::LeftAlone),
        };
        self.steps.push(Step {
            action,
            uid: uid.to_owned(),
            title: title.to_owned(),
            details,
            fate,
        });
    }

    pub(super) fn stop(&mut self, error: &HttpError) {
        self.stopped = Some(error.to_string());
        for step in self.steps.iter_mut().filter(|step| step.fate == Fate::Planned) {
            step.fate = Fate::NotTried;
        }
    }

    /// Whether Grafana was in step before anything was done; what is left alone aside.
    pub fn is_current(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::LeaveAlone)
    }

    /// Whether something was to be done and was not.
    pub fn failed(&self) -> bool {
        let failed = |step: &Step| matches!(step.fate, Fate::Failed(_) | Fate::NotTried);
        self.stopped.is_some() || self.steps.iter().any(failed)
    }

    /// A line per dashboard that is not as it should be, its differences below, and a summary.
    pub fn lines(&self, verbose: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if self.new_folder {
            let (folder, would) = (&self.folder, if self.dry_run { "would be" } else { "is" });
            lines.push(format!("the folder {folder:?} {would} new"));
        }
        for step in &self.steps {
            lines.push(step.to_string());
            let shown = if verbose { step.details.len() } else { FEW };
            if step.action == Action::Update && (self.dry_run || verbose) {
                lines.extend(step.details.iter().take(shown).map(|line| format!("    {line}")));
                let more = step.details.len().saturating_sub(shown);
                if more > 0 {
                    lines.push(format!("    and {more} more values (`--verbose`)"));
                }
            }
        }
        if let Some(stopped) = &self.stopped {
            lines.push(format!("stopped: {stopped}"));
        }
        let count = |fate: fn(&Fate) -> bool| self.steps.iter().filter(|step| fate(&step.fate)).count();
        let summary = [
            (count(|fate| *fate == Fate::Planned), "to do"),
            (count(|fate| *fate == Fate::Done), "done"),
            (count(|fate| matches!(fate, Fate::Failed(_))), "failed"),
            (count(|fate| *fate == Fate::NotTried), "not tried"),
            (count(|fate| *fate == Fate::LeftAlone), "left alone"),
        ];
        let summary = summary
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}, "));
        lines.push(format!(
            "{}{} unchanged",
            summary.collect::<String>(),
            self.unchanged
        ));
        lines
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Remove => "remove",
            Action::MarkGone => "mark as gone",
            Action::Update => "update",
            Action::Create => "create",
            Action::LeaveAlone => "left alone",
        };
        write!(f, "{action}: {:?} ({})", self.title, self.uid)?;
        match (&self.fate, self.action) {
            (Fate::Failed(why), _) => write!(f, ": failed: {why}"),
            (Fate::NotTried, _) => f.write_str(": not tried"),
            (_, Action::LeaveAlone) => write!(f, ": {}", self.details.join("; ")),
            (_, Action::Update) => write!(f, ": {} values", self.details.len()),
            _ => Ok(()),
        }
    }
}
