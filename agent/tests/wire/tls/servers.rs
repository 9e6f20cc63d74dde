//! Services and targets with TLS.

use std::net::SocketAddr;

use agent::Running;
use http_body_util::Empty;
use otlp::tls::{ClientAuth, Identity};

use super::pki::{Pki, keys};
use super::*;
use crate::http2::call;

/// An agent in front of a service at `localhost` that wants TLS, and its forward proxy.
async fn originating(upstream: SocketAddr, tls: &str, collector: &Collector) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'https://localhost:{}', upstream_tls: {{ {tls} }} }}],
           outbound: {{ listen: '127.0.0.1:0', tls: {{ {tls} }} }} }}",
        collector.endpoint(),
        upstream.port()
    ))
    .await
}

fn trusting(pki: &Pki) -> String {
    format!("ca: '{}'", pki.ca.display())
}

fn plain(uri: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(uri).body(Empty::new()).expect("a request")
}

#[tokio::test]
async fn a_service_that_wants_tls_gets_http2_as_http2_and_http1_as_http1() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let upstream = tls_mirror(pki.server("localhost")).await;
    let agent = originating(upstream, &trusting(&pki), &collector).await;
    let answered = ask(agent.inbound_addrs[0], "GET /a HTTP/1.1\nhost: cart").await;
    assert!(
        answered.contains("HTTP/1.1 /a\nalpn: http/1.1\n") && header(&answered, "host") == Some("cart"),
        "{answered}"
    );
    let answered = call(agent.inbound_addrs[0], plain("http://cart/b")).await;
    let answered = answered.into_body().collect().await.expect("a body").to_bytes();
    let answered = String::from_utf8_lossy(&answered);
    assert!(
        answered.starts_with("HTTP/2.0 https://cart/b\nalpn: h2\n"),
        "{answered}"
    );
    let span = collector.server_span().await;
    assert_eq!(span.get("url.scheme"), Some("http"), "callers speak plain");
    until_metric(&agent, &handshakes("upstream", "completed"), 2.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_call_that_is_handed_to_the_proxy_in_plain_is_encrypted_and_traced() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let target = tls_mirror(pki.server("localhost")).await;
    let agent = originating(target, &trusting(&pki), &collector).await;
    let url = format!("https://localhost:{}/pay?card=1", target.port());
    let answered = ask(
        agent.outbound_addrs[0],
        &format!("GET {url} HTTP/1.1\nhost: localhost"),
    )
    .await;
    assert!(
        answered.contains("HTTP/1.1 /pay?card=1\nalpn: http/1.1\n"),
        "{answered}"
    );
    let span = collector.client_span().await;
    let sent = header(&answered, "traceparent").expect("a context");
    assert!(sent.contains(&span.span_id()), "{sent}");
    let full = format!("https://localhost:{}/pay", target.port());
    assert_eq!(span.get("url.full"), Some(full.as_str()));
    assert_eq!(span.get("server.port"), Some(target.port().to_string().as_str()));
    assert!(
        span.get("network.peer.address").is_some(),
        "{:?}",
        span.attributes
    );
    let answered = call(agent.outbound_addrs[0], plain(&url)).await;
    let answered = answered.into_body().collect().await.expect("a body").to_bytes();
    let answered = String::from_utf8_lossy(&answered);
    let h2 = format!("HTTP/2.0 {url}\nalpn: h2\n");
    assert!(answered.starts_with(&h2), "{answered}");
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_to_be_trusted_gets_no_request_and_the_span_says_why() {
    let (pki, other, collector) = (Pki::new(), Pki::new(), Collector::start().await);
    let with = |identity: Identity| ServerFiles {
        identity,
        client_auth: ClientAuth::None,
    };
    for (identity, result, said) in [
        (
            other.identity("localhost"),
            "unknown_issuer",
            "its certificate is of no authority that is trusted here",
        ),
        (
            pki.identity_until("localhost", 2001),
            "expired",
            "its certificate is not valid at this time",
        ),
        (
            pki.identity("elsewhere"),
            "wrong_name",
            "its certificate is of another name",
        ),
    ] {
        let upstream = tls_mirror(with(identity)).await;
        let agent = originating(upstream, &trusting(&pki), &collector).await;
        let path = format!("/{result}");
        let answered = ask(
            agent.inbound_addrs[0],
            &format!("GET {path} HTTP/1.1\nhost: cart"),
        )
        .await;
        assert!(
            answered.starts_with("HTTP/1.1 502 ") && answered.contains(said),
            "{answered}"
        );
        let span = collector.span(|seen| seen.get("url.path") == Some(&path)).await;
        assert_eq!(span.get("error.type"), Some("tls_failed"));
        counted(&agent, &handshakes("upstream", result)).await;
        let answered = call(agent.inbound_addrs[0], plain("http://cart/")).await;
        assert_eq!(answered.status(), 502, "HTTP/2 likewise");
        agent.stop().await;
    }
    let upstream = tls_mirror(pki.server("elsewhere")).await;
    let named = format!("{}, server_name: elsewhere", trusting(&pki));
    let yaml = format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'https://{upstream}', upstream_tls: {{ {named} }} }}] }}"
    );
    let agent = start(&yaml).await;
    let answered = ask(agent.inbound_addrs[0], "GET /named HTTP/1.1\nhost: cart").await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    agent.stop().await;
}

#[tokio::test]
async fn a_service_without_tls_behind_https_is_told_apart_from_one_that_is_away() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let agent = originating(mirror().await, &trusting(&pki), &collector).await;
    let answered = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(
        answered.starts_with("HTTP/1.1 502 ") && answered.contains("(tls_failed)"),
        "{answered}"
    );
    until_metric(&agent, &handshakes("upstream", "not_tls"), 1.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_service_that_wants_a_certificate_gets_the_agents() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let files = ServerFiles {
        client_auth: ClientAuth::Require(pki.ca.clone()),
        ..pki.server("localhost")
    };
    let upstream = tls_mirror(files).await;
    let with = format!("{}, {}", trusting(&pki), keys(&pki.identity("cart")));
    let agent = originating(upstream, &with, &collector).await;
    let answered = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    agent.stop().await;
    let agent = originating(upstream, &trusting(&pki), &collector).await;
    let answered = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(
        answered.starts_with("HTTP/1.1 502 ") && answered.contains("CertificateRequired"),
        "{answered}"
    );
    until_metric(&agent, &handshakes("upstream", "refused"), 1.0).await;
    agent.stop().await;
}

/// `openssl s_server` answers with a page about the connection.
#[tokio::test]
async fn openssl_is_a_service_that_the_agent_reaches() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let (identity, port) = (pki.identity("localhost"), nobody().await.port());
    let (cert, key) = (
        identity.cert.display().to_string(),
        identity.key.display().to_string(),
    );
    let accept = port.to_string();
    let arguments = [
        "s_server", "-quiet", "-accept", &accept, "-cert", &cert, "-key", &key, "-www",
    ];
    let mut server = Command::new("openssl")
        .args(arguments)
        .kill_on_drop(true)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`openssl` must be installed for this test");
    let upstream = SocketAddr::from(([127, 0, 0, 1], port));
    let up = async { while tokio::net::TcpStream::connect(upstream).await.is_err() {} };
    soon("openssl's listener", up).await;
    let agent = originating(upstream, &trusting(&pki), &collector).await;
    let answered = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(
        answered.starts_with("HTTP/1.1 200 ") && answered.contains("TLSv1.3"),
        "{answered}"
    );
    agent.stop().await;
    server.kill().await.expect("an end");
}
