//! The database stand-in: a TCP server that speaks lines, and its client.
//!
//! In: `SELECT products` or `INSERT orders`, one statement a line. Out: `ok 24`, the table's rows, or `error` and why.
//! Left out on purpose: SQL, and contents. It is on the wire so that a call to it takes time, fails and is seen only
//! by its client's span, as it is with a database that nobody instruments.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::faults::Faults;
use super::services::{DATABASE, DATABASE_OWN, Query, TABLES};
use super::telemetry::{Parent, Tracer};

/// Longest line either side reads, in bytes.
const MAX_LINE: u64 = 256;
/// How long a statement may take, connecting included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that a client keeps.
const MAX_IDLE: usize = 32;

/// The server's tables: a number of rows each.
struct Tables([(&'static str, AtomicU64); TABLES.len()]);

impl Tables {
    fn new() -> Self {
        Self(TABLES.map(|(name, rows)| (name, AtomicU64::new(rows))))
    }

    /// The answer to one line.
    fn answer(&self, line: &str) -> String {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [operation, table] = words.as_slice() else {
            return format!("error `{line}` is no statement: write `SELECT products`");
        };
        let Some((_, rows)) = self.0.iter().find(|(name, _)| name == table) else {
            return format!("error there is no table `{table}`");
        };
        match *operation {
            "SELECT" => format!("ok {}", rows.load(Ordering::Relaxed)),
            "INSERT" => format!("ok {}", rows.fetch_add(1, Ordering::Relaxed) + 1),
            other => format!("error `{other}` is no operation: write `SELECT` or `INSERT`"),
        }
    }
}

/// Answers until the task is aborted; connections end with it.
pub(super) async fn serve(listener: TcpListener, faults: Arc<Faults>) {
    let tables = Arc::new(Tables::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&tables), Arc::clone(&faults)))),
                Err(error) => {
                    warn!(%error, "demo database could not accept a connection");
                    // Out of file descriptors, most likely: asking again at once would only burn the processor.
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Ends when the client leaves, breaks off in mid-line or writes a line that is too long or no UTF-8.
async fn converse(stream: TcpStream, tables: Arc<Tables>, faults: Arc<Faults>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(line) = read_line(&mut stream).await? {
        let own = DATABASE_OWN.sample(&mut rand::rng());
        let suffering = faults.draw(DATABASE);
        sleep(own + suffering.delay).await;
        let mut answer = if suffering.fails {
            "error the statement was aborted".to_owned()
        } else {
            tables.answer(&line)
        };
        answer.push('\n');
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// One line without its end; `None` where the stream ended before it.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(line).map(Some).map_err(io::Error::other),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no line end within {MAX_LINE} bytes"),
        )),
    }
}

/// Why a statement has no rows.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    /// The connection failed or broke.
    #[error("no connection to the database at `{server}`")]
    Connection {
        /// Where it should be.
        server: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("the database answered `{answer}`")]
    Refused {
        /// Its line.
        answer: String,
    },
    /// It took too long.
    #[error("the database did not answer within {seconds} s", seconds = STATEMENT_TIMEOUT.as_secs())]
    TimedOut,
}

impl QueryError {
    /// The value of `error.type`.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Connection { .. } => "connection",
            Self::Refused { .. } => "refused",
            Self::TimedOut => "timeout",
        }
    }
}

/// The database client of one service; makes a CLIENT span for each statement.
pub(super) struct Client {
    server: SocketAddr,
    tracer: Tracer,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Client {
    /// Connects when the first statement comes.
    pub(super) fn new(server: SocketAddr, tracer: Tracer) -> Self {
        Self {
            server,
            tracer,
            idle: Mutex::default(),
        }
    }

    /// How many rows the table has, after the statement.
    ///
    /// # Errors
    /// No connection, an answer that is not `ok` and a number, or none within 10 s.
    pub(super) async fn query(&self, parent: &Parent, query: Query) -> Result<u64, QueryError> {
        let span = self.tracer.database_call(parent, query, self.server);
        let answered = timeout(STATEMENT_TIMEOUT, self.exchange(query)).await;
        let rows = answered.unwrap_or(Err(QueryError::TimedOut));
        match &rows {
            Ok(_) => span.end(),
            Err(error) => span.fail(error.error_type(), error),
        }
        rows
    }

    async fn exchange(&self, query: Query) -> Result<u64, QueryError> {
        let answer = self.ask(query).await.map_err(|source| QueryError::Connection {
            server: self.server,
            source,
        })?;
        let rows = answer.strip_prefix("ok ").and_then(|rows| rows.parse().ok());
        rows.ok_or(QueryError::Refused { answer })
    }

    async fn ask(&self, query: Query) -> io::Result<String> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(self.server).await?,
        };
        stream
            .write_all(format!("{} {}\n", query.operation, query.table).as_bytes())
            .await?;
        let answer = read_line(&mut stream)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(stream);
        }
        Ok(answer)
    }
}

async fn connect(server: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_adds_a_row_and_nonsense_is_answered_with_a_reason() {
        let tables = Tables::new();
        let talk = [
            ("SELECT products", "ok 24"),
            ("INSERT orders", "ok 1"),
            ("INSERT orders", "ok 2"),
            ("SELECT orders", "ok 2"),
            ("SELECT users", "error there is no table `users`"),
            (
                "DROP orders",
                "error `DROP` is no operation: write `SELECT` or `INSERT`",
            ),
            ("", "error `` is no statement: write `SELECT products`"),
        ];
        for (line, answer) in talk {
            assert_eq!(tables.answer(line), answer);
        }
    }

    #[tokio::test]
    async fn a_line_without_end_closes_its_connection_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(Faults::new(0.0))));
        let mut endless = connect(address).await.unwrap();
        let mut good = connect(address).await.unwrap();
        endless.write_all(&[b'x'; 1000]).await.unwrap();
        let mut rest = Vec::new();
        // The server may close with our bytes unread, which reads as a reset: closed is closed.
        let _ = endless.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
        good.write_all(b"SELECT carts\n").await.unwrap();
        assert_eq!(read_line(&mut good).await.unwrap().as_deref(), Some("ok 8"));
        server.abort();
    }
}
