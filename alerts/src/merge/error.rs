//! Why a file cannot be extended.
//!
//! In: the line, the key, the name. Out: one line for an operator, that says what to change.
//! Left out on purpose: the name of the file, which the caller knows.

use std::fmt;

/// Why nothing was merged. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError {
    /// The text is no YAML.
    Yaml {
        /// Where reading ended.
        line: usize,
        /// What the parser said.
        said: String,
    },
    /// More than one document; Alertmanager would read the first alone.
    SecondDocument {
        /// Where the second begins.
        line: usize,
    },
    /// Lists and mappings stand too deep in each other.
    TooDeep {
        /// Where.
        line: usize,
    },
    /// No document, or one that is no mapping.
    Empty,
    /// A section that every configuration has is not there.
    Lacks {
        /// Its name.
        key: &'static str,
    },
    /// A key stands twice.
    Twice {
        /// The key.
        key: String,
        /// Where it stands again.
        line: usize,
    },
    /// A list or mapping in one line, `[…]` or `{…}`, or repeated by an alias: no lines can be put into it.
    Inline {
        /// Its key.
        key: &'static str,
        /// Where.
        line: usize,
    },
    /// A marker of ours without its other half, a second time, or with a name that we do not give.
    Marker {
        /// Where.
        line: usize,
        /// The line, without the space around it.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A receiver or time interval of somebody else has the name of one of ours.
    Name {
        /// The name.
        name: String,
        /// Where.
        line: usize,
    },
    /// The text would no longer say what it said before, or not what we want of it.
    Unsafe {
        /// The section whose lines would do that.
        section: &'static str,
    },
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yaml { line, said } => write!(f, "line {line} is not YAML: {said}"),
            Self::SecondDocument { line } => write!(
                f,
                "a second document begins in line {line}, and Alertmanager reads the first alone: keep one"
            ),
            Self::TooDeep { line } => write!(
                f,
                "lists and mappings stand too deep in each other in line {line}"
            ),
            Self::Empty => f.write_str("there is no mapping in it: give a configuration of Alertmanager"),
            Self::Lacks { key } => write!(
                f,
                "there is no `{key}` in it: give a configuration of Alertmanager"
            ),
            Self::Twice { key, line } => write!(f, "`{key}` stands a second time in line {line}: keep one"),
            Self::Inline { key, line } => write!(
                f,
                "`{key}` in line {line} is not written line by line, so nothing can be put into it: write each item \
                 on lines of its own, lists with `- `, without `[…]`, `{{…}}` and aliases"
            ),
            Self::Marker { line, text, problem } => write!(
                f,
                "`{text}` in line {line} {problem}: remove what is left of our part, it will be made anew"
            ),
            Self::Name { name, line } => {
                write!(
                    f,
                    "`{name}` in line {line} has a name that tracemap gives: call it something else"
                )
            }
            Self::Unsafe { section } => write!(
                f,
                "our `{section}` cannot be put in without changing what else is said there: remove the lines from \
                 `# BEGIN tracemap {section}` to `# END tracemap {section}` if there are any, and write the items of \
                 that list with `- ` right below their key"
            ),
        }
    }
}

impl std::error::Error for MergeError {}
