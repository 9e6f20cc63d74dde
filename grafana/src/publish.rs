//! A folder of a running Grafana in step with generated dashboards.
//!
//! In: dashboards, a client, options. Out: what was done with each, or would be. First everything is looked at and
//! planned; then it is done, removals first, so that a title that becomes free can be taken.
//! Left out on purpose: dashboards outside of the folder, and in it whatever lacks our tag or our kind of uid: a copy that
//! somebody made of a generated dashboard has the tag and a uid of Grafana's own, and stays.

mod plan;
mod report;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::api::{self, Saved};
use crate::client::{Client, HttpError, Outage};
use crate::{Dashboard, Files, dashboard};
use plan::{Decision, decide, decide_gone};
pub use report::{Action, Fate, Report, Step};

/// How often a dashboard is looked at again because somebody else saved it meanwhile.
const MOST_RACES: u32 = 5;

/// What to publish into, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder's title; it is made where there is none.
    pub folder: String,
    /// The tag of generated dashboards (`generate.dashboards.tag`).
    pub tag: String,
    /// Also takes dashboards of ours that lie in another folder.
    pub take_over: bool,
    /// How long what is gone stays, marked.
    pub keep_gone: Duration,
    /// Only looks.
    pub dry_run: bool,
    /// The time.
    pub now: SystemTime,
}

/// Nothing was changed, and nothing could be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Files that cannot be published.
    #[error("{}", problems.join("; "))]
    Dashboards {
        /// One for each.
        problems: Vec<String>,
    },
    /// No dashboard to publish.
    #[error(
        "there is no dashboard in the classic schema to publish, and all that Grafana has would go: see \
         `generate.dashboards.schema`"
    )]
    Nothing,
    /// A folder that cannot be.
    #[error("the folder is {folder:?}, but {problem}")]
    Folder {
        /// As written.
        folder: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Several folders that may be meant.
    #[error(
        "Grafana has {count} folders at the top called {folder:?} but for upper and lower case: rename all but one"
    )]
    Ambiguous {
        /// As written.
        folder: String,
        /// How many.
        count: usize,
    },
    /// Grafana could not be looked at.
    #[error("nothing was changed")]
    Look(#[source] HttpError),
}

/// The dashboards among generated files, each fit to be published.
///
/// # Errors
/// All that are not: unreadable ones, two of one uid or of one title (also but for upper and lower case), and such
/// without the tag, which would not be found again.
pub fn dashboards(files: &Files, tag: &str) -> Result<Vec<Dashboard>, PublishError> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for read in dashboard::classic(files) {
        match read {
            Err(error) => problems.push(error.to_string()),
            Ok(dashboard) => {
                let file = &dashboard.file;
                if !uids.insert(dashboard.uid.clone()) {
                    problems.push(format!("`{file}` has the uid `{}` of another", dashboard.uid));
                }
                if !titles.insert(dashboard.title.to_lowercase()) {
                    problems.push(format!("`{file}` has the title {:?} of another", dashboard.title));
                }
                if !dashboard.has_tag(tag) {
                    problems.push(format!(
                        "`{file}` lacks the tag `{tag}` (`generate.dashboards.tag`)"
                    ));
                }
                found.push(dashboard);
            }
        }
    }
    if !problems.is_empty() {
        return Err(PublishError::Dashboards { problems });
    }
    if found.is_empty() {
        Err(PublishError::Nothing)
    } else {
        Ok(found)
    }
}

/// Brings the folder in step with `wanted`; with `dry_run` only says what would be done.
///
/// # Errors
/// Where Grafana could not be looked at: nothing was changed then. What goes wrong later is in the report.
pub async fn publish(
    client: &Client,
    wanted: &[Dashboard],
    options: &Options,
) -> Result<Report, PublishError> {
    crate::settings::check_folder(&options.folder).map_err(|problem| PublishError::Folder {
        folder: options.folder.clone(),
        problem,
    })?;
    let folder = find_folder(client, &options.folder).await?;
    let mut report = look(client, wanted, folder.as_deref(), options)
        .await
        .map_err(PublishError::Look)?;
    report.new_folder = folder.is_none();
    if options.dry_run || report.steps.iter().all(|step| step.fate == Fate::LeftAlone) {
        report.new_folder &= !report.steps.is_empty();
        return Ok(report);
    }
    if let Err(error) = apply(client, wanted, folder, options, &mut report).await {
        report.stop(&error);
    }
    Ok(report)
}

async fn find_folder(client: &Client, title: &str) -> Result<Option<String>, PublishError> {
    let mut found = api::folders(client, title).await.map_err(PublishError::Look)?;
    if found.len() > 1 {
        found.retain(|(_, name)| name == title);
        if found.len() != 1 {
            return Err(PublishError::Ambiguous {
                folder: title.to_owned(),
                count: found.len().max(2),
            });
        }
    }
    Ok(found.pop().map(|(uid, _)| uid))
}

