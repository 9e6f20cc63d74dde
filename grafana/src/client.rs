//! JSON over HTTP with a token, to a server that may be away for a while.
//!
//! In: an address, a token, requests. Out: answers, or why there is none; the token is in no text that leaves here.
//! Left out on purpose: redirects, which would take the token elsewhere (an address that redirects is told); cookies;
//! user and password.

mod error;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::rt::TokioExecutor;
use otlp::tls::{ClientFiles, ClientTls, Handshake, HttpsConnector, Protocols, Reload, TlsObserver};
use serde_json::Value;
use tokio::time::Instant;

use crate::retry;
pub use error::HttpError;
pub use token::Token;

/// A longer answer is none. A dashboard of Grafana's own limit, and ten thousand series, are well below it.
const LONGEST_ANSWER: usize = 64 << 20;
/// As much of a complaint is told.
const LONGEST_COMPLAINT: usize = 500;

/// Where to ask, and how patiently.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http://host:port` or `https://host`, with the path below which the server answers, if there is one.
    pub url: String,
    /// Sent with each request.
    pub token: Option<Token>,
    /// PEM file of the authorities to trust. `None`: those of this host.
    pub ca: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the server may be away before a request is given up, counted from its first failure.
    pub patience: Duration,
}

/// What one try gave.
pub(crate) enum Tried {
    /// An answer that stands.
    Answer(Value),
    /// Nothing yet. Whether the request had its effect is not known.
    Later(Later),
}

/// Why to ask again, and not before when.
pub(crate) struct Later {
    hint: Duration,
    said: String,
}

/// How long one piece of work has failed.
#[derive(Default)]
pub(crate) struct Outage {
    began: Option<Instant>,
    tries: u32,
}

/// Asks one server.
pub struct Client {
    http: Hyper<HttpsConnector, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    token: Option<Token>,
    timeout: Duration,
    patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// A command that asks a few hundred times has nobody to count its handshakes for; failures are in the errors.
struct Unobserved;

impl TlsObserver for Unobserved {
    fn handshake(&self, _: Handshake) {}
    fn reload(&self, _: Reload) {}
}

impl Client {
    /// Checks the address; connects when something is asked. Needs a tokio runtime.
    ///
    /// # Errors
    /// An address or authorities that cannot be used.
    pub fn new(settings: ClientSettings) -> Result<Self, HttpError> {
        let base = checked(&settings.url)?;
        let tls = if base.starts_with("https:") {
            let files = ClientFiles {
                ca: settings.ca,
                ..ClientFiles::default()
            };
            let tls = ClientTls::new(files, Arc::new(Unobserved));
            Some(tls.map_err(|source| HttpError::Tls {
                url: base.clone(),
                source,
            })?)
        } else {
            None
        };
        let authorization = settings.token.as_ref().map(|token| {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.0)).map_err(|_| HttpError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            http: Hyper::builder(TokioExecutor::new()).build(HttpsConnector::new(tls, Protocols::Http1)),
            base,
            authorization: authorization.transpose()?,
            token: settings.token,
            timeout: settings.timeout,
            patience: settings.patience,
        })
    }

