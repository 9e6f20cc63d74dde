//! What to do with one dashboard.
//!
//! In: what is wanted and what Grafana has. Out: a decision, with what differs.
//! Left out on purpose: doing it.

use serde_json::Value;

use super::Options;
use super::report::Action;
use crate::api::Found;
use crate::dashboard::tags;
use crate::difference::differences;
use crate::gone;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    Unchanged,
    Save {
        action: Action,
        json: Value,
        differences: Vec<String>,
    },
    Remove,
    /// Why.
    LeaveAlone(String),
}

/// About a dashboard that is wanted. `folder` is ours, if there is one yet.
pub(super) fn decide(
    wanted: &Value,
    found: Option<&Found>,
    folder: Option<&str>,
    options: &Options,
) -> Decision {
    let Some(found) = found else {
        return Decision::Save {
            action: Action::Create,
            json: wanted.clone(),
            differences: Vec::new(),
        };
    };
    if let Some(why) = not_ours(found, options) {
        return Decision::LeaveAlone(why);
    }
    let elsewhere = folder != Some(found.folder_uid.as_str());
    if elsewhere && !options.take_over {
        let place = if found.folder_uid.is_empty() {
            "outside of folders".to_owned()
        } else {
            format!("in the folder {:?}", found.folder_title)
        };
        return Decision::LeaveAlone(format!("it lies {place}: move it back, or give `--take-over`"));
    }
    let mut differences = differences(&found.json, wanted);
    if elsewhere {
        differences.insert(
            0,
            format!("~ folder: {:?} -> {:?}", found.folder_title, options.folder),
        );
    }
    if differences.is_empty() {
        return Decision::Unchanged;
    }
    Decision::Save {
        action: Action::Update,
        json: wanted.clone(),
        differences,
    }
}

/// About a dashboard of ours in our folder that is wanted no longer.
pub(super) fn decide_gone(found: &Found, options: &Options) -> Decision {
    if let Some(why) = not_ours(found, options) {
        return Decision::LeaveAlone(why);
    }
    if options.keep_gone.is_zero() || gone::is_over(&found.json, options.keep_gone, options.now) {
        return Decision::Remove;
    }
    let marked = gone::mark(found.json.clone(), options.now);
    if marked == found.json {
        return Decision::Unchanged;
    }
    Decision::Save {
        action: Action::MarkGone,
        json: marked,
        differences: Vec::new(),
    }
}

fn not_ours(found: &Found, options: &Options) -> Option<String> {
    if found.provisioned {
        return Some("it is provisioned, and only its file or operator can change it".to_owned());
    }
    if !tags(&found.json).any(|tag| tag == options.tag) {
        return Some(format!(
            "it lacks the tag `{}`: somebody made it theirs",
            options.tag
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::{Duration, SystemTime};

    fn options() -> Options {
        Options {
            folder: "tracemap".to_owned(),
            tag: "tracemap".to_owned(),
            take_over: false,
            keep_gone: Duration::from_hours(24),
            dry_run: false,
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365),
        }
    }

    fn found(tag: &str) -> Found {
        Found {
            json: json!({"title": "Cart", "tags": [tag], "panels": []}),
            version: 3,
            folder_uid: "ours".to_owned(),
            folder_title: "tracemap".to_owned(),
            provisioned: false,
        }
    }

    #[test]
    fn whoever_takes_the_tag_off_keeps_the_dashboard() {
        let (wanted, there) = (found("tracemap").json, found("mine"));
        assert!(matches!(
            decide(&wanted, Some(&there), Some("ours"), &options()),
            Decision::LeaveAlone(_)
        ));
        assert!(matches!(decide_gone(&there, &options()), Decision::LeaveAlone(_)));
    }

    #[test]
    fn a_provisioned_dashboard_is_left_to_its_file() {
        let there = Found {
            provisioned: true,
            ..found("tracemap")
        };
        assert!(matches!(
            decide(&json!({}), Some(&there), Some("ours"), &options()),
            Decision::LeaveAlone(_)
        ));
        assert!(matches!(decide_gone(&there, &options()), Decision::LeaveAlone(_)));
    }

    #[test]
    fn a_dashboard_in_another_folder_is_moved_only_if_told() {
        let there = found("tracemap");
        assert!(matches!(
            decide(&there.json, Some(&there), Some("other"), &options()),
            Decision::LeaveAlone(_)
        ));
        let told = Options {
            take_over: true,
            ..options()
        };
        assert!(matches!(
            decide(&there.json, Some(&there), Some("other"), &told),
            Decision::Save {
                action: Action::Update,
                ..
            }
        ));
        assert_eq!(
            decide(&there.json, Some(&there), Some("ours"), &told),
            Decision::Unchanged
        );
    }

    #[test]
    fn what_is_gone_is_marked_first_then_stays_then_goes() {
        let mut there = found("tracemap");
        let Decision::Save {
            action: Action::MarkGone,
            json,
            ..
        } = decide_gone(&there, &options())
        else {
            panic!("a dashboard that is gone is marked");
        };
        there.json = json;
        assert_eq!(decide_gone(&there, &options()), Decision::Unchanged);
        let later = Options {
            now: options().now + Duration::from_hours(72),
            ..options()
        };
        assert_eq!(decide_gone(&there, &later), Decision::Remove);
        let at_once = Options {
            keep_gone: Duration::ZERO,
            ..options()
        };
        assert_eq!(decide_gone(&found("tracemap"), &at_once), Decision::Remove);
    }
}
