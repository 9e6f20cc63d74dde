//! Environment variables over the file: `TRACEMAP_COLLECTOR_WEB_LISTEN` is `collector.web.listen`.
//!
//! In: variables, the schema, the tree of the file. Out: the tree with each value in place, and a problem for every
//! `TRACEMAP_…` variable that names nothing. Names are matched against the schema's keys, so an underscore may separate keys or
//! stand in one. A key whose value is a list or a mapping takes YAML: `TRACEMAP_AGENT_INBOUND=[{listen: …}]`.
//! Left out on purpose: items of lists by number, and new names in maps with free names (`services`): a variable cannot say
//! `-` or lower case, so it could only guess the name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::path::{Step, written};
use crate::problem::{Problem, nearest, quoted};
use crate::shape::Schema;
use crate::tree::{Entry, Node, Origin, Value};
use crate::yaml::parse;

/// What every variable of ours begins with.
pub const PREFIX: &str = "TRACEMAP_";

/// Keys within keys; the schema of a type that contains itself would go on for ever.
const MAX_DEPTH: usize = 12;

/// This process's variables that begin with [`PREFIX`], to be passed to [`crate::load`].
///
/// Values that are not UTF-8 are passed with `U+FFFD` in place of the wrong bytes; names that are not are left out.
pub fn process_env() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// A key that a variable can set.
struct Target<'a> {
    steps: Vec<Step>,
    schema: Schema<'a>,
}

/// Puts every variable of ours into the tree; gives the problems. `not_config` are names that mean something else.
pub(crate) fn apply(
    root: &mut Node,
    schema: Schema<'_>,
    env: impl IntoIterator<Item = (String, String)>,
    not_config: &[String],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeMap::new();
    collect(schema, root, &mut Vec::new(), &mut Vec::new(), &mut names);
    let ours = env
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !not_config.contains(name));
    let mut settings = Vec::new();
    for (name, value) in ours {
        match names.get(&name).map(Vec::as_slice) {
            Some([target]) if !(name.ends_with("_PORT") && is_link(&value)) => {
                settings.push((target.steps.len(), name, value, target));
            }
            Some([first, second, ..]) => problems.push(ambiguous(&name, first, second)),
            _ if is_service_link(&name, &value) => {}
            _ => problems.push(unknown(&name, &names, not_config)),
        }
    }
    // A variable for a whole section comes before those for its keys.
    settings.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for (_, name, value, target) in settings {
        set(root, &name.into(), value, target, &mut problems);
    }
    problems
}

/// Gathers every key below `schema` under its variable's name.
fn collect<'a>(
    schema: Schema<'a>,
    node: &Node,
    steps: &mut Vec<Step>,
    above: &mut Vec<*const serde_json::Value>,
    names: &mut BTreeMap<String, Vec<Target<'a>>>,
) {
    let id = schema.resolved().id();
    if above.contains(&id) || above.len() > MAX_DEPTH {
        return;
    }
    above.push(id);
    let keys = schema.keys(true);
    let entries: &[Entry] = match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    };
    let nothing = Node::empty_map();
    let free = keys
        .others
        .into_iter()
        .flat_map(|others| entries.iter().map(move |e| (e.key.as_str(), others)));
    let free = free.filter(|(key, _)| !keys.known.contains_key(key));
    for (key, schema) in keys.known.iter().map(|(key, schema)| (*key, *schema)).chain(free) {
        let below = entries
            .iter()
            .find(|e| e.key == key)
            .map_or(&nothing, |e| &e.value);
        steps.push(Step::Key(key.to_owned()));
        names.entry(variable_name(steps)).or_default().push(Target {
            steps: steps.clone(),
            schema,
        });
        collect(schema, below, steps, above, names);
        steps.pop();
    }
    above.pop();
}

fn variable_name(steps: &[Step]) -> String {
    let words = steps.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let name = words.collect::<Vec<_>>().join("_");
    let upper = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    PREFIX.chars().chain(upper).collect()
}

