//! Configuration: one YAML file and the environment in, one typed value out, or every problem at once.
//!
//! In: YAML text, `TRACEMAP_…` variables, and a type that serde reads and schemars describes. Out: the value, or
//! [`ConfigErrors`] with a line for each unknown key, missing key and wrong value.
//! Left out on purpose: the sections themselves. Each stands with the part that it configures.
//!
//! A type describes itself with `#[serde(deny_unknown_fields, default)]`, a `Default` and a doc comment per field. Mappings that
//! it describes are closed whether it denies unknown fields or not. `#[serde(alias)]` does not reach the schema: do not use it.
//! An empty section (`agent:`) is that section's defaults. Text takes any scalar as it is written, so `version: 1.20` is `1.20`.

mod check;
mod duration;
mod env;
mod fault;
mod foreign;
mod path;
mod problem;
mod read;
mod shape;
mod size;
mod tree;
mod unit;
mod yaml;

use std::path::Path as FilePath;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use duration::{DurationError, HumanDuration};
pub use env::{PREFIX, process_env};
pub use foreign::Foreign;
pub use problem::{ConfigErrors, Finding, Problem};
pub use size::{ByteSize, SizeError};

use tree::Node;
use yaml::MAX_BYTES;

/// Reads a configuration from YAML text and the environment. `source` names the file in errors.
///
/// Empty text is all defaults. Variables that do not begin with [`PREFIX`] are ignored.
///
/// # Errors
/// Every problem that can be seen at once: text that is not YAML hides all others.
pub fn load<T: DeserializeOwned + JsonSchema>(
    source: &str,
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigErrors> {
    Loader::new(source).load(text, env)
}

/// Reads a configuration from a file and the environment, as [`load`] does.
///
/// # Errors
/// As [`load`]; a file that cannot be read, is larger than 8 MiB or is not UTF-8 is a problem of its own.
pub fn read_file<T: DeserializeOwned + JsonSchema>(
    path: &FilePath,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigErrors> {
    let text = read_text(path)?;
    Loader::new(&path.display().to_string()).load(&text, env)
}

/// The text of a configuration file, for [`Loader::load`].
///
/// # Errors
/// A file that cannot be read, is larger than 8 MiB or is not UTF-8; the last with its line.
pub fn read_text(path: &FilePath) -> Result<String, ConfigErrors> {
    use std::io::Read as _;

    let source = path.display().to_string();
    let failed = |message: String, line: Option<usize>| {
        let problem = Problem {
            source: source.clone(),
            path: String::new(),
            line,
            column: None,
            message,
            hint: None,
        };
        ConfigErrors {
            problems: vec![problem],
        }
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot read the configuration: {error}"), None))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|b| **b == b'\n')
            .count();
        failed(
            "the file is not UTF-8 text: save it as UTF-8".to_owned(),
            Some(line),
        )
    })
}

/// The JSON Schema of a configuration type (draft 2020-12), indented, with a final line break.
///
/// The same type gives the same bytes, so the text can be committed and compared.
pub fn schema<T: JsonSchema>() -> String {
    format!("{:#}\n", schemars::schema_for!(T).as_value())
}

/// [`load`] with more to say: variables that are not configuration, and checks of the caller's own.
#[derive(Debug, Clone)]
pub struct Loader {
    source: String,
    not_config: Vec<String>,
}

impl Loader {
    /// `source` names the file in errors.
    pub fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            not_config: Vec::new(),
        }
    }

    /// Names variables that begin with [`PREFIX`] and are read elsewhere, such as `TRACEMAP_CONFIG`.
    #[must_use]
    pub fn not_config<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.not_config.extend(names.into_iter().map(str::to_owned));
        self
    }

    /// Reads a configuration, as the function [`load`] does.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load<T: DeserializeOwned + JsonSchema>(
        &self,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<T, ConfigErrors> {
        self.load_checked(text, env, |_| Vec::new())
    }

    /// Reads a configuration and asks `check` what its types could not see; findings get the line of their key.
    ///
    /// `check` sees the value even where unknown keys are reported, but not where a value was wrong: it would judge a
    /// default that nobody wrote.
    ///
    /// # Errors
    /// As [`load`], and every finding.
    pub fn load_checked<T: DeserializeOwned + JsonSchema>(
        &self,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
        check: impl FnOnce(&T) -> Vec<Finding>,
    ) -> Result<T, ConfigErrors> {
        let (mut root, mut problems) =
            yaml::parse(&self.source, text, None).map_err(|problem| ConfigErrors {
                problems: vec![*problem],
            })?;
        if root.is_null() {
            root = Node::empty_map();
        }
        let json = schemars::schema_for!(T).to_value();
        let schema = shape::Schema::new(&json);
        problems.extend(env::apply(&mut root, schema, env, &self.not_config));
        let mut walk = check::Check::new(&self.source);
        walk.node(&mut root, schema, &path::Path::ROOT);
        problems.append(&mut walk.problems);
        let (value, found) = read::read::<T>(&self.source, &mut root);
        problems.extend(found);
        if let Some(value) = value.as_ref().filter(|_| !root.misses_something()) {
            problems.extend(
                check(value)
                    .into_iter()
                    .map(|finding| self.locate(&mut root, finding)),
            );
        }
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(ConfigErrors::sorted(problems)),
        }
    }

    fn locate(&self, root: &mut Node, finding: Finding) -> Problem {
        let steps = read::steps_of(root, &finding.path);
        let at = root.nearest_mut(&steps).at.clone();
        at.problem(&self.source, finding.path, finding.message, finding.hint)
    }
}
