//! The client's end.
//!
//! In: TCP connections to a server. Out: the same encrypted and the server verified, or why not; both told to the observer.
//! Left out on purpose: connecting without verification.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ClientFiles, Handshake, Protocols, TlsError, TlsObserver, told};
use crate::follow::Followed;

/// Connects to servers, with the authorities and the certificate that lie in the files now. Clones are the same.
#[derive(Clone)]
pub struct ClientTls {
    config: Followed<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
    observer: Arc<dyn TlsObserver>,
    files: Arc<ClientFiles>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files, and follows them on the current tokio runtime. The host's own authorities are read once.
    ///
    /// # Errors
    /// As [`ClientFiles::check`].
    pub fn new(files: ClientFiles, observer: Arc<dyn TlsObserver>) -> Result<Self, TlsError> {
        Ok(Self {
            name: files.name()?,
            config: Followed::new(files.clone(), told(&observer))?,
            observer,
            files: Arc::new(files),
        })
    }

    /// The handshake on `stream` with `host`, a name or an address, unless [`ClientFiles::server_name`] says another.
    /// Takes as long as the server does.
    ///
    /// # Errors
    /// [`ConnectError`] where the server is not to be trusted or refuses.
    pub async fn connect(
        &self,
        host: &str,
        protocols: Protocols,
        stream: TcpStream,
    ) -> Result<ClientStream, ConnectError> {
        let connected = self.handshake(host, protocols, stream).await;
        connected.map_err(|source| {
            let outcome = Handshake::of(&source);
            self.observer.handshake(outcome);
            ConnectError {
                host: host.to_owned(),
                outcome,
                source,
            }
        })
    }

    async fn handshake(
        &self,
        host: &str,
        protocols: Protocols,
        stream: TcpStream,
    ) -> io::Result<ClientStream> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(bare(host).to_owned()).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(self.config.now());
        let tls = connector
            .with_alpn(protocols.alpn())
            .connect(name, stream)
            .await?;
        Ok(ClientStream {
            tls,
            unconfirmed: Some(self.observer.clone()),
        })
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A server that TLS is not spoken with.
#[derive(Debug, thiserror::Error)]
#[error("no TLS with `{host}`: {}", .outcome.meaning())]
pub struct ConnectError {
    host: String,
    outcome: Handshake,
    source: io::Error,
}

impl ConnectError {
    /// How it ended; never [`Handshake::Completed`].
    pub fn outcome(&self) -> Handshake {
        self.outcome
    }
}

/// A connection to a server that was verified. The server's own verdict comes with its first bytes: see
/// [`TlsObserver::handshake`].
pub struct ClientStream {
    tls: TlsStream<TcpStream>,
    unconfirmed: Option<Arc<dyn TlsObserver>>,
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream")
            .field("tcp", self.tcp())
            .finish_non_exhaustive()
    }
}

impl ClientStream {
    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.tls.get_ref().0
    }

    fn tell(&mut self, outcome: Handshake) {
        if let Some(observer) = self.unconfirmed.take() {
            observer.handshake(outcome);
        }
    }

    fn checked<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && self.unconfirmed.is_some()
        {
            self.tell(Handshake::of(error));
        }
        polled
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.tell(Handshake::Completed);
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.tls).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.tell(Handshake::Completed);
        }
        this.checked(polled)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_write(cx, buf);
        this.checked(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_flush(cx);
        this.checked(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_write_vectored(cx, bufs);
        this.checked(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
