//! The chart, the Kustomize base and the manifests in `deploy/kubernetes` are what Kubernetes takes, and no more than they need.
//!
//! In: `deploy/helm`, with every file of values in its `ci`, `deploy/kustomize` and `deploy/kubernetes`. Out: what kubeconform,
//! helm, a real API server or the command itself complains of, and every pod that asks for more than it is known to need.
//! Left out on purpose: nodes. A kubelet has started nothing of it.

#[path = "deploy/cluster.rs"]
mod cluster;
#[path = "deploy/render.rs"]
mod render;
#[path = "deploy/schemas.rs"]
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use render::{CHART, Pod, documents, helm, kustomize, pods, release, renders, root, text, tool};
use serde_json::{Value, json};

/// What to do where a tool or a schema is not there.
pub(crate) const GET_TOOLS: &str = "run tests/deploy/tools.sh, which fetches it";

/// Manifests that are applied as they are.
const MANIFESTS: &[&str] = &["kubernetes/agent-rbac.yaml", "kubernetes/sidecar.yaml"];

/// Containers that may do what others may not, and why.
///
/// `buffer-directory` gives a directory of the node, which root made, to the agent's user; it ends before the agent starts.
/// `tracemap-redirect` writes rules of the network, in modes that somebody asked for.
const PRIVILEGED: &[(&str, &[&str])] = &[
    ("buffer-directory", &["CHOWN"]),
    ("tracemap-redirect", &["NET_ADMIN", "NET_RAW"]),
];

/// Values that are refused, and what is said.
const REFUSED: &[(&[&str], &[&str])] = &[
    (
        &["collector.replicas=2"],
        &["one collector", "collector.replicas"],
    ),
    (&["collector.replicas=0"], &["one collector"]),
    (&["agent.otlp.via=nodePort"], &["via", "hostPort"]),
    (&["agent.otlp.vai=service"], &["vai"]),
    (&["agnet.enabled=true"], &["agnet"]),
    (
        &["agent.config.correlation.foor=1"],
        &["agent/config/correlation", "foor"],
    ),
    (&["collector.generate.owt=x"], &["collector/generate", "owt"]),
    (&["tls.enabled=true"], &["tls.collector.secretName"]),
    (&["tokens.enabled=true"], &["tokens.collector.secretName"]),
    (
        &["tokens.enabled=true", "tokens.collector.secretName=a"],
        &["tokens.agent.secretName"],
    ),
    (
        &[
            "tls.enabled=true",
            "tls.collector.secretName=a",
            "tls.clientAuth=true",
        ],
        &["tls.agent.secretName"],
    ),
    (&["agent.redirect.enabled=true"], &["agent.redirect.image"]),
    (
        &["agent.redirect.enabled=true", "agent.redirect.image.repository=r"],
        &["agent.redirect.pods"],
    ),
    (
        &[
            "agent.redirect.enabled=true",
            "agent.redirect.image.repository=r",
            "agent.redirect.pods={10.244.0.0/16}",
        ],
        &["networkPolicy.nodes"],
    ),
    (
        &[
            "agent.redirect.enabled=true",
            "agent.redirect.image.repository=r",
            "agent.redirect.pods={10.244.0.0/16}",
            "networkPolicy.nodes={10.0.0.0/8}",
            "agent.podWatch.enabled=false",
        ],
        &["agent.podWatch"],
    ),
    (
        &["agent.proxy.enabled=true", "agent.podWatch.enabled=false"],
        &["agent.podWatch"],
    ),
    (
        &["publish.enabled=true"],
        &["publish.dashboards", "publish.rules"],
    ),
    (
        &["publish.enabled=true", "publish.image.repository=kubectl"],
        &["publish", "image"],
    ),
    (&["agent.enabled=false", "collector.enabled=false"], &["nothing"]),
    (&["collector.enabled=false"], &["agent.endpoint"]),
    (&["agent.buffer.type=disk"], &["type"]),
];

