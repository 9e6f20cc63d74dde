//! `tracemap publish mimir`: a namespace of Mimir's ruler in step with the generated rules.
//!
//! In: rule files. Out: each group of them posted where it differs, and groups of ours that are generated no longer
//! removed. Left out on purpose: namespaces other than the one, and in it groups that do not have our names; Alertmanager's
//! configuration, which Mimir takes whole or not at all.
//! Source: Grafana Mimir documentation, "HTTP API", ruler.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use config::HumanDuration;
use http::{HeaderName, Method, StatusCode};
use serde_json::Value;

use super::Source;
use super::http::{Address, Answer, HttpError, Server, segment};
use crate::Failure;

/// Below it is the ruler's configuration.
const RULES: &str = "/prometheus/config/v1/rules";
/// What names of our groups begin with.
const OURS: &str = "tracemap-";

/// Rules of a group at most: the default of `ruler_max_rules_per_rule_group`.
const MOST_RULES: usize = 20;

/// Arguments of `tracemap publish mimir`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Mimir's address, with the path below which it is served
    #[arg(long)]
    url: String,
    /// The tenant, sent as `X-Scope-OrgID`
    #[arg(long)]
    tenant: Option<String>,
    /// A file with a bearer token, for a Mimir behind a gateway that asks for one
    #[arg(long)]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// The namespace of the rules; groups of others in it stay
    #[arg(long, default_value = "tracemap")]
    namespace: String,
    /// Shows what would change and writes nothing; exit 1 where something would
    #[arg(long)]
    dry_run: bool,
    /// PEM file of the authorities that Mimir's certificate must lead to. Default: those of this host
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How long Mimir may be away before this gives up
    #[arg(long, default_value = "2m")]
    wait: HumanDuration,
}

/// A group of rules as data, and by its name.
type Groups = BTreeMap<String, Value>;

/// What is to be done with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Change,
    Remove,
}

/// Publishes, and says what became of each group.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (files, _) = args.source.read_of("alerts/rules", "yaml")?;
    let wanted = groups(&files)?;
    let address = Address {
        url: args.url.clone(),
        token_file: args.token_file.clone(),
        header: args
            .tenant
            .as_ref()
            .map(|tenant| (HeaderName::from_static("x-scope-orgid"), tenant.clone())),
        ca: args.ca.clone(),
        patience: args.wait.get(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let server = Server::new(address)?;
        publish(&server, &args.namespace, &wanted, args.dry_run).await
    })?;
    for line in &report.lines {
        println!("{line}");
    }
    if report.failed {
        let message = "not everything could be published: the lines above say what is done and what is not";
        return Err(message.into());
    }
    Ok(ExitCode::from(u8::from(args.dry_run && report.changes > 0)))
}

/// What was done or would be, line by line.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
    changes: usize,
    failed: bool,
}

/// The groups of all rule files among `files`.
///
/// # Errors
/// A file that is none, a group without a name or with that of another, and no group at all: everything would go.
fn groups(files: &collector::generate::Artefacts) -> Result<Groups, Failure> {
    let mut found = Groups::new();
    for (file, text) in files.iter().filter(|(file, _)| file.starts_with("alerts/rules/")) {
        let content: Value =
            serde_yaml::from_str(text).map_err(|error| format!("`{file}` is no rule file: {error}"))?;
        let list = content.get("groups").and_then(Value::as_array);
        for group in list.ok_or_else(|| format!("`{file}` is no rule file: it has no `groups`"))? {
            let name = group.get("name").and_then(Value::as_str);
            let name = name
                .ok_or_else(|| format!("`{file}` has a group without a name"))?
                .to_owned();
            for (name, part) in parts(&name, group) {
                if found.insert(name.clone(), part).is_some() {
                    return Err(format!("`{file}` has the group `{name}` of another file").into());
                }
            }
        }
    }
    if found.is_empty() {
        return Err("there is no group of rules to publish, and all that Mimir has would go".into());
    }
    Ok(found)
}

/// A group, or where it has more rules than a ruler takes, its rules in order in several: a later one sees what an earlier one
/// recorded up to an interval before. The first keeps the name.
fn parts(name: &str, group: &Value) -> Vec<(String, Value)> {
    let rules = group.get("rules").and_then(Value::as_array);
    let Some(rules) = rules.filter(|rules| rules.len() > MOST_RULES) else {
        return vec![(name.to_owned(), group.clone())];
    };
    let part = |(number, rules): (usize, &[Value])| {
        let name = match number {
            0 => name.to_owned(),
            more => format!("{name}-{}", more + 1),
        };
        let mut part = group.clone();
        part["name"] = Value::from(name.as_str());
        part["rules"] = Value::from(rules.to_vec());
        (name, part)
    };
    rules.chunks(MOST_RULES).enumerate().map(part).collect()
}

/// Brings the namespace in step; with `dry_run` only says what would be done.
///
/// # Errors
/// Where Mimir could not be looked at: nothing was changed then. What goes wrong later is in the report.
async fn publish(
    server: &Server,
    namespace: &str,
    wanted: &Groups,
    dry_run: bool,
) -> Result<Report, Failure> {
    let there = look(server, namespace).await?;
    let (plan, unchanged) = plan(wanted, &there);
    let mut report = Report {
        changes: plan.len(),
        ..Report::default()
    };
    let mut done = 0;
    for (action, name) in plan {
        let (doing, would) = match action {
            Action::Create => ("create", "create"),
            Action::Change => ("change", "change"),
            Action::Remove => ("remove", "remove"),
        };
        if dry_run {
            report.lines.push(format!("would {would}: group `{name}`"));
            continue;
        }
        // What was to take its place is not there: removed now, its alerts would be nowhere.
        if action == Action::Remove && report.failed {
            report.lines.push(format!(
                "not removed, because of the failure above: group `{name}`"
            ));
            continue;
        }
        match apply(server, namespace, action, &name, wanted.get(&name)).await? {
            Ok(()) => {
                done += 1;
                report.lines.push(format!("{doing}: group `{name}`"));
            }
            Err(said) => {
                report.failed = true;
                report
                    .lines
                    .push(format!("failed to {doing} group `{name}`: {said}"));
            }
        }
    }
    let done = if dry_run {
        String::new()
    } else {
        format!("{done} done, ")
    };
    report.lines.push(format!("{done}{unchanged} unchanged"));
    Ok(report)
}

