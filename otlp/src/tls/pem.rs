//! Certificates and keys out of PEM.
//!
//! In: the text of PEM files. Out: chains, keys and authorities as the TLS library wants them, or a [`TlsError`] that names
//! the file and what it lacks.
//! Left out on purpose: encrypted keys, PKCS#12 and DER.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore};

use super::provider;

/// Which file or value an error is about, so that its owner can name the key it was written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Our certificate and those between it and its authority.
    Cert,
    /// The private key.
    Key,
    /// The authorities that the other side's certificate must lead to.
    Ca,
    /// The name that the server's certificate must have.
    ServerName,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cert => "certificate",
            Self::Key => "private key",
            Self::Ca => "certificates of authorities",
            Self::ServerName => "server name",
        })
    }
}

/// Files that TLS cannot be made of. No content of a file is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, or not for us to read.
    #[error("cannot read the {part} from `{path}`", path = path.display())]
    Read {
        /// What the file is for.
        part: Part,
        /// The path as written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("`{path}` holds no {part}: it must be PEM, with a line `-----BEGIN {label}-----`", path = path.display())]
    Missing {
        /// What the file is for.
        part: Part,
        /// The path as written.
        path: PathBuf,
        /// What was looked for.
        label: &'static str,
    },
    /// The file is broken PEM.
    #[error("`{path}` is no proper PEM: each `-----BEGIN …-----` needs base64 and its `-----END …-----`", path = path.display())]
    Pem {
        /// What the file is for.
        part: Part,
        /// The path as written.
        path: PathBuf,
    },
    /// A certificate or key that the library cannot use.
    #[error("the {part} in `{path}` cannot be used", path = path.display())]
    Unusable {
        /// What the file is for.
        part: Part,
        /// The path as written.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// Two files that do not belong together.
    #[error("the private key in `{key}` is not that of the first certificate in `{cert}`", key = key.display(), cert = cert.display())]
    KeyMismatch {
        /// The certificate's path as written.
        cert: PathBuf,
        /// The key's path as written.
        key: PathBuf,
    },
    /// No authority is written, and the host has none.
    #[error("no authority is trusted: this host has no certificates of authorities, so name a file of them")]
    NoRoots,
    /// Not a name that a certificate can have.
    #[error("`{name}` is no host name and no IP address")]
    ServerName {
        /// The value as written.
        name: String,
    },
}

impl TlsError {
    /// What it is about.
    pub fn part(&self) -> Part {
        match self {
            Self::Read { part, .. }
            | Self::Missing { part, .. }
            | Self::Pem { part, .. }
            | Self::Unusable { part, .. } => *part,
            Self::KeyMismatch { .. } => Part::Key,
            Self::NoRoots => Part::Ca,
            Self::ServerName { .. } => Part::ServerName,
        }
    }

    /// The error with its causes, on one line.
    pub fn chain(&self) -> String {
        crate::follow::chain(self)
    }
}

/// The text of one file.
#[derive(Hash)]
pub(crate) struct Text {
    pub(super) part: Part,
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
}

impl Text {
    pub(super) fn read(part: Part, path: &Path) -> Result<Self, TlsError> {
        let path = path.to_owned();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { part, path, bytes }),
            Err(source) => Err(TlsError::Read { part, path, source }),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let certificates = found.map_err(|error| self.broken(&error, "CERTIFICATE"))?;
        if certificates.is_empty() {
            return Err(self.missing("CERTIFICATE"));
        }
        Ok(certificates)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| self.broken(&error, "PRIVATE KEY"))
    }

    fn broken(&self, error: &pem::Error, label: &'static str) -> TlsError {
        match error {
            pem::Error::NoItemsFound => self.missing(label),
            // The library's own text quotes the file.
            _ => TlsError::Pem {
                part: self.part,
                path: self.path.clone(),
            },
        }
    }

    fn missing(&self, label: &'static str) -> TlsError {
        TlsError::Missing {
            part: self.part,
            path: self.path.clone(),
            label,
        }
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            part: self.part,
            path: self.path.clone(),
            source,
        }
    }
}

/// A certificate with its chain and its key.
pub(super) fn identity(cert: &Text, key: &Text) -> Result<SingleCertAndKey, TlsError> {
    let signing = provider()
        .key_provider
        .load_private_key(key.key()?)
        .map_err(|error| key.unusable(error))?;
    let certified = CertifiedKey::new(cert.certificates()?, signing);
    match certified.keys_match() {
        // A key whose public half is not told is one of hardware; ours are files.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified.into()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch {
            cert: cert.path.clone(),
            key: key.path.clone(),
        }),
        Err(error) => Err(cert.unusable(error)),
    }
}

/// The authorities of a file, every one of which must be usable.
pub(super) fn authorities(ca: &Text) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca.certificates()? {
        roots.add(certificate).map_err(|error| ca.unusable(error))?;
    }
    Ok(roots)
}

/// The authorities of this host: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the system's. Those that cannot be read are left
/// out, as a host has hundreds.
pub(super) fn host_authorities() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}