#[test]
fn every_combination_of_values_passes_helms_lint() {
    for (name, values) in render::cases() {
        let mut args = vec!["lint", "--strict", "--quiet", CHART];
        args.extend(values.iter().flat_map(|file| ["--values", file.as_str()]));
        let output = helm(&args);
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

#[test]
fn every_object_is_one_that_kubernetes_or_the_prometheus_operator_knows() {
    let mut texts: Vec<(String, String)> = renders().map(|(name, text, _)| (name, text)).collect();
    texts.extend(overlays().into_iter().map(|name| {
        let built = kustomize(&format!("deploy/kustomize/{name}"));
        (name, built)
    }));
    for name in MANIFESTS {
        texts.push(((*name).to_owned(), read(&format!("deploy/{name}"))));
    }
    conforms(&texts);
}

#[test]
fn a_misspelled_field_is_refused_by_the_schemas_that_say_all_others_are_right() {
    let wrong = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{prot: 1}]}\n";
    let schemas = schemas_of(&documents(wrong));
    let output = kubeconform(wrong, schemas.path());
    assert!(
        !output.status.success() && said(&output).contains("prot"),
        "{}",
        said(&output)
    );
}

#[test]
fn wrong_values_are_refused_with_the_key_to_change() {
    for (set, words) in REFUSED {
        let mut args = release(&[]);
        args.extend(set.iter().flat_map(|value| ["--set", value]));
        let output = helm(&args);
        let told = said(&output);
        assert!(!output.status.success(), "{set:?} is not refused");
        let missing = words.iter().find(|word| !told.contains(*word));
        assert!(
            missing.is_none(),
            "{set:?}: `{}` is not in: {told}",
            missing.unwrap_or(&"")
        );
    }
}

#[test]
fn every_configuration_is_read_whole_by_the_part_that_gets_it() {
    let certificates = certificates();
    let mut read = 0;
    for (name, part, config) in configurations() {
        let files = certificates.path().display().to_string();
        // Secrets of the chart's own, and those that `tenants-values` mounts.
        let mounted = ["tls", "tokens", "shop", "bank"].map(|name| format!("/etc/tracemap-{name}"));
        let config = mounted
            .iter()
            .fold(config, |config, mount| config.replace(mount, &files));
        // One fault of our own ends the command before it listens, and it tells all it finds: so it finds no other.
        let (variable, told) = if part == "agent" {
            ("TRACEMAP_AGENT_CORRELATION_FLOOR", "agent.correlation.floor")
        } else {
            ("TRACEMAP_GENERATE_ALERTS_MIN_SLOW_SHARE", "min_slow_share")
        };
        let (_dir, file) = file_of(&config);
        let output = tracemap(&[&part, "--config", &file], &[(variable, "7")]);
        let problems = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {problems}");
        assert!(
            problems.lines().count() == 1 && problems.contains(told),
            "{name}: {problems}\n{config}"
        );
        read += 1;
    }
    assert!(read > 10, "only {read} configurations were found");
}

#[test]
fn every_path_in_a_configuration_is_mounted_and_every_port_is_one_of_the_container() {
    for (name, objects) in every_object() {
        for pod in pods(&objects) {
            for container in pod
                .containers("containers")
                .chain(pod.containers("initContainers"))
            {
                let Some(config) = configuration_of(&pod, container, &objects) else {
                    continue;
                };
                // The configuration names no file beside itself.
                let mounts: Vec<&str> = each(&container["volumeMounts"])
                    .map(|mount| text(&mount["mountPath"]))
                    .filter(|path| *path != "/etc/tracemap")
                    .collect();
                let ports: BTreeSet<u64> = each(&container["ports"])
                    .filter_map(|port| port["containerPort"].as_u64())
                    .collect();
                let values = leaves(&config);
                for path in values.iter().filter(|value| value.starts_with('/')) {
                    assert!(
                        mounts.iter().any(|mount| Path::new(path).starts_with(mount)),
                        "{name}, {}: `{path}` is below none of {mounts:?}",
                        pod.name
                    );
                }
                let listens: BTreeSet<u64> = values.iter().filter_map(|value| port_of(value)).collect();
                assert_eq!(
                    listens, ports,
                    "{name}, {}: what listens and what is told",
                    pod.name
                );
            }
        }
    }
}

