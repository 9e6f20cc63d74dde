//! What an attacker sends so that two servers in a row read it differently, byte by byte, and what is left of it.
//!
//! In: messages on real sockets, from callers and from services. Out: what the other side got, or the refusal.
//! Left out on purpose: requests that every server reads alike, however ugly. They pass as they came.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::frames;
use crate::support::*;

/// A service that answers one request on each connection and notes every byte that came on it.
struct Recorder {
    address: std::net::SocketAddr,
    seen: watch::Receiver<Vec<String>>,
}

impl Recorder {
    async fn start() -> Self {
        let (note, seen) = watch::channel(Vec::new());
        let address = raw_service(move |mut stream| {
            let note = note.clone();
            async move {
                let mut came = Vec::new();
                let mut answered = false;
                loop {
                    let mut buffer = [0; 4096];
                    let n = stream.read(&mut buffer).await.unwrap_or(0);
                    came.extend_from_slice(&buffer[..n]);
                    if n == 0 {
                        break;
                    }
                    if !answered && is_whole(&came) {
                        answered = true;
                        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).await.expect("written");
                    }
                }
                let text = String::from_utf8_lossy(&came).into_owned();
                note.send_modify(|seen| seen.push(text));
            }
        });
        let address = address.await;
        Self { address, seen }
    }

    /// Every connection's bytes, once there are as many.
    async fn connections(&self, number: usize) -> Vec<String> {
        let mut seen = self.seen.clone();
        let enough = soon(
            "the service's connections",
            seen.wait_for(|seen| seen.len() >= number),
        )
        .await;
        enough.expect("the service").clone()
    }
}

/// A message as the agent writes them: framed by a length, chunked, or without a body.
fn is_whole(came: &[u8]) -> bool {
    let text = String::from_utf8_lossy(came);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    match (length, header(head, "transfer-encoding")) {
        (_, Some(_)) => {
            body.ends_with("\r\n\r\n") && (body.starts_with("0\r\n") || body.contains("\r\n0\r\n"))
        }
        (Some(length), None) => body.len() >= length,
        (None, None) => true,
    }
}