fn set(root: &mut Node, name: &Arc<str>, text: String, target: &Target<'_>, problems: &mut Vec<Problem>) {
    let at = Origin::Variable(Arc::clone(name));
    let types = target.schema.all_types().unwrap_or_default();
    let structured = types.contains("array") || types.contains("object");
    let value = if structured
        && !text.is_empty()
        && (text.trim_start().starts_with(['[', '{']) || !types.contains("string"))
    {
        match parse(name, &text, Some(name)) {
            Ok((node, found)) => {
                problems.extend(found);
                node
            }
            Err(problem) => return problems.push(*problem),
        }
    } else {
        Node::plain(text, at.clone())
    };
    if let Err(in_the_way) = put(root, &target.steps, value, &at) {
        let path = written(&target.steps);
        let message = format!("cannot set `{path}`: `{}` is not a mapping", written(in_the_way));
        problems.push(at.problem(name, path, message, None));
    }
}

/// Puts `value` where `steps` lead, making mappings on the way; the error is the part of the way that is none.
fn put<'s>(root: &mut Node, steps: &'s [Step], value: Node, at: &Origin) -> Result<(), &'s [Step]> {
    let mut node = root;
    for (depth, step) in steps.iter().enumerate() {
        let Step::Key(key) = step else {
            return Err(&steps[..depth]);
        };
        if node.is_null() {
            node.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut node.value else {
            return Err(&steps[..depth]);
        };
        let index = entries.iter().position(|e| e.key == *key).unwrap_or_else(|| {
            let value = Node::new(Value::Map(Vec::new()), at.clone());
            entries.push(Entry {
                key: key.clone(),
                at: at.clone(),
                value,
            });
            entries.len() - 1
        });
        node = &mut entries[index].value;
    }
    *node = value;
    Ok(())
}

/// `names` are all that a variable could be called; the hint leaves out the prefix that every one of them shares.
fn unknown(name: &str, names: &BTreeMap<String, Vec<Target<'_>>>, not_config: &[String]) -> Problem {
    let rest = |known: &str| known.strip_prefix(PREFIX).unwrap_or(known).to_owned();
    let known: Vec<String> = names.keys().chain(not_config).map(|known| rest(known)).collect();
    let free_names = || {
        let below = |known: &str| name.strip_prefix(known).is_some_and(|rest| rest.starts_with('_'));
        let mut targets = names
            .iter()
            .filter(|(known, _)| below(known))
            .flat_map(|(_, targets)| targets);
        targets.find(|target| target.schema.keys(false).others.is_some())
    };
    let hint = match nearest(&rest(name), known.iter().map(String::as_str)) {
        Some(near) => Some(format!("did you mean `{PREFIX}{near}`?")),
        None => free_names().map(|map| {
            format!(
                "a variable changes only those of `{}` that the file names",
                written(&map.steps)
            )
        }),
    };
    let message = format!("unknown variable {}", quoted(name));
    Problem {
        source: name.to_owned(),
        path: String::new(),
        line: None,
        column: None,
        message,
        hint,
    }
}

fn ambiguous(name: &str, first: &Target<'_>, second: &Target<'_>) -> Problem {
    let (first, second) = (written(&first.steps), written(&second.steps));
    let message = format!("`{name}` could mean `{first}` or `{second}`");
    let hint = Some("set it in the file".to_owned());
    Problem {
        source: name.to_owned(),
        path: String::new(),
        line: None,
        column: None,
        message,
        hint,
    }
}

/// Whether Kubernetes made this variable. It sets such ones in every pod of a namespace for each Service, so for a Service named
/// `tracemap-collector` as well. Source: Kubernetes documentation, "Service", environment variables.
fn is_service_link(name: &str, value: &str) -> bool {
    let after_port = |rest: &str| {
        let mut parts = rest.split('_');
        parts
            .next()
            .is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
            && parts
                .next()
                .is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
            && parts
                .next()
                .is_none_or(|last| matches!(last, "PROTO" | "PORT" | "ADDR"))
            && parts.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_link(value))
        || name
            .match_indices("_PORT_")
            .any(|(at, found)| name.get(at + found.len()..).is_some_and(after_port))
}

/// Whether this is what Kubernetes writes into `…_PORT`: `tcp://10.0.0.1:4317`.
fn is_link(value: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme))
}
