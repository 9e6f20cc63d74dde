//! Requests that keep their destination on their way to the agent, and their source on their way to the service.

use crate::rig::{APP, APP6, FAR, FAR6, Pair, at};
use crate::sidecar::{calling, mirror, serve};
use crate::support::header;

const RULES: &str = "sidecar --uid 15001 --inbound tproxy";

fn agent(preserve: bool) -> String {
    format!(
        "service: cart
inbound: [{{ listen: '[::]:15006', mode: tproxy, preserve_source: {preserve} }}]
outbound: {{ listen: '[::]:15001', mode: redirect }}"
    )
}

#[test]
fn a_service_sees_its_callers_address_where_that_is_preserved_and_the_agents_where_not() {
    for preserve in [true, false] {
        let pair = Pair::new(RULES, &agent(preserve));
        for (port, app, far) in [(8084, APP, FAR), (8086, APP6, FAR6)] {
            serve(&pair.app, at("::", port), mirror());
            // A second request goes on the same connections as the first.
            let url = format!("http://{}/carts", at(app, port));
            let answer = pair.far.curl(&[&url, &url]);
            let expected = if preserve { far } else { app };
            let peers: Vec<_> = answer
                .lines()
                .filter_map(|line| line.strip_prefix("peer: "))
                .collect();
            assert_eq!(peers, [expected, expected], "preserve_source: {preserve}");
            assert!(header(&answer, "traceparent").is_some(), "{answer}");
        }
        let collector = pair.collector.clone();
        let server = pair.far.run(async move { collector.server_span().await });
        assert_eq!(server.get("client.address"), Some(FAR));
        pair.until_redirected("inbound", "http1", 2.0);
    }
}

#[test]
fn calls_of_a_service_behind_tproxy_are_redirected_and_their_answers_come_back() {
    let pair = Pair::new(RULES, &agent(true));
    serve(&pair.far, at(FAR, 9090), mirror());
    serve(&pair.app, at(APP, 8080), calling(at(FAR, 9090), "stock.shop"));
    let answer = pair.far.curl(&[&format!("http://{APP}:8080/carts")]);
    assert!(answer.contains("GET /stock/7"), "{answer}");
    let collector = pair.collector.clone();
    let (server, client) = pair
        .far
        .run(async move { (collector.server_span().await, collector.client_span().await) });
    assert_eq!(
        (client.trace_id(), client.parent()),
        (server.trace_id(), server.span_id())
    );
}

#[test]
fn connections_that_were_open_before_the_rules_go_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let pair = Pair::without_agent();
    crate::sidecar::raw(&pair.app, at(APP, 7777), |mut stream| async move {
        let mut byte = [0; 1];
        while stream.read_exact(&mut byte).await.is_ok() {
            stream.write_all(&byte).await.expect("written");
        }
    });
    let mut stream = pair.far.run(async {
        let mut stream = tokio::net::TcpStream::connect(at(APP, 7777))
            .await
            .expect("a connection");
        stream.write_all(b"a").await.expect("written");
        stream.read_exact(&mut [0; 1]).await.expect("echoed");
        stream
    });
    let (made, said) = pair.app.redirect(RULES);
    assert!(made, "{said}");
    pair.far.run(async move {
        stream.write_all(b"b").await.expect("written");
        stream.read_exact(&mut [0; 1]).await.expect("echoed");
    });
}
