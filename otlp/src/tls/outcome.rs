//! How handshakes and reloads ended, in words from closed lists.
//!
//! In: errors of the TLS library. Out: one [`Handshake`] or [`Reload`] for the owner's counters.
//! Left out on purpose: the peer's names, which have no bound.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage};

/// Is told of every handshake and every change of files; the owner counts. Called on the connection's task: must not block.
pub trait TlsObserver: Send + Sync + 'static {
    /// One handshake that ended. A client's ends with the first bytes of the server after it: in TLS 1.3 that is when a
    /// server that wants a certificate says so.
    fn handshake(&self, outcome: Handshake);
    /// Files that changed.
    fn reload(&self, outcome: Reload);
}

impl TlsObserver for () {
    fn handshake(&self, _: Handshake) {}
    fn reload(&self, _: Reload) {}
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// Both sides agreed.
    Completed,
    /// The other side speaks HTTP without TLS.
    PlainHttp,
    /// The other side speaks something else.
    NotTls,
    /// It took too long.
    Timeout,
    /// The other side went away.
    Closed,
    /// A certificate is required, and none came.
    NoCertificate,
    /// The other side's certificate is of no authority that we trust.
    UnknownIssuer,
    /// The other side's certificate is no longer valid, or not yet.
    Expired,
    /// The other side's certificate is of another name.
    WrongName,
    /// The other side's certificate cannot be used for another reason.
    BadCertificate,
    /// No version, cipher or protocol in common.
    Incompatible,
    /// The other side refused, by an alert: often it does not trust our certificate, or wants one.
    Refused,
    /// Anything else.
    Other,
}

impl Handshake {
    /// Every outcome, in the order of this list.
    pub const ALL: [Self; 13] = [
        Self::Completed,
        Self::PlainHttp,
        Self::NotTls,
        Self::Timeout,
        Self::Closed,
        Self::NoCertificate,
        Self::UnknownIssuer,
        Self::Expired,
        Self::WrongName,
        Self::BadCertificate,
        Self::Incompatible,
        Self::Refused,
        Self::Other,
    ];

    /// Its name as a label: `unknown_issuer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NoCertificate => "no_certificate",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Expired => "expired",
            Self::WrongName => "wrong_name",
            Self::BadCertificate => "bad_certificate",
            Self::Incompatible => "incompatible",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    /// What it means, in words for an operator.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Completed => "both sides agreed",
            Self::PlainHttp => "it speaks HTTP without TLS",
            Self::NotTls => "it does not speak TLS",
            Self::Timeout => "its handshake took too long",
            Self::Closed => "it closed the connection",
            Self::NoCertificate => "it showed no certificate, and one is required",
            Self::UnknownIssuer => "its certificate is of no authority that is trusted here",
            Self::Expired => "its certificate is not valid at this time",
            Self::WrongName => "its certificate is of another name",
            Self::BadCertificate => "its certificate cannot be used",
            Self::Incompatible => "no version, cipher or protocol is known to both",
            Self::Refused => "it refused, often for the certificate that it got or did not get",
            Self::Other => "the handshake failed",
        }
    }

    /// What an error of a connection comes down to.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Timeout,
            None => Self::Closed,
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::AlertReceived(_) => Self::Refused,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // An authority of the same name with another key, as after a rotation.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            _ => Self::BadCertificate,
        }
    }
}

/// What became of files that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reload {
    /// They are in use.
    Reloaded,
    /// They cannot be used; those before them still are.
    Failed,
}

impl Reload {
    /// Every outcome, in the order of this list.
    pub const ALL: [Self; 2] = [Self::Reloaded, Self::Failed];

    /// Its name as a label: `reloaded` or `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reloaded => "reloaded",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_at_its_place_and_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Handshake::ALL.map(Handshake::as_str).into();
        assert_eq!(names.len(), Handshake::ALL.len());
        for (index, outcome) in Handshake::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
