//! A collector that lets in only agents with a certificate.

use otlp::tls::{ClientAuth, Listening};

use super::pki::{Pki, keys};
use super::*;

async fn reporting(collector: &Collector, tls: &str) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: 'https://localhost:{}', delay: 0s, drain: 100ms, tls: {{ {tls} }} }},
           edges: {{ counts: false }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}] }}",
        collector.address.port(),
        mirror().await
    ))
    .await
}

async fn locked(pki: &Pki) -> Collector {
    let files = ServerFiles {
        client_auth: ClientAuth::Require(pki.ca.clone()),
        ..pki.server("localhost")
    };
    let tls = ServerTls::new(files, Protocols::Both, Arc::new(())).expect("files");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    Collector::start_on(Listening {
        tls: Some(tls),
        ..tcp.into()
    })
}

#[tokio::test]
async fn spans_of_an_agent_with_a_certificate_arrive() {
    let pki = Pki::new();
    let collector = locked(&pki).await;
    let tls = format!("ca: '{}', {}", pki.ca.display(), keys(&pki.identity("cart")));
    let agent = reporting(&collector, &tls).await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert_eq!(collector.server_span().await.resource["service.name"], "cart");
    counted(&agent, &handshakes("export", "completed")).await;
    agent.stop().await;
}

#[tokio::test]
async fn spans_of_an_agent_without_one_wait_until_it_has_one_and_the_series_say_so() {
    let pki = Pki::new();
    let collector = locked(&pki).await;
    let agent = reporting(&collector, &format!("ca: '{}'", pki.ca.display())).await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    counted(&agent, &handshakes("export", "refused")).await;
    counted(&agent, "tracemap_agent_buffered_bytes").await;
    assert!(collector.all().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn an_authority_that_comes_later_is_taken_up_and_what_waited_arrives() {
    let (pki, other) = (Pki::new(), Pki::new());
    let collector = locked(&pki).await;
    let trusted = other.path("trusted.crt");
    std::fs::copy(&other.ca, &trusted).expect("a file");
    let tls = format!("ca: '{}', {}", trusted.display(), keys(&pki.identity("cart")));
    let agent = reporting(&collector, &tls).await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    counted(&agent, &handshakes("export", "unknown_issuer")).await;
    std::fs::copy(&pki.ca, &trusted).expect("a file");
    assert_eq!(collector.server_span().await.resource["service.name"], "cart");
    agent.stop().await;
}
