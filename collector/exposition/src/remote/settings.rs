//! The section `collector.remote_write` of the configuration.
//!
//! In: YAML, by way of the `config` crate. Out: settings with a default for every key, and what is wrong with them.
//! Left out on purpose: user and password; a receiver that wants them takes a header.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use config::{ByteSize, Finding, HumanDuration};
use http::{HeaderName, HeaderValue, Uri};
use otlp::tls::{ClientFiles, Identity, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where series are pushed to, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteSettings {
    /// The receiver: `http://host:port/api/v1/write`, or `https://…`. Default: none, nothing is pushed.
    pub url: Option<String>,
    /// How the receiver of an `https://` address is verified, and what it is shown. Default: by the authorities of this
    /// host, and nothing.
    pub tls: Option<RemoteWriteTls>,
    /// How often all series are pushed. Default `15s`. Half of it doubles the samples stored.
    pub interval: HumanDuration,
    /// The version of the protocol. Default `auto`: 2.0, and 1.0 where the receiver turns out not to know it.
    pub version: RemoteWriteVersion,
    /// What histograms are pushed as. Default `classic`: native ones are refused by receivers that have them off.
    /// `native` sends about a thirtieth of the series; `both` sends each histogram twice.
    pub histograms: RemoteWriteHistograms,
    /// Labels that every series gets unless it has one of the name, such as `cluster`. Default: none. Two
    /// collectors that write to one receiver need different ones.
    pub external_labels: BTreeMap<String, String>,
    /// Further headers, such as `X-Scope-OrgID`. Default: none. Values are never logged.
    pub headers: Headers,
    /// A file whose content is sent as bearer token; read again for each request. Default: none. Never logged.
    pub bearer_token_file: Option<PathBuf>,
    /// How long the receiver may take to answer before a request is sent again. Default `30s`.
    pub timeout: HumanDuration,
    /// Memory for scrapes that wait for the receiver. Default `256MiB`, at least one scrape. At the bound the oldest
    /// is dropped and counted. A scrape of 10,000 edges takes about 50 MB.
    pub max_memory: ByteSize,
    /// Samples in one request. Default 2000, as Prometheus has it; a histogram is not split.
    pub max_samples_per_request: u64,
}

impl Default for RemoteWriteSettings {
    fn default() -> Self {
        Self {
            url: None,
            tls: None,
            interval: HumanDuration::from_secs(15),
            version: RemoteWriteVersion::Auto,
            histograms: RemoteWriteHistograms::Classic,
            external_labels: BTreeMap::new(),
            headers: Headers::default(),
            bearer_token_file: None,
            timeout: HumanDuration::from_secs(30),
            max_memory: ByteSize::mib(256),
            max_samples_per_request: 2000,
        }
    }
}

/// TLS 1.2 or 1.3 towards the receiver, which is always verified. Files that change are taken up within seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteTls {
    /// The authorities that its certificate must lead to, PEM. Default: those of this host.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have. Default: the host of `url`.
    pub server_name: Option<String>,
    /// Our certificate, PEM, for a receiver that wants one. Default: none.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM, not encrypted.
    pub key: Option<PathBuf>,
}

impl RemoteWriteTls {
    pub(super) fn files(self) -> ClientFiles {
        let identity = self.cert.zip(self.key);
        ClientFiles {
            ca: self.ca,
            identity: identity.map(|(cert, key)| Identity { cert, key }),
            server_name: self.server_name,
        }
    }

    fn error(&self) -> Option<RemoteWriteError> {
        if self.cert.is_some() != self.key.is_some() {
            let (part, said) = if self.cert.is_some() {
                (Part::Key, "a certificate needs its key")
            } else {
                (Part::Cert, "a key needs its certificate")
            };
            let said = said.to_owned();
            return Some(RemoteWriteError::Tls { part, said });
        }
        let error = self.clone().files().check().err()?;
        Some(RemoteWriteError::Tls {
            part: error.part(),
            said: error.chain(),
        })
    }
}

/// Versions of remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RemoteWriteVersion {
    /// 2.0 until the receiver answers 415, or 400, or does not say that it wrote anything; 1.0 from then on.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 1.0.
    #[serde(rename = "1")]
    V1,
    /// 2.0. What a receiver does not confirm to have written counts as dropped.
    #[serde(rename = "2")]
    V2,
}