async fn look(
    client: &Client,
    wanted: &[Dashboard],
    folder: Option<&str>,
    options: &Options,
) -> Result<Report, HttpError> {
    let mut report = Report {
        dry_run: options.dry_run,
        folder: options.folder.clone(),
        ..Report::default()
    };
    for dashboard in wanted {
        let found = api::dashboard(client, &dashboard.uid).await?;
        let decision = decide(&dashboard.json, found.as_ref(), folder, options);
        report.note(&dashboard.uid, &dashboard.title, decision);
    }
    let uids: BTreeSet<&str> = wanted.iter().map(|dashboard| dashboard.uid.as_str()).collect();
    let there = match folder {
        Some(folder) => api::tagged(client, folder, &options.tag).await?,
        None => Vec::new(),
    };
    for uid in there
        .iter()
        .filter(|uid| !uids.contains(uid.as_str()) && dashboard::is_generated_uid(uid))
    {
        if let Some(found) = api::dashboard(client, uid).await? {
            let title = found
                .json
                .get("title")
                .and_then(Value::as_str)
                .unwrap_or_default();
            report.note(uid, title, decide_gone(&found, options));
        }
    }
    report
        .steps
        .sort_by(|a, b| (a.action, &a.title, &a.uid).cmp(&(b.action, &b.title, &b.uid)));
    Ok(report)
}

/// Does what is planned, step by step, and notes it.
///
/// # Errors
/// What ends all: Grafana stays away, or does not accept us. The steps say how far it came.
async fn apply(
    client: &Client,
    wanted: &[Dashboard],
    folder: Option<String>,
    options: &Options,
    report: &mut Report,
) -> Result<(), HttpError> {
    let folder = match folder {
        Some(folder) => folder,
        None => make_folder(client, &options.folder).await?,
    };
    for step in report.steps.iter_mut().filter(|step| step.fate == Fate::Planned) {
        let json = wanted
            .iter()
            .find(|dashboard| dashboard.uid == step.uid)
            .map(|dashboard| &dashboard.json);
        let done = match step.action {
            Action::Remove => api::remove(client, &step.uid).await.map(|()| Fate::Done),
            _ => save(client, &step.uid, json, &folder, options).await,
        };
        step.fate = match done {
            Ok(fate) => fate,
            Err(error) if ends_all(&error) => return Err(error),
            Err(error) => Fate::Failed(error.to_string()),
        };
    }
    Ok(())
}

/// A refusal of one dashboard says nothing about the next; these do.
fn ends_all(error: &HttpError) -> bool {
    !matches!(error, HttpError::Refused { .. }) || error.status() == Some(401)
}

async fn make_folder(client: &Client, title: &str) -> Result<String, HttpError> {
    let mut outage = Outage::default();
    for _ in 0..MOST_RACES {
        api::create_folder(client, title, &mut outage).await?;
        if let Some((uid, _)) = api::folders(client, title).await?.pop() {
            return Ok(uid);
        }
    }
    let problem = format!("the folder {title:?} was made and is not among the folders at the top");
    Err(HttpError::Garbled {
        url: client.url().to_owned(),
        problem,
    })
}

/// Saves a dashboard, or marks it as gone where it is not wanted. Each try looks again first, so that a save whose answer
/// was lost is not taken for another's, and another's is not overwritten.
async fn save(
    client: &Client,
    uid: &str,
    wanted: Option<&Value>,
    folder: &str,
    options: &Options,
) -> Result<Fate, HttpError> {
    let (mut outage, mut races) = (Outage::default(), 0);
    loop {
        let found = api::dashboard(client, uid).await?;
        let decision = match (wanted, &found) {
            (Some(json), _) => decide(json, found.as_ref(), Some(folder), options),
            (None, Some(found)) => decide_gone(found, options),
            (None, None) => return Ok(Fate::Done),
        };
        let json = match decision {
            Decision::Unchanged => return Ok(Fate::Done),
            Decision::LeaveAlone(why) => return Ok(Fate::Failed(why)),
            Decision::Remove => return api::remove(client, uid).await.map(|()| Fate::Done),
            Decision::Save { json, .. } => json,
        };
        let version = found.map(|found| found.version);
        match api::save(client, &json, version, folder, &mut outage).await? {
            Saved::Done => return Ok(Fate::Done),
            Saved::Unclear => {}
            Saved::OtherVersion if races < MOST_RACES => races += 1,
            Saved::OtherVersion => {
                return Ok(Fate::Failed(format!(
                    "somebody else saved it each of {MOST_RACES} times that we tried"
                )));
            }
        }
    }
}
