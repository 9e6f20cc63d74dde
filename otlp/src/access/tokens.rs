//! Tokens, as files hold them and as requests bear them.
//!
//! In: files, followed as they change; headers. Out: whose token a request bears.
//! Tokens are kept as their digests, and looked up by that: how long it takes says nothing of how much of one was right.
//! Left out on purpose: tokens in URLs, which end in logs.
//! Source: RFC 6750, section 2.1; RFC 7617, section 2.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::settings::TokenSettings;
use super::{Client, Denied, Who};
use crate::follow::{Followed, Told};

/// Below this a token can be found by trying.
const SHORTEST: usize = 16;

type Digest = [u8; 32];
/// A token with the tenant whose it is, as an index; none for what is no tenant's.
pub(super) type Owned = (Option<usize>, TokenSettings);
type Bearers = HashMap<Digest, (Option<usize>, Client)>;

/// A file that holds no tokens. No content of a file is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file is not there, or not for us to read.
    #[error("cannot read tokens of `{name}` from `{path}`", path = path.display())]
    Read {
        /// Whose they are.
        name: String,
        /// The path as written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no line with a token in it.
    #[error("`{path}` holds no token of `{name}`", path = path.display())]
    Empty {
        /// Whose they are.
        name: String,
        /// The path as written.
        path: PathBuf,
    },
    /// A line that is none.
    #[error(
        "line {line} of `{path}` is no token of `{name}`: it must be {SHORTEST} or more visible ASCII characters",
        path = path.display()
    )]
    Unusable {
        /// Whose it is.
        name: String,
        /// The path as written.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Two names for one token.
    #[error("`{one}` and `{other}` have the same token")]
    Shared {
        /// Whose it is.
        one: String,
        /// And whose else.
        other: String,
    },
}

/// Whose tokens are which, as the files say it now.
pub(super) struct Tokens(Followed<Arc<Bearers>>);

struct Files(Vec<Owned>);

impl crate::follow::Files for Files {
    type Made = Arc<Bearers>;
    type Text = Vec<Digest>;
    type Error = TokenError;
    const NAME: &'static str = "token";

    fn read(&self) -> Result<Vec<Vec<Digest>>, TokenError> {
        self.0.iter().map(|(_, token)| read(token)).collect()
    }

    fn make(&self, digests: &[Vec<Digest>]) -> Result<Self::Made, TokenError> {
        let mut bearers = Bearers::new();
        for ((owner, token), digests) in self.0.iter().zip(digests) {
            let client = Client {
                who: Who::Bearer(token.name.as_str().into()),
                may: token.may,
                tenant: owner.unwrap_or_default(),
            };
            for digest in digests {
                let Some((others, before)) = bearers.insert(*digest, (*owner, client.clone())) else {
                    continue;
                };
                if (others, &before.who) != (*owner, &client.who) {
                    return Err(TokenError::Shared {
                        one: before.who.to_string(),
                        other: token.name.clone(),
                    });
                }
            }
        }
        Ok(Arc::new(bearers))
    }
}

/// The digests of a file's tokens.
pub(super) fn read(token: &TokenSettings) -> Result<Vec<Digest>, TokenError> {
    let (name, path) = (token.name.clone(), token.file.clone());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(TokenError::Read { name, path, source }),
    };
    let mut digests = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.len() < SHORTEST || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            let line = index + 1;
            return Err(TokenError::Unusable { name, path, line });
        }
        digests.push(digest(line.as_bytes()));
    }
    if digests.is_empty() {
        return Err(TokenError::Empty { name, path });
    }
    Ok(digests)
}

fn digest(token: &[u8]) -> Digest {
    Sha256::digest(token).into()
}

impl Tokens {
    pub(super) fn new(tokens: Vec<Owned>, told: Told) -> Result<Self, TokenError> {
        Ok(Self(Followed::new(Files(tokens), told)?))
    }

