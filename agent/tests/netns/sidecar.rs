//! One agent beside one service, with connections redirected both ways.

use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{APP, APP6, FAR, FAR6, Host, Pair, at, until};
use crate::support::{Seen, header, read_until};

const RULES: &str = "sidecar --uid 15001";
const AGENT: &str = "service: cart
inbound: [{ listen: '[::]:15006', mode: redirect }]
outbound: { listen: '[::]:15001', mode: redirect }";

/// Serves `router` on `host`; on both families where `address` is `[::]`.
pub(crate) fn serve(host: &Host, address: SocketAddr, router: axum::Router) {
    host.run(async move {
        let listener = TcpListener::bind(address).await.expect("a listener");
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
    });
}

/// Answers with the request, and with whom it came from.
pub(crate) fn mirror() -> axum::Router {
    axum::Router::new().fallback(
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
            let mut text = format!(
                "{} {}\npeer: {}\n",
                request.method(),
                request.uri(),
                peer.ip().to_canonical()
            );
            for (name, value) in request.headers() {
                let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
            }
            text
        },
    )
}

/// Calls `target` as `host` and passes on the context that it got; answers with the answer.
pub(crate) fn calling(target: SocketAddr, host: &'static str) -> axum::Router {
    axum::Router::new().fallback(async move |request: Request| {
        let context = request.headers().get("traceparent").cloned();
        let context = context
            .expect("the agent adds one")
            .to_str()
            .expect("text")
            .to_owned();
        let mut stream = TcpStream::connect(target).await.expect("a connection");
        let head = format!(
            "GET /stock/7 HTTP/1.1\r\nHost: {host}\r\ntraceparent: {context}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    })
}

/// A server of which each connection is `each`'s to speak on.
pub(crate) fn raw<F: Future<Output = ()> + Send + 'static>(
    host: &Host,
    address: SocketAddr,
    each: impl Fn(TcpStream) -> F + Send + 'static,
) {
    host.run(async move {
        let listener = TcpListener::bind(address).await.expect("a listener");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(each(stream));
            }
        });
    });
}

/// Says `words` to `address`, and no more after that; everything that comes back.
fn say(host: &Host, address: SocketAddr, words: &'static [u8]) -> Vec<u8> {
    host.run(async move {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(words).await.expect("written");
        stream.shutdown().await.expect("half closed");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("an end");
        heard
    })
}

