//! Headers of every request to a collector, such as a vendor's token, from text and from files.
//!
//! In: names, values and paths. Out: the headers as they are now: a file is read again while it serves, as tokens are replaced.
//! Left out on purpose: values in logs, errors and `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::BATCH_ID;

/// How long a value from a file is used before the file is read again.
const FRESH: Duration = Duration::from_secs(10);

/// Names that belong to the protocols; so does what begins with `grpc-`.
const RESERVED: [&str; 11] = [
    BATCH_ID,
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers to send, as they are written down. `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExportHeaders {
    /// Name and value.
    pub values: Vec<(String, String)>,
    /// Name, and the file whose content is the value, without white space around it.
    pub files: Vec<(String, PathBuf)>,
}

impl fmt::Debug for ExportHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_struct("ExportHeaders")
            .field("values_of", &names)
            .field("files", &self.files)
            .finish()
    }
}

/// A header that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// No name of a header.
    #[error("`{name}` is no name of a header: write letters, digits and `-`, such as `authorization`")]
    Name {
        /// As written.
        name: String,
    },
    /// A name that the protocol uses itself.
    #[error("header `{name}` is the protocol's own: leave it out")]
    Reserved {
        /// As written.
        name: String,
    },
    /// A value with characters that no header can have; it is not shown.
    #[error("the value of header `{name}` has characters other than visible ASCII and spaces")]
    Value {
        /// The header's name.
        name: String,
    },
    /// The file cannot be read.
    #[error("the value of header `{name}` cannot be read from `{path}`", path = path.display())]
    Read {
        /// The header's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ExportHeaders {
    /// What is wrong with each of them, with its name; files are read.
    pub fn problems(&self) -> Vec<(String, HeaderError)> {
        let values = self.values.iter().map(|(name, value)| {
            let checked = checked_name(name).and_then(|_| checked_value(name, value.as_bytes()));
            (name, checked.map(drop))
        });
        let files = self.files.iter().map(|(name, path)| {
            let checked = checked_name(name).and_then(|_| read(name, path));
            (name, checked.map(drop))
        });
        values
            .chain(files)
            .filter_map(|(name, checked)| Some((name.clone(), checked.err()?)))
            .collect()
    }
}

/// Headers in use. Clones are the same.
#[derive(Clone)]
pub(super) struct Headers {
    fixed: HeaderMap,
    files: Arc<[FromFile]>,
}

struct FromFile {
    name: HeaderName,
    path: PathBuf,
    known: Mutex<(HeaderValue, Instant)>,
}

impl Headers {
    pub(super) fn new(wanted: &ExportHeaders) -> Result<Self, HeaderError> {
        let mut fixed = HeaderMap::new();
        for (name, value) in &wanted.values {
            fixed.insert(checked_name(name)?, checked_value(name, value.as_bytes())?);
        }
        let from_file = |(name, path): &(String, PathBuf)| {
            Ok(FromFile {
                name: checked_name(name)?,
                known: Mutex::new((read(name, path)?, Instant::now())),
                path: path.clone(),
            })
        };
        let files: Result<Arc<[FromFile]>, HeaderError> = wanted.files.iter().map(from_file).collect();
        Ok(Self { fixed, files: files? })
    }

    /// The headers at `now`. Where a file cannot be read any more its last value stays.
    pub(super) async fn at(&self, now: Instant) -> HeaderMap {
        let mut headers = self.fixed.clone();
        for file in self.files.iter() {
            headers.insert(file.name.clone(), file.value(now).await);
        }
        headers
    }
}

impl FromFile {
    async fn value(&self, now: Instant) -> HeaderValue {
        let (value, read_at) = self.lock().clone();
        if now.saturating_duration_since(read_at) < FRESH {
            return value;
        }
        let text = tokio::fs::read(&self.path).await;
        let read = text.map_err(|error| error.to_string()).and_then(|text| {
            checked_value(self.name.as_str(), text.trim_ascii()).map_err(|error| error.to_string())
        });
        let value = read.unwrap_or_else(|error| {
            let (header, path) = (self.name.as_str(), self.path.display());
            tracing::warn!(header, %path, error, "a header's file cannot be read again, its last value is used");
            value
        });
        *self.lock() = (value.clone(), now);
        value
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HeaderValue, Instant)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked_name(name: &str) -> Result<HeaderName, HeaderError> {
    let parsed = HeaderName::try_from(name).map_err(|_| HeaderError::Name {
        name: name.to_owned(),
    })?;
    if RESERVED.contains(&parsed.as_str()) || parsed.as_str().starts_with("grpc-") {
        return Err(HeaderError::Reserved {
            name: name.to_owned(),
        });
    }
    Ok(parsed)
}

fn checked_value(name: &str, value: &[u8]) -> Result<HeaderValue, HeaderError> {
    let wrong = || HeaderError::Value {
        name: name.to_owned(),
    };
    if !value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_bytes(value).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(name: &str, path: &Path) -> Result<HeaderValue, HeaderError> {
    let text = std::fs::read(path).map_err(|source| HeaderError::Read {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    checked_value(name, text.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> ExportHeaders {
        ExportHeaders {
            values: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..ExportHeaders::default()
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name_and_its_value_is_never_shown() {
        let headers = values(&[
            ("authorization", "Bearer s3cret"),
            ("two words", "s3cret"),
            ("Content-Type", "s3cret"),
            ("grpc-timeout", "1S"),
            ("x-token", "s3cret\n"),
        ]);
        let problems = headers.problems();
        let names: Vec<_> = problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["two words", "Content-Type", "grpc-timeout", "x-token"]);
        let shown = format!("{headers:?} {problems:?}");
        assert!(
            !shown.contains("s3cret") && shown.contains("authorization"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_its_last_value_stays_where_it_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "one\n").expect("written");
        let wanted = ExportHeaders {
            files: vec![("x-token".to_owned(), path.clone())],
            ..ExportHeaders::default()
        };
        let headers = Headers::new(&wanted).expect("headers");
        let (mut seen, mut now) = (Vec::new(), Instant::now());
        for change in [Some("two"), Some("ignored\u{7}"), None] {
            seen.push(headers.at(now).await["x-token"].clone());
            match change {
                Some(text) => std::fs::write(&path, text).expect("written"),
                None => std::fs::remove_file(&path).expect("removed"),
            }
            now += FRESH + Duration::from_secs(1);
        }
        seen.push(headers.at(now).await["x-token"].clone());
        assert_eq!(seen, ["one", "two", "two", "two"]);
        assert_eq!(
            Headers::new(&wanted).err().map(|error| error.to_string()),
            Some(format!(
                "the value of header `x-token` cannot be read from `{}`",
                path.display()
            ))
        );
    }
}