    /// Whose tenant's token it is, and who bears it.
    pub(super) fn bearer(&self, headers: &HeaderMap) -> Result<(Option<usize>, Client), Denied> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or(Denied::NoToken)?;
        // Two are no request of any client, and which of them is meant would depend on who reads it.
        if values.next().is_some() {
            return Err(Denied::WrongToken);
        }
        let token = borne(value.as_bytes()).ok_or(Denied::WrongToken)?;
        self.0
            .now()
            .get(&digest(&token))
            .cloned()
            .ok_or(Denied::WrongToken)
    }
}

/// The token in a value of `Authorization`: that of `Bearer`, or the password of `Basic`.
fn borne(value: &[u8]) -> Option<Vec<u8>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(space);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::TokenMay;
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const TWO: &str = "fedcba9876543210fedcba9876543210";

    fn file(dir: &Path, name: &str, text: &str) -> TokenSettings {
        let file = dir.join(name);
        std::fs::write(&file, text).expect("a file");
        TokenSettings {
            name: name.to_owned(),
            file,
            may: TokenMay::Read,
        }
    }

    fn asked(tokens: &Tokens, value: &str) -> Result<Client, Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
        tokens.bearer(&headers).map(|(_, client)| client)
    }

    #[tokio::test]
    async fn a_bearer_is_known_by_any_line_of_its_file_and_a_browser_by_its_password() {
        let dir = tempfile::tempdir().expect("a directory");
        let team = file(dir.path(), "team", &format!("{ONE}\n\n {TWO} \n"));
        let tokens = Tokens::new(vec![(None, team)], Arc::new(|_| ())).expect("tokens");
        let basic = BASE64_STANDARD.encode(format!("anyone:{TWO}"));
        for value in [
            format!("Bearer {ONE}"),
            format!("bearer  {TWO}"),
            format!("Basic {basic}"),
        ] {
            let client = asked(&tokens, &value).expect(&value);
            assert_eq!(client.who, Who::Bearer("team".into()));
        }
        let wrong = [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {}", &ONE[..31]),
            format!("Bearer {ONE}{ONE}"),
            format!("Digest {ONE}"),
            format!("Basic {ONE}"),
            format!("Basic {}", BASE64_STANDARD.encode(ONE)),
            ONE.to_owned(),
        ];
        for value in wrong {
            assert_eq!(asked(&tokens, &value).err(), Some(Denied::WrongToken), "{value}");
        }
        assert_eq!(tokens.bearer(&HeaderMap::new()).err(), Some(Denied::NoToken));
        let mut twice = HeaderMap::new();
        for token in [ONE, TWO] {
            twice.append(
                header::AUTHORIZATION,
                format!("Bearer {token}").parse().expect("a value"),
            );
        }
        assert_eq!(tokens.bearer(&twice).err(), Some(Denied::WrongToken));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_told_without_what_is_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let told = |tokens: &[TokenSettings]| {
            let tokens = tokens.iter().map(|token| (None, token.clone())).collect();
            let error = Tokens::new(tokens, Arc::new(|_| ())).err().expect("an error");
            let text = crate::follow::chain(&error);
            assert!(!text.contains("0123456789"), "{text}");
            text.replace(&dir.path().display().to_string(), "")
        };
        assert_eq!(
            told(&[file(dir.path(), "a", " \n")]),
            "`/a` holds no token of `a`"
        );
        assert_eq!(
            told(&[file(dir.path(), "a", &format!("{ONE}\n0123456789abcde"))]),
            "line 2 of `/a` is no token of `a`: it must be 16 or more visible ASCII characters"
        );
        assert_eq!(
            told(&[file(dir.path(), "a", ONE), file(dir.path(), "b", ONE)]),
            "`a` and `b` have the same token"
        );
        let missing = TokenSettings {
            file: dir.path().join("none"),
            ..file(dir.path(), "a", ONE)
        };
        assert_eq!(
            told(&[missing]),
            "cannot read tokens of `a` from `/none`: No such file or directory (os error 2)"
        );
    }
}
