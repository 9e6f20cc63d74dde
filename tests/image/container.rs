//! Containers as a runtime starts them: a root file system, a user, no capability, and what is mounted.
//!
//! In: an image, or programs of this machine in the place of one. Out: a running container, ended when dropped.
//! Left out on purpose: limits of memory and CPU, seccomp and `AppArmor`, which an engine adds.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::network::{HUB, Network, text};

/// The archive that was built elsewhere and is to be looked at, in place of one with this build's program.
const SHIPPED: &str = "TRACEMAP_IMAGE";

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program to its end; what it said, which must not be a complaint.
pub(crate) fn run(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("these tests need `{program}`, which `bash tests/run.sh` installs: {error}")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{program}` ended with {}: {said}",
        output.status
    );
    text(&output)
}

/// Packs this build's program; the digest of the manifest.
pub(crate) fn pack(archive: &Path) -> String {
    let small = archive.with_extension("program");
    run(Command::new("strip")
        .arg("-o")
        .arg(&small)
        .arg(env!("CARGO_BIN_EXE_tracemap")));
    let script = root().join("deploy/image/oci.sh");
    run(Command::new("bash").arg(script).args([&small, archive]))
        .trim()
        .to_owned()
}

/// The image that is looked at.
pub(crate) struct Image {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// Whether it is one that is to be published: its program static, its SBOM in it.
    pub(crate) is_shipped: bool,
    layout: PathBuf,
    /// `config` of the image, as OCI writes it.
    pub(crate) config: Value,
}

impl Image {
    /// The one of this run.
    pub(crate) fn get() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
            let _ = std::fs::remove_dir_all(&dir);
            let layout = dir.join("layout");
            std::fs::create_dir_all(&layout).expect("cargo's directory for tests is writable");
            let shipped = std::env::var_os(SHIPPED).map(PathBuf::from);
            let is_shipped = shipped.is_some();
            let archive = shipped.unwrap_or_else(|| {
                let archive = dir.join("tracemap.tar");
                pack(&archive);
                archive
            });
            run(Command::new("tar")
                .arg("-xf")
                .arg(&archive)
                .arg("-C")
                .arg(&layout));
            let asked = run(Command::new("skopeo")
                .args(["inspect", "--config"])
                .arg(format!("oci-archive:{}", archive.display())));
            let config = serde_json::from_str(&asked).expect("skopeo says JSON");
            Self {
                archive,
                is_shipped,
                layout,
                config,
            }
        })
    }

    /// Unpacks it into `bundle/rootfs`.
    fn unpack(&self, bundle: &Path) {
        let index = std::fs::read_to_string(self.layout.join("index.json")).expect("a layout has an index");
        let index: Value = serde_json::from_str(&index).expect("an index is JSON");
        let tag = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
        let image = format!(
            "{}:{}",
            self.layout.display(),
            tag.as_str().expect("the image has a tag")
        );
        run(Command::new("umoci")
            .args(["unpack", "--image", &image])
            .arg(bundle));
    }
}

/// Where a container's root file system comes from.
pub(crate) enum Root<'a> {
    /// The image under test.
    Image,
    /// A program of this machine under the name that its image has for it, and the directory that the image gives to its user.
    Program {
        here: &'a str,
        there: &'a str,
        state: &'a str,
    },
}

/// What to start.
pub(crate) struct Spec<'a> {
    pub(crate) root: Root<'a>,
    /// After the entry point.
    pub(crate) args: Vec<String>,
    /// From here to there, and whether it may be written to.
    pub(crate) mounts: Vec<(PathBuf, String, bool)>,
    /// Directories in memory, for the container's user.
    pub(crate) tmpfs: Vec<String>,
    /// Which host of which network it is.
    pub(crate) host: Option<(&'a Network, &'a str)>,
}

/// A running container.
pub(crate) struct Container {
    id: String,
    child: Child,
    dir: tempfile::TempDir,
}

/// Whom programs of this machine run as: `nobody`, as in the images of Prometheus.
const NOBODY: u32 = 65534;

/// Files that programs of this machine have beside them.
const BESIDE: [&str; 2] = [
    "/usr/share/prometheus/alertmanager/default.tmpl",
    "/usr/share/prometheus/alertmanager/email.tmpl",
];

impl Container {
    /// Starts it.
    pub(crate) fn start(spec: Spec<'_>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bundle = dir.path().join("bundle");
        let (user, entry, env, cwd) = match spec.root {
            Root::Image => {
                let image = Image::get();
                image.unpack(&bundle);
                let config = &image.config["config"];
                (
                    user(config),
                    config["Entrypoint"].clone(),
                    config["Env"].clone(),
                    config["WorkingDir"].clone(),
                )
            }
            Root::Program { here, there, state } => {
                stand_in(&bundle.join("rootfs"), here, there, state);
                ((NOBODY, NOBODY), json!([there]), json!([]), json!(state))
            }
        };
        // A volume that is new belongs to whom the directory in the image belongs to.
        for (from, _, _) in spec.mounts.iter().filter(|(_, _, writable)| *writable) {
            chown(from, Some(user.0), Some(user.1)).expect("root may give it away");
        }
        let names = dir.path().join("resolv.conf");
        std::fs::write(&names, format!("nameserver {HUB}\n")).expect("the directory is ours");
        let mut mounts = vec![
            json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
            json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
            bind(&names, "/etc/resolv.conf", false),
        ];
        mounts.extend(
            spec.mounts
                .iter()
                .map(|(from, to, writable)| bind(from, to, *writable)),
        );
        mounts.extend(spec.tmpfs.iter().map(|to| {
            let owner = [format!("uid={}", user.0), format!("gid={}", user.1)];
            json!({ "destination": to, "type": "tmpfs", "source": "tmpfs", "options": owner })
        }));
        let entry = entry.as_array().cloned().unwrap_or_default();
        let args: Vec<Value> = entry
            .into_iter()
            .chain(spec.args.into_iter().map(Value::from))
            .collect();
        let mut namespaces = ["pid", "ipc", "uts", "mount"]
            .map(|kind| json!({ "type": kind }))
            .to_vec();
        namespaces.push(match spec.host {
            Some((network, host)) => json!({ "type": "network", "path": network.path(host) }),
            None => json!({ "type": "network" }),
        });
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": user.0, "gid": user.1 }, "args": args, "env": env, "cwd": cwd,
                "capabilities": {}, "noNewPrivileges": true
            },
            "root": { "path": "rootfs", "readonly": true },
            "mounts": mounts,
            "linux": { "namespaces": namespaces }
        });
        std::fs::write(bundle.join("config.json"), config.to_string()).expect("the directory is ours");
        let id = format!(
            "tmi{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let log = File::create(dir.path().join("log")).expect("the directory is ours");
        let child = runc()
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be cloned"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("these tests need `runc`, which `bash tests/run.sh` installs: {error}")
            });
        Self { id, child, dir }
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Fails with what it said if it has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the container ended with {status}:\n{}", self.log());
        }
    }

    /// Runs a program inside, as a health check does; whether it succeeded.
    pub(crate) fn exec(&self, args: &[&str]) -> bool {
        runc()
            .arg("exec")
            .arg(&self.id)
            .args(args)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// A line of what the kernel says of its first process.
    pub(crate) fn status(&self, key: &str) -> String {
        let state: Value =
            serde_json::from_str(&run(runc().arg("state").arg(&self.id))).expect("runc says JSON");
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", state["pid"])).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default()
            .trim_start_matches(':')
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Waits for its end; the exit code and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("runc can be waited for");
        (status.code(), self.log())
    }

    /// Asks it to end by SIGTERM; the exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        run(runc().arg("kill").arg(&self.id).arg("TERM"));
        self.ended().0
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = runc().args(["delete", "--force", &self.id]).output();
        let _ = self.child.wait();
    }
}

fn runc() -> Command {
    let mut command = Command::new("runc");
    command.args(["--root", "/run/tracemap-tests-runc"]);
    command
}

fn bind(from: &Path, to: &str, writable: bool) -> Value {
    let access = if writable { "rw" } else { "ro" };
    json!({ "destination": to, "type": "none", "source": from, "options": ["bind", access, "nosuid", "nodev"] })
}

/// User and group of an image, which are numbers here.
pub(crate) fn user(config: &Value) -> (u32, u32) {
    let user = config["User"].as_str().unwrap_or_default();
    let numbers = user
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    numbers.unwrap_or_else(|| {
        panic!("`{user}` are not two numbers, by which alone a kubelet knows that they are not root")
    })
}

/// A root file system with one program of this machine and the libraries that it names.
fn stand_in(rootfs: &Path, here: &str, there: &str, state: &str) {
    let below = |path: &str| rootfs.join(path.trim_start_matches('/'));
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().expect("a file is in a directory"))
            .expect("the directory is ours");
        std::fs::copy(from, to).unwrap_or_else(|error| panic!("`{}`: {error}", from.display()));
    };
    let program = run(Command::new("sh").args(["-c", &format!("realpath \"$(command -v {here})\"")]));
    copy(Path::new(program.trim()), &below(there));
    // It fails for a program that is static and needs none.
    let named = Command::new("ldd")
        .arg(program.trim())
        .output()
        .expect("`ldd` runs");
    for library in text(&named)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        copy(Path::new(library), &below(library));
    }
    // Debian's Alertmanager reads from its package what that of its image has in itself.
    for beside in BESIDE.iter().filter(|beside| Path::new(beside).exists()) {
        copy(Path::new(beside), &below(beside));
    }
    std::fs::create_dir_all(below(state)).expect("the directory is ours");
}

/// Directories in the places of named volumes.
pub(crate) struct Volumes {
    dir: tempfile::TempDir,
    made: BTreeMap<String, PathBuf>,
}

impl Volumes {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Containers of other users pass through it.
        run(Command::new("chmod").arg("0755").arg(dir.path()));
        Self {
            dir,
            made: BTreeMap::new(),
        }
    }

    /// The one of this name.
    pub(crate) fn get(&mut self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        self.made
            .entry(name.to_owned())
            .or_insert_with(|| {
                std::fs::create_dir(&path).expect("the directory is ours");
                path
            })
            .clone()
    }
}
