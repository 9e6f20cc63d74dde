//! What is in `deploy` before a real API server, and the parts that ask it, with the service accounts of the chart.
//!
//! In: an API server with RBAC, the chart's objects, the command itself as collector and agent. Out: what becomes of objects
//! in the cluster, and what the parts say of it.
//! Left out on purpose: kubelets: pods have the status that a test gives them.

#[path = "cluster/api.rs"]
mod api;
#[path = "cluster/collector.rs"]
mod collector;
#[path = "cluster/server.rs"]
mod server;

use std::path::Path;
use std::process::Command;

use http::Method;
use kubernetes::Content;
use serde_json::{Value, json};

use self::api::{Api, soon};
use self::collector::{Collector, dashboards, metric};
use self::server::{Cluster, Process, free_port};
use crate::render::{self, CHART, documents, helm, kustomize};
use crate::{MANIFESTS, each, overlays, read, said, text};

const CONFIG_MAPS: (&str, &str) = ("", "configmaps");
const RULES: (&str, &str) = ("monitoring.coreos.com", "prometheusrules");
const ROUTES: (&str, &str) = ("monitoring.coreos.com", "alertmanagerconfigs");
const PODS: (&str, &str) = ("", "pods");
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// What the chart renders to, as a release of its own in a namespace of that name.
pub(super) fn rendered(release: &str, values: &[String]) -> Vec<Value> {
    let mut args = vec![
        "template",
        release,
        CHART,
        "--namespace",
        release,
        "--kube-version",
        "1.34.4",
    ];
    args.extend(values.iter().flat_map(|file| ["--values", file.as_str()]));
    let output = helm(&args);
    assert!(output.status.success(), "{release}: {}", said(&output));
    documents(&String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Those of a file in `ci`, installed.
pub(super) async fn installed(api: &mut Api, release: &str, values: &str) -> Vec<Value> {
    let file = format!("{}/{CHART}/ci/{values}", render::root().display());
    let objects = rendered(release, &[file]);
    api.namespace(release).await;
    for object in &objects {
        api.apply(object, "helm").await;
    }
    objects
}

#[tokio::test]
async fn the_api_server_takes_all_that_is_in_deploy_and_knows_every_field() {
    let cluster = Cluster::shared().await;
    let mut api = cluster.admin();
    for (i, (name, values)) in render::cases().into_iter().enumerate() {
        let release = format!("case-{i}");
        api.namespace(&release).await;
        let objects = rendered(&release, &values);
        assert!(objects.len() > 3, "{name}: {}", objects.len());
        for object in objects {
            api.apply(&object, "helm").await;
        }
    }
    for name in ["tracemap", "default"] {
        api.namespace(name).await;
    }
    let mut texts: Vec<String> = overlays()
        .iter()
        .map(|name| kustomize(&format!("deploy/kustomize/{name}")))
        .collect();
    texts.extend(MANIFESTS.iter().map(|name| read(&format!("deploy/{name}"))));
    for mut object in texts.iter().flat_map(|text| documents(text)) {
        // Where `kubectl` is told nothing else.
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        api.apply(&object, "kustomize").await;
        // The overlay has another volume, which cannot be changed.
        if object["kind"] == json!("StatefulSet") {
            let name = text(&object["metadata"]["name"]);
            let path = format!("/apis/apps/v1/namespaces/tracemap/statefulsets/{name}");
            api.delete(&path).await;
        }
    }
}

#[tokio::test]
async fn the_accounts_of_the_chart_may_do_what_they_do_and_nothing_else() {
    let cluster = Cluster::shared().await;
    let mut admin = cluster.admin();
    installed(&mut admin, "roles", "publish-values.yaml").await;
    let as_account = async |admin: &mut Api, account: &str| {
        let file = cluster.path(&format!("roles-{account}"));
        admin.token("roles", account, &file).await;
        cluster.with_token(&file)
    };
    let publishes = ["get", "list", "create", "patch", "delete"];
    let mut collector = as_account(&mut admin, "roles-tracemap-collector").await;
    let mut agent = as_account(&mut admin, "roles-tracemap-agent").await;
    let others = [
        ("", "secrets"),
        ("", "services"),
        ("", "serviceaccounts"),
        ("", "nodes"),
        ("apps", "daemonsets"),
        ("apps", "statefulsets"),
        ("rbac.authorization.k8s.io", "roles"),
        ("monitoring.coreos.com", "prometheuses"),
        ("*", "*"),
    ];
    let ours = [CONFIG_MAPS, RULES, ROUTES, PODS];
    for what in ours.into_iter().chain(others) {
        for verb in VERBS {
            for namespace in ["roles", "default", ""] {
                let may = collector.may(verb, what, namespace).await;
                let should = ours[..3].contains(&what) && publishes.contains(&verb) && namespace == "roles";
                assert_eq!(may, should, "the collector: {verb} {what:?} in `{namespace}`");
                let may = agent.may(verb, what, namespace).await;
                let should = what == PODS && ["get", "list", "watch"].contains(&verb);
                assert_eq!(may, should, "the agent: {verb} {what:?} in `{namespace}`");
            }
        }
    }
    // And so it is where they ask.
    let configmaps = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    for (path, status) in [
        (configmaps("roles"), 200),
        (configmaps("default"), 403),
        ("/api/v1/namespaces/roles/secrets".to_owned(), 403),
        ("/api/v1/pods".to_owned(), 403),
    ] {
        assert_eq!(
            collector.ask(Method::GET, &path, Content::None).await.0,
            status,
            "{path}"
        );
    }
    let there = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}).to_string();
    let path = format!("{}/x?fieldManager=tracemap", configmaps("default"));
    let (status, _) = collector.ask(Method::PATCH, &path, Content::Apply(&there)).await;
    assert_eq!(status, 403);
    // Nobody is anybody without a token.
    let nobody = cluster.path("nobody");
    std::fs::write(&nobody, "none").expect("a file");
    let mut nobody = cluster.with_token(&nobody);
    assert_eq!(nobody.try_get("/api/v1/pods").await, Some(401));
}