fn span(pair: &Pair, is_it: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Seen {
    let collector = pair.collector.clone();
    pair.far.run(async move { collector.span(is_it).await })
}

#[test]
fn requests_and_calls_that_were_redirected_have_spans_over_both_families() {
    let pair = Pair::new(RULES, AGENT);
    for (family, app, far) in [(4, APP, FAR), (6, APP6, FAR6)] {
        let (port, called) = (8080 + family, 9090 + family);
        serve(&pair.far, at(far, called), mirror());
        serve(&pair.app, at("::", port), calling(at(far, called), "stock.shop"));
        let url = format!("http://{}/carts/1", at(app, port));
        let answer = pair.far.curl(&["-H", "Host: cart.shop", &url]);
        let wanted = i64::from(port).to_string();
        let server = span(&pair, move |seen| {
            seen.span.kind == 2
                && seen.get("server.address") == Some("cart.shop")
                && seen.trace_id() != wanted
                && seen.get("url.path") == Some("/carts/1")
                && seen.get("network.peer.address") == Some(far)
        });
        let client = span(&pair, move |seen| {
            seen.span.kind == 3 && seen.get("network.peer.address") == Some(far)
        });
        assert_eq!(
            server.resource.get("service.name").map(String::as_str),
            Some("cart")
        );
        assert_eq!(
            client.resource.get("service.name").map(String::as_str),
            Some("cart")
        );
        assert_eq!(
            (client.trace_id(), client.parent()),
            (server.trace_id(), server.span_id())
        );
        assert_eq!(
            client.get("server.address"),
            Some("stock.shop"),
            "as its `Host` says"
        );
        assert_eq!(client.get("server.port"), Some(called.to_string().as_str()));
        let (_, seen) = answer.split_once("GET /stock/7").expect("what was called");
        assert_eq!(
            header(seen, "host"),
            Some("stock.shop"),
            "as the service wrote it"
        );
        let parent = header(seen, "traceparent").expect("a context");
        assert!(parent.contains(&client.span_id()), "{parent}");
    }
    pair.until_redirected("inbound", "http1", 2.0);
    pair.until_redirected("outbound", "http1", 2.0);
}

#[test]
fn a_call_goes_where_its_connection_was_going_and_not_where_its_host_points() {
    let pair = Pair::new(RULES, AGENT);
    serve(&pair.far, at(FAR, 9090), mirror());
    // Nobody listens there, and a name would be asked for in vain.
    for host in ["10.99.0.2:1", "no.such.host"] {
        let answer = pair
            .app
            .curl(&["-H", &format!("Host: {host}"), &format!("http://{FAR}:9090/")]);
        assert_eq!(header(&answer, "host"), Some(host));
    }
    let client = span(&pair, |seen| seen.get("server.address") == Some("no.such.host"));
    assert_eq!(client.get("network.peer.address"), Some(FAR));
    assert_eq!(client.get("server.port"), Some("9090"));
}

#[test]
fn http2_with_prior_knowledge_has_spans() {
    let pair = Pair::new(RULES, AGENT);
    serve(&pair.far, at(FAR, 9090), mirror());
    let answer = pair.app.curl(&[
        "--http2-prior-knowledge",
        "-H",
        "Host: stock.shop",
        &format!("http://{FAR}:9090/stock"),
    ]);
    assert!(answer.starts_with("GET http://stock.shop/stock\n"), "{answer}");
    let client = span(&pair, |seen| seen.span.kind == 3);
    assert_eq!(client.get("network.protocol.version"), Some("2"));
    assert_eq!(client.get("server.address"), Some("stock.shop"));
    assert_eq!(client.get("network.peer.address"), Some(FAR));
    pair.until_redirected("outbound", "http2", 1.0);
}

#[test]
fn tls_passes_as_it_is_and_leaves_no_span() {
    let pair = Pair::new(RULES, AGENT);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (key, cert) = (path("key"), path("cert"));
    pair.far.sh(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=stock.test \
         -addext subjectAltName=DNS:stock.test -keyout {key} -out {cert} 2>/dev/null"
    ));
    let mut server = pair
        .far
        .prepared("openssl")
        .args([
            "s_server", "-quiet", "-www", "-accept", "8443", "-key", &key, "-cert", &cert,
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a server");
    until("the server", || !pair.far.sh("ss -Hltn sport = :8443").is_empty());
    let resolve = format!("stock.test:8443:{FAR}");
    let answer = pair.app.curl(&[
        "--cacert",
        &cert,
        "--resolve",
        &resolve,
        "https://stock.test:8443/",
    ]);
    let _ = server.kill();
    let _ = server.wait();
    assert!(answer.contains("TLSv1"), "{answer}");
    pair.until_redirected("outbound", "tls", 1.0);
    assert!(pair.collector.all().is_empty(), "{:?}", pair.collector.all());
}

#[test]
fn a_server_that_speaks_first_is_heard_on_a_listed_port_and_on_any_other() {
    let greeting = |mut stream: TcpStream| async move {
        stream.write_all(b"220 ready\r\n").await.expect("written");
        let said = read_until(&mut stream, "\r\n").await;
        stream
            .write_all(format!("heard {said}").as_bytes())
            .await
            .expect("written");
    };
    for (port, outcome, patience) in [(2525, "server_first", "100ms"), (3306, "blind_port", "1h")] {
        let pair = Pair::new(
            RULES,
            &format!("{AGENT}\ntransparent: {{ detect_timeout: {patience} }}"),
        );
        raw(&pair.far, at(FAR, port), greeting);
        pair.app.run(async move {
            let mut stream = TcpStream::connect(at(FAR, port)).await.expect("a connection");
            read_until(&mut stream, "220 ready\r\n").await;
            stream.write_all(b"HELO\r\n").await.expect("written");
            read_until(&mut stream, "heard HELO\r\n").await;
        });
        pair.until_redirected("outbound", outcome, 1.0);
    }
}

#[test]
fn what_is_no_http_passes_byte_by_byte_with_the_end_of_each_side() {
    let pair = Pair::new(RULES, AGENT);
    let counts = |mut stream: TcpStream| async move {
        // It answers only after the caller has said that there is no more.
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.expect("an end");
        stream.write_all(&said).await.expect("written");
    };
    raw(&pair.far, at(FAR, 7777), counts);
    let odd: [(&'static [u8], &str, f64); 5] = [
        (b"\0\x01binary\xff", "other", 1.0),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", "not_understood", 1.0),
        (b"GET / HTTP/1.1\r\nHost: cut off", "not_understood", 2.0),
        (b"GET http://elsewhere.test/ HTTP/1.1\r\n\r\n", "to_proxy", 1.0),
        (b"CONNECT elsewhere.test:443 HTTP/1.1\r\n\r\n", "to_proxy", 2.0),
    ];
    for (words, outcome, count) in odd {
        let heard = say(&pair.app, at(FAR, 7777), words);
        assert_eq!(heard, words, "{:?}", String::from_utf8_lossy(words));
        pair.until_redirected("outbound", outcome, count);
    }
}

#[test]
fn a_caller_that_is_silent_at_first_is_traced_all_the_same() {
    let pair = Pair::new(RULES, &format!("{AGENT}\ntransparent: {{ detect_timeout: 1ms }}"));
    let (met, mut meeting) = tokio::sync::watch::channel(false);
    // The first connection is the one that the agent made while it waited: it says nothing and hears nothing.
    raw(&pair.far, at(FAR, 9090), move |mut stream| {
        let met = met.clone();
        async move {
            met.send_replace(true);
            let mut buffer = [0; 1024];
            if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("written");
            }
        }
    });
    let caller = pair
        .app
        .run(async { TcpStream::connect(at(FAR, 9090)).await.expect("a connection") });
    pair.far.run(async move {
        meeting
            .wait_for(|met| *met)
            .await
            .map(drop)
            .expect("the agent's connection");
    });
    pair.app.run(async move {
        let mut caller = caller;
        caller
            .write_all(b"GET / HTTP/1.1\r\nHost: late\r\n\r\n")
            .await
            .expect("written");
        read_until(&mut caller, "204 No Content").await;
    });
    let client = span(&pair, |seen| seen.span.kind == 3);
    assert_eq!(client.get("server.address"), Some("late"));
}

#[test]
fn a_connection_to_the_listener_itself_is_refused_and_counted() {
    let pair = Pair::new(RULES, AGENT);
    for (address, direction) in [("127.0.0.1", "outbound"), (APP, "outbound")] {
        let refused = pair.app.run(async move {
            // It may be gone before this side knows that it was there.
            let Ok(mut stream) = TcpStream::connect(at(address, 15001)).await else {
                return true;
            };
            let head = format!("GET / HTTP/1.1\r\nHost: {FAR}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            !matches!(stream.read(&mut [0; 64]).await, Ok(1..))
        });
        assert!(refused, "it is no open proxy");
        until("a loop", || pair.redirected(direction, "loop") >= 1.0);
    }
    pair.until_redirected("outbound", "loop", 2.0);
}

#[test]
fn an_agent_that_no_rule_leaves_alone_refuses_its_own_connections() {
    // A user that the agent is not.
    let pair = Pair::new(
        "sidecar --uid 4711 --inbound off --skip-outbound-to 10.99.0.2/32 --ipv6 on",
        AGENT,
    );
    serve(&pair.far, at(FAR6, 9090), mirror());
    let answer = pair.app.curl(&[&format!("http://[{FAR6}]:9090/")]);
    assert!(
        answer.starts_with("tracemap-agent: the other side did not answer ("),
        "{answer}"
    );
    // The call, and the agent's own connection once: whichever end of that is seen first, the other one is refused.
    let outcomes = ["http1", "loop", "gone"].map(|outcome| pair.redirected("outbound", outcome));
    assert!((1.0..=2.0).contains(&outcomes.iter().sum()), "{outcomes:?}");
}

#[test]
fn an_unreachable_destination_ends_the_connection_as_a_failure() {
    let pair = Pair::new(RULES, AGENT);
    let failed = pair.app.run(async {
        let mut stream = TcpStream::connect(at(FAR, 7))
            .await
            .expect("the agent's listener");
        let _ = stream.write_all(b"\0").await;
        stream.read(&mut [0; 1]).await.is_err()
    });
    assert!(failed, "a plain end would look like an answer");
    let status = pair.app.curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &format!("http://{FAR}:7/"),
    ]);
    assert_eq!(status, "502");
    let client = span(&pair, |seen| seen.span.kind == 3);
    assert_eq!(client.get("error.type"), Some("connection_refused"));
}

#[test]
fn down_takes_every_rule_away_and_calls_go_directly_again() {
    let mut pair = Pair::without_agent();
    let before = pair.app.rules();
    for rules in [
        RULES,
        "sidecar --uid 15001,15002 --mark 7 --inbound tproxy --skip-outbound-ports 22,3306 \
         --skip-outbound-to 10.0.0.0/8,fd00::/8 --skip-inbound-ports 1,2",
        "node --pods 10.99.0.0/24,fd99::/64 --outbound tproxy",
        "node --pods 10.99.0.0/24",
        "node --pods 10.99.0.0/24 --outbound tproxy --inbound tproxy",
        "node --pods 10.99.0.0/24 --outbound off --inbound redirect",
    ] {
        let (made, said) = pair.app.redirect(rules);
        assert!(made, "{rules}: {said}");
        let with = pair.app.rules();
        assert_ne!(with, before, "{rules}");
        let (made, said) = pair.app.redirect(rules);
        assert!(made, "again {rules}: {said}");
        assert_eq!(pair.app.rules(), with, "`{rules}` twice is as once");
        assert_eq!(pair.app.redirect("down"), (true, String::new()), "{rules}");
        assert_eq!(pair.app.rules(), before, "{rules}");
    }
    assert_eq!(
        pair.app.redirect("down"),
        (true, String::new()),
        "where there is nothing"
    );
    let (made, _) = pair.app.redirect(RULES);
    assert!(made);
    pair = pair.with_agent(AGENT);
    serve(&pair.far, at(FAR, 9090), mirror());
    pair.kill_agent();
    let url = format!("http://{FAR}:9090/");
    assert!(
        !pair.app.command("curl", &["-s", &url]).status.success(),
        "rules without an agent"
    );
    assert!(pair.app.redirect("down").0);
    assert!(pair.app.curl(&[&url]).starts_with("GET /"));
}

#[test]
fn a_wrong_call_of_the_script_changes_nothing_and_says_what_would_be_right() {
    let pair = Pair::without_agent();
    let before = pair.app.rules();
    for (arguments, expected) in [
        ("", "usage:"),
        ("sidecar", "name the agent's user with --uid"),
        ("sidecar --uid 1 --inbound nat", "write redirect, tproxy or off"),
        ("sidecar --uid 1 --outbond off", "`--outbond` is no option"),
        ("sidecar --uid", "`--uid` has no value"),
        ("node", "--pods is missing"),
        ("sidecar --uid no-such-user", "every rule is removed again"),
    ] {
        let (made, said) = pair.app.redirect(arguments);
        assert!(!made && said.contains(expected), "{arguments}: {said}");
        assert_eq!(pair.app.rules(), before, "{arguments}");
    }
}