/// What histograms are pushed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemoteWriteHistograms {
    /// A series for each bucket.
    #[default]
    Classic,
    /// One series with exponential buckets; classic where a histogram has none.
    Native,
    /// Both.
    Both,
}

impl RemoteWriteHistograms {
    pub(super) fn classic(self) -> bool {
        self != Self::Native
    }

    pub(super) fn native(self) -> bool {
        self != Self::Classic
    }
}

/// Headers by name. Printed for debugging without their values, which may be secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteWriteError {
    /// No address of a receiver.
    #[error(
        "`url` is `{url}`, but it must be `http://host:port/path` or `https://…`, such as `http://127.0.0.1:9090/api/v1/write`"
    )]
    Url {
        /// The value as written; empty where there is none.
        url: String,
    },
    /// No name or value of a header, or one of the protocol's own.
    #[error("`headers` has `{name}`, but {reason}")]
    Header {
        /// The name as written.
        name: String,
        /// What would be right.
        reason: &'static str,
    },
    /// No name of a label.
    #[error(
        "`external_labels` has `{name}`, but a label is letters, digits and `_`, no digit first and no `__`"
    )]
    Label {
        /// The name as written.
        name: String,
    },
    /// A file of `tls` that cannot be used, or files without use.
    #[error("{said}")]
    Tls {
        /// Whose fault it is.
        part: Part,
        /// What is wrong with it.
        said: String,
    },
    /// `tls` of an address that does not want it.
    #[error("`tls` is set, but `url` does not begin with `https://`")]
    PlainUrl,
    /// 0.
    #[error("`{key}` is 0, but nothing would ever be sent")]
    Zero {
        /// Which key.
        key: &'static str,
    },
}

/// Headers that the protocol sets itself; the specification forbids to overwrite them.
const RESERVED: [&str; 8] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