#[tokio::test]
async fn objects_appear_change_and_go_with_what_the_map_holds() {
    let cluster = Cluster::shared().await;
    let mut api = cluster.admin();
    let objects = installed(&mut api, "follow", "publish-values.yaml").await;
    let more = json!({
        "collector": {"map": {"stale_after": "8s"}},
        "generate": {"grafana": {"keep_gone": "0s"}},
    });
    let collector = Collector::start(&cluster, &mut api, "follow", &objects, &more).await;
    collector.call("web", "cart").await;
    soon("a dashboard of `cart`", async || {
        has(&mut api, "follow", "service-cart.json").await
    })
    .await;
    let rule = "/apis/monitoring.coreos.com/v1/namespaces/follow/prometheusrules/tracemap";
    let routes = "/apis/monitoring.coreos.com/v1alpha1/namespaces/follow/alertmanagerconfigs/tracemap";
    let found = api.get(rule).await.expect("rules");
    assert_eq!(
        found["metadata"]["labels"]["release"],
        json!("kube-prometheus-stack")
    );
    assert_eq!(
        found["metadata"]["labels"]["app.kubernetes.io/instance"],
        json!("follow")
    );
    assert!(each(&found["spec"]["groups"]).count() > 3, "{found}");
    assert!(api.get(routes).await.is_some());
    let map = dashboards(&mut api, "follow").await.remove(0);
    assert_eq!(
        map["metadata"]["labels"]["grafana_dashboard"],
        json!("1"),
        "the sidecar's label"
    );
    let managers: Vec<&str> = each(&map["metadata"]["managedFields"])
        .map(|fields| text(&fields["manager"]))
        .collect();
    assert_eq!(managers, ["tracemap"]);

    // `cart` falls silent, `ledger` is new.
    soon("a dashboard of `ledger` and none of `cart`", async || {
        collector.call("web", "ledger").await;
        has(&mut api, "follow", "service-ledger.json").await
            && !has(&mut api, "follow", "service-cart.json").await
    })
    .await;
    assert!(
        metric(
            &collector.metrics().await,
            "tracemap_collector_kubernetes_changes_total{change=\"removed\"}"
        ) >= 1.0
    );
    drop(collector);

    // The same cluster, another configuration: labels that are configured no longer go, and the rules stay.
    let labels = json!({"labels": {"release": null, "tier": "1"}});
    let without = json!({
        "collector": {"map": {"stale_after": "8s"}},
        "generate": {
            "grafana": {"keep_gone": "1h"},
            "alerts": {"notify": {"kubernetes": labels}},
        },
    });
    let collector = Collector::start(&cluster, &mut api, "follow", &objects, &without).await;
    soon("rules with the other label", async || {
        collector.call("web", "ledger").await;
        let labels = api.get(rule).await.expect("rules")["metadata"]["labels"].clone();
        labels["tier"] == json!("1") && labels["release"].is_null()
    })
    .await;
    let before = dashboard_of(&mut api, "follow", "service-ledger.json").await;
    assert_eq!(gone_since(&before), None);

    // `ledger` falls silent, and its dashboard stays for a while, with a notice and under the name that links have.
    soon("a notice on the dashboard of `ledger`", async || {
        collector.call("web", "orders").await;
        let ledger = dashboard_of(&mut api, "follow", "service-ledger.json").await;
        has(&mut api, "follow", "service-orders.json").await && gone_since(&ledger).is_some()
    })
    .await;
    let after = dashboard_of(&mut api, "follow", "service-ledger.json").await;
    assert_eq!(after["uid"], before["uid"]);
    assert!(
        after["panels"][0]["options"]["content"]
            .as_str()
            .is_some_and(|notice| notice.contains("keep_gone")),
        "{after}"
    );
    assert!(has(&mut api, "follow", "service-web.json").await);
}

