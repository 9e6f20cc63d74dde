//! A broker as a process of its own, that can be killed and started again with what it left.
//!
//! In: a protocol. Out: a broker that listens on loopback, until dropped.
//! Left out on purpose: installing brokers. One that is missing is an error that names its package.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Protocol, kafka};
use crate::agent_process::pause;
use crate::{Failure, output};

/// Longer than any of them takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const NOT_THERE: &str = "`bash tests/run.sh` installs `default-jdk-headless`, `maven`, `rabbitmq-server`, `nats-server`, \
                         `redis-server` and `mosquitto`";

/// A running broker; killed when dropped, with the files that it wrote.
pub(crate) struct Broker {
    protocol: Protocol,
    child: Child,
    /// Erlang's port mapper, without which `RabbitMQ` would start one that stays.
    mapper: Option<Child>,
    ports: [u16; 3],
    /// Kafka's class path.
    jars: String,
    dir: TempDir,
}

/// Ports that were free just now. Brokers take theirs from files, and keep them when they start again.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    let mut ports = [0; N];
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// The address of a port on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

impl Broker {
    pub(crate) fn start(protocol: Protocol) -> Result<Self, Failure> {
        let (dir, ports) = (tempfile::tempdir()?, free_ports()?);
        let jars = if protocol == Protocol::Kafka {
            kafka::jars()?
        } else {
            String::new()
        };
        let mapper = (protocol == Protocol::Amqp).then(|| mapper(dir.path(), ports[1]));
        let mapper = mapper.transpose()?;
        if mapper.is_some() {
            listens(local(ports[1]), dir.path())?;
        }
        let child = spawn(&mut command(protocol, dir.path(), ports, &jars)?, dir.path())?;
        let broker = Self {
            protocol,
            child,
            mapper,
            ports,
            jars,
            dir,
        };
        listens(broker.address(), broker.dir.path())?;
        Ok(broker)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        local(self.ports[0])
    }

    /// Kills it without a word; Mosquitto, which writes what it holds when it ends, is told to end.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        if self.protocol == Protocol::Mqtt {
            output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        } else {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same ports, with what it left.
    pub(crate) fn start_again(&mut self) -> Result<(), Failure> {
        let dir = self.dir.path();
        self.child = spawn(&mut command(self.protocol, dir, self.ports, &self.jars)?, dir)?;
        listens(self.address(), dir)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for child in [Some(&mut self.child), self.mapper.as_mut()]
            .into_iter()
            .flatten()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listens(address: SocketAddr, dir: &Path) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            return Err(format!("nobody listens at {address}: {log}").into());
        }
        pause(LOOK_EVERY);
    }
    Ok(())
}

fn spawn(command: &mut Command, dir: &Path) -> Result<Child, Failure> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let started = command.spawn();
    started.map_err(|error| format!("cannot start `{program}`: {error}; {NOT_THERE}").into())
}

/// A program of the `PATH`, or of Debian's `/usr/sbin`.
fn program(name: &str) -> Command {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() {
        Command::new(sbin)
    } else {
        Command::new(name)
    }
}

fn mapper(dir: &Path, port: u16) -> Result<Child, Failure> {
    let mut command = program("epmd");
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
    spawn(command.args(["-port", &port.to_string()]), dir)
}

fn command(protocol: Protocol, dir: &Path, ports: [u16; 3], jars: &str) -> Result<Command, Failure> {
    let [port, ..] = ports;
    Ok(match protocol {
        Protocol::Kafka => kafka_node(dir, ports, jars)?,
        Protocol::Amqp => rabbitmq(dir, ports)?,
        Protocol::Nats => {
            let (file, store) = (dir.join("nats.conf"), dir.join("streams"));
            let text = format!(
                "listen: '127.0.0.1:{port}'\nmax_payload: 8388608\njetstream {{ store_dir: '{}' }}\n",
                store.display()
            );
            std::fs::write(&file, text)?;
            let mut command = program("nats-server");
            command.arg("-c").arg(file);
            command
        }
        Protocol::Redis => {
            let mut command = program("redis-server");
            let port = port.to_string();
            command
                .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always"]);
            command
        }
        Protocol::Mqtt => {
            let file = dir.join("mosquitto.conf");
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\nmax_inflight_messages 1000\n\
                 persistence true\npersistence_location {}/\n",
                dir.display()
            );
            std::fs::write(&file, text)?;
            let mut command = program("mosquitto");
            command.arg("-c").arg(file);
            command
        }
    })
}

/// The broker in the process that is started, without the script around it, which would not pass on a kill.
fn rabbitmq(dir: &Path, [port, mapper, distribution]: [u16; 3]) -> Result<Command, Failure> {
    std::fs::write(dir.join("enabled_plugins"), "[].")?;
    std::fs::write(dir.join("rabbitmq.conf"), "")?;
    let mut command = program("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let place = |name: &str| dir.join(name);
    command
        .env("HOME", dir)
        .env("LANG", "C.UTF-8")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("RABBITMQ_ALLOW_INPUT", "true")
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        .env("RABBITMQ_NODENAME", format!("rabbit{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", place("data"))
        .env("RABBITMQ_LOG_BASE", place("logs"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", place("enabled_plugins"))
        .env("RABBITMQ_CONFIG_FILE", place("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", place("none"))
        .env("RABBITMQ_CONF_ENV_FILE", place("none"));
    Ok(command)
}

/// One node that is broker and controller.
fn kafka_node(dir: &Path, [port, controller, _]: [u16; 3], jars: &str) -> Result<Command, Failure> {
    let data = dir.join("data");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\nnum.partitions=1\n\
         auto.create.topics.enable=true\noffsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nmessage.max.bytes=8388608\n\
         log.retention.bytes=268435456\nlog.segment.bytes=67108864\nlog.cleaner.enable=false\nnum.network.threads=1\n\
         num.io.threads=2\nnum.recovery.threads.per.data.dir=1\n",
        data.display()
    );
    std::fs::create_dir_all(&data)?;
    std::fs::write(dir.join("server.properties"), text)?;
    let meta = data.join("meta.properties");
    if !meta.exists() {
        // What `kafka-storage.sh format` writes, without a Java process of its own.
        std::fs::write(meta, "version=1\ncluster.id=dHJhY2VtYXAgcHJvb2ZzLg\nnode.id=1\n")?;
    }
    let mut command = program("java");
    command
        .args([
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
        ])
        .args(["-cp", jars, "kafka.Kafka", "server.properties"]);
    Ok(command)
}
