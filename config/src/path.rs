//! Paths of keys: `agent.inbound[0].listen`.
//!
//! In: steps on the way down. Out: text for people, and [`Step`]s to find the node again.
//! Left out on purpose: reading paths from text; the tree is walked and compared instead.

use std::fmt;

/// One step down: a key of a mapping or an item of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a node, linked upwards so that walking allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Borrowed<'a>,
}

#[derive(Clone, Copy)]
enum Borrowed<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path {
        above: None,
        step: Borrowed::Root,
    };

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            above: Some(self),
            step: Borrowed::Key(key),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            above: Some(self),
            step: Borrowed::Index(index),
        }
    }

    /// The steps from the root.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = self.above.map(Path::steps).unwrap_or_default();
        match self.step {
            Borrowed::Root => {}
            Borrowed::Key(key) => steps.push(Step::Key(key.to_owned())),
            Borrowed::Index(index) => steps.push(Step::Index(index)),
        }
        steps
    }

    /// `` in `agent.inbound[0]` ``, or nothing at the top of the file.
    pub(crate) fn within(&self) -> String {
        match self.step {
            Borrowed::Root => String::new(),
            _ => format!(" in `{self}`"),
        }
    }

    /// The path in backticks, or what the root is called.
    pub(crate) fn named(&self) -> String {
        match self.step {
            Borrowed::Root => "the configuration".to_owned(),
            _ => format!("`{self}`"),
        }
    }
}

/// The path that the steps make, as text.
pub(crate) fn written(steps: &[Step]) -> String {
    fn extend(path: &Path<'_>, steps: &[Step]) -> String {
        match steps {
            [] => path.to_string(),
            [Step::Key(key), rest @ ..] => extend(&path.key(key), rest),
            [Step::Index(index), rest @ ..] => extend(&path.index(*index), rest),
        }
    }
    extend(&Path::ROOT, steps)
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.step {
            Borrowed::Root => Ok(()),
            Borrowed::Index(index) => write!(f, "[{index}]"),
            Borrowed::Key(key) => {
                let simple = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-/".contains(c));
                match (simple, self.above.map(|above| above.step)) {
                    (false, _) => write!(f, "[{key:?}]"),
                    (true, None | Some(Borrowed::Root)) => f.write_str(key),
                    (true, Some(_)) => write!(f, ".{key}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_an_operator_would_write_it() {
        let agent = Path::ROOT.key("agent");
        let inbound = agent.key("inbound");
        let item = inbound.index(0);
        assert_eq!(item.key("listen").to_string(), "agent.inbound[0].listen");
        assert_eq!(agent.key("odd.name\n").to_string(), "agent[\"odd.name\\n\"]");
    }
}