/// The dashboard in one of our objects.
async fn dashboard_of(api: &mut Api, namespace: &str, file: &str) -> Value {
    let object = of(api, namespace, file).await.expect("a dashboard");
    serde_json::from_str(text(&object["data"][file])).expect("JSON")
}

/// The tag of what is generated no longer.
fn gone_since(dashboard: &Value) -> Option<&str> {
    each(&dashboard["tags"]).find_map(|tag| text(tag).strip_prefix("gone-since-"))
}

#[tokio::test]
async fn what_is_not_ours_stays_and_what_somebody_changed_is_told_until_force_takes_it_back() {
    let cluster = Cluster::shared().await;
    let mut api = cluster.admin();
    let objects = installed(&mut api, "others", "publish-dashboards-values.yaml").await;
    let collector = Collector::start(&cluster, &mut api, "others", &objects, &json!({})).await;
    collector.call("web", "cart").await;
    soon("a dashboard of `cart`", async || {
        has(&mut api, "others", "service-cart.json").await
    })
    .await;

    // A copy has our labels and somebody else's fields; another collector's have our manager and another instance.
    let ours = of(&mut api, "others", "service-cart.json")
        .await
        .expect("a dashboard");
    let copy = |name: &str, instance: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "others", "labels": {
                "app.kubernetes.io/managed-by": "tracemap", "app.kubernetes.io/instance": instance,
            }},
            "data": ours["data"],
        })
    };
    api.apply(&copy("a-copy", "others"), "kubectl").await;
    api.apply(&copy("of-another", "another"), "tracemap").await;
    // Two marks on our own: of a field that is not ours, and of one that is.
    let mut marked = ours.clone();
    marked["metadata"]["annotations"]["reviewed-by"] = json!("ann");
    api.replace(&marked, "kubectl-annotate").await;
    let overview = dashboards(&mut api, "others").await;
    let mut edited = overview
        .into_iter()
        .find(|map| map["data"] != ours["data"] && map["metadata"]["name"] != json!("of-another"))
        .expect("another dashboard");
    let (name, key) = (text(&edited["metadata"]["name"]).to_owned(), key_of(&edited));
    edited["data"][&key] = json!("{\"title\": \"mine\"}");
    api.replace(&edited, "kubectl-edit").await;

    soon("one conflict", async || {
        metric(
            &collector.metrics().await,
            "tracemap_collector_kubernetes_objects{state=\"conflict\"}",
        ) >= 1.0
    })
    .await;
    assert!(
        collector.log().contains("kubectl-edit") && collector.log().contains(&name),
        "{}",
        collector.log()
    );
    // More is generated, and the one conflict holds nothing up.
    soon("a dashboard of `ledger`", async || {
        collector.call("web", "ledger").await;
        has(&mut api, "others", "service-ledger.json").await
    })
    .await;
    let at = |name: &str| format!("/api/v1/namespaces/others/configmaps/{name}");
    assert_eq!(
        api.get(&at(&name)).await.expect("it stays")["data"][&key],
        edited["data"][&key]
    );
    assert!(api.get(&at("a-copy")).await.is_some() && api.get(&at("of-another")).await.is_some());
    let ours = of(&mut api, "others", "service-cart.json")
        .await
        .expect("a dashboard");
    assert_eq!(ours["metadata"]["annotations"]["reviewed-by"], json!("ann"));

    // Nothing is written while nothing changes, however often it is looked at.
    let quiet = |ours: &Value| ours["metadata"]["resourceVersion"].clone();
    let before = quiet(&ours);
    // One that is removed by hand is there again.
    let ledger = of(&mut api, "others", "service-ledger.json")
        .await
        .expect("a dashboard");
    api.delete(&at(text(&ledger["metadata"]["name"]))).await;
    soon("the dashboard again", async || {
        has(&mut api, "others", "service-ledger.json").await
    })
    .await;
    let ours = of(&mut api, "others", "service-cart.json")
        .await
        .expect("a dashboard");
    assert_eq!(quiet(&ours), before);
    drop(collector);

    let force = json!({"collector": {"publish": {"kubernetes": {"force": true}}}});
    let collector = Collector::start(&cluster, &mut api, "others", &objects, &force).await;
    soon("our own dashboard in place of the edited one", async || {
        collector.call("web", "cart").await;
        collector.call("web", "ledger").await;
        api.get(&at(&name)).await.expect("it is there")["data"][&key] != edited["data"][&key]
    })
    .await;
    assert!(api.get(&at("a-copy")).await.is_some() && api.get(&at("of-another")).await.is_some());
}

