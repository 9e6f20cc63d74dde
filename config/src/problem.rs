//! What is wrong with a configuration, in the operator's words.
//!
//! In: a place (file and line, or an environment variable), a key's path and what is wrong there.
//! Out: [`ConfigErrors`], one line for each problem, ready for a terminal or a log.
//! Left out on purpose: excerpts of the file. The line number leads there, and a value may be a secret's neighbour.

use std::fmt;

/// The longest value an error repeats, in characters; the rest is cut and marked with `…`.
const LONGEST_VALUE: usize = 80;

/// One thing an operator has to change.
///
/// Displayed on one line, with the variable's name in front where the value came from the environment:
///
/// ```text
/// tracemap.yaml:4: unknown key `lisen` in `agent.inbound[0]`: did you mean `listen`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it, or the environment variable that holds the value.
    pub source: String,
    /// The key, such as `agent.inbound[0].listen`; empty for the file as a whole.
    pub path: String,
    /// Line in the file, from 1; `None` where the problem has no place in a file.
    pub line: Option<usize>,
    /// Column in the line in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, naming the key and the value as written.
    pub message: String,
    /// What would be right, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

/// Every problem of one configuration, those of the file first and by line, then those of the environment.
///
/// Never empty when it comes from this crate. [`fmt::Display`] writes one line for each, without a final line break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The problems in the order they are displayed.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| {
            let key = |p: &Problem| (p.line.is_none(), p.line, p.column);
            key(a).cmp(&key(b)).then_with(|| a.source.cmp(&b.source))
        });
        problems.dedup();
        Self { problems }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Something a loaded configuration says that its types allow but the program cannot do.
///
/// A caller's own check returns these; [`crate::Loader::load_checked`] adds the line of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key, written as in [`Problem::path`]; a key that is not in the file takes the line of its nearest parent.
    pub path: String,
    /// What is wrong, naming the value as written.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// A value as an error repeats it: in backticks, control characters escaped, cut after 80 characters.
pub(crate) fn quoted(value: &str) -> String {
    let mut out = String::from("`");
    for (count, ch) in value.chars().enumerate() {
        if count == LONGEST_VALUE {
            out.push('…');
            break;
        }
        if ch.is_control() {
            out.extend(ch.escape_default());
        } else {
            out.push(ch);
        }
    }
    out.push('`');
    out
}

/// The known name that a mistyped one most likely means, as a hint; a short list of all known ones where none is near.
pub(crate) fn nearest_hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(written, known.iter().copied()) {
        return Some(did_you_mean(near));
    }
    known.sort_unstable();
    known.dedup();
    let list = known
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    (!known.is_empty() && known.len() <= 12).then(|| format!("known here: {list}"))
}

pub(crate) fn did_you_mean(near: &str) -> String {
    format!("did you mean `{near}`?")
}

/// The nearest of `known` within a third of the word's length in edits; case, `_` and `-` do not count.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(written);
    let allowed = (folded.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&folded, &fold(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Longer names than this are no typing mistake; the edit distance is quadratic, so they are cut.
fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .take(128)
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_ignores_case_and_separators() {
        assert_eq!(nearest("dataDir", ["data_dir", "otlp"]), Some("data_dir"));
        assert_eq!(nearest("lisen", ["upstream", "listen"]), Some("listen"));
        assert_eq!(nearest("colour", ["listen"]), None);
    }

    #[test]
    fn a_value_is_repeated_without_its_control_characters_and_not_for_ever() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), 83);
    }
}
