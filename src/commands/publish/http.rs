//! Text over HTTP, to a server of the operator's that may be away for a while.
//!
//! In: an address, headers, requests. Out: the status and the text of the answer, or why there is none.
//! Left out on purpose: redirects, which would take a token elsewhere; JSON and Grafana's own errors, which the client of
//! the crate `grafana` has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use otlp::tls::{
    ClientFiles, ClientTls, Handshake, HttpsConnector, Protocols, Reload, TlsError, TlsObserver,
};
use tokio::time::Instant;

/// A longer answer is none.
const LONGEST_ANSWER: usize = 16 << 20;
/// As much of a complaint is told.
const LONGEST_COMPLAINT: usize = 400;
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Where to ask, and how patiently.
#[derive(Clone, Debug, Default)]
pub(in crate::commands) struct Address {
    /// `http://host:port` or `https://host`, with the path below which the server answers.
    pub(in crate::commands) url: String,
    /// A file with a bearer token.
    pub(in crate::commands) token_file: Option<PathBuf>,
    /// Sent with each request: a name and its value.
    pub(in crate::commands) header: Option<(HeaderName, String)>,
    /// PEM file of the authorities to trust; those of this host where there is none.
    pub(in crate::commands) ca: Option<PathBuf>,
    /// How long the server may be away, from the first failure of a request. Zero: each is sent once.
    pub(in crate::commands) patience: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(in crate::commands) struct Answer {
    pub(in crate::commands) status: StatusCode,
    pub(in crate::commands) text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum HttpError {
    #[error("`{url}` is no address to ask: {problem}")]
    Url { url: String, problem: &'static str },
    #[error("cannot read the token in `{path}`")]
    TokenFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} is empty or has other characters than visible ASCII: write it on one line")]
    Header { what: String },
    #[error("no TLS with `{url}`")]
    Tls {
        url: String,
        #[source]
        source: TlsError,
    },
    #[error("`{url}` gives no useful answer, tried {tries} times: {last}")]
    Away { url: String, tries: u32, last: String },
}

/// Asks one server.
pub(in crate::commands) struct Server {
    http: Client<HttpsConnector, Full<Bytes>>,
    base: String,
    headers: HeaderMap,
    patience: Duration,
}

/// A command that asks a few times has nobody to count its handshakes for; failures are in the errors.
struct Unobserved;

impl TlsObserver for Unobserved {
    fn handshake(&self, _: Handshake) {}
    fn reload(&self, _: Reload) {}
}

impl Server {
    /// Checks the address and reads the token; connects when something is asked. Needs a tokio runtime.
    ///
    /// # Errors
    /// An address, a token or authorities that cannot be used.
    pub(in crate::commands) fn new(address: Address) -> Result<Self, HttpError> {
        let base = checked(&address.url)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("tracemap/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(path) = &address.token_file {
            let path = path.display().to_string();
            let read = std::fs::read_to_string(&path);
            let token = read.map_err(|source| HttpError::TokenFile {
                path: path.clone(),
                source,
            })?;
            let mut value = value(&format!("Bearer {}", token.trim()), || {
                format!("the token in `{path}`")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some((name, text)) = address.header {
            let value = value(&text, || format!("`{text}`, meant for the header `{name}`,"))?;
            headers.insert(name, value);
        }
        let tls = if base.starts_with("https:") {
            let files = ClientFiles {
                ca: address.ca,
                ..ClientFiles::default()
            };
            let tls = ClientTls::new(files, Arc::new(Unobserved));
            let url = base.clone();
            Some(tls.map_err(|source| HttpError::Tls { url, source })?)
        } else {
            None
        };
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(HttpsConnector::new(tls, Protocols::Http1)),
            base,
            headers,
            patience: address.patience,
        })
    }

    /// The address without a slash at its end.
    pub(in crate::commands) fn url(&self) -> &str {
        &self.base
    }

    /// Asks, again while the server is away or says that it will pass; the request must bear to be repeated.
    ///
    /// # Errors
    /// No answer, or only such that may pass, for as long as patience allows. Without patience each answer stands.
    pub(in crate::commands) async fn ask(
        &self,
        method: Method,
        path: &str,
        yaml: Option<&str>,
    ) -> Result<Answer, HttpError> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let tried = tokio::time::timeout(super::TIMEOUT, self.once(&method, path, yaml)?).await;
            let (last, hint) = match tried {
                Ok(Ok((answer, _))) if self.patience.is_zero() || !may_pass(answer.status) => {
                    return Ok(answer);
                }
                Ok(Ok((answer, hint))) => (format!("{}: {}", answer.status, answer.shown()), hint),
                Ok(Err(error)) => (error, Duration::ZERO),
                Err(_) => (
                    format!("no answer within {} s", super::TIMEOUT.as_secs()),
                    Duration::ZERO,
                ),
            };
            let backoff = FIRST_BACKOFF
                .saturating_mul(1 << tries.min(8))
                .min(LONGEST_BACKOFF);
            let delay = hint.max(backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0));
            if Instant::now() + delay > began + self.patience {
                let url = self.base.clone();
                return Err(HttpError::Away { url, tries, last });
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// The answer, and how long it asks to wait.
    fn once(
        &self,
        method: &Method,
        path: &str,
        yaml: Option<&str>,
    ) -> Result<impl Future<Output = Result<(Answer, Duration), String>> + use<>, HttpError> {
        let url = format!("{}{path}", self.base);
        let uri = Uri::try_from(&url);
        let mut request = Request::new(Full::from(yaml.unwrap_or_default().to_owned()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.map_err(|_| HttpError::Url {
            url,
            problem: "with the path that is asked for it is too long",
        })?;
        *request.headers_mut() = self.headers.clone();
        if yaml.is_some() {
            let yaml = HeaderValue::from_static("application/yaml");
            request.headers_mut().insert(CONTENT_TYPE, yaml);
        }
        let sent = self.http.request(request);
        Ok(async {
            let (head, body) = sent.await.map_err(|error| chain(&error))?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            let body = body.map_err(|error| format!("the answer broke off: {}", chain(&*error)))?;
            let after = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|after| after.to_str().ok()?.trim().parse().ok());
            let answer = Answer {
                status: head.status,
                text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            };
            Ok((answer, Duration::from_secs(after.unwrap_or_default())))
        })
    }
}

impl Answer {
    /// The beginning of the text, on one line.
    pub(in crate::commands) fn shown(&self) -> String {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        self.text
            .trim()
            .chars()
            .map(printable)
            .take(LONGEST_COMPLAINT)
            .collect()
    }
}

/// Whether the same request may have another answer later.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn value(text: &str, what: impl Fn() -> String) -> Result<HeaderValue, HttpError> {
    let is_text = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let value = is_text.then(|| HeaderValue::try_from(text).ok()).flatten();
    value.ok_or_else(|| HttpError::Header { what: what() })
}

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
        let problem = "user and password are not sent, give a token";
        return Err(HttpError::Url { url, problem });
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query, and paths are added to it"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Text as one segment of a path. Source: RFC 3986 §2.3, unreserved characters.
pub(in crate::commands) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
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
