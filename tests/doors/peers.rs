//! What knocks at doors: certificates of all kinds, `curl`, `openssl`, and bare sockets; and the processes behind the doors.
//!
//! In: addresses and configurations. Out: answers as they came over the wire.
//! Left out on purpose: what an answer should be.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// How long something may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// An authority, and the certificates that it gave away.
pub(crate) struct Authority {
    pub(crate) ca: PathBuf,
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = dir.join(format!("{name}.crt"));
        fs::write(&ca, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        Self {
            ca,
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `localhost` and 127.0.0.1 that is valid between these years.
    pub(crate) fn gives(&self, name: &str, (from, to): (i32, i32)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        };
        fs::write(&pair.cert, cert.pem()).expect("a file");
        fs::write(&pair.key, key.serialize_pem()).expect("a file");
        pair
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("an address").port()
}

/// A part of tracemap with a configuration; killed when dropped.
pub(crate) struct Part {
    child: Child,
    log: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Part {
    /// Starts `tracemap PART` behind `before` (a command that starts another, or nothing), and waits until it is ready.
    pub(crate) fn start(dir: &Path, before: &[&str], part: &str, config: &str, ready: &[&str]) -> Self {
        let file = dir.join(format!("{part}.yaml"));
        fs::write(&file, config).expect("a file");
        let log = dir.join(format!("{part}.log"));
        let output = fs::File::create(&log).expect("a file");
        let words = [before, &[env!("CARGO_BIN_EXE_tracemap"), part, "--config"]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a handle"))
            .stderr(output)
            .spawn()
            .expect("the command starts");
        let mut started = Self { child, log };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = Command::new(ready[0])
                .args(&ready[1..])
                .output()
                .expect("curl runs");
            if asked.status.success() {
                return started;
            }
            let runs = started.child.try_wait().expect("a child").is_none();
            assert!(
                runs && Instant::now() < deadline,
                "`tracemap {part}` is not ready: {}",
                started.said()
            );
        }
    }

    /// What it wrote so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// What came of a request: the code (0 where there was no answer), head and trailers, and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) errors: String,
}

/// Asks by `curl`.
pub(crate) fn curl(args: &[&str]) -> Answer {
    curl_behind(&[], args)
}

/// The same behind a command that starts another.
pub(crate) fn curl_behind(before: &[&str], args: &[&str]) -> Answer {
    let words = [
        before,
        &["curl", "-sS", "-m", "20", "-D", "-", "-w", "\n%{http_code}"],
        args,
    ]
    .concat();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, code) = text.rsplit_once('\n').expect("the code is written last");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    Answer {
        code: code.parse().unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A handshake by `openssl s_client` with these flags.
pub(crate) fn handshake(address: SocketAddr, flags: &[&str]) -> Output {
    let address = address.to_string();
    let words = [&["s_client", "-connect", &address, "-brief"], flags].concat();
    let mut child = Command::new("openssl")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    drop(child.stdin.take());
    child.wait_with_output().expect("openssl ends")
}

/// What is answered to these bytes until the connection ends, or nothing more comes for `patience`.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(patience)).expect("a socket");
    // One that is ended early may be reset while it is written to.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// A service that answers every request with 204 and says nothing else.
pub(crate) fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let _ = (&stream).write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    address
}
