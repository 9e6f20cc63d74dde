//! Questions for the pods of a node, and the API server's answers.
//!
//! In: a client of the API server, a node's name. Out: pages of pods, and the lines of a watch.
//! Left out on purpose: how it is reached and what is shown to it, which the crate `kubernetes` has.
//! Source: Kubernetes documentation, "API Concepts" (watches, chunked lists, bookmarks, 410).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kubernetes::{Answer, Client, Connection, Content, Failure, Reason, encoded};

use super::objects::Page;

/// Longest page that is read, in bytes. Servers before 1.31 give all pods of a node at once where they give them from memory.
const MAX_PAGE: usize = 32 << 20;
/// Longest event that is read, in bytes: no object is longer than 1.5 MiB.
const MAX_LINE: usize = 4 << 20;
/// Pods of one page.
const PAGE_PODS: u32 = 100;

/// The API server, and the node whose pods it is asked for.
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) node: String,
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
        let (answer, _connection) = self.get(&format!("limit={PAGE_PODS}{place}")).await?;
        let read = answer.read(MAX_PAGE).await?;
        serde_json::from_slice(&read).map_err(|error| Failure::new(Reason::Malformed, error))
    }

    /// What happens to pods after `version`, for `seconds` at most.
    pub(super) async fn watch(&mut self, version: &str, seconds: u64) -> Result<Lines, Failure> {
        let version = encoded(version);
        let query =
            format!("watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}");
        let (answer, connection) = self.get(&query).await?;
        Ok(Lines {
            answer,
            _connection: connection,
            read: BytesMut::new(),
            searched: 0,
        })
    }

    /// On a connection of its own: a watch has it for minutes, and a list is rare.
    async fn get(&mut self, query: &str) -> Result<(Answer, Connection), Failure> {
        let node = encoded(&self.node);
        let target = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&{query}");
        let mut connection = self.client.connect().await?;
        let answer = connection
            .ask(Method::GET, &target, "application/json", Content::None)
            .await?;
        if answer.status == StatusCode::OK {
            return Ok((answer, connection));
        }
        Err(answer.failure())
    }
}

/// The lines of a watch.
pub(super) struct Lines {
    answer: Answer,
    /// Ends with this.
    _connection: Connection,
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
                return Err(Failure::new(Reason::TooLarge, "an event has no end"));
            }
            match self.answer.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::new(Reason::Connection, error)),
                Some(Ok(frame)) => self
                    .read
                    .extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        }
    }
}
