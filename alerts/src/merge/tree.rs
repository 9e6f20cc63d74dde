//! A YAML file as a tree that knows its lines.
//!
//! In: text. Out: mappings and lists with the line each value begins in, or where the text is no YAML.
//! Left out on purpose: what scalars mean, and what an alias stands for; neither changes where a text may be extended.
//! The tree is built without recursion and its depth is bounded, so that no file exhausts the stack.

use std::ops::RangeInclusive;

use serde_yaml::granit_parser::{Event, Parser, StructureStyle};

use super::MergeError;

/// Lists and mappings within each other; Alertmanager's own routes need two for each level.
const MAX_DEPTH: usize = 64;

/// Lines, counted from 1.
pub(super) type Lines = RangeInclusive<usize>;

pub(super) struct Node {
    /// Where the value begins, counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
    /// Written as `[…]` or `{…}`.
    pub(super) inline: bool,
}

pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// The number of the anchor that it repeats.
    Alias(usize),
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, MergeError> {
    let mut building = Building::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| MergeError::Yaml {
            line: error.marker().line(),
            said: error.info().split_whitespace().collect::<Vec<_>>().join(" "),
        })?;
        building.event(event, span.start.line())?;
    }
    building.root.ok_or(MergeError::Empty)
}

#[derive(Default)]
struct Building {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A list or mapping whose end has not come; a mapping's keys and values stand one after another.
struct Open {
    line: usize,
    inline: bool,
    is_map: bool,
    items: Vec<Node>,
}

impl Building {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), MergeError> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(MergeError::SecondDocument { line });
                }
            }
            Event::SequenceStart(style, ..) => self.begin(line, style, false)?,
            Event::MappingStart(style, ..) => self.begin(line, style, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.add(open.closed());
                }
            }
            Event::Scalar(text, ..) => self.add(Node {
                line,
                value: Value::Scalar(text.into_owned()),
                inline: false,
            }),
            Event::Alias(anchor) => self.add(Node {
                line,
                value: Value::Alias(anchor),
                inline: false,
            }),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, style: StructureStyle, is_map: bool) -> Result<(), MergeError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(MergeError::TooDeep { line });
        }
        self.open.push(Open {
            line,
            inline: matches!(style, StructureStyle::Flow),
            is_map,
            items: Vec::new(),
        });
        Ok(())
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
    }
}

impl Open {
    fn closed(self) -> Node {
        let value = if self.is_map {
            let mut items = self.items.into_iter();
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            Value::Map(pairs.collect())
        } else {
            Value::List(self.items)
        };
        Node {
            line: self.line,
            value,
            inline: self.inline,
        }
    }
}

impl Node {
    /// The key and the value of an entry of a mapping.
    pub(super) fn entry(&self, name: &str) -> Option<(&Node, &Node)> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let found = entries.iter().find(|(key, _)| key.text() == Some(name));
        found.map(|(key, value)| (key, value))
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_within(&self, lines: &Lines) -> bool {
        lines.contains(&self.line)
    }

    /// A key of this mapping that stands twice, with the line of the second.
    pub(super) fn twice(&self) -> Option<(&str, usize)> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let mut seen = std::collections::BTreeSet::new();
        let named = entries
            .iter()
            .filter_map(|(key, _)| Some((key.text()?, key.line)));
        named.into_iter().find(|(name, _)| !seen.insert(*name))
    }

    /// Everything that the tree says but for lines, and but for what begins in `without`.
    pub(super) fn told(&self, without: &[Lines]) -> String {
        let mut out = String::new();
        self.tell(without, &mut out);
        out
    }

    fn tell(&self, without: &[Lines], out: &mut String) {
        use std::fmt::Write as _;
        let left_out = |node: &Node| without.iter().any(|lines| node.is_within(lines));
        match &self.value {
            Value::Scalar(text) => {
                let _ = write!(out, "{text:?} ");
            }
            Value::Alias(anchor) => {
                let _ = write!(out, "*{anchor} ");
            }
            Value::List(items) => {
                out.push('[');
                items
                    .iter()
                    .filter(|item| !left_out(item))
                    .for_each(|item| item.tell(without, out));
                out.push(']');
            }
            Value::Map(entries) => {
                out.push('{');
                for (key, value) in entries.iter().filter(|(key, _)| !left_out(key)) {
                    key.tell(without, out);
                    value.tell(without, out);
                }
                out.push('}');
            }
        }
    }
}
