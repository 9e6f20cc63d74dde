//! What is in the image, and what it does as a runtime starts it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::container::{Container, Image, Root, Spec, Volumes, pack, root, run, user};
use crate::network::{Network, until};

/// Everything but the libraries of a program that is not static.
const FILES: &[&str] = &[
    "etc/group",
    "etc/nsswitch.conf",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
    "usr/bin/tracemap",
    "usr/bin/tracemap-agent",
    "usr/bin/tracemap-collector",
    "usr/share/doc/tracemap/LICENSE",
    "usr/share/doc/tracemap/NOTICE",
];
/// What is there besides in an image that is to be published.
const SBOM: &str = "usr/share/sbom/tracemap.cdx.json";

/// The name of the collector in its certificate and in the network.
const COLLECTOR: &str = "collector";

/// What the layer has: mode, owner, and path, as GNU tar tells them.
fn entries() -> Vec<(String, String, String)> {
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(&Image::get().archive)
        .arg("-C")
        .arg(dir.path()));
    let manifest = run(Command::new("skopeo")
        .args(["inspect", "--raw"])
        .arg(format!("oci-archive:{}", Image::get().archive.display())));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    let digest = manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let layer = dir.path().join("blobs/sha256").join(digest);
    let listed = run(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(layer));
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next()?.to_owned(), words.next()?.to_owned());
        let path = words.nth(3)?.trim_start_matches("./").trim_end_matches('/');
        Some((mode, owner, path.to_owned()))
    };
    listed.lines().filter_map(entry).collect()
}

#[test]
fn the_image_has_its_program_and_what_that_needs_and_no_shell() {
    let files = entries()
        .into_iter()
        .filter(|(mode, _, _)| !mode.starts_with('d'));
    let found: BTreeSet<String> = files.map(|(_, _, path)| path).collect();
    let libraries = |path: &String| path.starts_with("lib/") || path.starts_with("lib64/");
    let shipped = Image::get().is_shipped;
    assert_ne!(
        found.iter().any(libraries),
        shipped,
        "what is published is static: {found:?}"
    );
    let mut expected: BTreeSet<String> = FILES.iter().map(|path| (*path).to_owned()).collect();
    expected.extend(shipped.then(|| SBOM.to_owned()));
    let found: BTreeSet<String> = found.into_iter().filter(|path| !libraries(path)).collect();
    assert_eq!(found, expected);
}

#[test]
fn everything_is_roots_and_read_only_but_the_directories_for_state() {
    let mut state = BTreeSet::new();
    for (mode, owner, path) in entries() {
        let others_write = mode.as_bytes()[5] == b'w' || mode.as_bytes()[8] == b'w';
        assert!(mode.starts_with('l') || !others_write, "{mode} {path}");
        assert!(!mode.contains(['s', 'S', 't', 'T']), "{mode} {path}");
        if owner != "0/0" {
            assert_eq!(owner, "65532/65532", "{path}");
            state.insert(path);
        }
    }
    let expected = ["var/lib/tracemap", "var/lib/tracemap/generated"].map(str::to_owned);
    assert_eq!(state, BTreeSet::from(expected));
}

#[test]
fn the_configuration_says_who_runs_what_and_what_it_is() {
    let config = &Image::get().config;
    assert_eq!(user(&config["config"]), (65532, 65532));
    assert_eq!(
        config["config"]["Entrypoint"],
        serde_json::json!(["/usr/bin/tracemap"])
    );
    assert_eq!(config["os"], "linux");
    let architecture = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    assert_eq!(config["architecture"], architecture);
    let label = |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "Apache-2.0");
    assert_eq!(label("created"), config["created"]);
    let revision = label("revision");
    assert!(
        revision.as_str().is_some_and(|revision| revision.len() == 40),
        "{revision}"
    );
}

