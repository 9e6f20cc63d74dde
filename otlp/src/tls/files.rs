//! Which files a TLS configuration is made of.
//!
//! In: paths. Out: the library's configurations for one end, made of what the files hold now.
//! Left out on purpose: the names of configuration keys, which stand with the part that is configured.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};

use super::pem::{self, Part, Text};
use super::{Protocols, TlsError, provider};
use crate::follow::Files;

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM: our certificate first, then those between it and its authority.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// Whether clients have to show a certificate, and of whom; each value is a PEM file of authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They are asked. One without a certificate is served, one with a wrong one is not.
    Request(PathBuf),
    /// One without a certificate is not served.
    Require(PathBuf),
}

/// What a server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its own certificate.
    pub identity: Identity,
    /// Those of its clients.
    pub client_auth: ClientAuth,
}

/// What a client needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// PEM: the authorities that a server's certificate must lead to. `None`: those of this host.
    pub ca: Option<PathBuf>,
    /// Its own certificate, for servers that want one.
    pub identity: Option<Identity>,
    /// The name that is asked for (SNI) and that the server's certificate must have. `None`: the host of the address.
    pub server_name: Option<String>,
}

impl ServerFiles {
    /// Reads the files once, and says what is wrong with them.
    ///
    /// # Errors
    /// The first file that is missing, broken, or does not belong to the others.
    pub fn check(&self) -> Result<(), TlsError> {
        self.make(&self.read()?).map(drop)
    }

    pub(super) fn with(self, protocols: Protocols) -> ServerSource {
        ServerSource {
            files: self,
            protocols,
        }
    }
}

impl ClientFiles {
    /// Reads the files once, and says what is wrong with them.
    ///
    /// # Errors
    /// As [`ServerFiles::check`]; [`TlsError::NoRoots`] where neither they nor the host name an authority.
    pub fn check(&self) -> Result<(), TlsError> {
        self.name()?;
        self.make(&self.read()?).map(drop)
    }

    /// The name to ask for whatever the address.
    pub(super) fn name(&self) -> Result<Option<ServerName<'static>>, TlsError> {
        let named = |name: &String| {
            ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName { name: name.clone() })
        };
        self.server_name.as_ref().map(named).transpose()
    }
}

impl Identity {
    fn read(&self) -> Result<[Text; 2], TlsError> {
        Ok([
            Text::read(Part::Cert, &self.cert)?,
            Text::read(Part::Key, &self.key)?,
        ])
    }
}

impl ClientAuth {
    fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Request(ca) | Self::Require(ca) => Some(ca),
        }
    }
}

fn read_all(identity: Option<&Identity>, ca: Option<&PathBuf>) -> Result<Vec<Text>, TlsError> {
    let mut texts = Vec::new();
    if let Some(identity) = identity {
        texts.extend(identity.read()?);
    }
    if let Some(ca) = ca {
        texts.push(Text::read(Part::Ca, ca)?);
    }
    Ok(texts)
}

fn of(part: Part, texts: &[Text]) -> Option<&Text> {
    texts.iter().find(|text| text.part == part)
}

/// A server's files, with what it speaks.
pub(super) struct ServerSource {
    files: ServerFiles,
    protocols: Protocols,
}

impl Files for ServerSource {
    type Made = Arc<ServerConfig>;
    type Text = Text;
    type Error = TlsError;
    const NAME: &'static str = "TLS";

    fn read(&self) -> Result<Vec<Text>, TlsError> {
        self.files.read()
    }

    fn make(&self, texts: &[Text]) -> Result<Self::Made, TlsError> {
        let mut made = self.files.make(texts)?;
        made.alpn_protocols = self.protocols.alpn();
        Ok(Arc::new(made))
    }
}

impl ServerFiles {
    fn read(&self) -> Result<Vec<Text>, TlsError> {
        read_all(Some(&self.identity), self.client_auth.ca())
    }

    fn make(&self, texts: &[Text]) -> Result<ServerConfig, TlsError> {
        let unread = |part| TlsError::Missing {
            part,
            path: PathBuf::new(),
            label: "CERTIFICATE",
        };
        let cert = of(Part::Cert, texts).ok_or_else(|| unread(Part::Cert))?;
        let key = of(Part::Key, texts).ok_or_else(|| unread(Part::Key))?;
        let identity = pem::identity(cert, key)?;
        let unusable = |source| TlsError::Unusable {
            part: Part::Cert,
            path: self.identity.cert.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match of(Part::Ca, texts) {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let roots = Arc::new(pem::authorities(ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match self.client_auth {
                    ClientAuth::Request(_) => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier.build().map_err(|error| TlsError::Unusable {
                    part: Part::Ca,
                    path: ca.path.clone(),
                    source: rustls::Error::General(error.to_string()),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        Ok(builder.with_cert_resolver(Arc::new(identity)))
    }
}

impl Files for ClientFiles {
    type Made = Arc<ClientConfig>;
    type Text = Text;
    type Error = TlsError;
    const NAME: &'static str = "TLS";

    fn read(&self) -> Result<Vec<Text>, TlsError> {
        read_all(self.identity.as_ref(), self.ca.as_ref())
    }

    fn make(&self, texts: &[Text]) -> Result<Self::Made, TlsError> {
        let roots = match of(Part::Ca, texts) {
            Some(ca) => pem::authorities(ca)?,
            None => pem::host_authorities()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Unusable {
                part: Part::Ca,
                path: self.ca.clone().unwrap_or_default(),
                source,
            })?
            .with_root_certificates(roots);
        let config = match (of(Part::Cert, texts), of(Part::Key, texts)) {
            (Some(cert), Some(key)) => builder.with_client_cert_resolver(Arc::new(pem::identity(cert, key)?)),
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_what_it_is_for() {
        let identity = Identity {
            cert: "/nowhere/tls.crt".into(),
            key: "/nowhere/tls.key".into(),
        };
        let files = ServerFiles {
            identity,
            client_auth: ClientAuth::None,
        };
        let error = files.check().expect_err("no such file");
        assert_eq!(error.part(), Part::Cert);
        let text = error.chain();
        assert!(
            text.starts_with("cannot read the certificate from `/nowhere/tls.crt`: "),
            "{text}"
        );
    }
}