/// Sends `bytes` and reads one answer, or to the end of the connection. To hang up meanwhile would be to give up.
async fn tell(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("written");
    let mut answer = Vec::new();
    let reading = async {
        while !is_whole(&answer) {
            // A refusal may close so fast that the system resets what was not read.
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    soon("an answer", reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HEAD: &str = "POST /order HTTP/1.1\r\nhost: cart\r\n";

#[tokio::test]
async fn a_message_framed_twice_reaches_the_service_framed_once() {
    for framing in [
        "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 6\r\n",
    ] {
        let service = Recorder::start().await;
        let agent = sidecar(service.address, None).await;
        let request = format!("{HEAD}{framing}\r\n3\r\nabc\r\n0\r\n\r\n");
        let answer = tell(agent.inbound_addrs[0], request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let seen = &service.connections(1).await[0];
        assert_eq!(header(seen, "content-length"), None, "{framing}: {seen}");
        assert_eq!(
            header(seen, "transfer-encoding"),
            Some("chunked"),
            "{framing}: {seen}"
        );
        assert!(
            seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "{framing}: {seen}"
        );
    }
}

#[tokio::test]
async fn what_can_be_read_two_ways_is_refused_and_nothing_of_it_reaches_the_service() {
    const MALFORMED: [&str; 16] = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\nhello",
        "GET / HTTP/1.1\r\nhost: a\r\nx-folded: b\r\n c\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n: nameless\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1 HTTP/1.1\r\nhost: a\r\n\r\n",
    ];
    const CODED: [&str; 3] = [
        "chunked, chunked",
        "gzip, chunked",
        "identity\r\ntransfer-encoding: chunked",
    ];
    let service = Recorder::start().await;
    let agent = sidecar(service.address, None).await;
    for request in MALFORMED {
        let answer = tell(agent.inbound_addrs[0], request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    for coding in CODED {
        let request = format!("{HEAD}transfer-encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let answer = tell(agent.inbound_addrs[0], request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{coding:?}: {answer}");
    }
    ask(agent.inbound_addrs[0], "GET /sentinel HTTP/1.1\nhost: cart").await;
    let seen = service.connections(1).await;
    assert!(
        seen.len() == 1 && seen[0].starts_with("GET /sentinel "),
        "{seen:?}"
    );
    let malformed = "tracemap_agent_connections_cut_total{reason=\"malformed\"}";
    until_metric(&agent, malformed, MALFORMED.len() as f64).await;
    let refused = "tracemap_agent_requests_total{direction=\"inbound\",outcome=\"refused\"}";
    until_metric(&agent, refused, CODED.len() as f64).await;
}

#[tokio::test]
async fn line_ends_and_chunks_are_written_anew() {
    for (sent, body) in [
        ("POST / HTTP/1.1\nhost: cart\ncontent-length: 3\n\nabc", "abc"),
        (
            "POST / HTTP/1.1\r\nhost: cart\r\ntransfer-encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "\r\n\r\nPOST / HTTP/1.1\r\nhost: cart\r\ntransfer-encoding: CHUNKED\r\n\r\n003\r\nabc\r\n0000\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let service = Recorder::start().await;
        let agent = sidecar(service.address, None).await;
        tell(agent.inbound_addrs[0], sent.as_bytes()).await;
        let seen = &service.connections(1).await[0];
        let (head, rest) = seen.split_once("\r\n\r\n").expect("a head");
        assert!(!head.replace("\r\n", "").contains('\n'), "{seen:?}");
        assert_eq!(rest, body, "{sent:?}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_the_callers_fault_and_never_seems_whole_to_the_service() {
    for chunks in [
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3;a=\"\r\nabc\n\r\n0\r\n\r\n",
    ] {
        let service = Recorder::start().await;
        let agent = sidecar(service.address, None).await;
        let request = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}");
        let answer = tell(agent.inbound_addrs[0], request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(),
            "{chunks:?}: {answer}"
        );
        ask(agent.inbound_addrs[0], "GET /sentinel HTTP/1.1\nhost: cart").await;
        let seen = &service.connections(1).await;
        let ended = seen.iter().any(|seen| seen.ends_with("\r\n0\r\n\r\n"));
        assert!(!ended, "{chunks:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_target_with_an_authority_is_the_host_that_the_service_sees() {
    let service = mirror().await;
    let agent = sidecar(service, None).await;
    let asked = "GET http://me:secret@shop.example:81/x HTTP/1.1\nhost: other.example";
    let answer = ask(agent.inbound_addrs[0], asked).await;
    assert!(answer.contains("GET /x"), "{answer}");
    assert_eq!(header(&answer, "host"), Some("shop.example:81"));
    assert!(
        !answer.contains("other.example") && !answer.contains("secret"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_upgrade_to_http2_is_not_passed_on_and_the_request_is_answered_without() {
    let agent = sidecar(mirror().await, None).await;
    let asked = "GET / HTTP/1.1\nhost: cart\nupgrade: h2c\nhttp2-settings: AAMAAABkAAQAAP__\n\
                 connection: Upgrade, HTTP2-Settings";
    let mut stream = open(agent.inbound_addrs[0], &format!("{}\r\n", lines(asked))).await;
    let answer = read_until(&mut stream, "x-correlation-id").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for header_of_it in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(header(&answer, header_of_it), None, "{answer}");
    }
}

#[tokio::test]
async fn an_inbound_listener_connects_nobody_elsewhere() {
    let service = Recorder::start().await;
    let agent = sidecar(service.address, None).await;
    let answer = ask(
        agent.inbound_addrs[0],
        "CONNECT 127.0.0.1:22 HTTP/1.1\nhost: 127.0.0.1:22",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn connection_cannot_name_away_what_the_agent_adds() {
    let agent = sidecar(mirror().await, None).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let asked = format!(
        "GET / HTTP/1.1\r\nhost: cart\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\nx-correlation-id: abc\r\n\
         connection: traceparent, tracestate, x-correlation-id, close\r\n\r\n"
    );
    let answer = tell(agent.inbound_addrs[0], asked.as_bytes()).await;
    assert_eq!(header(&answer, "x-correlation-id"), Some("abc"), "{answer}");
    assert!(
        header(&answer, "traceparent").is_some_and(|value| value.contains(trace)),
        "{answer}"
    );
}

#[tokio::test]
async fn trailers_frame_and_route_nothing() {
    let service = Recorder::start().await;
    let agent = sidecar(service.address, None).await;
    let names = "content-length, transfer-encoding, host, authorization, x-sum";
    let request = format!(
        "{HEAD}te: trailers\r\nconnection: te\r\ntrailer: {names}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         content-length: 9\r\ntransfer-encoding: x\r\nhost: evil\r\nauthorization: y\r\nx-sum: 1\r\nx-unnamed: 2\r\n\r\n"
    );
    tell(agent.inbound_addrs[0], request.as_bytes()).await;
    let seen = &service.connections(1).await[0];
    assert!(seen.ends_with("3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"), "{seen:?}");
}

#[tokio::test]
async fn names_with_underscores_are_other_names_and_pass_as_they_came() {
    let agent = sidecar(mirror().await, None).await;
    let asked = "GET / HTTP/1.1\nhost: cart\ncontent_length: 5\ntransfer_encoding: chunked\nx_request_id: 1";
    let answer = ask(agent.inbound_addrs[0], asked).await;
    for (name, value) in [
        ("content_length", "5"),
        ("transfer_encoding", "chunked"),
        ("x_request_id", "1"),
    ] {
        assert_eq!(header(&answer, name), Some(value), "{answer}");
    }
}

/// What a caller gets of a service that answers with `bytes`.
async fn answered_with(bytes: &'static [u8]) -> String {
    let upstream = raw_service(move |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    });
    let agent = sidecar(upstream.await, None).await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await
}

#[tokio::test]
async fn an_answer_that_can_be_read_two_ways_is_a_502() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\nbytes",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"not http\r\n\r\n",
        b"",
    ] {
        let got = answered_with(answer).await;
        assert!(
            got.starts_with("HTTP/1.1 502 "),
            "{:?}: {got}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[tokio::test]
async fn an_answer_framed_twice_reaches_the_caller_framed_once() {
    let got = answered_with(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let got = got.await;
    assert_eq!(header(&got, "content-length"), None, "{got}");
    assert!(got.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_given_to_nobody() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let own = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nown";
        let planted = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nplanted";
        let _ = stream.write_all(format!("{own}{planted}").as_bytes()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let agent = sidecar(upstream.await, None).await;
    for _ in 0..5 {
        let got = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
        assert!(got.ends_with("\r\n\r\nown"), "{got}");
    }
}

#[tokio::test]
async fn many_interim_answers_are_no_harm_and_the_final_one_is_passed_on() {
    let upstream = raw_service(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let interim =
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".repeat(5_000);
        stream.write_all(interim.as_bytes()).await.expect("written");
        let last = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast";
        stream.write_all(last).await.expect("written");
    });
    let agent = sidecar(upstream.await, None).await;
    let got = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("last"), "{got}");
}

/// What becomes of an HTTP/2 request with these headers: `HEADERS`, `RST_STREAM`, `GOAWAY`, or `None` for a closed connection.
async fn http2(address: std::net::SocketAddr, headers: &[(&str, &str)]) -> Option<u8> {
    let mut stream = frames::dial(address).await;
    let flags = frames::END_HEADERS | frames::END_STREAM;
    let request = frames::frame(frames::HEADERS, flags, 1, &frames::literals(headers));
    stream.write_all(&request).await.expect("written");
    let answers = [frames::HEADERS, frames::RST_STREAM, frames::GOAWAY];
    while let Some(frame) = frames::next(&mut stream).await {
        if answers.contains(&frame.kind) {
            // 400 of the library itself is a literal status; nothing of it went to the service, which the caller checks.
            return Some(frame.kind);
        }
    }
    None
}

#[tokio::test]
async fn http2_requests_that_http1_would_read_differently_never_reach_the_service() {
    const PLAIN: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "cart"),
        (":path", "/"),
    ];
    let (note, seen) = watch::channel(Vec::new());
    let service = service(
        axum::Router::new().fallback(move |request: axum::extract::Request| {
            note.send_modify(|seen: &mut Vec<String>| seen.push(format!("{:?}", request.headers())));
            async { "seen" }
        }),
    );
    let agent = sidecar(service.await, None).await;
    let with = |extra: &[(&'static str, &'static str)]| [&PLAIN[..], extra].concat();
    for attack in [
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("keep-alive", "timeout=5")]),
        with(&[("proxy-connection", "close")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "5")]),
        with(&[("X-Upper", "a")]),
        with(&[("x", "a\r\ntransfer-encoding: chunked")]),
        with(&[("x", "a\0b")]),
        with(&[("x y", "a")]),
        with(&[("x:", "a")]),
        with(&[(":path", "/twice")]),
        with(&[("x", "a"), (":authority", "late")]),
        with(&[(":unknown", "a")]),
        [&PLAIN[..3], &[(":path", "/ HTTP/1.1\r\nx: y")]].concat(),
        [&PLAIN[..3], &[(":path", "/a b")]].concat(),
        [&PLAIN[..2], &PLAIN[3..], &[(":authority", "a/b@c d")]].concat(),
        [&[(":method", "GET / HTTP/1.1\r\n")], &PLAIN[1..]].concat(),
        PLAIN[1..].to_vec(),
    ] {
        http2(agent.inbound_addrs[0], &attack).await;
        assert!(seen.borrow().is_empty(), "{attack:?}: {:?}", seen.borrow());
    }
    assert_eq!(http2(agent.inbound_addrs[0], &PLAIN).await, Some(frames::HEADERS));
    assert_eq!(seen.borrow().len(), 1, "what is well formed passes");
}

#[tokio::test]
async fn a_websocket_over_http2_is_not_offered_and_not_taken() {
    let agent = sidecar(mirror().await, None).await;
    let mut stream = frames::dial(agent.inbound_addrs[0]).await;
    let settings = frames::next(&mut stream).await.expect("settings");
    assert_eq!(settings.kind, frames::SETTINGS);
    let offered = settings
        .payload
        .chunks(6)
        .any(|setting| setting.starts_with(&[0, 8]));
    assert!(
        !offered,
        "SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441) would be a promise of the service's"
    );
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "cart"),
        (":path", "/chat"),
    ];
    assert_ne!(http2(agent.inbound_addrs[0], &connect).await, None, "told so");
}
