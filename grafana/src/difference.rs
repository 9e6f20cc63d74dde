//! What differs between two dashboards, for people.
//!
//! In: the JSON that is there and the JSON that is wanted. Out: a line per value that differs, with the way to it.
//! Left out on purpose: a way to apply it; dashboards are replaced whole.

use serde_json::Value;

/// A value is shown so far.
const LONGEST_VALUE: usize = 60;
/// What names the items of Grafana's lists, so that one more at the top is not a change of all below.
const NAMES: [&str; 5] = ["title", "name", "refId", "id", "uid"];

/// `+`, `-` or `~`, the way to a value, and the value or both.
pub(crate) fn differences(there: &Value, wanted: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(there), Some(wanted), &mut lines);
    lines
}

fn compare(way: &str, there: Option<&Value>, wanted: Option<&Value>, lines: &mut Vec<String>) {
    match (there, wanted) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                let way = if way.is_empty() {
                    key.clone()
                } else {
                    format!("{way}.{key}")
                };
                compare(&way, a.get(key), b.get(key), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => compare_lists(way, a, b, lines),
        (Some(a), Some(b)) => lines.push(format!("~ {way}: {} -> {}", short(a), short(b))),
        (Some(a), None) => lines.push(format!("- {way}: {}", short(a))),
        (None, Some(b)) => lines.push(format!("+ {way}: {}", short(b))),
        (None, None) => {}
    }
}

fn compare_lists(way: &str, there: &[Value], wanted: &[Value], lines: &mut Vec<String>) {
    let Some((old, new)) = names(there).zip(names(wanted)) else {
        for index in 0..there.len().max(wanted.len()) {
            compare(
                &format!("{way}[{index}]"),
                there.get(index),
                wanted.get(index),
                lines,
            );
        }
        return;
    };
    let all = old.iter().chain(new.iter().filter(|name| !old.contains(name)));
    for name in all {
        let at = |names: &[String], list: &[Value]| {
            names
                .iter()
                .position(|other| other == name)
                .and_then(|index| list.get(index).cloned())
        };
        compare(
            &format!("{way}[{name}]"),
            at(&old, there).as_ref(),
            at(&new, wanted).as_ref(),
            lines,
        );
    }
    let common = |names: &[String], others: &[String]| -> Vec<String> {
        names
            .iter()
            .filter(|name| others.contains(name))
            .cloned()
            .collect()
    };
    if common(&old, &new) != common(&new, &old) {
        lines.push(format!("~ {way}: in another order"));
    }
}

/// A name for each item, if they all have one and no two the same.
fn names(list: &[Value]) -> Option<Vec<String>> {
    NAMES.iter().find_map(|key| {
        let names: Option<Vec<String>> = list
            .iter()
            .map(|item| match item.get(key)? {
                Value::String(text) if !text.is_empty() => Some(format!("{text:?}")),
                Value::Number(number) => Some(format!("{key} {number}")),
                _ => None,
            })
            .collect();
        let names = names?;
        let unlike: std::collections::BTreeSet<_> = names.iter().collect();
        (unlike.len() == names.len()).then_some(names)
    })
}

/// Values within a line; what has parts by its size.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Array(list) if !list.is_empty() => return format!("[{} items]", list.len()),
        Value::Object(object) if !object.is_empty() => {
            let title = NAMES.iter().find_map(|key| object.get(*key)?.as_str());
            return title.map_or_else(
                || format!("{{{} keys}}", object.len()),
                |title| format!("{{{title:?}}}"),
            );
        }
        value => value.to_string(),
    };
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    text.chars().take(LONGEST_VALUE).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_panel_more_and_a_query_changed_are_two_lines() {
        let there = json!({"title": "Cart", "panels": [
            {"title": "a", "targets": [{"refId": "A", "expr": "up"}]}, {"title": "b"}]});
        let wanted = json!({"title": "Cart", "panels": [
            {"title": "new"}, {"title": "a", "targets": [{"refId": "A", "expr": "up == 1"}]}, {"title": "b"}]});
        assert_eq!(
            differences(&there, &wanted),
            [
                r#"~ panels["a"].targets["A"].expr: "up" -> "up == 1""#,
                r#"+ panels["new"]: {"new"}"#,
            ]
        );
        assert!(differences(&there, &there).is_empty());
    }

    #[test]
    fn lists_without_names_are_compared_by_place() {
        let (there, wanted) = (json!({"tags": ["a", "b"]}), json!({"tags": ["a", "c", "d"]}));
        assert_eq!(
            differences(&there, &wanted),
            [r#"~ tags[1]: "b" -> "c""#, r#"+ tags[2]: "d""#]
        );
    }

    #[test]
    fn panels_that_changed_places_differ() {
        let list = |names: [&str; 2]| json!({"p": names.map(|name| json!({"title": name}))});
        assert_eq!(
            differences(&list(["a", "b"]), &list(["b", "a"])),
            ["~ p: in another order"]
        );
    }

    #[test]
    fn long_values_are_cut_and_never_within_a_character() {
        let lines = differences(&json!({"a": 1}), &json!({"a": "ü".repeat(100)}));
        assert_eq!(lines, [format!("~ a: 1 -> \"{}…", "ü".repeat(59))]);
    }
}