impl RemoteWriteSettings {
    /// Everything that is wrong, each with its key below `path`. Nothing is wrong where there is no `url`.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        if self.url.is_none() {
            return Vec::new();
        }
        let found = self.errors().into_iter().map(|error| {
            let key = match &error {
                RemoteWriteError::Url { .. } => "url",
                RemoteWriteError::Header { .. } => "headers",
                RemoteWriteError::Label { .. } => "external_labels",
                RemoteWriteError::Zero { key } => key,
                RemoteWriteError::PlainUrl => "tls",
                RemoteWriteError::Tls { part, .. } => match part {
                    Part::Cert => "tls.cert",
                    Part::Key => "tls.key",
                    Part::Ca => "tls.ca",
                    Part::ServerName => "tls.server_name",
                },
            };
            Finding {
                path: format!("{path}.{key}"),
                message: error.to_string(),
                hint: None,
            }
        });
        found.collect()
    }

    fn errors(&self) -> Vec<RemoteWriteError> {
        let headers = self
            .headers
            .0
            .iter()
            .filter_map(|(name, value)| header(name, value).err());
        let labels = self.external_labels.keys().filter(|name| !is_label(name));
        let labels = labels.map(|name| RemoteWriteError::Label { name: name.clone() });
        let zeros = [
            ("interval", self.interval.get().is_zero()),
            ("timeout", self.timeout.get().is_zero()),
            ("max_samples_per_request", self.max_samples_per_request == 0),
        ];
        let zeros = zeros.into_iter().filter(|(_, zero)| *zero);
        let zeros = zeros.map(|(key, _)| RemoteWriteError::Zero { key });
        let uri = self.uri();
        let is_plain = uri.as_ref().is_ok_and(|uri| uri.scheme_str() != Some("https"));
        let tls = self.tls.as_ref().and_then(|tls| {
            if is_plain {
                Some(RemoteWriteError::PlainUrl)
            } else {
                tls.error()
            }
        });
        uri.err()
            .into_iter()
            .chain(tls)
            .chain(headers)
            .chain(labels)
            .chain(zeros)
            .collect()
    }

    /// The receiver and the headers, or the first thing that is wrong.
    pub(super) fn target(&self) -> Result<(Uri, Vec<(HeaderName, HeaderValue)>), RemoteWriteError> {
        if let Some(error) = self.errors().into_iter().next() {
            return Err(error);
        }
        let headers = self.headers.0.iter().map(|(name, value)| header(name, value));
        Ok((self.uri()?, headers.collect::<Result<_, _>>()?))
    }

    fn uri(&self) -> Result<Uri, RemoteWriteError> {
        let url = self.url.clone().unwrap_or_default();
        let uri = url.parse::<Uri>().ok().filter(|uri| {
            let authority = uri.authority().map(http::uri::Authority::as_str);
            // A name and password in the address would be logged with it.
            let has_host = authority.is_some_and(|authority| !authority.contains('@'));
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            is_http && has_host && !uri.host().is_none_or(str::is_empty)
        });
        uri.ok_or(RemoteWriteError::Url { url })
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), RemoteWriteError> {
    let wrong = |reason| RemoteWriteError::Header {
        name: name.to_owned(),
        reason,
    };
    let parsed: HeaderName = name
        .parse()
        .map_err(|_| wrong("a header's name is a token, such as `X-Scope-OrgID`"))?;
    if RESERVED.contains(&parsed.as_str()) {
        return Err(wrong(
            "that one is sent anyway (a token comes from `bearer_token_file`)",
        ));
    }
    let mut value: HeaderValue = value
        .parse()
        .map_err(|_| wrong("its value is not visible ASCII"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn is_label(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> RemoteWriteSettings {
        config::load("test", yaml, []).expect("the sample is valid")
    }

    fn complaints(yaml: &str) -> Vec<String> {
        let found = read(yaml).check("collector.remote_write");
        found
            .into_iter()
            .map(|found| format!("{}: {}", found.path, found.message))
            .collect()
    }

    #[test]
    fn without_a_url_nothing_is_pushed_and_nothing_is_wrong() {
        assert_eq!(read(""), RemoteWriteSettings::default());
        assert_eq!(complaints("external_labels: {0: x}"), Vec::<String>::new());
    }

    #[test]
    fn versions_are_written_as_people_say_them() {
        for (yaml, version) in [
            ("version: auto", RemoteWriteVersion::Auto),
            ("version: 1", RemoteWriteVersion::V1),
            ("version: '2'", RemoteWriteVersion::V2),
        ] {
            assert_eq!(read(yaml).version, version, "{yaml}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let url = "url: 'http://127.0.0.1:9090/api/v1/write'";
        assert_eq!(complaints(url), Vec::<String>::new());
        assert_eq!(complaints("url: 'https://x/'"), Vec::<String>::new());
        for (yaml, key) in [
            ("url: 'http://x/'\ntls: {}", "tls"),
            ("url: 'https://x/'\ntls: {cert: /a}", "tls.key"),
            ("url: 'https://x/'\ntls: {key: /a}", "tls.cert"),
            ("url: 'https://x/'\ntls: {ca: /none/ca.crt}", "tls.ca"),
            ("url: 'https://x/'\ntls: {server_name: 'a b'}", "tls.server_name"),
        ] {
            let told = complaints(yaml);
            let path = format!("collector.remote_write.{key}: ");
            assert!(told.len() == 1 && told[0].starts_with(&path), "{yaml}: {told:?}");
        }
        for bad in [
            "ftp://x/",
            "x:9090",
            "http://",
            "http://me:secret@x/",
            "/api/v1/write",
        ] {
            let told = complaints(&format!("url: '{bad}'"));
            assert!(
                told.len() == 1 && told[0].contains(&format!("`url` is `{bad}`")),
                "{bad}: {told:?}"
            );
        }
        let told = complaints(&format!(
            "{url}\ninterval: 0s\nheaders: {{Host: x, 'a b': y, X-Ok: z, X-Bad: \"a\\nb\"}}\nexternal_labels: {{cluster: a, 0x: b, __name__: c}}"
        ));
        let keys: Vec<&str> = told.iter().filter_map(|told| told.split(':').next()).collect();
        let [header, label] = [
            "collector.remote_write.headers",
            "collector.remote_write.external_labels",
        ];
        assert_eq!(
            keys,
            [
                header,
                header,
                header,
                label,
                label,
                "collector.remote_write.interval"
            ]
        );
    }

    #[test]
    fn values_of_headers_are_not_printed() {
        let printed = format!("{:?}", read("headers: {X-Token: hunter2}"));
        assert!(
            printed.contains("X-Token") && !printed.contains("hunter2"),
            "{printed}"
        );
    }
}