#[test]
fn no_container_may_do_more_than_it_needs() {
    for (name, objects) in every_object() {
        for pod in pods(&objects) {
            for container in pod
                .containers("containers")
                .chain(pod.containers("initContainers"))
            {
                // The services in examples are whose they are.
                if pod.is_example() && !text(&container["name"]).starts_with("tracemap-") {
                    continue;
                }
                let context = &container["securityContext"];
                let who = format!("{name}, {}, {}", pod.name, text(&container["name"]));
                assert_eq!(context["allowPrivilegeEscalation"], json!(false), "{who}");
                assert_eq!(context["readOnlyRootFilesystem"], json!(true), "{who}");
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{who}");
                assert_eq!(
                    context["seccompProfile"]["type"],
                    json!("RuntimeDefault"),
                    "{who}"
                );
                assert!(context["privileged"].is_null(), "{who}");
                let may = PRIVILEGED
                    .iter()
                    .find(|(known, _)| container["name"] == json!(known));
                let has: Vec<&str> = each(&context["capabilities"]["add"]).map(text).collect();
                assert_eq!(has, may.map_or(&[][..], |(_, may)| may), "{who}");
                let is_root = context["runAsUser"] == json!(0);
                assert_eq!(is_root, may.is_some(), "{who}");
                assert_eq!(context["runAsNonRoot"], json!(may.is_none()), "{who}");
                for resource in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                    assert!(
                        container["resources"].pointer(resource).is_some(),
                        "{who}: {resource}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_pod_shares_the_nodes_network_or_files_unless_its_values_say_so() {
    for (name, objects) in every_object() {
        for pod in pods(&objects) {
            let who = format!("{name}, {}", pod.name);
            assert!(
                pod.spec["hostPID"].is_null() && pod.spec["hostIPC"].is_null(),
                "{who}"
            );
            let on_host = pod.spec["hostNetwork"] == json!(true);
            assert_eq!(
                on_host,
                name.contains("redirect") && pod.name == "tracemap-agent",
                "{who}"
            );
            for volume in each(&pod.spec["volumes"]).filter(|volume| !volume["hostPath"].is_null()) {
                let path = text(&volume["hostPath"]["path"]);
                // The lock is that of everybody who writes rules of a node's network.
                let is_lock = on_host && path == "/run/xtables.lock";
                assert!(path == "/var/lib/tracemap-agent" || is_lock, "{who}: {path}");
            }
            // Variables named after Services look like keys of the configuration: TRACEMAP_COLLECTOR_PORT.
            assert_eq!(pod.spec["enableServiceLinks"], json!(false), "{who}");
        }
    }
}

#[test]
fn only_who_asks_the_api_server_has_a_token_and_may_do_no_more_than_it_does() {
    for (name, objects) in every_object() {
        let allowed: BTreeSet<(String, String)> = objects
            .iter()
            .filter(|object| text(&object["kind"]).ends_with("Role"))
            .flat_map(|role| each(&role["rules"]))
            .flat_map(|rule| {
                let resources = each(&rule["resources"]).map(text);
                resources.flat_map(|resource| {
                    each(&rule["verbs"]).map(|verb| (resource.to_owned(), text(verb).to_owned()))
                })
            })
            .collect();
        let may = |what: &[&str], verbs: &[&str]| -> BTreeSet<(String, String)> {
            let pairs = what
                .iter()
                .flat_map(|what| verbs.iter().map(move |verb| (*what, *verb)));
            pairs
                .map(|(what, verb)| (what.to_owned(), verb.to_owned()))
                .collect()
        };
        let watches = may(&["pods"], &["get", "list", "watch"]);
        let publishes = may(
            &["configmaps", "prometheusrules", "alertmanagerconfigs"],
            &["get", "list", "create", "patch", "delete"],
        );
        assert!(
            allowed
                .iter()
                .all(|pair| watches.contains(pair) || publishes.contains(pair)),
            "{name}: {allowed:?}"
        );
        let cluster_wide: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == json!("ClusterRole"))
            .flat_map(|role| each(&role["rules"]))
            .flat_map(|rule| each(&rule["resources"]))
            .collect();
        assert!(cluster_wide.iter().all(|what| **what == json!("pods")), "{name}");
        for pod in pods(&objects) {
            let account = text(&pod.spec["serviceAccountName"]);
            let mut subjects = objects.iter().flat_map(|object| each(&object["subjects"]));
            let is_bound = subjects.any(|subject| subject["name"] == json!(account));
            assert_eq!(
                pod.spec["automountServiceAccountToken"],
                json!(is_bound),
                "{name}, {}: a token is mounted where a role is bound",
                pod.name
            );
        }
    }
}

#[test]
fn the_agent_may_ask_for_pods_only_where_it_watches_them() {
    for (name, objects) in every_object() {
        let roles = objects
            .iter()
            .filter(|object| object["kind"] == json!("ClusterRole"))
            .count();
        let watches = pods(&objects).iter().any(|pod| {
            pod.containers("containers")
                .chain(pod.containers("initContainers"))
                .filter_map(|container| configuration_of(pod, container, &objects))
                .any(|config| config.pointer("/agent/kubernetes/pods/watch") == Some(&json!(true)))
        });
        let is_role_alone = name.ends_with("agent-rbac.yaml");
        assert_eq!(roles > 0, watches || is_role_alone, "{name}");
    }
}

#[test]
fn every_selector_selects_a_pod_and_every_port_is_one_of_its_own() {
    for (name, objects) in every_object() {
        let pods = pods(&objects);
        for object in &objects {
            let (selector, ports): (&Value, Vec<&Value>) = match text(&object["kind"]) {
                "Service" => {
                    let ports = each(&object["spec"]["ports"]).map(|port| &port["targetPort"]);
                    (&object["spec"]["selector"], ports.collect())
                }
                "NetworkPolicy" => {
                    let ports = each(&object["spec"]["ingress"]).flat_map(|rule| each(&rule["ports"]));
                    let ports = ports.map(|port| &port["port"]).collect();
                    (&object["spec"]["podSelector"]["matchLabels"], ports)
                }
                "PodMonitor" => {
                    let ports = each(&object["spec"]["podMetricsEndpoints"]).map(|port| &port["port"]);
                    (&object["spec"]["selector"]["matchLabels"], ports.collect())
                }
                "PodDisruptionBudget" | "DaemonSet" | "StatefulSet" | "Deployment" => {
                    (&object["spec"]["selector"]["matchLabels"], Vec::new())
                }
                _ => continue,
            };
            let who = format!(
                "{name}, {} {}",
                text(&object["kind"]),
                text(&object["metadata"]["name"])
            );
            let chosen: Vec<&Pod> = pods.iter().filter(|pod| pod.has(selector)).collect();
            assert_eq!(chosen.len(), 1, "{who} selects {}", chosen.len());
            let known: BTreeSet<String> = chosen
                .iter()
                .flat_map(|pod| {
                    pod.containers("containers")
                        .chain(pod.containers("initContainers"))
                })
                .flat_map(|container| each(&container["ports"]))
                .flat_map(|port| [text(&port["name"]).to_owned(), port["containerPort"].to_string()])
                .collect();
            for port in ports {
                let told = port.as_str().map_or_else(|| port.to_string(), str::to_owned);
                assert!(known.contains(&told), "{who}: {told} is none of {known:?}");
                // Before 1.33 neither knows the names of a native sidecar's ports; Prometheus does.
                let by_number = object["kind"] != json!("PodMonitor");
                assert_eq!(port.is_u64(), by_number, "{who}: {told}");
            }
        }
        for monitor in objects
            .iter()
            .filter(|object| object["kind"] == json!("ServiceMonitor"))
        {
            let wanted = &monitor["spec"]["selector"]["matchLabels"];
            let services = objects.iter().filter(|object| object["kind"] == json!("Service"));
            let chosen = services.filter(|service| is_within(wanted, &service["metadata"]["labels"]));
            assert_eq!(chosen.count(), 1, "{name}: the ServiceMonitor takes one Service");
        }
    }
}

#[test]
fn series_keep_their_own_labels_where_the_operator_scrapes() {
    let (_, objects) = every_object()
        .into_iter()
        .find(|(name, _)| name.contains("monitoring"))
        .expect("values with monitors");
    let endpoints: Vec<&Value> = objects
        .iter()
        .flat_map(|object| {
            each(&object["spec"]["endpoints"]).chain(each(&object["spec"]["podMetricsEndpoints"]))
        })
        .collect();
    assert_eq!(endpoints.len(), 2, "collector and agents");
    for endpoint in endpoints {
        // `service` of traces_spanmetrics_* would else become `exported_service`, which no panel asks for.
        assert_eq!(endpoint["honorLabels"], json!(true), "{endpoint}");
    }
}

#[test]
fn the_base_of_kustomize_has_the_objects_of_the_chart() {
    let output = helm(&release(&[]));
    assert!(output.status.success(), "{}", said(&output));
    let rendered = String::from_utf8(output.stdout).expect("UTF-8");
    let ours: String = rendered
        .lines()
        .filter(|line| !render::is_of_helm(line))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let header = "# Generated from deploy/helm/tracemap with its default values: UPDATE_EXPECT=1 cargo test --test deploy base\n";
    expect_test::expect_file!["../deploy/kustomize/base/tracemap.yaml"].assert_eq(&format!("{header}{ours}"));
    let by_name = |objects: Vec<Value>| -> BTreeMap<String, Value> {
        let objects = objects
            .into_iter()
            .filter(|object| object["kind"] != json!("Namespace"));
        let name =
            |object: &Value| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        objects.map(|object| (name(&object), object)).collect()
    };
    let built = by_name(documents(&kustomize("deploy/kustomize/base")));
    let chart = by_name(documents(&ours));
    assert_eq!(built.keys().collect::<Vec<_>>(), chart.keys().collect::<Vec<_>>());
    for (name, object) in &chart {
        assert_eq!(&built[name], object, "{name}");
    }
}

#[test]
fn the_overlay_changes_what_it_says_and_nothing_else_is_lost() {
    let names = |built: &str| -> BTreeSet<String> {
        let objects = documents(built);
        let name =
            |object: &Value| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        objects.iter().map(name).collect()
    };
    let base = kustomize("deploy/kustomize/base");
    let overlay = kustomize("deploy/kustomize/overlays/example");
    assert!(names(&overlay).is_superset(&names(&base)));
    assert_ne!(base, overlay);
}

#[test]
fn what_the_publisher_applies_is_what_its_role_allows_and_what_the_api_server_knows() {
    let (name, objects) = every_object()
        .into_iter()
        .find(|(name, _)| name == "publish-values")
        .expect("values with the publisher");
    let (_, _, config) = configurations()
        .into_iter()
        .find(|(case, part, _)| *case == name && part == "collector")
        .expect("its configuration");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let map = dir.path().join("map.yaml");
    std::fs::write(
        &map,
        "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n",
    )
    .expect("a map");
    let (_config, config) = file_of(&config);
    let out = dir.path().join("out");
    let args = [
        "generate",
        "--map",
        map.to_str().unwrap(),
        "--config",
        &config,
        "--out",
        out.to_str().unwrap(),
    ];
    let output = tracemap(&args, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let applied = [
        "kubernetes/grafana-configmaps.yaml",
        "alerts/kubernetes/prometheusrule.yaml",
        "alerts/kubernetes/alertmanagerconfig.yaml",
    ];
    let role = objects
        .iter()
        .find(|object| object["kind"] == json!("Role"))
        .expect("its role");
    let texts: Vec<(String, String)> = applied
        .iter()
        .map(|file| {
            (
                (*file).to_owned(),
                std::fs::read_to_string(out.join(file)).expect("it is generated"),
            )
        })
        .collect();
    for object in texts.iter().flat_map(|(_, text)| documents(text)) {
        let group = text(&object["apiVersion"])
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let plural = text(&object["kind"]).to_lowercase() + "s";
        let rule = each(&role["rules"]).find(|rule| {
            each(&rule["apiGroups"]).any(|known| text(known) == group)
                && each(&rule["resources"]).any(|known| text(known) == plural)
        });
        assert!(rule.is_some(), "the role does not allow {group} {plural}");
        assert_eq!(
            object["metadata"]["namespace"], role["metadata"]["namespace"],
            "{plural}"
        );
    }
    conforms(&texts);
}

#[test]
fn the_default_volume_holds_what_the_collectors_budgets_allow() {
    let (_, objects) = every_object().remove(0);
    let claim = objects
        .iter()
        .find_map(|object| object["spec"]["volumeClaimTemplates"].get(0))
        .expect("the collector's claim");
    let size = text(&claim["spec"]["resources"]["requests"]["storage"]);
    let size: u64 = size
        .strip_suffix("Gi")
        .and_then(|size| size.parse().ok())
        .expect("GiB");
    let (_, _, config) = configurations()
        .into_iter()
        .find(|(_, part, _)| part == "collector")
        .expect("the collector's configuration");
    let config: Value = serde_yaml::from_str(&config).expect("YAML");
    let budget = |path: &str| -> u64 {
        let told = config.pointer(path).map(text).unwrap_or_default();
        let told = told.strip_suffix("GiB").and_then(|size| size.parse().ok());
        told.unwrap_or_else(|| panic!("{path} is not told in GiB"))
    };
    let budgets = budget("/collector/journal/max_size") + budget("/collector/store/max_size");
    assert!(budgets < size, "{budgets} GiB and a snapshot in {size} GiB");
}

#[test]
fn every_value_is_one_of_the_schema_and_has_its_line_of_explanation() {
    let values = read(&format!("{CHART}/values.yaml"));
    let schema: Value = serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).expect("JSON");
    let parsed: Value = serde_yaml::from_str(&values).expect("YAML");
    same_keys("", &parsed, &schema);
    let lines: Vec<&str> = values.lines().collect();
    for pair in lines.windows(2) {
        let is_key = |line: &str| {
            let key = line.trim_start().split(':').next().unwrap_or_default();
            line.contains(':') && !key.is_empty() && key.chars().all(char::is_alphanumeric)
        };
        let opens = pair[0].trim_end().ends_with(':') && !pair[0].trim_start().starts_with('#');
        let told = pair[0].trim_start().starts_with('#') || opens && pair[1].trim_end().ends_with(':');
        assert!(
            !is_key(pair[1]) || told,
            "no comment stands before `{}`",
            pair[1].trim()
        );
    }
}

#[test]
fn the_sections_of_the_configuration_are_checked_before_anything_is_installed() {
    let known: Value = serde_json::from_str(&read("deploy/tracemap.schema.json")).expect("JSON");
    let mut schema: Value =
        serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).expect("JSON");
    schema["$defs"] = bare_properties(&known["$defs"]);
    let written = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
    expect_test::expect_file!["../deploy/helm/tracemap/values.schema.json"].assert_eq(&written);
}

#[test]
fn images_are_named_without_a_registry_and_ours_by_the_version_of_the_chart() {
    let chart: Value = serde_yaml::from_str(&read(&format!("{CHART}/Chart.yaml"))).expect("YAML");
    assert_eq!(chart["appVersion"], json!(env!("CARGO_PKG_VERSION")));
    let ours = format!("tracemap/tracemap:{}", env!("CARGO_PKG_VERSION"));
    for (name, objects) in every_object() {
        for pod in pods(&objects) {
            for container in pod
                .containers("containers")
                .chain(pod.containers("initContainers"))
            {
                let image = text(&container["image"]);
                let first = image.split_once('/').map_or("", |(first, _)| first);
                assert!(!first.contains(['.', ':']), "{name}: `{image}` names a registry");
                let is_ours = each(&container["args"]).any(|arg| text(arg) == "--config");
                assert!(
                    !is_ours || image == ours || name.contains("image"),
                    "{name}: `{image}` is not `{ours}`"
                );
            }
        }
    }
}

#[test]
fn the_chart_has_the_script_of_deploy_redirect() {
    let ours = read(&format!("{CHART}/files/tracemap-redirect.sh"));
    assert!(
        ours == read("deploy/redirect/tracemap-redirect.sh"),
        "copy it there"
    );
}

/// All rendered objects, by what they were rendered from: the default values first.
fn every_object() -> Vec<(String, Vec<Value>)> {
    let mut all: Vec<(String, Vec<Value>)> = renders().map(|(name, _, objects)| (name, objects)).collect();
    for name in MANIFESTS {
        all.push(((*name).to_owned(), documents(&read(&format!("deploy/{name}")))));
    }
    for name in overlays() {
        let built = documents(&kustomize(&format!("deploy/kustomize/{name}")));
        all.push((format!("kustomize/{name}"), built));
    }
    all
}

fn overlays() -> Vec<String> {
    vec!["base".to_owned(), "overlays/example".to_owned()]
}

/// Every configuration in a `ConfigMap`: where it was found, for which part, and its text.
fn configurations() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (name, objects) in every_object() {
        for map in objects
            .iter()
            .filter(|object| object["kind"] == json!("ConfigMap"))
        {
            for (key, value) in map["data"].as_object().into_iter().flatten() {
                if let Some(part) = key.strip_suffix(".yaml") {
                    found.push((name.clone(), part.to_owned(), text(value).to_owned()));
                }
            }
        }
    }
    found
}

/// The configuration that a container is started with.
fn configuration_of(pod: &Pod, container: &Value, objects: &[Value]) -> Option<Value> {
    let args: Vec<&str> = each(&container["args"]).map(text).collect();
    let at = args.iter().position(|arg| *arg == "--config")?;
    let file = Path::new(args.get(at + 1)?);
    let mount = each(&container["volumeMounts"]).find(|mount| file.starts_with(text(&mount["mountPath"])))?;
    let volume = each(&pod.spec["volumes"]).find(|volume| volume["name"] == mount["name"])?;
    let map = objects.iter().find(|object| {
        object["kind"] == json!("ConfigMap") && object["metadata"]["name"] == volume["configMap"]["name"]
    })?;
    let text = text(&map["data"][file.file_name()?.to_str()?]);
    Some(serde_yaml::from_str(text).expect("a configuration in YAML"))
}

/// All texts of a configuration.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.values().flat_map(leaves).collect(),
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// The port of an address to listen at: `0.0.0.0:4317` or `[::]:4317`. What only this pod reaches is no port of it.
fn port_of(value: &str) -> Option<u64> {
    let address: std::net::SocketAddr = value.parse().ok()?;
    (!address.ip().is_loopback()).then(|| u64::from(address.port()))
}

fn same_keys(path: &str, values: &Value, schema: &Value) {
    let Some(known) = schema["properties"].as_object() else {
        return;
    };
    let Some(fields) = values.as_object() else {
        return;
    };
    assert_eq!(
        schema["additionalProperties"],
        json!(false),
        "`{path}` lets unknown keys pass"
    );
    assert_eq!(
        fields.keys().collect::<BTreeSet<_>>(),
        known.keys().collect::<BTreeSet<_>>(),
        "keys of `{path}` in values.yaml and in its schema"
    );
    for (key, value) in fields {
        same_keys(&format!("{path}.{key}"), value, &known[key]);
    }
}

/// A schema without what values need not have: the chart writes the keys that are required itself.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| !["required", "description", "default"].contains(&key.as_str()))
            .map(|(key, value)| {
                let names = key == "properties";
                let inner = if names {
                    bare_properties(value)
                } else {
                    bare(value)
                };
                (key.clone(), inner)
            })
            .collect(),
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// The same for schemas by name: a name may be any of those words.
fn bare_properties(named: &Value) -> Value {
    let named = named.as_object().expect("schemas by name");
    named
        .iter()
        .map(|(name, schema)| (name.clone(), bare(schema)))
        .collect()
}

fn is_within(wanted: &Value, labels: &Value) -> bool {
    let wanted = wanted.as_object().expect("labels to match");
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn conforms(texts: &[(String, String)]) {
    let objects: Vec<Value> = texts.iter().flat_map(|(_, text)| documents(text)).collect();
    let schemas = schemas_of(&objects);
    for (name, text) in texts {
        let output = kubeconform(text, schemas.path());
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

fn schemas_of(objects: &[Value]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    schemas::write(&root().join("target/deploy/openapi"), dir.path(), objects);
    dir
}

fn kubeconform(text: &str, schemas: &Path) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("the objects are written");
    let location = format!(
        "{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
        schemas.display()
    );
    let mut command = tool("kubeconform");
    command.args(["-strict", "-schema-location", &location]);
    command.stdin(std::fs::File::open(file.path()).expect("the objects are read"));
    command.output().expect("kubeconform runs")
}

/// Runs the command without the variables of whoever runs the tests, and with those of a pod.
fn tracemap(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("TRACEMAP_")) {
        command.env_remove(name);
    }
    command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
    command.env("NODE_NAME", "node-1");
    command.envs(variables.iter().copied()).args(args);
    command.output().expect("tracemap runs")
}

/// A certificate, its key and its authority, under the names that Secrets have.
/// And tokens, one for each use.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=tracemap", "-keyout", "tls.key", "-out", "tls.crt"]);
    let output = openssl
        .current_dir(dir.path())
        .output()
        .expect("openssl runs: it is in the Debian package of that name");
    assert!(output.status.success(), "{}", said(&output));
    std::fs::copy(dir.path().join("tls.crt"), dir.path().join("ca.crt")).expect("its own authority");
    for name in ["senders", "readers", "writers", "authorization"] {
        let token = format!("token-of-{name}-0123456789");
        std::fs::write(dir.path().join(name), token).expect("a token");
    }
    dir
}

fn file_of(config: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("tracemap.yaml");
    std::fs::write(&file, config).expect("the configuration is written");
    let name = file.display().to_string();
    (dir, name)
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}
