//! From YAML 1.2 text to the located tree.
//!
//! In: text, from the file or from a variable. Out: the tree, with aliases and merge keys (`<<`) resolved, and a problem for
//! each key that stands twice and each tag. Left out on purpose: several documents, and keys that are no scalars.
//!
//! The tree is built from the parser's events without recursion, and its depth and size are bounded, aliases included: text from
//! outside can neither exhaust the stack nor unfold into more than [`MAX_NODES`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::path::{Step, written};
use crate::problem::{Problem, quoted};
use crate::tree::{Entry, Kind, Node, Origin, Scalar, Value, infer};

/// The largest configuration, in bytes.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// Lists and mappings within each other; a configuration needs about eight.
const MAX_DEPTH: usize = 48;
/// Values in all, each use of an alias counted again.
const MAX_NODES: usize = 200_000;

/// Reads YAML text; empty text is an empty value.
///
/// `variable` is set when the text is an environment variable's: every node then says so instead of a line.
///
/// # Errors
/// The first place where the text is not YAML, or asks for more than the bounds allow: nothing after it can be trusted.
pub(crate) fn parse(
    source: &str,
    text: &str,
    variable: Option<&Arc<str>>,
) -> Result<(Node, Vec<Problem>), Box<Problem>> {
    let mut builder = Builder::new(source, variable);
    if text.len() > MAX_BYTES {
        let message = format!(
            "the configuration has {} bytes, but at most {MAX_BYTES} are read",
            text.len()
        );
        return builder.fatal(&Origin::Absent, message, None);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => builder.event(event, builder.origin(span.start))?,
            Err(error) => {
                let said = error.info().split_whitespace().collect::<Vec<_>>().join(" ");
                let message = format!("this is not YAML: {}", printable(&said));
                return builder.fatal(&builder.origin(*error.marker()), message, None);
            }
        }
    }
    let root = builder
        .root
        .take()
        .unwrap_or_else(|| Node::plain(String::new(), Origin::Absent));
    Ok((root, builder.problems))
}

fn printable(said: &str) -> String {
    said.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

struct Builder<'a> {
    source: &'a str,
    variable: Option<&'a Arc<str>>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    /// Values so far, by which the bound and the size of anchored values are counted.
    nodes: usize,
    documents: usize,
    root: Option<Node>,
    problems: Vec<Problem>,
}

/// A list or mapping whose end has not come yet.
struct Open {
    content: Content,
    at: Origin,
    anchor: usize,
    nodes_before: usize,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Origin)>,
    },
}

struct Anchored {
    node: Node,
    size: usize,
}

type Done = Result<(), Box<Problem>>;

impl<'a> Builder<'a> {
    fn new(source: &'a str, variable: Option<&'a Arc<str>>) -> Self {
        Self {
            source,
            variable,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            documents: 0,
            root: None,
            problems: Vec::new(),
        }
    }

    fn origin(&self, mark: Marker) -> Origin {
        match self.variable {
            Some(name) => Origin::Variable(Arc::clone(name)),
            None => Origin::File {
                line: mark.line(),
                column: mark.col() + 1,
            },
        }
    }

    fn fatal<T>(&self, at: &Origin, message: String, hint: Option<&str>) -> Result<T, Box<Problem>> {
        let at = match (at, self.variable) {
            (Origin::Absent, Some(name)) => &Origin::Variable(Arc::clone(name)),
            _ => at,
        };
        Err(Box::new(at.problem(
            self.source,
            String::new(),
            message,
            hint.map(str::to_owned),
        )))
    }

