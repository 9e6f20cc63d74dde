//! The section `generate.logging` of the configuration, and what people state of a service's logging.
//!
//! In: YAML, by way of the `config` crate. Out: settings with a default for every key, and what is wrong with them.
//! Left out on purpose: credentials. Whoever ships logs has a place of their own for them.

use config::Finding;
use map::Services;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which files help services to log, and what the pipelines among them are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingSettings {
    /// Whether there are any. Default true; false removes the directory `logging`.
    pub enabled: bool,
    /// Where the lines lie, as patterns that every pipeline reads. Default `/var/log/pods/*/*/*.log`: all containers of a
    /// Kubernetes node. Lines with and without the container runtime's prefix are read.
    pub paths: Vec<String>,
    /// Address of the Loki that pipelines write to, without credentials. Default `http://127.0.0.1:3100`.
    pub loki_url: String,
    /// Services beyond it have no directory of their own, by order of their ids, unless `services.NAME.logging` is there.
    /// Default 500; each takes a few files of some KiB.
    pub max_services: usize,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            paths: vec!["/var/log/pods/*/*/*.log".to_owned()],
            loki_url: "http://127.0.0.1:3100".to_owned(),
            max_services: 500,
        }
    }
}

/// Signs that mean something to one of the pipelines' formats, such as a variable of the environment.
const REFUSED: [char; 9] = ['"', '\'', '$', ',', '\\', '`', '#', '{', '}'];

impl LoggingSettings {
    /// What the types allow and a pipeline does not; `at` is the section's path.
    pub fn check(&self, at: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut tell = |key: &str, message: String, hint: &str| {
            found.push(Finding {
                path: format!("{at}.{key}"),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        if self.paths.is_empty() {
            tell(
                "paths",
                "`paths` is empty, so pipelines would read nothing".to_owned(),
                "write a pattern such as `/var/log/pods/*/*/*.log`, or `enabled: false`",
            );
        }
        for (i, path) in self.paths.iter().enumerate() {
            if !path.starts_with('/') || !is_plain(path) {
                tell(
                    &format!("paths[{i}]"),
                    format!("`paths[{i}]` is {path:?}, which not every pipeline reads alike"),
                    "write an absolute path of letters, digits, `.`, `_`, `-` and `*`",
                );
            }
        }
        if self.loki_url.contains('@') {
            // The value is not repeated: it may hold a password.
            tell(
                "loki_url",
                "`loki_url` holds credentials, and generated files are no place for them".to_owned(),
                "write `http://host:port`, and give the pipeline its credentials by its own means",
            );
        } else if Address::of(&self.loki_url).is_none() {
            tell(
                "loki_url",
                format!("`loki_url` is {:?}, which is no address", self.loki_url),
                "write `http://host:port`",
            );
        }
        found
    }
}

/// True where no format of a pipeline takes any of it for something else.
fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_graphic() && !REFUSED.contains(&c))
}

/// An address in parts, as one of the pipelines wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// With TLS.
    pub(super) tls: bool,
    /// Name or number.
    pub(super) host: String,
    /// The port, that of the scheme where none is written.
    pub(super) port: u16,
    /// What stands before the API's own path: empty, or begins with a slash.
    pub(super) prefix: String,
}

impl Address {
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let rest = rest.trim_end_matches('/');
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_bracket..].rfind(':') {
            Some(at) => {
                let (host, port) = authority.split_at(after_bracket + at);
                (host, port[1..].parse().ok()?)
            }
            None => (authority, if tls { 443 } else { 80 }),
        };
        let is_good = !host.is_empty() && port > 0 && is_plain(url) && !path.contains(['?', '@']);
        is_good.then(|| Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("/{path}")
            },
        })
    }
}

/// Services whose language and library contradict each other. Keys are those of the section `services`.
pub fn check_services(stated: &Services) -> Vec<Finding> {
    let contradiction = |(name, service): (&String, &map::ServiceSettings)| {
        let facts = service.logging?;
        let (language, library) = (facts.language?, facts.library?);
        (library.language() != language).then(|| Finding {
            path: format!("services.{name}.logging.library"),
            message: format!(
                "`library` is `{}`, which is for {}, but `language` is `{}`",
                library.as_str(),
                library.language().as_str(),
                language.as_str()
            ),
            hint: Some("take out one of the two".to_owned()),
        })
    };
    stated.iter().filter_map(contradiction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(settings: &LoggingSettings) -> Vec<String> {
        let found = settings.check("generate.logging");
        found.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn defaults_are_right_and_what_a_pipeline_would_misread_is_named_with_its_key() {
        assert_eq!(paths(&LoggingSettings::default()), <[String; 0]>::default());
        let wrong = LoggingSettings {
            paths: ["/var/log/*.log", "relative.log", "/a/${HOME}/b", "/a,b"]
                .map(str::to_owned)
                .to_vec(),
            loki_url: "loki:3100".to_owned(),
            ..LoggingSettings::default()
        };
        let keys = ["paths[1]", "paths[2]", "paths[3]", "loki_url"];
        assert_eq!(paths(&wrong), keys.map(|key| format!("generate.logging.{key}")));
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        let settings = LoggingSettings {
            loki_url: "https://user:hunter2@loki:3100".to_owned(),
            ..LoggingSettings::default()
        };
        let found = settings.check("generate.logging");
        assert_eq!(found.len(), 1);
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }

    #[test]
    fn an_address_comes_apart_as_it_was_put_together() {
        let address = |tls, host: &str, port, prefix: &str| {
            Some(Address {
                tls,
                host: host.to_owned(),
                port,
                prefix: prefix.to_owned(),
            })
        };
        let cases = [
            ("http://127.0.0.1:3100", address(false, "127.0.0.1", 3100, "")),
            ("https://loki.example/", address(true, "loki.example", 443, "")),
            ("http://[::1]:3100/a/b/", address(false, "::1", 3100, "/a/b")),
            ("http://[::1]", address(false, "::1", 80, "")),
            ("ftp://loki", None),
            ("http://", None),
            ("http://loki:0", None),
            ("http://loki:x", None),
            ("http://loki:3100?x=y", None),
            ("http://lo ki", None),
        ];
        for (url, expected) in cases {
            assert_eq!(Address::of(url), expected, "{url}");
        }
    }

    #[test]
    fn a_library_of_another_language_is_a_contradiction() {
        let stated = "{a: {logging: {language: go, library: logback}}, b: {logging: {library: zap}}, \
                      c: {logging: {language: java, library: log4j2}}}";
        let found = check_services(&serde_yaml::from_str(stated).unwrap());
        let told: Vec<String> = found
            .iter()
            .map(|f| format!("{}: {}", f.path, f.message))
            .collect();
        assert_eq!(
            told,
            ["services.a.logging.library: `library` is `logback`, which is for java, but `language` is `go`"]
        );
    }
}
