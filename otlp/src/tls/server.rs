//! The server's end.
//!
//! In: TCP connections as they were accepted. Out: the same encrypted, or why not; both told to the observer.
//! Left out on purpose: accepting (see [`super::Listening`] for our own servers), and who the client is.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Handshake, Protocols, ServerFiles, TlsError, TlsObserver, told};
use crate::follow::Followed;

/// A connection whose handshake is over.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// How long a client may take over its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long, and over how many bytes, a client that was refused may take to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;
/// The first byte of every TLS connection: a record of type handshake.
const TLS_RECORD: u8 = 22;
const PLAIN_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    tracemap: this address speaks TLS: write `https://` in place of `http://`\n";

/// Accepts connections, with the certificate that lies in the files now. Clones are the same.
#[derive(Clone)]
pub struct ServerTls {
    config: Followed<Arc<ServerConfig>>,
    observer: Arc<dyn TlsObserver>,
    files: Arc<ServerFiles>,
    timeout: Duration,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files, and follows them on the current tokio runtime.
    ///
    /// # Errors
    /// As [`ServerFiles::check`].
    pub fn new(
        files: ServerFiles,
        protocols: Protocols,
        observer: Arc<dyn TlsObserver>,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            config: Followed::new(files.clone().with(protocols), told(&observer))?,
            observer,
            files: Arc::new(files),
            timeout: HANDSHAKE,
        })
    }

    /// The handshake on `stream`, for at most ten seconds. Whoever speaks HTTP without TLS is told so.
    ///
    /// # Errors
    /// [`AcceptError`] where it did not end well; the connection is then closed.
    pub async fn accept(&self, stream: TcpStream) -> Result<ServerStream, AcceptError> {
        let accepted = tokio::time::timeout(self.timeout, self.handshake(stream)).await;
        let accepted = accepted.unwrap_or_else(|_| Err((AcceptError::bare(Handshake::Timeout), None)));
        match accepted {
            Ok(stream) => {
                self.observer.handshake(Handshake::Completed);
                Ok(stream)
            }
            Err((error, stream)) => {
                self.observer.handshake(error.outcome);
                if let Some(stream) = stream {
                    linger(stream).await;
                }
                Err(error)
            }
        }
    }

    async fn handshake(
        &self,
        mut stream: TcpStream,
    ) -> Result<ServerStream, (AcceptError, Option<TcpStream>)> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first == [TLS_RECORD] => {}
            Ok(1) if first[0].is_ascii_uppercase() => {
                // Whether it is read is the client's affair.
                let _ = stream.write_all(PLAIN_ANSWER).await;
                return Err((AcceptError::bare(Handshake::PlainHttp), Some(stream)));
            }
            Ok(1) => return Err((AcceptError::bare(Handshake::NotTls), Some(stream))),
            _ => return Err((AcceptError::bare(Handshake::Closed), None)),
        }
        let acceptor = TlsAcceptor::from(self.config.now());
        let accepted = acceptor.accept(stream).into_fallible().await;
        accepted.map_err(|(error, stream)| (AcceptError::of(error), Some(stream)))
    }
}

/// Ends a connection so that the client can read what was sent last: closing while its bytes lie unread would reset it.
async fn linger(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let (mut buffer, mut left) = ([0; 4096], LINGER_BYTES);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, io::Error>(())
    };
    // Either way it is dropped now.
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// A handshake that did not end well.
#[derive(Debug)]
pub struct AcceptError {
    outcome: Handshake,
    source: Option<io::Error>,
}

impl AcceptError {
    fn bare(outcome: Handshake) -> Self {
        Self {
            outcome,
            source: None,
        }
    }

    fn of(source: io::Error) -> Self {
        Self {
            outcome: Handshake::of(&source),
            source: Some(source),
        }
    }

    /// How it ended; never [`Handshake::Completed`].
    pub fn outcome(&self) -> Handshake {
        self.outcome
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no TLS with the client: {}", self.outcome.meaning())
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
    use tokio::net::TcpListener;

    use super::super::{ClientAuth, ClientFiles, Identity, Reload};
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<Handshake>>);

    impl TlsObserver for Told {
        fn handshake(&self, outcome: Handshake) {
            self.0.lock().expect("no panic before").push(outcome);
        }
        fn reload(&self, _: Reload) {}
    }

    fn files(dir: &Path) -> (ServerFiles, KeyPair) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let identity = Identity {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
        };
        std::fs::write(&identity.cert, cert.pem()).expect("a file");
        std::fs::write(&identity.key, signing_key.serialize_pem()).expect("a file");
        let files = ServerFiles {
            identity,
            client_auth: ClientAuth::None,
        };
        (files, signing_key)
    }

    #[tokio::test]
    async fn a_client_that_begins_a_handshake_and_does_not_go_on_is_given_up_and_counted() {
        let (dir, told) = (
            tempfile::tempdir().expect("a directory"),
            Arc::new(Told::default()),
        );
        let (files, _) = files(dir.path());
        let tls = ServerTls {
            timeout: Duration::from_millis(10),
            ..ServerTls::new(files, Protocols::Both, told.clone()).expect("files")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        for bytes in [&[][..], &[TLS_RECORD, 3, 1]] {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            client.write_all(bytes).await.expect("a writable stream");
            let (stream, _) = listener.accept().await.expect("a connection");
            let error = tls.accept(stream).await.expect_err("no handshake");
            assert_eq!(error.outcome(), Handshake::Timeout);
        }
        assert_eq!(*told.0.lock().expect("no panic"), [Handshake::Timeout; 2]);
    }

    #[tokio::test]
    async fn what_is_said_of_keys_is_their_path_and_nothing_of_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let (files, key) = files(dir.path());
        let identity = files.identity.clone();
        let server = ServerTls::new(files, Protocols::Both, Arc::new(())).expect("files");
        let client = super::super::ClientTls::new(
            ClientFiles {
                ca: Some(identity.cert.clone()),
                identity: Some(identity),
                server_name: None,
            },
            Arc::new(()),
        );
        let said = format!("{server:?} {:?}", client.expect("files"));
        assert!(said.contains("tls.key"), "{said}");
        let pem = key.serialize_pem();
        let secret = pem.lines().nth(1).expect("base64");
        assert!(!said.contains(secret) && !said.contains("PRIVATE KEY"), "{said}");
    }
}
