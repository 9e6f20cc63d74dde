//! Requests to the API server.
//!
//! In: a [`Server`], methods, paths, contents. Out: [`Answer`]s as they come.
//! Left out on purpose: a pool. A watch has its connection for minutes, and whoever has several questions asks them one
//! after the other on one [`Connection`]. Redirects, which would take a token elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use otlp::tls::{ClientFiles, ClientTls, ConnectError, HttpsConnector, Protocols, TlsObserver};
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::{Failure, Reason, Server};

/// How long a connection, and then an answer, may take to begin.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the rest of it may take.
const BODY: Duration = Duration::from_mins(1);
/// A longer `Retry-After` is taken as this.
const LONGEST_HINT: Duration = Duration::from_mins(1);

/// Asks one API server.
pub struct Client {
    server: Server,
    observer: Arc<dyn TlsObserver>,
    /// Made when it is first needed, and again as long as the authority's file is not to be used.
    tls: Option<ClientTls>,
}

/// A connection, for one request after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    server: Server,
    /// Ends with this.
    _task: JoinSet<()>,
}

/// What is sent along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Nothing.
    None,
    /// A whole object, or options.
    Json(&'a str),
    /// The fields of an object that are to be ours; JSON is YAML.
    Apply(&'a str),
}

impl Content<'_> {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Json(text) | Self::Apply(text) => text.to_owned(),
        }
    }

    fn media_type(self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Json(_) => Some(HeaderValue::from_static("application/json")),
            Self::Apply(_) => Some(HeaderValue::from_static("application/apply-patch+yaml")),
        }
    }
}

/// An answer, whatever its status.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long the API server asks to be left alone.
    pub retry_after: Duration,
    /// What it says, as it comes.
    pub body: Incoming,
}

impl Answer {
    /// The rest of it.
    ///
    /// # Errors
    /// It breaks off, or is longer than `most` bytes.
    pub async fn read(self, most: usize) -> Result<Bytes, Failure> {
        let read = Limited::new(self.body, most).collect();
        let read = tokio::time::timeout(BODY, read).await;
        let read = read.map_err(|late| Failure::new(Reason::Connection, late))?;
        let read = read.map_err(|error| {
            let reason = if error.is::<LengthLimitError>() {
                Reason::TooLarge
            } else {
                Reason::Connection
            };
            Failure::new(reason, error)
        })?;
        Ok(read.to_bytes())
    }

    /// What the status means where it is no success.
    pub fn failure(&self) -> Failure {
        Failure {
            retry_after: self.retry_after,
            ..Failure::of_status(self.status.as_u16())
        }
    }
}

impl Client {
    /// Connects when something is asked. `observer` counts handshakes.
    pub fn new(server: Server, observer: Arc<dyn TlsObserver>) -> Self {
        Self {
            server,
            observer,
            tls: None,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// There is none, no token to be shown on it, or the server's certificate is not to be verified.
    pub async fn connect(&mut self) -> Result<Connection, Failure> {
        let late = |late| Failure::new(Reason::Connection, late);
        tokio::time::timeout(ANSWER, self.connected())
            .await
            .map_err(late)?
    }

    async fn connected(&mut self) -> Result<Connection, Failure> {
        // Whoever has nothing to show need not knock; a request reads it again, as it may be another by then.
        if self.server.scheme == Scheme::HTTPS {
            token(&self.server.token_file).await?;
        }
        let mut connector = HttpsConnector::new(self.tls()?, Protocols::Http1);
        let connected = connector.call(self.uri()).await.map_err(|error| {
            let reason = if error.is::<ConnectError>() {
                Reason::Tls
            } else {
                Reason::Connection
            };
            Failure::new(reason, error)
        })?;
        let (sender, connection) = http1::handshake(connected).await.map_err(broken)?;
        let mut task = JoinSet::new();
        // What breaks it is told to whoever reads the answer.
        task.spawn(async move { drop(connection.await) });
        Ok(Connection {
            sender,
            server: self.server.clone(),
            _task: task,
        })
    }

    fn tls(&mut self) -> Result<Option<ClientTls>, Failure> {
        if self.server.scheme == Scheme::HTTPS && self.tls.is_none() {
            let files = ClientFiles {
                ca: Some(self.server.ca_file.clone()),
                ..ClientFiles::default()
            };
            let made = ClientTls::new(files, self.observer.clone());
            self.tls = Some(made.map_err(|error| Failure::new(Reason::Tls, error))?);
        }
        Ok(self.tls.clone())
    }

    fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.server.scheme.clone());
        parts.authority = Some(self.server.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        // A scheme, an authority and a path are always an address.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl Connection {
    /// Whether it takes another request.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks. `target` is a path with its query, `accept` a media type.
    ///
    /// # Errors
    /// There is no token, or no answer. An answer of any status is an answer.
    pub async fn ask(
        &mut self,
        method: Method,
        target: &str,
        accept: &'static str,
        content: Content<'_>,
    ) -> Result<Answer, Failure> {
        let late = |late| Failure::new(Reason::Connection, late);
        let request = self.request(method, target, accept, content).await?;
        let answer = async {
            self.sender.ready().await.map_err(broken)?;
            self.sender.send_request(request).await.map_err(broken)
        };
        let (head, body) = tokio::time::timeout(ANSWER, answer)
            .await
            .map_err(late)??
            .into_parts();
        Ok(Answer {
            status: head.status,
            retry_after: retry_after(&head.headers),
            body,
        })
    }

    async fn request(
        &self,
        method: Method,
        target: &str,
        accept: &'static str,
        content: Content<'_>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.server.authority.as_str())
            .header(ACCEPT, accept)
            .header(USER_AGENT, self.server.user_agent)
            .body(Full::from(content.text()))
            .map_err(|error| Failure::new(Reason::Refused, error))?;
        if let Some(media_type) = content.media_type() {
            request.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        // Never in the clear.
        if self.server.scheme == Scheme::HTTPS {
            let token = token(&self.server.token_file).await?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        Ok(request)
    }
}

fn broken(error: hyper::Error) -> Failure {
    Failure::new(Reason::Connection, error)
}

/// The token as it is now: the kubelet writes another one long before it ends.
async fn token(path: &std::path::Path) -> Result<HeaderValue, Failure> {
    let read = tokio::fs::read_to_string(path).await;
    let text = read.map_err(|error| {
        let said = format!("cannot read the token at `{}`: {error}", path.display());
        Failure::new(Reason::NoToken, said)
    })?;
    let value = HeaderValue::try_from(format!("Bearer {}", text.trim())).ok();
    let mut value = value.filter(|_| !text.trim().is_empty()).ok_or_else(|| {
        let said = format!("`{}` holds no token", path.display());
        Failure::new(Reason::NoToken, said)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds
        .map_or(Duration::ZERO, Duration::from_secs)
        .min(LONGEST_HINT)
}