/// What to do, first what adds, and how many groups are as they should be.
fn plan(wanted: &Groups, there: &Groups) -> (Vec<(Action, String)>, usize) {
    let mut plan = Vec::new();
    let mut unchanged = 0;
    for (name, group) in wanted {
        match there.get(name) {
            None => plan.push((Action::Create, name.clone())),
            Some(found) if canonical(found) != canonical(group) => plan.push((Action::Change, name.clone())),
            Some(_) => unchanged += 1,
        }
    }
    let gone = there
        .keys()
        .filter(|name| name.starts_with(OURS) && !wanted.contains_key(*name));
    plan.extend(gone.map(|name| (Action::Remove, name.clone())));
    (plan, unchanged)
}

/// The groups of the namespace.
async fn look(server: &Server, namespace: &str) -> Result<Groups, Failure> {
    let path = format!("{RULES}/{}", segment(namespace));
    let answer = server.ask(Method::GET, &path, None).await?;
    // What older versions, and Cortex, say of a namespace without rules.
    if answer.status == StatusCode::NOT_FOUND && answer.text.contains("no rule groups found") {
        return Ok(Groups::new());
    }
    if !answer.status.is_success() {
        return Err(format!(
            "nothing was changed: `{}` answers {}",
            server.url(),
            complaint(&answer)
        )
        .into());
    }
    let no_rules = |problem: String| {
        format!(
            "nothing was changed: `{}` answers something else than rules ({problem}): is this Mimir?",
            server.url()
        )
    };
    let content: Value = serde_yaml::from_str(&answer.text).map_err(|error| no_rules(first_line(&error)))?;
    let namespaces = content
        .as_object()
        .ok_or_else(|| no_rules("no mapping".to_owned()))?;
    let groups = namespaces.get(namespace).and_then(Value::as_array);
    let named = |group: &Value| Some((group.get("name")?.as_str()?.to_owned(), group.clone()));
    Ok(groups.into_iter().flatten().filter_map(named).collect())
}

fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Does one thing; what Mimir says against it.
///
/// # Errors
/// Mimir stays away.
async fn apply(
    server: &Server,
    namespace: &str,
    action: Action,
    name: &str,
    group: Option<&Value>,
) -> Result<Result<(), String>, HttpError> {
    let within = format!("{RULES}/{}", segment(namespace));
    let answer = if action == Action::Remove {
        server
            .ask(Method::DELETE, &format!("{within}/{}", segment(name)), None)
            .await?
    } else {
        let yaml = serde_yaml::to_string(&group).expect("what was read from YAML can be written");
        server.ask(Method::POST, &within, Some(&yaml)).await?
    };
    // A removal whose answer was lost, or that somebody else did.
    let is_gone = action == Action::Remove && answer.status == StatusCode::NOT_FOUND;
    Ok(if answer.status.is_success() || is_gone {
        Ok(())
    } else {
        Err(complaint(&answer))
    })
}

/// What was said, and what to do about it.
fn complaint(answer: &Answer) -> String {
    let said = answer.shown();
    let advice = if said.contains("rules per rule group limit") {
        "raise this tenant's limit `ruler_max_rules_per_rule_group` to its default of 20 or above: groups are divided for that"
    } else if said.contains("rule groups limit") {
        "raise this tenant's limit `ruler_max_rule_groups_per_tenant`"
    } else {
        match answer.status.as_u16() {
            401 => {
                "give the tenant by `--tenant`, and a token by `--token-file` where a gateway asks for one"
            }
            403 => "the token or the namespace does not allow it: see `ruler_protected_namespaces`",
            404 => {
                "give the address below which `/prometheus/config/v1/rules` is, and see `ruler.enable-api`"
            }
            _ => return format!("{}: {said}", answer.status),
        }
    };
    format!("{}: {said}: {advice}", answer.status)
}

/// What we write of a group, in one form: Mimir leaves out what is zero, and writes durations in its own way.
fn canonical(group: &Value) -> Value {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let time = |value: &Value, key: &str| {
        let text = text(value, key);
        let duration: Option<HumanDuration> = if text.is_empty() {
            Some(HumanDuration::default())
        } else {
            text.parse().ok()
        };
        duration.map_or(text, |duration| format!("{} ms", duration.get().as_millis()))
    };
    let pairs = |value: &Value, key: &str| value.get(key).cloned().unwrap_or_else(|| serde_json::json!({}));
    let rule = |rule: &Value| {
        serde_json::json!({
            "record": text(rule, "record"), "alert": text(rule, "alert"), "expr": text(rule, "expr"),
            "for": time(rule, "for"), "keep_firing_for": time(rule, "keep_firing_for"),
            "labels": pairs(rule, "labels"), "annotations": pairs(rule, "annotations"),
        })
    };
    let rules = group.get("rules").and_then(Value::as_array);
    let rules: Vec<Value> = rules.into_iter().flatten().map(rule).collect();
    serde_json::json!({ "interval": time(group, "interval"), "rules": rules })
}