    /// The address without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Asks for `path`, again while the server is away.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.repeated(&Method::GET, path).await
    }

    /// Removes what is at `path`; asked again while the server is away, which removes nothing twice.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, HttpError> {
        self.repeated(&Method::DELETE, path).await
    }

    async fn repeated(&self, method: &Method, path: &str) -> Result<Value, HttpError> {
        let mut outage = Outage::default();
        loop {
            match self.once(method, path, None).await? {
                Tried::Answer(answer) => return Ok(answer),
                Tried::Later(later) => self.wait(&mut outage, later).await?,
            }
        }
    }

    /// Sends once. What the effect of a [`Tried::Later`] was is the caller's to find out before it sends again.
    pub(crate) async fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Tried, HttpError> {
        let url = format!("{}{path}", self.base);
        let uri = Uri::try_from(&url).map_err(|_| HttpError::Url {
            url: url.clone(),
            problem: "it is too long",
        })?;
        let mut request = Request::new(Full::default());
        if let Some(body) = body {
            *request.body_mut() = Full::from(body.to_string());
            request
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        let agent = HeaderValue::from_static(concat!("tracemap/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        match tokio::time::timeout(self.timeout, self.exchange(&url, request)).await {
            Ok(answer) => answer,
            Err(_) => Ok(later(format!(
                "no answer within {}",
                humantime::format_duration(self.timeout)
            ))),
        }
    }

    async fn exchange(&self, url: &str, request: Request<Full<Bytes>>) -> Result<Tried, HttpError> {
        let answer = match self.http.request(request).await {
            Ok(answer) => answer,
            Err(error) => return Ok(later(chain(&error))),
        };
        let (head, body) = answer.into_parts();
        let body = match Limited::new(body, LONGEST_ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Ok(later(format!("the answer broke off: {}", chain(&*error)))),
        };
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        if head.status.is_success() {
            let answer = serde_json::from_slice(&body);
            let garbled = |error| HttpError::Garbled {
                url: url.to_owned(),
                problem: format!("no JSON: {error}"),
            };
            return answer.map(Tried::Answer).map_err(garbled);
        }
        let said = self.said(&body);
        if retry::may_pass(head.status) {
            let hint = header(RETRY_AFTER).and_then(|after| retry::hint(after, SystemTime::now()));
            return Ok(Tried::Later(Later {
                hint: hint.unwrap_or_default(),
                said: format!("{}: {said}", head.status),
            }));
        }
        let said = match header(LOCATION).filter(|_| head.status.is_redirection()) {
            Some(to) => format!(
                "it redirects to `{}`: give the address that is meant",
                self.without_token(to)
            ),
            None => said,
        };
        let body = self.without_token(&String::from_utf8_lossy(&body));
        let body = serde_json::from_str(&body).unwrap_or_default();
        Err(HttpError::Refused {
            url: url.to_owned(),
            status: head.status,
            said,
            body,
        })
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`HttpError::Away`] where that would be beyond patience.
    pub(crate) async fn wait(&self, outage: &mut Outage, later: Later) -> Result<(), HttpError> {
        let now = Instant::now();
        let began = *outage.began.get_or_insert(now);
        outage.tries += 1;
        let delay = retry::delay(outage.tries, later.hint, rand::random());
        if now + delay > began + self.patience {
            return Err(HttpError::Away {
                url: self.base.clone(),
                tries: outage.tries,
                patience: self.patience,
                last: later.said,
            });
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// What a server wrote about a failure: the `message` or `error` of its JSON, else the beginning of its text.
    fn said(&self, body: &[u8]) -> String {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = ["message", "error"]
            .iter()
            .find_map(|key| json.get(key)?.as_str().map(str::to_owned));
        let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        let shown: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST_COMPLAINT)
            .collect();
        self.without_token(&shown)
    }

    /// A server that repeats the header in its complaint must not bring it into a log.
    fn without_token(&self, text: &str) -> String {
        match &self.token {
            Some(Token(token)) => text.replace(token.as_str(), "…"),
            None => text.to_owned(),
        }
    }
}

fn later(said: String) -> Tried {
    Tried::Later(Later {
        hint: Duration::ZERO,
        said,
    })
}

/// The address without a slash at its end.
fn checked(url: &str) -> Result<String, HttpError> {
    let wrong = |problem| HttpError::Url {
        url: url.to_owned(),
        problem,
    };
    let uri = Uri::try_from(url).map_err(|_| wrong("write `http://host:port`"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it must begin with `http://` or `https://`"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    if authority.as_str().contains('@') {
        // Not told as written: it has a password.
        let url = url.replace(authority.as_str(), "…@…");
        return Err(HttpError::Url {
            url,
            problem: "user and password are not sent, give a token",
        });
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query, and paths are added to it"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Text as it may stand in a path or a query. Source: RFC 3986 §2.3, unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        let error = checked("http://admin:hunter2@grafana:3000")
            .unwrap_err()
            .to_string();
        assert!(error.contains("token") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_address_may_have_a_path_and_nothing_else() {
        assert_eq!(checked("https://host/grafana/").unwrap(), "https://host/grafana");
        for wrong in ["grafana:3000", "ftp://a", "http://", "/api", "http://a/?x=1", ""] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