    fn event(&mut self, event: Event<'_>, at: Origin) -> Done {
        match event {
            Event::DocumentStart(..) => self.document(&at),
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), at),
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), &at);
                self.begin(Content::List(Vec::new()), anchor, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), &at);
                self.begin(
                    Content::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                    anchor,
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, &at),
            _ => Ok(()),
        }
    }

    fn document(&mut self, at: &Origin) -> Done {
        self.documents += 1;
        if self.documents > 1 {
            let message = "a second document begins here".to_owned();
            return self.fatal(at, message, Some("keep one, without `---` between them"));
        }
        Ok(())
    }

    /// Reports a tag, unless it only says that the value is text; says whether it does.
    fn tag(&mut self, tag: Option<&Tag>, at: &Origin) -> bool {
        let Some(tag) = tag else { return false };
        let shown = format!("{}{}", tag.handle(), tag.suffix()).replace("tag:yaml.org,2002:", "!!");
        if shown == "!!str" || shown == "!" {
            return true;
        }
        let message = format!("the tag {} means nothing here", quoted(&shown));
        self.problems
            .push(at.problem(self.source, self.path(), message, Some("remove it".to_owned())));
        false
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Origin,
    ) -> Done {
        let is_text = self.tag(tag, &at) || !matches!(style, ScalarStyle::Plain);
        let kind = if is_text { Kind::Text } else { infer(text) };
        let node = Node::new(
            Value::Scalar(Scalar {
                kind,
                written: text.to_owned(),
            }),
            at,
        );
        self.count(1, &node.at)?;
        self.remember(anchor, &node, 1)?;
        self.add(node)
    }

    fn begin(&mut self, content: Content, anchor: usize, at: Origin) -> Done {
        self.bound_depth(1, &at)?;
        self.count(1, &at)?;
        self.open.push(Open {
            content,
            at,
            anchor,
            nodes_before: self.nodes - 1,
        });
        Ok(())
    }

    fn end(&mut self) -> Done {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(self.merged(entries)?),
        };
        let node = Node::new(value, open.at);
        self.remember(open.anchor, &node, self.nodes - open.nodes_before)?;
        self.add(node)
    }

    fn alias(&mut self, anchor: usize, at: &Origin) -> Done {
        let Some(found) = self.anchors.get(&anchor) else {
            return self.fatal(
                at,
                "this alias stands inside the value that it repeats".to_owned(),
                None,
            );
        };
        let (node, size) = (found.node.clone(), found.size);
        self.bound_depth(depth(&node), at)?;
        self.count(size, at)?;
        self.add(node)
    }

    /// Keeps a value that has an anchor; the parser numbers anchors from 1.
    fn remember(&mut self, anchor: usize, node: &Node, size: usize) -> Done {
        if anchor > 0 {
            self.count(size, &node.at)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    size,
                },
            );
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: &Origin) -> Done {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!(
                "the configuration has more than {MAX_NODES} values, those of aliases counted each time"
            );
            return self.fatal(at, message, None);
        }
        Ok(())
    }

    fn bound_depth(&self, more: usize, at: &Origin) -> Done {
        if self.open.len() + more > MAX_DEPTH {
            let message = format!("lists and mappings stand more than {MAX_DEPTH} deep in each other");
            return self.fatal(at, message, None);
        }
        Ok(())
    }

    /// Puts a finished value into what is open: as an item, a key, or a key's value.
    fn add(&mut self, node: Node) -> Done {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match (key.take(), node) {
                (Some((key, at)), value) => entries.push(Entry { key, at, value }),
                (
                    None,
                    Node {
                        value: Value::Scalar(scalar),
                        at,
                        ..
                    },
                ) => *key = Some((scalar.written, at)),
                (None, node) => {
                    let message = format!("a key must be text, but here it is {}", node.describe());
                    return self.fatal(&node.at, message, None);
                }
            },
        }
        Ok(())
    }

    /// The entries of a mapping without keys that stand twice, and with those that `<<` brings.
    fn merged(&mut self, all: Vec<Entry>) -> Result<Vec<Entry>, Box<Problem>> {
        let mut entries: Vec<Entry> = Vec::with_capacity(all.len());
        let mut lines = BTreeMap::new();
        let mut merges = Vec::new();
        for entry in all {
            if let Some(first) = lines.get(&entry.key) {
                self.twice(&entry, *first);
                continue;
            }
            let line = if let Origin::File { line, .. } = entry.at {
                Some(line)
            } else {
                None
            };
            lines.insert(entry.key.clone(), line);
            if entry.key == "<<" {
                merges.push(entry.value);
            } else {
                entries.push(entry);
            }
        }
        let mut present: BTreeSet<String> = lines.into_keys().collect();
        for node in merges {
            let sources = match node.value {
                Value::List(items) => items,
                _ => vec![node],
            };
            for source in sources {
                let Value::Map(more) = source.value else {
                    let message = format!("`<<` repeats a mapping, but here it is {}", source.describe());
                    return self.fatal(&source.at, message, None);
                };
                entries.extend(more.into_iter().filter(|e| present.insert(e.key.clone())));
            }
        }
        Ok(entries)
    }

    fn twice(&mut self, entry: &Entry, first: Option<usize>) {
        let mut steps = self.steps();
        let within = if steps.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", written(&steps))
        };
        steps.push(Step::Key(entry.key.clone()));
        let message = format!("key {} stands twice{within}", quoted(&entry.key));
        let hint = first.map(|line| format!("it stands in line {line} already"));
        self.problems
            .push(entry.at.problem(self.source, written(&steps), message, hint));
    }

    fn path(&self) -> String {
        written(&self.steps())
    }

    fn steps(&self) -> Vec<Step> {
        let step = |open: &Open| match &open.content {
            Content::List(items) => Some(Step::Index(items.len())),
            Content::Map { key, .. } => key.as_ref().map(|(key, _)| Step::Key(key.clone())),
        };
        self.open.iter().filter_map(step).collect()
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}
