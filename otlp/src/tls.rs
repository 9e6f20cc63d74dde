//! TLS on both ends of a connection, from PEM files that are followed while they serve.
//!
//! In: paths of certificates, keys and authorities. Out: [`ServerTls`] that accepts and [`ClientTls`] that connects, each
//! with the files as they are now, and one [`Handshake`] for whoever counts.
//! Left out on purpose: connections without verification, encrypted keys (nobody is there to type a password), certificate
//! revocation lists, and any use of the peer's name beyond verification.
//! Source: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 7301 (ALPN); X.509 as webpki verifies it.

mod client;
mod connector;
mod files;
mod listen;
mod outcome;
mod pem;
mod server;
mod stream;

pub use client::{ClientStream, ClientTls, ConnectError};
pub use connector::HttpsConnector;
pub use files::{ClientAuth, ClientFiles, Identity, ServerFiles};
pub use listen::Listening;
pub use outcome::{Handshake, Reload, TlsObserver};
pub use pem::{Part, TlsError};
pub use server::{AcceptError, ServerStream, ServerTls};
pub use stream::MaybeTls;

/// Which protocols are offered or taken by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocols {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// Both, HTTP/2 preferred.
    Both,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![h2],
            Self::Both => vec![h2, http1],
        }
    }
}

/// Tells `observer` of changed files.
fn told(observer: &std::sync::Arc<dyn TlsObserver>) -> crate::follow::Told {
    let observer = observer.clone();
    std::sync::Arc::new(move |reload| observer.reload(reload))
}

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
