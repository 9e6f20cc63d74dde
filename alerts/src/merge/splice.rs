//! Lines between markers, put in and replaced.
//!
//! In: the lines of a file, and what each section of it should hold of ours. Out: where our lines are, and the text with
//! others in their place. Left out on purpose: what the lines mean.

use std::fmt::Write as _;
use std::ops::Range;

use super::tree::Lines;
use super::{MergeError, Section};

const BEGIN: &str = "# BEGIN tracemap";
const END: &str = "# END tracemap";
const NOTE: &str =
    "# Generated: what stands between these two lines is replaced. The settings of tracemap decide it.";

/// The block of each section, its markers included; `None` where it has none.
///
/// # Errors
/// A marker without its other half, within another block, a second time, or with a name that is no section's.
pub(super) fn blocks(lines: &[&str], sections: &[Section]) -> Result<Vec<Option<Lines>>, MergeError> {
    let mut found: Vec<Option<Lines>> = sections.iter().map(|_| None).collect();
    let mut open: Option<(usize, usize)> = None;
    for (at, text) in lines.iter().enumerate() {
        let (line, text) = (at + 1, text.trim());
        let wrong = |problem| MergeError::Marker {
            line,
            text: text.to_owned(),
            problem,
        };
        let named = |name: &str| {
            let section = sections.iter().position(|section| section.key == name.trim());
            section.ok_or_else(|| wrong("names no part of ours"))
        };
        if let Some(name) = text.strip_prefix(BEGIN) {
            let section = named(name)?;
            if open.is_some() {
                return Err(wrong("stands within another of our parts"));
            }
            if found[section].is_some() {
                return Err(wrong("stands a second time"));
            }
            open = Some((section, line));
        } else if let Some(name) = text.strip_prefix(END) {
            let section = named(name)?;
            match open.take() {
                Some((begun, from)) if begun == section => found[section] = Some(from..=line),
                _ => return Err(wrong("has no beginning")),
            }
        }
    }
    match open {
        Some((section, line)) => Err(MergeError::Marker {
            line,
            text: format!("{BEGIN} {}", sections[section].key),
            problem: "has no end",
        }),
        None => Ok(found),
    }
}

/// The first line after `line` that is neither empty nor a comment, where it begins an item of a list.
pub(super) fn first_item<'a>(lines: &[&'a str], line: usize) -> Option<&'a str> {
    let first = lines.iter().skip(line).find(|text| is_content(text))?;
    first.trim_start().starts_with('-').then_some(first)
}

/// How many lines stand before the comment of the key in the line after `before`. A comment that begins the file is
/// the file's, and one with our marker ends a block.
pub(super) fn above_its_comment(lines: &[&str], before: usize, blocks: &[Option<Lines>]) -> usize {
    let is_free = |line: usize| !blocks.iter().flatten().any(|block| block.contains(&line));
    let is_its = |line: &usize| {
        let text = lines.get(line - 1).map_or("", |text| text.trim_start());
        text.starts_with('#') && is_free(*line)
    };
    let comment = (1..=before).rev().take_while(is_its).count();
    if comment == before {
        before
    } else {
        before - comment
    }
}

/// The spaces that a line begins with.
pub(super) fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(' ').len()]
}

fn is_content(line: &str) -> bool {
    let text = line.trim();
    !text.is_empty() && !text.starts_with('#')
}

/// Changes to lines, and the lines that they give.
pub(super) struct Edits<'a> {
    lines: &'a [&'a str],
    /// Which lines go, counted from 0, and what comes instead; in the order of the sections.
    changes: Vec<(Range<usize>, &'static str, String)>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(lines: &'a [&'a str]) -> Self {
        Self {
            lines,
            changes: Vec::new(),
        }
    }

    /// Puts a block in after so many lines; `with_key` makes it a list of its own.
    pub(super) fn insert(&mut self, section: &Section, after: usize, indent: &str, with_key: bool) {
        let neighbour = after
            .checked_sub(1)
            .or(Some(after))
            .and_then(|at| self.lines.get(at));
        let text = block(section, indent, with_key, end_of(neighbour));
        self.changes.push((after..after, section.key, text));
    }

    /// Replaces a block in its shape: as far in as its content is, with the key where it has the key. It goes where
    /// the section has nothing of ours.
    pub(super) fn replace(&mut self, section: &Section, lines: &Lines) {
        let range = lines.start() - 1..*lines.end();
        let within = self.lines.get(range.clone()).unwrap_or_default();
        let content = within.iter().find(|line| is_content(line)).or(within.first());
        let content = content.copied().unwrap_or_default();
        let with_key = content.trim_start().starts_with(&format!("{}:", section.key));
        let text = if section.count > 0 {
            block(section, indent_of(content), with_key, end_of(within.first()))
        } else {
            String::new()
        };
        self.changes.push((range, section.key, text));
    }

    /// The text, and which lines of it are ours.
    pub(super) fn applied(mut self) -> (String, Vec<(&'static str, Lines)>) {
        self.changes.sort_by_key(|(range, ..)| (range.start, range.end));
        let (mut text, mut ours, mut line, mut at) = (String::new(), Vec::new(), 0, 0);
        for (range, key, block) in self.changes {
            let kept = self.lines.get(at..range.start).unwrap_or_default();
            text.extend(kept.iter().copied());
            line += kept.len();
            let count = block.matches('\n').count();
            if count > 0 {
                ours.push((key, line + 1..=line + count));
            }
            text.push_str(&block);
            line += count;
            at = range.end;
        }
        let rest = self.lines.get(at..).unwrap_or_default();
        text.extend(rest.iter().copied());
        (text, ours)
    }
}

fn block(section: &Section, indent: &str, with_key: bool, end: &str) -> String {
    let Section { key, items, .. } = section;
    let mut text = format!("{indent}{BEGIN} {key}{end}{indent}{NOTE}{end}");
    if with_key {
        let _ = write!(text, "{indent}{key}:{end}");
    }
    for line in items.lines() {
        let _ = write!(text, "{indent}{line}{end}");
    }
    let _ = write!(text, "{indent}{END} {key}{end}");
    text
}

/// How a line ends, and so do ours beside it.
fn end_of(line: Option<&&str>) -> &'static str {
    if line.is_some_and(|line| line.ends_with("\r\n")) {
        "\r\n"
    } else {
        "\n"
    }
}
