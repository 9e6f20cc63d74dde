//! Apache Kafka, made ready once below `target` and run as three nodes.
//!
//! In: `pom.xml`, which names its version. Out: a cluster that answers, until dropped; what a program with its client printed.
//! Left out on purpose: Java and Maven themselves; `tests/run.sh` installs them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::brokers::{Broker, free_port, program, run};

/// Three brokers that are controllers too.
pub(crate) struct Cluster {
    nodes: [Broker; 3],
    /// Nine processes of Java at once are more than a small machine has room for.
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// # Panics
    /// Where it does not start; with what it logged.
    pub(crate) async fn start() -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let jars = &jars().await;
        let controllers = [free_port(), free_port(), free_port()];
        let node = |index: usize| {
            Broker::start(move |dir, port| {
                configure(dir, index, port, controllers);
                broker(jars, dir)
            })
        };
        let (one, two, three) = tokio::join!(node(0), node(1), node(2));
        Self {
            nodes: [one, two, three],
            _alone: alone,
        }
    }

    /// The one that clients are told of.
    pub(crate) fn address(&self) -> SocketAddr {
        self.nodes[0].address()
    }

    /// Kills a node without a word.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.nodes[index].kill().await;
    }
}

fn configure(dir: &Path, index: usize, port: u16, controllers: [u16; 3]) {
    let id = index + 1;
    let [one, two, three] = controllers;
    let (data, controller) = (dir.join("data"), controllers[index]);
    let properties = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters=1@127.0.0.1:{one},2@127.0.0.1:{two},3@127.0.0.1:{three}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=3
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.enable=false
num.network.threads=1
num.io.threads=2
num.recovery.threads.per.data.dir=1
",
        data.display()
    );
    // What `kafka-storage.sh format` writes, without a Java process of its own for each node.
    let meta = format!("version=1\ncluster.id=dHJhY2VtYXAgdGVzdHMuLg\nnode.id={id}\n");
    std::fs::create_dir_all(&data).expect("a directory");
    std::fs::write(data.join("meta.properties"), meta).expect("a file");
    std::fs::write(dir.join("server.properties"), properties).expect("a file");
}

fn broker(jars: &str, dir: &Path) -> Command {
    let mut command = program("java", dir);
    command.args([
        "-Xmx192m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
    ]);
    command.args(["-cp", jars, "kafka.Kafka", "server.properties"]);
    command
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues/kafka")
}

/// Runs a program of one file beside this one; what it printed.
pub(crate) async fn java(file: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("java");
    command.args([
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &jars().await,
    ]);
    run(command.arg(sources().join(file)).args(arguments)).await
}

/// The class path; fetched once, and again when `pom.xml` changes.
async fn jars() -> String {
    static READY: OnceCell<String> = OnceCell::const_new();
    READY.get_or_init(fetched).await.clone()
}

async fn fetched() -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("queues-kafka");
    let pom = sources().join("pom.xml");
    let wanted = std::fs::read(&pom).expect("the project is here");
    let (jars, done) = (dir.join("jars"), dir.join("made-of"));
    if !std::fs::read(&done).is_ok_and(|before| before == wanted) {
        let _ = std::fs::remove_dir_all(&dir);
        let output = format!("-DoutputDirectory={}", jars.display());
        let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
        let words = [
            "--batch-mode",
            "--quiet",
            "-DincludeScope=runtime",
            &output,
            plugin,
        ];
        run(Command::new("mvn").arg("--file").arg(&pom).args(words)).await;
        std::fs::write(done, wanted).expect("`target` is writable");
    }
    format!("{}/*", jars.display())
}
