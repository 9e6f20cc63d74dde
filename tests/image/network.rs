//! A network as an engine makes one: a namespace for each host, names that a server answers for, and nothing outside.
//!
//! In: names of hosts. Out: their namespaces and addresses; what `curl` got from one of them.
//! Left out on purpose: any way out of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where names are answered for; tests ask from here.
pub(crate) const HUB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Longer than anything takes here, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Asks again until `look` gives something; `what` names it if it never comes.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// Hosts on one bridge; all of it is gone when dropped.
pub(crate) struct Network {
    prefix: String,
    addresses: BTreeMap<String, Ipv4Addr>,
    ends: Arc<AtomicBool>,
    names: Option<JoinHandle<()>>,
}

impl Network {
    /// One with these hosts.
    pub(crate) fn new(hosts: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces and containers: run them as root"
        );
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("tmi{}-{number}-", std::process::id());
        let addresses = (2..)
            .zip(hosts)
            .map(|(last, host)| ((*host).to_owned(), Ipv4Addr::new(10, 77, 0, last)));
        let mut network = Self {
            prefix,
            addresses: addresses.collect(),
            ends: Arc::default(),
            names: None,
        };
        let hub = network.namespace("hub");
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link add bridge0 type bridge"));
        ip(&format!("-n {hub} addr add {HUB}/24 dev bridge0"));
        ip(&format!("-n {hub} link set lo up"));
        ip(&format!("-n {hub} link set bridge0 up"));
        for (host, address) in &network.addresses {
            let (name, last) = (network.namespace(host), address.octets()[3]);
            ip(&format!("netns add {name}"));
            ip(&format!(
                "-n {hub} link add v{last} type veth peer name eth0 netns {name}"
            ));
            ip(&format!("-n {hub} link set v{last} master bridge0 up"));
            ip(&format!("-n {name} addr add {address}/24 dev eth0"));
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set eth0 up"));
        }
        network.names = Some(network.answer_for_names());
        network
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    /// What a container that is to be this host joins.
    pub(crate) fn path(&self, host: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(self.namespace(host))
    }

    /// A program that is to run as this host.
    pub(crate) fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host), program]);
        command
    }

    /// What comes for a URL whose host is one of ours, asked from the hub; `None` where it is no 200.
    pub(crate) fn get(&self, url: &str) -> Option<String> {
        self.curl(url, &[])
    }

    /// The same with further arguments for `curl`.
    pub(crate) fn curl(&self, url: &str, more: &[&str]) -> Option<String> {
        let resolve = self
            .addresses
            .iter()
            .flat_map(|(host, address)| ["--connect-to".to_owned(), format!("{host}::{address}:")]);
        let output = self
            .command("hub", "curl")
            .args(["-sS", "--fail", "--max-time", "10", url])
            .args(resolve)
            .args(more)
            .output()
            .expect("`ip` and `curl` run");
        output.status.success().then(|| text(&output))
    }

    /// Answers questions for addresses as an engine's resolver does: a name of ours, whatever domain is searched, or none.
    fn answer_for_names(&self) -> JoinHandle<()> {
        let (path, ends) = (self.path("hub"), Arc::clone(&self.ends));
        let addresses = self.addresses.clone();
        let (told, bound) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let namespace = File::open(path).expect("the namespace was made");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may join it");
            let socket = UdpSocket::bind(SocketAddr::from((HUB, 53))).expect("nobody else answers there");
            socket
                .set_read_timeout(Some(Duration::from_millis(200)))
                .expect("a time above zero");
            told.send(()).expect("somebody waits");
            let mut bytes = [0; 512];
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else {
                    continue;
                };
                if let Some(answer) = answered(&bytes[..length], &addresses) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        bound.recv().expect("names are answered for");
        thread
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(names) = self.names.take() {
            let _ = names.join();
        }
        for host in self.addresses.keys().map(String::as_str).chain(["hub"]) {
            let _ = Command::new("ip")
                .args(["netns", "del", &self.namespace(host)])
                .output();
        }
    }
}

/// The answer to a question of DNS (RFC 1035 §4): the address for type A of a name of ours, nothing for its other types, NXDOMAIN for
/// other names.
fn answered(question: &[u8], addresses: &BTreeMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    let mut labels = Vec::new();
    let mut at = HEAD;
    while let Some(&length) = question.get(at).filter(|length| **length > 0) {
        labels.push(String::from_utf8_lossy(question.get(at + 1..=at + usize::from(length))?).into_owned());
        at += 1 + usize::from(length);
    }
    let kind = question.get(at + 1..at + 3)?;
    let section = question.get(HEAD..at + 5)?;
    let address = addresses.get(&labels.join("."));
    let found = address.filter(|_| kind == [0, 1]);
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if address.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(section);
    if let Some(found) = found {
        // The name as in the question, type A, class IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(found.octets());
    }
    Some(answer)
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output =
        output.unwrap_or_else(|error| panic!("these tests need `ip` of the package iproute2: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`ip {arguments}`: {said}");
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
