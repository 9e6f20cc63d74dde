//! Certificates for one test, in a directory of its own.

use std::path::PathBuf;

use otlp::tls::{ClientAuth, ClientFiles, Identity, ServerFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority, and where its certificates lie.
pub(crate) struct Pki {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca: PathBuf,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().expect("a key");
        let ca = dir.path().join("ca.crt");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(&ca, certificate.pem()).expect("a file");
        let issuer = Issuer::new(params, key);
        Self { dir, issuer, ca }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate of `host` that is valid.
    pub(crate) fn identity(&self, host: &str) -> Identity {
        self.identity_until(host, 2999)
    }

    /// A certificate of `host` that is valid until the first day of `year`.
    pub(crate) fn identity_until(&self, host: &str, year: i32) -> Identity {
        let identity = Identity {
            cert: self.path(&format!("{host}-{year}.crt")),
            key: self.path(&format!("{host}-{year}.key")),
        };
        self.write(&identity, host, year);
        identity
    }

    /// Writes a new certificate to where one lies.
    pub(crate) fn write(&self, to: &Identity, host: &str, year: i32) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("names");
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(&to.cert, certificate.pem()).expect("a file");
        std::fs::write(&to.key, key.serialize_pem()).expect("a file");
    }

    /// A server with a certificate of `host`.
    pub(crate) fn server(&self, host: &str) -> ServerFiles {
        ServerFiles {
            identity: self.identity(host),
            client_auth: ClientAuth::None,
        }
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> ClientFiles {
        ClientFiles {
            ca: Some(self.ca.clone()),
            ..ClientFiles::default()
        }
    }

    /// A client that trusts this authority and has a certificate of it.
    pub(crate) fn client_with_certificate(&self) -> ClientFiles {
        ClientFiles {
            identity: Some(self.identity("a-client")),
            ..self.client()
        }
    }
}

/// `cert: …, key: …` of a configuration.
pub(crate) fn keys(identity: &Identity) -> String {
    format!(
        "cert: '{}', key: '{}'",
        identity.cert.display(),
        identity.key.display()
    )
}