#[tokio::test]
async fn a_collector_outlives_an_api_server_that_goes_away_and_catches_up() {
    let mut cluster = Cluster::start().await;
    let mut api = cluster.admin();
    let objects = installed(&mut api, "outage", "publish-dashboards-values.yaml").await;
    let collector = Collector::start(&cluster, &mut api, "outage", &objects, &json!({})).await;
    collector.call("web", "cart").await;
    soon("a dashboard of `cart`", async || {
        has(&mut api, "outage", "service-cart.json").await
    })
    .await;
    // The kubelet writes another token before the first one ends; the collector is not told.
    std::fs::write(collector.token(), "none").expect("a token");
    soon("a token that is refused", async || {
        collector.call("web", "ledger").await;
        metric(
            &collector.metrics().await,
            "tracemap_collector_kubernetes_failures_total{reason=\"unauthorized\"}",
        ) >= 1.0
    })
    .await;
    cluster.end();
    soon("a connection that is refused", async || {
        metric(
            &collector.metrics().await,
            "tracemap_collector_kubernetes_failures_total{reason=\"connection\"}",
        ) >= 1.0
    })
    .await;
    cluster.begin().await;
    let mut api = cluster.admin();
    assert!(
        !has(&mut api, "outage", "service-ledger.json").await,
        "nobody could have made it"
    );
    api.token("outage", "outage-tracemap-collector", &collector.token())
        .await;
    soon("a dashboard of `ledger`", async || {
        has(&mut api, "outage", "service-ledger.json").await
    })
    .await;
    soon("a word of it", async || {
        collector.log().contains("the API server answers again")
    })
    .await;
    let told = collector.log();
    assert_eq!(
        told.matches("the API server cannot be asked").count(),
        1,
        "once for as long as it lasts: {told}"
    );
    let token = std::fs::read_to_string(collector.token()).expect("a token");
    assert!(!told.contains(&token), "the token is in the log");
}

#[tokio::test]
async fn the_agent_knows_the_pods_of_its_node_as_the_api_server_has_them() {
    let cluster = Cluster::shared().await;
    let mut api = cluster.admin();
    installed(&mut api, "watch", "host-port-values.yaml").await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let token = dir.path().join("token");
    api.token("watch", "watch-tracemap-agent", &token).await;
    let admin_port = free_port();
    let config = json!({"agent": {
        "admin": {"listen": format!("127.0.0.1:{admin_port}")},
        "otlp": {"http": "127.0.0.1:0", "grpc": "127.0.0.1:0"},
        "export": {"endpoint": "http://127.0.0.1:9"},
        "kubernetes": {"pods": {
            "watch": true, "node": "node-a", "api": cluster.url(),
            "token_file": token, "ca_file": cluster.ca(),
        }},
    }});
    let log = dir.path().join("agent.log");
    let _agent = command("agent", dir.path(), &config, &log);
    let mut metrics = Api::new(
        &format!("http://127.0.0.1:{admin_port}"),
        Path::new("/"),
        Path::new("/"),
    );
    soon("an agent", async || {
        metrics.try_get("/healthz").await == Some(200)
    })
    .await;
    let mut known = async || collector::text_of(&mut metrics, "/metrics").await;
    soon("a first list", async || {
        metric(&known().await, "tracemap_agent_pods_last_sync_timestamp_seconds") > 0.0
    })
    .await;
    let become_known = async |api: &mut Api, name: &str, node: &str, address: &str| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "watch"},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": "app"}]},
        });
        api.apply(&pod, "test").await;
        let status = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "watch"},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        });
        let path = format!("/api/v1/namespaces/watch/pods/{name}/status?fieldManager=kubelet");
        let (status, answer) = api
            .ask(Method::PATCH, &path, Content::Apply(&status.to_string()))
            .await;
        assert_eq!(status, 200, "{answer}");
    };
    become_known(&mut api, "elsewhere", "node-b", "10.1.0.9").await;
    become_known(&mut api, "one", "node-a", "10.1.0.1").await;
    become_known(&mut api, "two", "node-a", "10.1.0.2").await;
    let pods = async |metrics: &str| metric(metrics, "tracemap_agent_pods");
    soon("two pods", async || {
        (pods(&known().await).await - 2.0).abs() < 0.5
    })
    .await;
    let path = "/api/v1/namespaces/watch/pods/one?gracePeriodSeconds=0";
    api.delete(path).await;
    soon("one pod", async || (pods(&known().await).await - 1.0).abs() < 0.5).await;
    let told = known().await;
    for reason in ["forbidden", "unauthorized", "tls", "malformed"] {
        let series = format!("tracemap_agent_pod_watch_restarts_total{{reason=\"{reason}\"}}");
        assert!(metric(&told, &series) < 0.5, "{series}");
    }
}

