//! The API server: questions for pods, and its answers.
//!
//! In: the address, a token in a file, an authority in a file. Out: pages of pods, and the lines of a watch.
//! Left out on purpose: a pool. A watch has its connection for minutes, and a list is rare. And `kube`, the usual client: it
//! brings the types of the whole API, a second TLS stack's glue and `tower`'s layers for two questions.
//! Source: Kubernetes documentation, "API Concepts" (watches, chunked lists, bookmarks, 410).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use otlp::tls::{ClientFiles, ClientTls, ConnectError, HttpsConnector, Protocols, TlsObserver};
use tokio::task::JoinSet;
use tower_service::Service as _;

use super::metrics::Restart;
use super::objects::Page;
use crate::BoxError;
use crate::remote_sampling::query_byte;

/// How long an answer may take to begin, and a page to come.
const ANSWER: Duration = Duration::from_secs(30);
const PAGE: Duration = Duration::from_mins(1);
/// Longest page that is read, in bytes. Servers before 1.31 give all pods of a node at once where they give them from memory.
const MAX_PAGE: usize = 32 << 20;
/// Longest event that is read, in bytes: no object is longer than 1.5 MiB.
const MAX_LINE: usize = 4 << 20;
/// Pods of one page.
const PAGE_PODS: u32 = 100;
/// A longer `Retry-After` is taken as this.
const LONGEST_HINT: Duration = Duration::from_mins(1);

/// The API server, and the node whose pods it is asked for.
pub(super) struct Api {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) node: String,
    pub(super) token_file: PathBuf,
    pub(super) ca_file: PathBuf,
    pub(super) observer: Arc<dyn TlsObserver>,
    /// Made when it is first needed, and again as long as the authority's file is not to be used.
    pub(super) tls: Option<ClientTls>,
}

/// Why there is no answer, or not all of one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: Restart,
    /// How long the API server asks to be left alone.
    pub(super) retry_after: Duration,
    pub(super) cause: String,
}

impl Failure {
    pub(super) fn new(reason: Restart, cause: impl Into<BoxError>) -> Self {
        let cause: BoxError = cause.into();
        let first: &dyn std::error::Error = &*cause;
        let causes = std::iter::successors(Some(first), |error| error.source());
        Self {
            reason,
            retry_after: Duration::ZERO,
            cause: causes.map(ToString::to_string).collect::<Vec<_>>().join(": "),
        }
    }

    /// What a status that is no success means, of an answer or of an event.
    pub(super) fn of_status(code: u16) -> Self {
        let reason = match code {
            401 => Restart::Unauthorized,
            403 => Restart::Forbidden,
            410 => Restart::Expired,
            429 | 500.. => Restart::Busy,
            _ => Restart::Refused,
        };
        Self::new(reason, format!("the API server answers {code}"))
    }
}

/// The pods of one page, or the lines of a watch, as they come.
struct Answer {
    body: Incoming,
    /// The connection; ends with this.
    _connection: JoinSet<()>,
}

impl Api {
    /// One page of pods. `recent` asks for those of now, at the price of a look into the database, in place of those that the
    /// server has in memory; `next` is from the page before.
    pub(super) async fn page(&mut self, recent: bool, next: Option<&str>) -> Result<Page, Failure> {
        let place = match next {
            Some(next) => format!("&continue={}", encoded(next)),
            None if recent => String::new(),
            None => "&resourceVersion=0".to_owned(),
        };
        let answer = self.get(&format!("limit={PAGE_PODS}{place}")).await?;
        let read = Limited::new(answer.body, MAX_PAGE).collect();
        let read = tokio::time::timeout(PAGE, read).await;
        let read = read.map_err(|late| Failure::new(Restart::Connection, late))?;
        let read = read.map_err(|error| {
            let reason = if error.is::<LengthLimitError>() {
                Restart::TooLarge
            } else {
                Restart::Connection
            };
            Failure::new(reason, error)
        })?;
        serde_json::from_slice(&read.to_bytes()).map_err(|error| Failure::new(Restart::Malformed, error))
    }

