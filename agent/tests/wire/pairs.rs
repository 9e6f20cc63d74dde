//! The same request twice, directly and through the agent: what is asked, how the service answers, and what came back.
//!
//! In: a source of random numbers. Out: requests with random bytes in every context header, and answers to compare.
//! Left out on purpose: what the agent is up against meanwhile. `faults.rs` and `cargo xtask proof agent-faults` say that.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `splitmix64` generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`; 0 where `bound` is.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1)
            .unwrap_or(0)
            .checked_rem(bound)
            .unwrap_or(0)
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices
            .get(self.below(choices.len()))
            .copied()
            .unwrap_or_default()
    }
}

/// A request and whether its answer is expected whole.
pub(crate) struct Asking {
    pub(crate) bytes: Vec<u8>,
    /// The service breaks off, so that there is no answer to compare, only that none seems whole.
    pub(crate) breaks_off: bool,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: String,
    pub(crate) body: String,
    pub(crate) whole: bool,
}

/// Every header that some format of context is read from.
const CONTEXT: [&str; 22] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "uberctx-key",
    "x-amzn-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "sw8",
    "sw8-correlation",
    "x-correlation-id",
    "x-request-id",
    "forwarded",
];

/// How a service answers, by the path.
const WAYS: [&str; 12] = [
    "/plain",
    "/chunked",
    "/until-close",
    "/empty",
    "/not-found",
    "/broken",
    "/large",
    "/byte-by-byte",
    "/headers",
    "/echo",
    "/breaks-off",
    "/breaks-off-chunked",
];

fn answer(path: &str, body: &str) -> String {
    let sized = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match path {
        "/chunked" => "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                       5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n"
            .to_owned(),
        "/until-close" => "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(),
        "/empty" => "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned(),
        "/not-found" => sized("404 Not Found", "nothing here"),
        "/broken" => sized("500 Internal Server Error", "broken"),
        "/large" => sized("200 OK", &"x".repeat(1 << 20)),
        "/headers" => {
            let many = (0..150).fold(String::new(), |mut out, number| {
                let _ = write!(out, "x-{number}: {number}\r\n");
                out
            });
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{many}content-length: 2\r\n\r\nok")
        }
        "/echo" => sized("200 OK", body),
        "/breaks-off" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(),
        "/breaks-off-chunked" => {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_owned()
        }
        _ => sized("200 OK", "plain"),
    }
}

/// Reads one request, whose body has a length if it has one at all, and answers by its path.
pub(crate) async fn speak(mut stream: TcpStream) {
    let mut came = Vec::new();
    let (path, body) = loop {
        let mut buffer = [0; 8192];
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        came.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&came);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap_or(0));
        if body.len() >= length {
            let path = head.split(' ').nth(1).unwrap_or_default();
            break (path.to_owned(), body.to_owned());
        }
    };
    let answer = answer(&path, &body);
    let pieces = if path == "/byte-by-byte" { 1 } else { answer.len() };
    for piece in answer.as_bytes().chunks(pieces) {
        if stream.write_all(piece).await.is_err() {
            return;
        }
    }
    if path.starts_with("/breaks-off") {
        // Then the system sends a reset.
        let _ = stream.set_zero_linger();
        return;
    }
    let _ = stream.shutdown().await;
}

/// Bytes that a header may hold, most of them never seen in one; now and then the beginning of something valid.
pub(crate) fn garbage(random: &mut Random) -> Vec<u8> {
    const SEEDS: [&str; 6] = [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tm=c:shop/cart;k:h;t:5",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        "userId=alice,serverNode=DF%2028;prop",
    ];
    let mut bytes = random.pick(&SEEDS).as_bytes().to_vec();
    let length = if random.below(20) == 0 {
        4_000
    } else {
        random.below(80)
    };
    for _ in 0..length {
        let byte = u8::try_from(random.below(256)).unwrap_or_default();
        // What ends a line is no value's, and DEL and below space are refused by servers in front of us as well.
        let legal = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if legal {
            bytes.insert(random.below(bytes.len() + 1), byte);
        }
    }
    bytes
}

/// The next request.
pub(crate) fn request(random: &mut Random) -> Asking {
    let path = random.pick(&WAYS);
    let body = "b".repeat(random.below(3_000));
    let (method, length) = if path == "/echo" {
        ("POST", format!("content-length: {}\r\n", body.len()))
    } else {
        ("GET", String::new())
    };
    let mut out =
        format!("{method} {path} HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n{length}").into_bytes();
    for name in CONTEXT {
        for _ in 0..random.below(3) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend(garbage(random));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    if method == "POST" {
        out.extend_from_slice(body.as_bytes());
    }
    Asking {
        bytes: out,
        breaks_off: path.starts_with("/breaks-off"),
    }
}

/// Sends a request and reads to the end.
pub(crate) async fn asked(address: SocketAddr, request: &[u8]) -> Result<Answered, String> {
    let answering = async {
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .write_all(request)
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        Ok(answered(&String::from_utf8_lossy(&answer), ended.is_ok()))
    };
    tokio::time::timeout(PATIENCE, answering)
        .await
        .unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// `text` with its chunks joined.
fn answered(text: &str, ended: bool) -> Answered {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if header(head, "transfer-encoding").is_some() {
        let (body, whole) = joined(body);
        return Answered { status, body, whole };
    }
    let length = header(head, "content-length").and_then(|length| length.parse::<usize>().ok());
    Answered {
        status,
        whole: ended && length.is_none_or(|length| length == body.len()),
        body: body.to_owned(),
    }
}

/// The content of chunks, and whether the last one came.
fn joined(mut chunks: &str) -> (String, bool) {
    let mut out = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(usize::MAX);
        if size == 0 {
            return (out, true);
        }
        let Some((chunk, rest)) = rest.split_at_checked(size) else {
            break;
        };
        out.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").unwrap_or_default();
    }
    (out, false)
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let value = message.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    });
    value.map(str::trim_end)
}

/// Sends one request directly and through the agent; what is different, where something is.
pub(crate) async fn pair(random: &mut Random, service: SocketAddr, agent: SocketAddr) -> Result<(), String> {
    let request = request(random);
    let direct = asked(service, &request.bytes).await;
    let through = asked(agent, &request.bytes).await;
    let alike = match (&direct, &through) {
        (_, Ok(through)) if request.breaks_off => !through.whole || through.status == "502",
        (Err(_), Err(_)) => request.breaks_off,
        (direct, through) => direct == through && direct.as_ref().is_ok_and(|direct| direct.whole),
    };
    if alike {
        return Ok(());
    }
    let asked = String::from_utf8_lossy(&request.bytes);
    Err(format!(
        "directly {direct:?}, through the agent {through:?}: {asked}"
    ))
}
