//! Where the API server is, and what is shown to it.
//!
//! In: an address as written, variables and files of a pod. Out: a [`Server`].
//! Left out on purpose: kubeconfig files, whose plugins and client certificates are `kubectl`'s to know: `kubectl proxy`
//! gives an address for who has one.
//! Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".

use std::path::PathBuf;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Where a pod finds the files of its service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server, and who asks it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `https`, or `http` for a proxy, which gets no token.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// The bearer token, read again for each request.
    pub token_file: PathBuf,
    /// The authority of its certificate, PEM.
    pub ca_file: PathBuf,
    /// What the client calls itself, such as `tracemap-agent/0.1.0`.
    pub user_agent: &'static str,
}

/// The address that every pod is told in its environment; `None` outside of one.
pub fn address_of_pod(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let host = lookup("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty())?;
    let port = lookup("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
    let brackets = host.contains(':') && !host.starts_with('[');
    Some(if brackets {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// The namespace that a pod with a service account is in; `None` outside of one.
pub fn namespace_of_pod() -> Option<String> {
    let text = std::fs::read_to_string(format!("{SERVICE_ACCOUNT}/namespace")).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// `https://host[:port]` or `http://host[:port]`, without a path or a password.
pub fn parse_address(text: &str) -> Option<(Scheme, Authority)> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme()?.clone();
    let bare = uri.path() == "/" && uri.query().is_none();
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    if !bare || authority.as_str().contains('@') {
        return None;
    }
    let authority = match (scheme == Scheme::HTTPS, authority.port()) {
        (true, None) => Authority::try_from(format!("{authority}:443")).ok()?,
        _ => authority.clone(),
    };
    (scheme == Scheme::HTTPS || scheme == Scheme::HTTP).then_some((scheme, authority))
}

/// Text as it may stand in a query or as a segment of a path. Source: RFC 3986 §2.3, unreserved characters.
pub fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_where_the_api_server_is() {
        let told = |host: &'static str, port: Option<&'static str>| {
            address_of_pod(move |name| match name {
                "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
                "KUBERNETES_SERVICE_PORT" => port.map(str::to_owned),
                _ => None,
            })
        };
        assert_eq!(
            told("fd00::1", Some("6443")).as_deref(),
            Some("https://[fd00::1]:6443")
        );
        assert_eq!(told("10.96.0.1", None).as_deref(), Some("https://10.96.0.1:443"));
        assert_eq!(told("", None), None);
    }

    #[test]
    fn an_address_has_no_path_and_no_password_and_tls_has_a_port() {
        let parsed = |text| parse_address(text).map(|(scheme, authority)| format!("{scheme} {authority}"));
        assert_eq!(parsed("https://k8s").as_deref(), Some("https k8s:443"));
        assert_eq!(parsed("https://[::1]:6443").as_deref(), Some("https [::1]:6443"));
        assert_eq!(
            parsed("http://127.0.0.1:8001").as_deref(),
            Some("http 127.0.0.1:8001")
        );
        for wrong in [
            "k8s",
            "ftp://k8s",
            "https://k8s/api",
            "https://a:b@k8s",
            "https://k8s?x",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(encoded("a-b.c_d~"), "a-b.c_d~");
        assert_eq!(encoded("../a?b&c=ü"), "..%2Fa%3Fb%26c%3D%C3%BC");
    }
}