#[tokio::test]
async fn the_command_publishes_once_and_a_trial_says_what_would_become_of_each_object() {
    let cluster = Cluster::shared().await;
    let mut api = cluster.admin();
    let objects = installed(&mut api, "once", "publish-values.yaml").await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let token = dir.path().join("token");
    api.token("once", "once-tracemap-collector", &token).await;
    let config = dir.path().join("config.yaml");
    let mut section = collector::config(&objects);
    section["collector"]["publish"]["kubernetes"]["force"] = json!(false);
    std::fs::write(&config, section.to_string()).expect("a configuration");
    let publish = |edges: &str, more: &[&str]| {
        let map = dir.path().join("map.yaml");
        std::fs::write(
            &map,
            format!("version: 1\nedges:\n- {{client: user, server: web}}\n{edges}"),
        )
        .expect("a map");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
        command
            .args([
                "publish",
                "kubernetes",
                "--keep-gone",
                "0s",
                "--wait",
                "20s",
                "--map",
            ])
            .arg(map);
        command
            .arg("--config")
            .arg(&config)
            .arg("--token-file")
            .arg(&token);
        command
            .arg("--ca")
            .arg(cluster.ca())
            .args(["--api", &cluster.url()])
            .args(more);
        let output = command.output().expect("it runs");
        (output.status.code(), said(&output))
    };
    let edge = "- {client: web, server: cart}\n";
    let (code, told) = publish(edge, &["--dry-run"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("PrometheusRule tracemap: applied"), "{told}");
    assert!(
        dashboards(&mut api, "once").await.is_empty(),
        "a trial writes nothing"
    );
    let (code, told) = publish(edge, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(has(&mut api, "once", "service-cart.json").await);
    assert_eq!(publish(edge, &["--dry-run"]), (Some(0), String::new()));
    assert_eq!(publish(edge, &[]), (Some(0), String::new()));
    let (code, told) = publish("", &["--dry-run"]);
    assert!(code == Some(1) && told.contains(": removed"), "{told}");
    assert!(
        has(&mut api, "once", "service-cart.json").await,
        "a trial removes nothing"
    );
    let (code, told) = publish("", &[]);
    assert!(code == Some(0) && told.contains(": removed"), "{told}");
    assert!(!has(&mut api, "once", "service-cart.json").await);

    let foreign = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": {"name": "tracemap", "namespace": "once"}, "spec": {"groups": []},
    });
    api.delete("/apis/monitoring.coreos.com/v1/namespaces/once/prometheusrules/tracemap")
        .await;
    api.apply(&foreign, "kubectl").await;
    let (code, told) = publish("", &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("PrometheusRule tracemap: left alone"), "{told}");
}

/// The `ConfigMap` of ours that holds a dashboard's file.
async fn of(api: &mut Api, namespace: &str, file: &str) -> Option<Value> {
    let found = dashboards(api, namespace).await.into_iter();
    found
        .filter(|map| {
            let labels = &map["metadata"]["labels"];
            labels["grafana_dashboard"] == json!("1")
        })
        .find(|map| key_of(map) == file)
}

async fn has(api: &mut Api, namespace: &str, file: &str) -> bool {
    of(api, namespace, file).await.is_some()
}

fn key_of(map: &Value) -> String {
    let data = map["data"].as_object().expect("data");
    data.keys().next().cloned().unwrap_or_default()
}

/// The command with a configuration.
fn command(part: &str, dir: &Path, config: &Value, log: &Path) -> Process {
    let file = dir.join(format!("{part}.yaml"));
    std::fs::write(&file, config.to_string()).expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    command.arg(part).arg("--config").arg(file);
    for name in ["KUBERNETES_SERVICE_HOST", "NODE_NAME", "K8S_NODE_NAME"] {
        command.env_remove(name);
    }
    Process::start(&mut command, log)
}
