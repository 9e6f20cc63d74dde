//! What is written down about who may come in.
//!
//! In: the keys `access` of a listener. Out: typed values, and every problem with them under its key.
//! Left out on purpose: tokens themselves, which stand in files of their own.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;

use config::{ByteSize, Finding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tokens;

/// Who may come in, and how much one client may ask. Default: whoever reaches the address, as much as they want.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// Tokens, of which every request must bear one: `Authorization: Bearer TOKEN`, or the password of Basic under any
    /// name, as browsers ask for. Default: none is wanted. `/healthz` and `/readyz` answer without. Beyond loopback a token
    /// needs TLS, or whoever listens in has it too.
    pub tokens: Vec<TokenSettings>,
    /// How much one client may ask: the bearers of one token together, else one address.
    pub per_client: PerClientSettings,
}

/// One token, or several that replace each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Whose it is, such as `prometheus` or `team-shop`.
    pub name: String,
    /// The file it is in, a token a line, each of at least 16 visible ASCII characters. A file that changes is taken up
    /// within seconds; two lines let the old one be replaced without haste.
    pub file: PathBuf,
    /// Whether its bearer may change something, such as a baseline. Default `read`; who sends telemetry needs no more.
    #[serde(default)]
    pub may: TokenMay,
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenMay {
    /// Send telemetry, read what a page shows.
    #[default]
    Read,
    /// Also change what can be changed.
    Write,
}

/// How much one client may ask. What it is allowed in a second it may use at once; then it is told when to come back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PerClientSettings {
    /// Requests a second. Default: no bound.
    pub requests: Option<NonZeroU32>,
    /// Bytes of bodies a second, as they come over the wire. Default: no bound. A longer body than that is taken, and paid
    /// for by waiting.
    pub bytes: Option<ByteSize>,
}

impl AccessSettings {
    /// Every problem, each under its key, of which `path` is the beginning. Reads the files.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let finding = |key: String, message: String, hint: &str| Finding {
            path: key,
            message,
            hint: Some(hint.to_owned()),
        };
        let mut names = BTreeSet::new();
        let mut found = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let key = format!("{path}.tokens[{index}]");
            if token.name.is_empty() || !names.insert(&token.name) {
                let message = format!("`{key}.name` is `{}`, which tells nobody apart", token.name);
                found.push(finding(
                    format!("{key}.name"),
                    message,
                    "give each token a name of its own",
                ));
            }
            if let Err(error) = tokens::read(token) {
                let (key, text) = (format!("{key}.file"), crate::follow::chain(&error));
                let hint =
                    "write the path of a file with a token a line, such as `openssl rand -hex 32` makes";
                found.push(finding(key, text, hint));
            }
        }
        if self.per_client.bytes == Some(ByteSize(0)) {
            let key = format!("{path}.per_client.bytes");
            let message = format!("`{key}` is 0, so nobody could send anything");
            found.push(finding(
                key,
                message,
                "write how much a client may send in a second, such as `4MiB`",
            ));
        }
        found
    }
}