#[test]
fn the_dockerfile_says_the_same() {
    let text = std::fs::read_to_string(root().join("deploy/image/Dockerfile")).unwrap();
    let shipped = text
        .split("FROM scratch")
        .nth(1)
        .expect("the last stage begins with nothing");
    let said = |instruction: &str| {
        let line = shipped.lines().find_map(|line| line.strip_prefix(instruction));
        line.unwrap_or_else(|| panic!("the Dockerfile has no `{instruction}`"))
            .trim()
            .to_owned()
    };
    let config = &Image::get().config["config"];
    assert_eq!(config["User"], said("USER"));
    assert_eq!(config["WorkingDir"], said("WORKDIR"));
    assert_eq!(config["StopSignal"], said("STOPSIGNAL"));
    assert_eq!(config["Entrypoint"].to_string(), said("ENTRYPOINT"));
    assert_eq!(config["Env"], serde_json::json!([said("ENV")]));
    let ports: BTreeSet<&str> = config["ExposedPorts"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(ports, said("EXPOSE").split(' ').collect());
    for (label, value) in config["Labels"].as_object().unwrap() {
        let given_at_the_build = label.ends_with("created") || label.ends_with("revision");
        let line = format!("{label}={value}");
        assert!(
            given_at_the_build || shipped.contains(&line),
            "the Dockerfile has no {line}"
        );
    }
}

#[test]
fn the_chart_and_the_manifests_call_what_the_image_answers_to() {
    for args in [
        vec!["agent", "--help"],
        vec!["collector", "--help"],
        vec!["--version"],
    ] {
        let spec = spec(args.iter().map(ToString::to_string).collect());
        let (code, said) = Container::start(spec).ended();
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
}

#[test]
fn the_same_files_are_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let [first, again] = ["first.tar", "again.tar"].map(|name| dir.path().join(name));
    assert_eq!(pack(&first), pack(&again));
    assert!(
        std::fs::read(first).unwrap() == std::fs::read(again).unwrap(),
        "the archives differ"
    );
}

#[test]
fn a_shell_cannot_be_started() {
    let mut container = Container::start(spec(vec!["collector".to_owned()]));
    until("the collector", || {
        container.exec(&["/usr/bin/tracemap", "ready"]).then_some(())
    });
    container.assert_running();
    for shell in ["/bin/sh", "/bin/bash", "/usr/bin/sh", "/bin/busybox"] {
        assert!(!container.exec(&[shell, "-c", "true"]), "{shell}");
    }
    assert!(
        container.exec(&["/usr/bin/tracemap-agent", "--help"]),
        "exec works"
    );
}

#[test]
fn it_runs_as_nobody_in_particular_and_cannot_write_outside_its_state() {
    let container = Container::start(spec(vec!["collector".to_owned()]));
    until("the collector", || {
        container.exec(&["/usr/bin/tracemap", "ready"]).then_some(())
    });
    assert_eq!(container.status("Uid"), "65532 65532 65532 65532");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(container.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(container.status("NoNewPrivs"), "1");
    assert_eq!(container.terminate(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let config = written(
        dir.path(),
        "collector.yaml",
        "collector: { data_dir: /usr/share/state }\n",
    );
    let mut spec = spec(args("collector"));
    spec.mounts
        .push((config, "/etc/tracemap/tracemap.yaml".to_owned(), false));
    let (code, said) = Container::start(spec).ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

/// What a static program might lack: names by DNS, and the host's authorities.
#[test]
fn an_agent_finds_its_collector_by_name_and_trusts_it_by_the_images_authorities() {
    let network = Network::new(&[COLLECTOR, "agent"]);
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(dir.path()));
    let collector = written(
        dir.path(),
        "collector.yaml",
        "collector:\n  data_dir: /var/lib/tracemap\n  web: { listen: '0.0.0.0:7070' }\n  \
         otlp: { grpc: '0.0.0.0:4317', http: '0.0.0.0:4318', tls: { cert: /tls/tls.crt, key: /tls/tls.key } }\n",
    );
    let agent = written(
        dir.path(),
        "agent.yaml",
        "agent:\n  service: cart\n  otlp: { http: '0.0.0.0:4318' }\n  admin: { listen: '0.0.0.0:7071' }\n  \
         export: { endpoint: 'https://collector:4317', buffer: { path: /var/lib/tracemap/spans } }\n",
    );
    let mut volumes = Volumes::new();
    let mut collector = Container::start(Spec {
        mounts: vec![
            (collector, "/etc/tracemap/tracemap.yaml".to_owned(), false),
            (dir.path().to_owned(), "/tls".to_owned(), false),
            (volumes.get("collector"), "/var/lib/tracemap".to_owned(), true),
        ],
        host: Some((&network, COLLECTOR)),
        ..spec(args("collector"))
    });
    let mut agent = Container::start(Spec {
        mounts: vec![
            (agent, "/etc/tracemap/tracemap.yaml".to_owned(), false),
            (
                dir.path().join("ca.crt"),
                "/etc/ssl/certs/ca-certificates.crt".to_owned(),
                false,
            ),
            (volumes.get("agent"), "/var/lib/tracemap".to_owned(), true),
        ],
        host: Some((&network, "agent")),
        ..spec(args("agent"))
    });
    let span = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},
        "scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /carts",
        "kind":2,"startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000000030000000"}]}]}]}"#;
    let json = ["-H", "content-type: application/json", "-d", span];
    until("the agent takes the span", || {
        collector.assert_running();
        agent.assert_running();
        network.curl("http://agent:4318/v1/traces", &json)
    });
    until("the span at the collector", || {
        agent.assert_running();
        network
            .get("http://collector:7070/api/v1/map")
            .filter(|map| map.contains("cart"))
    });
    assert_eq!(collector.terminate(), Some(0));
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
#[ignore = "what a build for tests packs has none, as its tool builds for minutes: `cargo xtask proof image` looks at it"]
fn the_sbom_names_every_crate_of_the_program_and_no_other() {
    let Image {
        archive, is_shipped, ..
    } = Image::get();
    assert!(is_shipped, "`TRACEMAP_IMAGE` names an archive that has one");
    let dir = tempfile::tempdir().unwrap();
    let sbom = archive.with_extension("cdx.json");
    let sbom: Value = serde_json::from_slice(&std::fs::read(sbom).unwrap()).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let listed = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|crate_| crate_["name"].as_str());
    let listed: BTreeSet<&str> = listed.collect();
    let tree = run(Command::new("cargo")
        .current_dir(root())
        .env("CARGO_TARGET_DIR", dir.path())
        .args([
            "tree",
            "--locked",
            "--package",
            "tracemap",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]));
    let needed: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let missing: Vec<_> = needed
        .iter()
        .filter(|name| **name != "tracemap" && !listed.contains(*name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for dev in ["expect-test", "proptest", "rcgen"] {
        assert!(!listed.contains(dev), "`{dev}` is for tests");
    }
}

fn spec(args: Vec<String>) -> Spec<'static> {
    Spec {
        root: Root::Image,
        args,
        mounts: Vec::new(),
        tmpfs: Vec::new(),
        host: None,
    }
}

fn args(part: &str) -> Vec<String> {
    [part, "--config", "/etc/tracemap/tracemap.yaml"]
        .map(str::to_owned)
        .to_vec()
}

fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// An authority, and a certificate of it for the collector.
fn certificates(dir: &Path) {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
         -keyout ca.key -out ca.crt
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={COLLECTOR} -keyout tls.key -out tls.csr
         printf 'subjectAltName=DNS:{COLLECTOR}\\nbasicConstraints=CA:FALSE\\n' >extensions
         openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.crt"
    );
    run(Command::new("sh").current_dir(dir).args(["-ec", &script]));
}
