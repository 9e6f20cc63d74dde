//! `deploy/compose` as an engine would run it: the loader of `docker compose` reads it, and what that says is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::container::{Container, Root, Spec, Volumes, root, run};
use crate::network::{Network, until};

/// Programs of this machine in the places of images: image, program here, program there, the directory of the image's user.
const PEERS: &[(&str, &str, &str, &str)] = &[
    ("prom/prometheus", "prometheus", "/bin/prometheus", "/prometheus"),
    (
        "prom/alertmanager",
        "prometheus-alertmanager",
        "/bin/alertmanager",
        "/alertmanager",
    ),
];

/// The file or files as the loader of `docker compose` understands them, all profiles on.
fn project(files: &[&str]) -> Value {
    let loader = root().join("target/deploy/bin/compose-spec");
    assert!(
        loader.exists(),
        "`{}` is missing: tests/deploy/tools.sh builds it",
        loader.display()
    );
    // Paths in it are relative to where it lies.
    let said = run(Command::new(loader)
        .args(["--format", "json"])
        .args(files)
        .current_dir(root().join("deploy/compose")));
    serde_json::from_str(&said).expect("the loader says JSON")
}

fn services(project: &Value) -> BTreeMap<String, Value> {
    let services = project["services"].as_object().expect("a project has services");
    services
        .iter()
        .map(|(name, service)| (name.clone(), service.clone()))
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values
        .filter_map(|value| Some(value.as_str()?.to_owned()))
        .collect()
}

#[test]
fn images_are_pinned_ports_are_of_this_host_alone_and_nobody_has_privileges() {
    let found = services(&project(&["compose.yaml", "sidecar.yaml"]));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "alertmanager",
            "cart",
            "cart-agent",
            "collector",
            "demo",
            "grafana",
            "prometheus"
        ]
    );
    for (name, service) in &found {
        let image = service["image"].as_str().expect("each has an image");
        let (repository, tag) = image.split_once(':').unwrap_or((image, "latest"));
        assert_ne!(tag, "latest", "{name}");
        assert!(!repository.contains('.'), "{name}: `{image}` names a registry");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        if name == "cart" {
            continue; // The user's own.
        }
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            strings(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert!(service["read_only"] == true || name == "grafana", "{name}");
    }
    let version = format!("tracemap/tracemap:{}", env!("CARGO_PKG_VERSION"));
    for name in ["collector", "demo", "cart-agent"] {
        assert_eq!(found[name]["image"], version, "{name}");
    }
}

/// Services of a project, started one after the other.
struct Running<'a> {
    services: BTreeMap<String, Value>,
    network: &'a Network,
    volumes: Volumes,
}

impl Running<'_> {
    fn start(&mut self, name: &str, host: &str) -> Container {
        let service = &self.services[name];
        let mut mounts = Vec::new();
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume["source"].as_str().expect("a volume has a source");
            let (from, is_file) = match volume["type"].as_str() {
                Some("bind") => (PathBuf::from(source), true),
                _ => (self.volumes.get(source), false),
            };
            let to = volume["target"]
                .as_str()
                .expect("a volume has a target")
                .to_owned();
            assert!(
                !is_file || volume["read_only"] == true,
                "{name}: `{to}` is a file of the repository"
            );
            mounts.push((from, to, volume["read_only"] != true));
        }
        let image = service["image"]
            .as_str()
            .expect("each has an image")
            .split(':')
            .next();
        let peer = PEERS.iter().find(|(peer, ..)| image == Some(peer));
        let tmpfs = strings(&service["tmpfs"])
            .iter()
            .filter_map(|to| Some(to.split(':').next()?.to_owned()))
            .collect();
        Container::start(Spec {
            root: peer.map_or(Root::Image, |&(_, here, there, state)| Root::Program {
                here,
                there,
                state,
            }),
            args: strings(&service["command"]),
            mounts,
            tmpfs,
            host: Some((self.network, host)),
        })
    }

    /// Waits until the health check of a service says that it is well.
    fn until_healthy(&self, name: &str, container: &mut Container) {
        let check = strings(&self.services[name]["healthcheck"]["test"]);
        assert_eq!(
            check.first().map(String::as_str),
            Some("CMD"),
            "{name}: without a shell"
        );
        let args: Vec<&str> = check.iter().skip(1).map(String::as_str).collect();
        until(&format!("a healthy `{name}`"), || {
            container.assert_running();
            container.exec(&args).then_some(())
        });
    }

    fn json(&self, url: &str) -> Option<Value> {
        serde_json::from_str(&self.network.get(url)?).ok()
    }
}

/// A service that somebody has: it answers on 8080 of its own loopback, and is ended when dropped.
struct Service(Child);