    /// What happens to pods after `version`, for `seconds` at most.
    pub(super) async fn watch(&mut self, version: &str, seconds: u64) -> Result<Lines, Failure> {
        let version = encoded(version);
        let query =
            format!("watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}");
        let answer = self.get(&query).await?;
        Ok(Lines {
            answer,
            read: BytesMut::new(),
            searched: 0,
        })
    }

    async fn get(&mut self, query: &str) -> Result<Answer, Failure> {
        let late = |late| Failure::new(Restart::Connection, late);
        let asked = tokio::time::timeout(ANSWER, self.ask(query)).await;
        let (status, headers, answer) = asked.map_err(late)??;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        Err(Failure {
            retry_after: retry_after(&headers),
            ..Failure::of_status(status.as_u16())
        })
    }

    async fn ask(&mut self, query: &str) -> Result<(StatusCode, HeaderMap, Answer), Failure> {
        let broken = |error: hyper::Error| Failure::new(Restart::Connection, error);
        let request = self.request(query).await?;
        let mut connector = HttpsConnector::new(self.tls()?, Protocols::Http1);
        let connected = connector.call(self.uri()).await.map_err(|error| {
            let reason = if error.is::<ConnectError>() {
                Restart::Tls
            } else {
                Restart::Connection
            };
            Failure::new(reason, error)
        })?;
        let (mut sender, connection) = http1::handshake(connected).await.map_err(broken)?;
        let mut task = JoinSet::new();
        // What breaks it is told to whoever reads the answer.
        task.spawn(async move { drop(connection.await) });
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let answer = Answer {
            body,
            _connection: task,
        };
        Ok((head.status, head.headers, answer))
    }

    async fn request(&self, query: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let node = encoded(&self.node);
        let target = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&{query}");
        let mut request = Request::get(target)
            .header(HOST, self.authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("tracemap-agent/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| Failure::new(Restart::Refused, error))?;
        // Never in the clear.
        if self.scheme == Scheme::HTTPS {
            request
                .headers_mut()
                .insert(AUTHORIZATION, token(&self.token_file).await?);
        }
        Ok(request)
    }

    fn tls(&mut self) -> Result<Option<ClientTls>, Failure> {
        if self.scheme == Scheme::HTTPS && self.tls.is_none() {
            let files = ClientFiles {
                ca: Some(self.ca_file.clone()),
                ..ClientFiles::default()
            };
            let made = ClientTls::new(files, self.observer.clone());
            self.tls = Some(made.map_err(|error| Failure::new(Restart::Tls, error))?);
        }
        Ok(self.tls.clone())
    }

    fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        // A scheme, an authority and a path are always an address.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// The token as it is now: the kubelet writes another one long before it ends.
async fn token(path: &std::path::Path) -> Result<HeaderValue, Failure> {
    let read = tokio::fs::read_to_string(path).await;
    let text = read.map_err(|error| {
        let said = format!("cannot read the token at `{}`: {error}", path.display());
        Failure::new(Restart::NoToken, said)
    })?;
    let value = HeaderValue::try_from(format!("Bearer {}", text.trim())).ok();
    let mut value = value.filter(|_| !text.trim().is_empty()).ok_or_else(|| {
        let said = format!("`{}` holds no token", path.display());
        Failure::new(Restart::NoToken, said)
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

fn encoded(text: &str) -> String {
    text.bytes().map(query_byte).collect()
}

/// The lines of a watch.
pub(super) struct Lines {
    answer: Answer,
    read: BytesMut,
    /// How much of it has no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line, without its end; `None` where the watch has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let unseen = self.read.get(self.searched..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + end).freeze();
                self.read.advance(1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if self.searched > MAX_LINE {
                return Err(Failure::new(Restart::TooLarge, "an event has no end"));
            }
            match self.answer.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::new(Restart::Connection, error)),
                Some(Ok(frame)) => self
                    .read
                    .extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        }
    }
}
