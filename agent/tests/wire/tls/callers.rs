//! Callers with TLS, and those who only try.

use std::net::SocketAddr;

use agent::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::pki::{Pki, keys};
use super::*;

/// An agent whose callers speak TLS, in front of a service that does not.
async fn secured(tls: &str, upstream: SocketAddr, endpoint: Option<String>) -> Running {
    let export = endpoint.map_or(String::new(), |endpoint| {
        format!("export: {{ endpoint: '{endpoint}', delay: 0s }},")
    });
    start(&format!(
        "{{ service: cart, routes: ['/orders/{{id}}'], admin: {{ listen: '127.0.0.1:0' }}, {export}
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}', tls: {{ {tls} }} }}] }}"
    ))
    .await
}

fn url(agent: &Running, path: &str) -> String {
    format!("https://localhost:{}{path}", agent.inbound_addrs[0].port())
}

#[tokio::test]
async fn callers_choose_between_http2_and_http1_and_the_span_says_https() {
    let (pki, collector) = (Pki::new(), Collector::start().await);
    let tls = keys(&pki.identity("localhost"));
    let agent = secured(&tls, mirror().await, Some(collector.endpoint())).await;
    for (http2, version) in [(true, "2"), (false, "1.1")] {
        let answered = get(&client(pki.client(), http2), &url(&agent, "/orders/7")).await;
        let answered = answered.expect("an answer");
        assert!(header(&answered, "traceparent").is_some(), "{answered}");
        let is_it = |seen: &Seen| seen.get("network.protocol.version") == Some(version);
        let span = collector.span(is_it).await;
        assert_eq!(span.get("url.scheme"), Some("https"));
        assert_eq!(span.span.name, "GET /orders/{id}");
    }
    until_metric(&agent, &handshakes("inbound", "completed"), 2.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn curl_speaks_http2_and_http1_with_the_agent() {
    let pki = Pki::new();
    let agent = secured(&keys(&pki.identity("localhost")), mirror().await, None).await;
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let (ca, url) = (pki.ca.display().to_string(), url(&agent, "/orders/7"));
        let arguments = ["-sS", flag, "--cacert", &ca, "-w", "%{http_version}", &url];
        let output = foreign("curl", &arguments, "").await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(
            text.ends_with(version) && header(&text, "traceparent").is_some(),
            "{text}"
        );
    }
    agent.stop().await;
}

#[tokio::test]
async fn openssl_speaks_tls_1_2_and_1_3_with_the_agent() {
    let pki = Pki::new();
    let agent = secured(&keys(&pki.identity("localhost")), mirror().await, None).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let (ca, to) = (pki.ca.display().to_string(), agent.inbound_addrs[0].to_string());
        let arguments = [
            "s_client",
            version,
            "-connect",
            &to,
            "-servername",
            "localhost",
            "-CAfile",
            &ca,
            "-verify_return_error",
            "-quiet",
        ];
        let request = "GET /orders/7 HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n";
        let output = foreign("openssl", &arguments, request).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.starts_with("HTTP/1.1 200 OK"),
            "{version}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_caller_without_the_certificate_that_is_required_is_refused_and_counted() {
    let (pki, other) = (Pki::new(), Pki::new());
    let tls = format!(
        "{}, client_ca: '{}'",
        keys(&pki.identity("localhost")),
        pki.ca.display()
    );
    let agent = secured(&tls, mirror().await, None).await;
    let url = url(&agent, "/");
    let known = client(pki.client_with_certificate(), false);
    assert!(get(&known, &url).await.is_ok());
    let error = get(&client(pki.client(), false), &url)
        .await
        .expect_err("no certificate");
    assert!(error.contains("CertificateRequired"), "{error}");
    let stranger = ClientFiles {
        identity: Some(other.identity("a-client")),
        ..pki.client()
    };
    let error = get(&client(stranger, false), &url)
        .await
        .expect_err("of another authority");
    assert!(error.contains("fatal alert"), "{error}");
    until_metric(&agent, &handshakes("inbound", "no_certificate"), 1.0).await;
    until_metric(&agent, &handshakes("inbound", "unknown_issuer"), 1.0).await;
    until_metric(&agent, &handshakes("inbound", "completed"), 1.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn where_a_certificate_is_only_asked_for_a_caller_without_one_is_served_and_one_with_a_wrong_one_is_not()
 {
    let (pki, other) = (Pki::new(), Pki::new());
    let tls = format!(
        "{}, client_ca: '{}', client_auth: request",
        keys(&pki.identity("localhost")),
        pki.ca.display()
    );
    let agent = secured(&tls, mirror().await, None).await;
    let url = url(&agent, "/");
    assert!(get(&client(pki.client(), false), &url).await.is_ok());
    let stranger = ClientFiles {
        identity: Some(other.identity("a-client")),
        ..pki.client()
    };
    assert!(get(&client(stranger, false), &url).await.is_err());
    agent.stop().await;
}

/// The whole answer to `bytes`, until the agent closes.
async fn sent(agent: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(agent.inbound_addrs[0])
        .await
        .expect("a connection");
    stream.write_all(bytes).await.expect("a writable stream");
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer))
        .await
        .expect("an orderly end");
    answer
}

#[tokio::test]
async fn whoever_speaks_plain_http_or_garbage_to_a_tls_listener_is_told_and_counted() {
    let pki = Pki::new();
    let agent = secured(&keys(&pki.identity("localhost")), mirror().await, None).await;
    let answer = sent(&agent, b"GET / HTTP/1.1\r\nhost: cart\r\n\r\n").await;
    let answer = String::from_utf8(answer).expect("a text");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("this address speaks TLS"), "{answer}");
    until_metric(&agent, &handshakes("inbound", "plain_http"), 1.0).await;
    assert!(sent(&agent, &[0; 64]).await.is_empty());
    until_metric(&agent, &handshakes("inbound", "not_tls"), 1.0).await;
    // A record of a handshake in which no handshake is.
    sent(&agent, &[&[22, 3, 1, 0, 60][..], &[0xff; 60]].concat()).await;
    until_metric(&agent, &handshakes("inbound", "other"), 1.0).await;
    drop(
        TcpStream::connect(agent.inbound_addrs[0])
            .await
            .expect("a connection"),
    );
    until_metric(&agent, &handshakes("inbound", "closed"), 1.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn callers_who_take_their_time_over_the_handshake_hold_up_nobody_and_not_the_end() {
    let pki = Pki::new();
    let agent = secured(&keys(&pki.identity("localhost")), mirror().await, None).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(agent.inbound_addrs[0])
            .await
            .expect("a connection");
        stream.write_all(&[22, 3, 1]).await.expect("a writable stream");
        slow.push(stream);
    }
    assert!(get(&client(pki.client(), true), &url(&agent, "/")).await.is_ok());
    soon("the end", agent.stop()).await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_callers_and_old_connections_go_on() {
    let (pki, next) = (Pki::new(), Pki::new());
    let identity = pki.identity("localhost");
    let agent = secured(&keys(&identity), mirror().await, None).await;
    let (url, old) = (url(&agent, "/"), client(pki.client(), true));
    get(&old, &url).await.expect("an answer");
    next.write(&identity, "localhost", 2999);
    let renewed = async { while get(&client(next.client(), false), &url).await.is_err() {} };
    soon("the new certificate", renewed).await;
    get(&old, &url).await.expect("an answer on the connection it has");
    let error = get(&client(pki.client(), false), &url)
        .await
        .expect_err("the old authority");
    assert!(
        error.contains("its certificate is of no authority that is trusted here"),
        "{error}"
    );
    let series =
        |outcome| format!("tracemap_agent_tls_reloads_total{{outcome=\"{outcome}\",side=\"inbound\"}}");
    until_metric(&agent, &series("reloaded"), 1.0).await;
    std::fs::write(&identity.key, "no key").expect("a file");
    until_metric(&agent, &series("failed"), 1.0).await;
    get(&client(next.client(), false), &url)
        .await
        .expect("the last good one");
    agent.stop().await;
}

/// As Kubernetes does it: the files are links into a directory that is a link, which is swapped.
#[tokio::test]
#[cfg(unix)]
async fn a_secret_that_is_swapped_by_its_link_is_followed() {
    use std::os::unix::fs::symlink;

    let (pki, next) = (Pki::new(), Pki::new());
    for (source, name) in [(&pki, "..1"), (&next, "..2")] {
        let dir = pki.path(name);
        std::fs::create_dir(&dir).expect("a directory");
        let identity = otlp::tls::Identity {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
        };
        source.write(&identity, "localhost", 2999);
    }
    symlink("..1", pki.path("..data")).expect("a link");
    let identity = otlp::tls::Identity {
        cert: pki.path("tls.crt"),
        key: pki.path("tls.key"),
    };
    symlink("..data/tls.crt", &identity.cert).expect("a link");
    symlink("..data/tls.key", &identity.key).expect("a link");
    let agent = secured(&keys(&identity), mirror().await, None).await;
    let url = url(&agent, "/");
    get(&client(pki.client(), false), &url).await.expect("an answer");
    symlink("..2", pki.path("..data_tmp")).expect("a link");
    std::fs::rename(pki.path("..data_tmp"), pki.path("..data")).expect("a swap");
    let renewed = async { while get(&client(next.client(), false), &url).await.is_err() {} };
    soon("the new certificate", renewed).await;
    agent.stop().await;
}
