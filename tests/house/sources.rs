//! The sources as text.
//!
//! In: a directory. Out: its Rust files, their headers, and lines of code that reach for the outside world.
//! Left out on purpose: comments, and what stands in a file's tests.

use std::path::{Path, PathBuf};

/// What a function of its arguments does not touch.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "env::var",
    "fs::",
    "process::Command",
    "thread::",
];

/// The two doors of the crate `config`, each named for what it does: its file and a piece of the line.
const DOORS: &[(&str, &str)] = &[
    ("config/src/lib.rs", "std::fs::File::open(path)"),
    ("config/src/env.rs", "std::env::vars_os()"),
];

/// All Rust files below a directory, sorted.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(dir).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", dir.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("a directory entry").path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The `//!` lines with which a file begins.
pub(crate) fn header(file: &Path) -> String {
    read(file)
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lines of code below a directory that name a clock, a socket, a file, a thread or a variable, with their place.
pub(crate) fn impure_lines(dir: &Path) -> Vec<String> {
    let is_test = |file: &Path| file.iter().any(|part| part == "tests" || part == "tests.rs");
    let files = files(dir).into_iter().filter(|file| !is_test(file));
    files
        .flat_map(|file| impure_lines_of(&file.display().to_string(), &read(&file)))
        .collect()
}

fn impure_lines_of(file: &str, text: &str) -> Vec<String> {
    let code = text.lines().take_while(|line| *line != "mod tests {").enumerate();
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let is_door = |line: &str| {
        DOORS
            .iter()
            .any(|(door, piece)| file.ends_with(door) && line.contains(piece))
    };
    let wrong = code
        .filter(|(_, line)| is_code(line) && IMPURE.iter().any(|name| line.contains(name)) && !is_door(line));
    wrong
        .map(|(number, line)| format!("{file}:{}: {}", number + 1, line.trim()))
        .collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", file.display()))
}

#[test]
fn a_clock_in_code_is_found_and_one_in_a_comment_or_a_test_is_not() {
    let text = "// SystemTime::now is the caller's\nlet a = std::time::Instant::now();\nmod tests {\nInstant::now();\n";
    assert_eq!(
        impure_lines_of("x.rs", text),
        ["x.rs:2: let a = std::time::Instant::now();"]
    );
    assert_eq!(
        impure_lines_of(
            "config/src/lib.rs",
            "std::fs::File::open(path)\nstd::fs::read(path)\n"
        )
        .len(),
        1
    );
}