impl Service {
    fn start(network: &Network, host: &str) -> Self {
        let mut command = network.command(host, "python3");
        command.args(["-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory"]);
        let child = command
            .arg(root().join("deploy/compose"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("`ip` and `python3` run"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn everything_is_provisioned_and_finds_everything_else() {
    let network = Network::new(&["alertmanager", "collector", "demo", "prometheus"]);
    let project = project(&["compose.yaml"]);
    let volumes = Volumes::new();
    let mut running = Running {
        services: services(&project),
        network: &network,
        volumes,
    };
    let mut collector = running.start("collector", "collector");
    running.until_healthy("collector", &mut collector);

    // Each begins with what is there before the first span.
    let generated = running.volumes.get("generated");
    let sources = until("the data sources", || {
        std::fs::read_to_string(generated.join("grafana/provisioning/datasources/tracemap.yaml")).ok()
    });
    until("the receivers", || {
        generated.join("alerts/alertmanager.yaml").exists().then_some(())
    });
    let mut prometheus = running.start("prometheus", "prometheus");
    let mut alertmanager = running.start("alertmanager", "alertmanager");
    let mut demo = running.start("demo", "demo");
    let mut all_run = || {
        for container in [&mut collector, &mut prometheus, &mut alertmanager, &mut demo] {
            container.assert_running();
        }
    };

    let targets = "http://prometheus:9090/api/v1/targets?state=active";
    until("Prometheus has collector and agents", || {
        all_run();
        let targets = running.json(targets)?;
        let targets = targets["data"]["activeTargets"].as_array()?.clone();
        let up: Vec<&str> = targets
            .iter()
            .filter(|target| target["health"] == "up")
            .filter_map(|target| target["labels"]["job"].as_str())
            .collect();
        (up.contains(&"tracemap-collector") && up.contains(&"tracemap-agent")).then_some(())
    });
    let rules = running
        .json("http://prometheus:9090/api/v1/rules")
        .expect("Prometheus has rules");
    let groups = rules["data"]["groups"].as_array().expect("groups of them");
    let alerts = groups
        .iter()
        .flat_map(|group| strings_of(&group["rules"], "name"));
    let alerts: Vec<String> = alerts.collect();
    for alert in ["LatencyDegraded", "ErrorsDegraded", "TracemapCollectorAway"] {
        assert!(
            alerts.iter().any(|found| found == alert),
            "{alert} is not among {alerts:?}"
        );
    }
    let peers = running
        .json("http://prometheus:9090/api/v1/alertmanagers")
        .expect("an answer");
    let peer = peers["data"]["activeAlertmanagers"][0]["url"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(peer.starts_with("http://alertmanager:9093/"), "{peers}");

    // By default nobody is notified, but everything is routed.
    let status = until("Alertmanager", || {
        running.json("http://alertmanager:9093/api/v2/status")
    });
    let config = status["config"]["original"].as_str().unwrap_or_default();
    assert!(
        config.contains("- name: page") && !config.contains("webhook_configs"),
        "{config}"
    );

    // Grafana's data sources lead somewhere from the same network.
    for (url, path) in [
        ("http://prometheus:9090", "/api/v1/labels"),
        ("http://collector:7070/tempo", "/api/echo"),
        ("http://collector:7070/jaeger", "/api/services"),
    ] {
        assert!(
            sources.contains(&format!("url: \"{url}\"")),
            "{url} is not in:\n{sources}"
        );
        assert!(network.get(&format!("{url}{path}")).is_some(), "{url}{path}");
    }
    let environment = &running.services["grafana"]["environment"];
    assert_eq!(
        environment["GF_PATHS_PROVISIONING"],
        "/etc/tracemap/generated/grafana/provisioning"
    );

    // The shop's spans are at this collector, its dashboards in the volume, and its traces where Grafana asks.
    until("the shop's dashboards", || {
        all_run();
        generated
            .join("dashboards/service-payment.json")
            .exists()
            .then_some(())
    });
    let mut series = String::new();
    until("both halves of a call, and a span of an SDK", || {
        all_run();
        series = network.get("http://collector:7070/api/v1/map")?;
        ["checkout", "payment", "orders"]
            .iter()
            .all(|node| series.contains(node))
            .then_some(())
    });
    until("the shop in Prometheus", || {
        let asked = "http://prometheus:9090/api/v1/query?query=traces_service_graph_request_total";
        (running.json(asked)?["data"]["result"].as_array()?.len() > 3).then_some(())
    });
    for container in [demo, prometheus, alertmanager, collector] {
        assert_eq!(container.terminate(), Some(0));
    }
}

fn strings_of(values: &Value, key: &str) -> Vec<String> {
    let values = values.as_array().into_iter().flatten();
    values
        .filter_map(|value| Some(value[key].as_str()?.to_owned()))
        .collect()
}

#[test]
fn an_agent_beside_a_service_puts_it_on_the_map() {
    let network = Network::new(&["cart", "collector"]);
    let project = project(&["compose.yaml", "sidecar.yaml"]);
    let mut running = Running {
        services: services(&project),
        network: &network,
        volumes: Volumes::new(),
    };
    let mut collector = running.start("collector", "collector");
    running.until_healthy("collector", &mut collector);
    assert_eq!(running.services["cart-agent"]["network_mode"], "service:cart");
    let _cart = Service::start(&network, "cart");
    let mut agent = running.start("cart-agent", "cart");
    running.until_healthy("cart-agent", &mut agent);
    until("the service through its agent", || {
        network.get("http://cart:15006/compose.yaml")
    });
    // What it calls out goes through HTTP_PROXY, which only its own network reaches.
    let proxy = strings_map(&running.services["cart"]["environment"])["HTTP_PROXY"].clone();
    let called = network
        .command("cart", "curl")
        .env("http_proxy", proxy)
        .env("no_proxy", "")
        .args([
            "-sS",
            "--fail",
            "--max-time",
            "10",
            "--resolve",
            "collector:7070:10.77.0.3",
            "http://collector:7070/healthz",
        ])
        .output();
    assert!(
        called.is_ok_and(|called| called.status.success()),
        "a call through the outbound proxy"
    );
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    until(&format!("edges since {began:?}"), || {
        agent.assert_running();
        let map = network.get("http://collector:7070/generated/map.yaml")?;
        (map.contains("client: cart") && map.contains("server: cart")).then_some(())
    });
    assert_eq!(agent.terminate(), Some(0));
}

fn strings_map(values: &Value) -> BTreeMap<String, String> {
    let values = values.as_object().into_iter().flatten();
    values
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
