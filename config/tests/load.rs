//! What an operator sees of a configuration: the value, or one line for each problem.
//!
//! In: YAML texts and variables. Out: assertions on values and on the displayed problems, word for word.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use config::{ByteSize, Finding, HumanDuration, Loader};
use expect_test::{Expect, expect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    agent: Agent,
    collector: Collector,
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Agent {
    service: Option<String>,
    inbound: Vec<Inbound>,
    outbound: Option<Outbound>,
    queues: Vec<Queue>,
    protocol: Option<Protocol>,
    sampler: Sampler,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Inbound {
    listen: SocketAddr,
    upstream: String,
    #[serde(default)]
    timeout: HumanDuration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Outbound {
    listen: SocketAddr,
}

/// Internally tagged: serde buffers it, so only the schema can name the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Queue {
    Kafka { broker: String, partitions: u16 },
    Amqp { vhost: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    /// Adds context.
    Inject,
    Join,
    Off,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sampler {
    #[default]
    All,
    Ratio {
        of: f64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Collector {
    web: Web,
    data_dir: String,
    max_memory: ByteSize,
    fsync: bool,
    #[serde(flatten)]
    limits: Limits,
    labels: Labels,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            web: Web::default(),
            data_dir: "./tracemap-data".to_owned(),
            max_memory: ByteSize::mib(512),
            fsync: true,
            limits: Limits::default(),
            labels: Labels::Few(Vec::new()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Web {
    listen: SocketAddr,
    idle_timeout: HumanDuration,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            idle_timeout: HumanDuration::from_secs(60),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Limits {
    max_series: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Labels {
    Few(Vec<String>),
    Named(BTreeMap<String, String>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Service {
    team: Option<String>,
    tier: Option<u8>,
    version: Option<String>,
    objectives: Vec<Objective>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawObjective")]
#[schemars(with = "RawObjective")]
struct Objective {
    target: f64,
    window: HumanDuration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawObjective {
    target: f64,
    #[serde(default)]
    window: HumanDuration,
}

impl TryFrom<RawObjective> for Objective {
    type Error = String;

    fn try_from(raw: RawObjective) -> Result<Self, String> {
        if raw.target > 1.0 {
            return Err(format!(
                "`{}` is no ratio between 0 and 1: write 0.999 for 99.9 %",
                raw.target
            ));
        }
        Ok(Self {
            target: raw.target,
            window: raw.window,
        })
    }
}

fn no_env() -> Vec<(String, String)> {
    Vec::new()
}

fn vars(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(text: &str, env: &[(&str, &str)]) -> Config {
    config::load("tracemap.yaml", text, vars(env)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn problems(text: &str, env: &[(&str, &str)], expected: &Expect) {
    let errors = match config::load::<Config>("tracemap.yaml", text, vars(env)) {
        Ok(value) => panic!("read without a problem: {value:?}"),
        Err(errors) => errors,
    };
    expected.assert_eq(&errors.to_string());
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in [
        "",
        "\n",
        "# nothing yet\n",
        "---\n",
        "{}",
        "agent:\ncollector:\nservices:\n",
    ] {
        assert_eq!(read(text, &[]), Config::default(), "{text:?}");
    }
}

#[test]
fn a_file_sets_what_it_names_and_leaves_the_rest() {
    let text = "
agent:
  service: cart
  inbound: [{ listen: 127.0.0.1:15006, upstream: http://127.0.0.1:8080, timeout: 5m }]
  queues: [{ kind: kafka, broker: b, partitions: 3 }]
  protocol: off
  sampler: { ratio: { of: 0.5 } }
collector: { max_memory: 64MiB, max_series: 10, labels: [a, b] }
services:
  cart: &cart { team: no, tier: 1, version: 1.20, objectives: [{ target: 0.99, window: 30d }] }
  basket: { <<: *cart, tier: 2 }
";
    let config = read(text, &[]);
    assert_eq!(config.agent.inbound[0].timeout, HumanDuration::from_secs(300));
    assert_eq!(config.agent.protocol, Some(Protocol::Off));
    assert_eq!(config.agent.sampler, Sampler::Ratio { of: 0.5 });
    assert_eq!(
        config.agent.queues,
        [Queue::Kafka {
            broker: "b".to_owned(),
            partitions: 3
        }]
    );
    assert_eq!(config.collector.max_memory, ByteSize::mib(64));
    assert_eq!(config.collector.limits.max_series, 10);
    assert_eq!(
        config.collector.labels,
        Labels::Few(vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(config.collector.web, Web::default());
    assert_eq!(config.services["cart"].team.as_deref(), Some("no"));
    assert_eq!(config.services["cart"].version.as_deref(), Some("1.20"));
    assert_eq!(config.services["basket"].tier, Some(2));
    assert_eq!(
        config.services["basket"].objectives,
        config.services["cart"].objectives
    );
}

#[test]
fn a_written_configuration_reads_back_as_itself() {
    let text = serde_json::to_string(&Config::default()).expect("the default configuration is plain data");
    assert_eq!(read(&text, &[]), Config::default());
}

#[test]
fn unknown_keys_are_found_at_every_depth_at_once_with_the_nearest_known_one() {
    let text = "
agnet: {}
agent:
  inbound:
    - lisen: 127.0.0.1:15006
      upstream: http://127.0.0.1:8080
  queues:
    - { kind: amqp, vhost: v, vhots: w }
    - { kind: kafka, broker: b, partitions: 3, vhost: v }
  sampler: { ratio: { of: 0.5, off: 1 } }
collector:
  web: { colour: red }
  max_serie: 3
services:
  anything.goes: { taem: shop }
";
    problems(
        text,
        &[],
        &expect![[r#"
            tracemap.yaml:2: unknown key `agnet`: did you mean `agent`?
            tracemap.yaml:5: unknown key `lisen` in `agent.inbound[0]`: did you mean `listen`?
            tracemap.yaml:8: unknown key `vhots` in `agent.queues[0]`: did you mean `vhost`?
            tracemap.yaml:9: unknown key `vhost` in `agent.queues[1]`: known here: `broker`, `kind`, `partitions`
            tracemap.yaml:10: unknown key `off` in `agent.sampler.ratio`: did you mean `of`?
            tracemap.yaml:12: unknown key `colour` in `collector.web`: known here: `idle_timeout`, `listen`
            tracemap.yaml:13: unknown key `max_serie` in `collector`: did you mean `max_series`?
            tracemap.yaml:15: unknown key `taem` in `services["anything.goes"]`: did you mean `team`?"#]],
    );
}

#[test]
fn every_wrong_value_is_reported_with_its_line() {
    let text = "
agent:
  inbound:
    - { listen: nowhere, upstream: [a], timeout: 5 }
    - { upstream: x, timeout: 5x }
  outbound: off
  queues: [{ kind: kafka, broker: b, partitions: many }, { kind: nats }, { kind: kafka, broker: b, partitions: 70000 }]
  protocol: injct
  sampler: { ratio: { of: half } }
collector:
  fsync: no
  max_memory: 64 megs
  max_series: -1
  labels: 5
  data_dir:
  web: { listen: \"127.0.0.1\", idle_timeout: {} }
services:
  cart: { tier: 256, objectives: [{ target: 99.9 }, { target: \"0.9\" }, { target: 0.5, window: 1M }] }
  pay: shop
";
    problems(
        text,
        &[],
        &expect![[r"
            tracemap.yaml:4: `agent.inbound[0].listen` is `nowhere`: invalid socket address syntax: write address and port such as `127.0.0.1:4317`
            tracemap.yaml:4: `agent.inbound[0].upstream` is a list, but must be text
            tracemap.yaml:4: `agent.inbound[0].timeout`: `5` has no unit: write a duration such as `500ms`, `5m` or `1h`
            tracemap.yaml:5: key `listen` is missing in `agent.inbound[1]`: it must be text
            tracemap.yaml:5: `agent.inbound[1].timeout`: `5x` is no duration: write such as `500ms`, `5m` or `1h`
            tracemap.yaml:6: `agent.outbound` is `off`, but must be a mapping
            tracemap.yaml:7: `agent.queues[0].partitions` is `many`, but must be a whole number from 0 to 65535
            tracemap.yaml:7: `agent.queues[1].kind` is `nats`, but must be one of `kafka`, `amqp`
            tracemap.yaml:7: `agent.queues[2].partitions` is `70000`, but must be a whole number from 0 to 65535
            tracemap.yaml:8: `agent.protocol` is `injct`, but must be one of `inject`, `join`, `off`: did you mean `inject`?
            tracemap.yaml:9: `agent.sampler.ratio.of` is `half`, but must be a number
            tracemap.yaml:11: `collector.fsync` is `no`, but must be `true` or `false`: write `false`
            tracemap.yaml:12: `collector.max_memory`: `64 megs` is no size: write whole units such as `64MiB`, `512KiB`, `1GiB` or plain bytes
            tracemap.yaml:13: `collector.max_series` is `-1`, but must be a whole number from 0 up
            tracemap.yaml:14: `collector.labels` is `5`, but must be a list or a mapping
            tracemap.yaml:15: `collector.data_dir` is empty, but must be text: give it a value, or leave the key out for its default
            tracemap.yaml:16: `collector.web.listen` is `127.0.0.1`: invalid socket address syntax: write address and port such as `127.0.0.1:4317`
            tracemap.yaml:16: `collector.web.idle_timeout` is a mapping, but must be text such as `500ms`
            tracemap.yaml:18: `services.cart.tier` is `256`, but must be a whole number from 0 to 255
            tracemap.yaml:18: `services.cart.objectives[0]`: `99.9` is no ratio between 0 and 1: write 0.999 for 99.9 %
            tracemap.yaml:18: `services.cart.objectives[1].target` is `0.9`, but must be a number: remove the quotes
            tracemap.yaml:18: `services.cart.objectives[2].window`: `1M` counts in months or years, which have no fixed length: write days such as `30d`
            tracemap.yaml:19: `services.pay` is `shop`, but must be a mapping"]],
    );
}

#[test]
fn a_key_that_stands_twice_is_an_error_with_both_lines() {
    problems(
        "agent: {}\ncollector:\n  fsync: true\n  fsync: false\nagent: {}\n",
        &[],
        &expect![[r"
            tracemap.yaml:4: key `fsync` stands twice in `collector`: it stands in line 3 already
            tracemap.yaml:5: key `agent` stands twice: it stands in line 1 already"]],
    );
}

#[test]
fn variables_override_the_file_and_underscores_in_keys_are_understood() {
    let config = read(
        "collector: { data_dir: /from/file, fsync: true }\nservices: { cart-api: { team: shop } }\n",
        &[
            ("TRACEMAP_COLLECTOR_DATA_DIR", "/from/env"),
            ("TRACEMAP_COLLECTOR_WEB_LISTEN", "127.0.0.1:7171"),
            ("TRACEMAP_COLLECTOR_WEB_IDLE_TIMEOUT", "90s"),
            ("TRACEMAP_COLLECTOR_MAX_SERIES", "7"),
            ("TRACEMAP_COLLECTOR_FSYNC", "false"),
            ("TRACEMAP_AGENT_SERVICE", "1.20"),
            ("TRACEMAP_AGENT_OUTBOUND_LISTEN", "127.0.0.1:15001"),
            ("TRACEMAP_AGENT_INBOUND", "[{ listen: 127.0.0.1:1, upstream: u }]"),
            ("TRACEMAP_SERVICES_CART_API_TIER", "2"),
            ("TRACEMAP_AGENT", "{ service: overridden, protocol: join }"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(config.collector.data_dir, "/from/env");
    assert_eq!(config.collector.web.listen.port(), 7171);
    assert_eq!(config.collector.web.idle_timeout, HumanDuration::from_secs(90));
    assert_eq!(config.collector.limits.max_series, 7);
    assert!(!config.collector.fsync);
    assert_eq!(config.agent.service.as_deref(), Some("1.20"));
    assert_eq!(config.agent.protocol, Some(Protocol::Join));
    assert_eq!(
        config.agent.outbound.expect("set by a variable").listen.port(),
        15001
    );
    assert_eq!(config.agent.inbound.len(), 1);
    assert_eq!(config.services["cart-api"].tier, Some(2));
    assert_eq!(config.services["cart-api"].team.as_deref(), Some("shop"));
}

#[test]
fn a_wrong_variable_is_named_instead_of_a_line() {
    problems(
        "agent: { outbound: nowhere }\n",
        &[
            ("TRACEMAP_COLLECTOR_DATADIR", "x"),
            ("TRACEMAP_COLLECTOR_WEB_IDLE_TIMEOUT", "soon"),
            ("TRACEMAP_COLLECTOR_MAX_SERIES", "many"),
            ("TRACEMAP_AGENT_INBOUND", "[{ lisen: 127.0.0.1:1, upstream: u }]"),
            ("TRACEMAP_AGENT_QUEUES", "[{"),
            ("TRACEMAP_AGENT_OUTBOUND_LISTEN", "127.0.0.1:15001"),
            ("TRACEMAP_SERVICES_CART_TEAM", "shop"),
            ("TRACEMAP_", ""),
        ],
        &expect![[r"
            tracemap.yaml:1: `agent.outbound` is `nowhere`, but must be a mapping
            TRACEMAP_: unknown variable `TRACEMAP_`
            TRACEMAP_AGENT_INBOUND: unknown key `lisen` in `agent.inbound[0]`: did you mean `listen`?
            TRACEMAP_AGENT_OUTBOUND_LISTEN: cannot set `agent.outbound.listen`: `agent.outbound` is not a mapping
            TRACEMAP_AGENT_QUEUES: this is not YAML: unclosed bracket '{'
            TRACEMAP_COLLECTOR_DATADIR: unknown variable `TRACEMAP_COLLECTOR_DATADIR`: did you mean `TRACEMAP_COLLECTOR_DATA_DIR`?
            TRACEMAP_COLLECTOR_MAX_SERIES: `collector.max_series` is `many`, but must be a whole number from 0 up
            TRACEMAP_COLLECTOR_WEB_IDLE_TIMEOUT: `collector.web.idle_timeout`: `soon` is no duration: write such as `500ms`, `5m` or `1h`
            TRACEMAP_SERVICES_CART_TEAM: unknown variable `TRACEMAP_SERVICES_CART_TEAM`: a variable changes only those of `services` that the file names"]],
    );
}

#[test]
fn variables_that_are_not_ours_to_read_are_left_alone() {
    let env = [
        ("TRACEMAP_CONFIG", "x.yaml"),
        ("TRACEMAP_COLLECTOR_SERVICE_HOST", "10.0.0.1"),
        ("TRACEMAP_COLLECTOR_SERVICE_PORT_OTLP_GRPC", "4317"),
        ("TRACEMAP_COLLECTOR_PORT", "tcp://10.0.0.1:4317"),
        ("TRACEMAP_COLLECTOR_PORT_4317_TCP_ADDR", "10.0.0.1"),
    ];
    let loader = Loader::new("tracemap.yaml").not_config(["TRACEMAP_CONFIG"]);
    assert_eq!(loader.load::<Config>("", vars(&env)), Ok(Config::default()));
    for name in ["TRACEMAP_COLLECTOR_PORT_X", "TRACEMAP_COLLECTOR_PORT"] {
        let errors = loader
            .load::<Config>("", vars(&[(name, "8080")]))
            .expect_err("no such key");
        assert!(
            errors
                .to_string()
                .starts_with(&format!("{name}: unknown variable `{name}`")),
            "{errors}"
        );
    }
}

#[test]
fn what_is_not_yaml_is_one_error_with_its_line() {
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let bomb = format!(
        "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
        ('b'..='i')
            .zip('a'..)
            .map(|(n, p)| format!("{n}: &{n} [{}]\n", vec![format!("*{p}"); 9].join(",")))
            .collect::<Vec<_>>()
            .concat()
    );
    let first_line = |text: &str| match config::load::<Config>("tracemap.yaml", text, no_env()) {
        Ok(value) => panic!("read without a problem: {value:?}"),
        Err(errors) => {
            assert_eq!(errors.problems.len(), 1, "{errors}");
            errors.to_string()
        }
    };
    for (text, expected) in [
        (
            "agent:\n\tservice: cart\n",
            "2: this is not YAML: tabs disallowed within this context (block indentation)",
        ),
        ("agent: [1, 2\n", "1: this is not YAML: unclosed bracket '['"),
        (
            "a: 1\n---\nb: 2\n",
            "2: a second document begins here: keep one, without `---` between them",
        ),
        (
            "agent: *missing\n",
            "1: this is not YAML: while parsing node, found unknown anchor",
        ),
        (
            "agent: &a\n  service: *a\n",
            "2: this alias stands inside the value that it repeats",
        ),
        (
            "agent: !secret {}\n",
            "1: the tag `!secret` means nothing here: remove it",
        ),
        (
            "agent: \u{0}\n",
            "1: this is not YAML: unexpected character: `\\u{0}'",
        ),
        (
            "just text\n",
            "1: the configuration is `just text`, but must be a mapping",
        ),
        (
            "- a\n- b\n",
            "1: the configuration is a list, but must be a mapping",
        ),
        ("? [a, b]\n: c\n", "1: a key must be text, but here it is a list"),
        (
            "agent: { <<: 1 }\n",
            "1: `<<` repeats a mapping, but here it is `1`",
        ),
        (
            bomb.as_str(),
            "6: the configuration has more than 200000 values, those of aliases counted each time",
        ),
        (
            deep.as_str(),
            "1: lists and mappings stand more than 48 deep in each other",
        ),
    ] {
        assert_eq!(first_line(text), format!("tracemap.yaml:{expected}"), "{text:?}");
    }
}

#[test]
fn nothing_an_operator_can_write_makes_it_panic() {
    let deep_list = "[".repeat(5000);
    let deep_map = "{a: ".repeat(5000);
    let deep_block = (0..2000)
        .map(|n| format!("{}a:\n", " ".repeat(n)))
        .collect::<Vec<_>>()
        .concat();
    let long_key = format!("{}: 1\n", "k".repeat(100_000));
    let many_unknown = (0..3000)
        .map(|n| format!("key{n}: 1\n"))
        .collect::<Vec<_>>()
        .concat();
    let deep_aliases = (1..2000)
        .map(|n| format!("k{n}: &k{n} [*k{}]\n", n - 1))
        .collect::<Vec<_>>()
        .concat();
    let deep_aliases = format!("k0: &k0 x\n{deep_aliases}");
    let nasty = [
        deep_aliases.as_str(),
        deep_list.as_str(),
        deep_map.as_str(),
        deep_block.as_str(),
        long_key.as_str(),
        many_unknown.as_str(),
        "\u{feff}agent: {}",
        "%YAML 1.1\n---\nagent: {}",
        "...",
        "---\n...\n---\n",
        ":",
        "-",
        "?",
        "!",
        "&",
        "*",
        "|",
        ">",
        "'",
        "\"",
        "\"\\uD800\"",
        "{",
        "}",
        "[",
        "]",
        "a: b: c",
        "<<: 1",
        "<<: [1]",
        "<<: *x",
        "{<<: {agent: {}}}",
        "~: ~",
        "null: 1",
        "1: 2",
        "agent: {inbound: {0: a}}",
        "agent: {sampler: {}}",
        "agent: {sampler: {ratio: {of: 1}, all: 1}}",
        "agent: {sampler: [ratio]}",
        "agent: {sampler: {all: 1}}",
        "agent: {sampler: ratio}",
        "agent: {sampler: ~}",
        "agent: {queues: [kafka]}",
        "agent: {queues: [{}]}",
        "agent: {queues: [{kind: [kafka]}]}",
        "agent: {queues: [~]}",
        "collector: {max_series: 1e999}",
        "collector: {max_series: .inf}",
        "collector: {max_series: .nan}",
        "collector: {max_series: 99999999999999999999999}",
        "collector: {max_series: 0x1F}",
        "collector: {max_memory: -5}",
        "collector: {max_memory: 1.5}",
        "collector: {labels: {a: [b]}}",
        "services: {? {a: b} : c}",
        "services: {'': {}}",
        "services: {\"a\\nb\": {x: 1}}",
        "services: [a]",
        "agent: !!str x",
        "agent: !!int {}",
        "collector: {fsync: !!bool maybe}",
        "collector: {data_dir: !!binary gIGC}",
        "\u{85}\u{2028}",
        "\r\r\r",
        "agent: |\n text",
        "a\u{7f}: 1",
        "agent: {service: \u{1F980}}",
    ];
    for text in nasty {
        check_every_cut(text);
        let _ = config::load::<Config>(
            "tracemap.yaml",
            "",
            vars(&[("TRACEMAP_AGENT", text), ("TRACEMAP_COLLECTOR_DATA_DIR", text)]),
        );
    }
}

/// Reads the text and its beginnings; what fails must say so in lines that hold something.
fn check_every_cut(text: &str) {
    let cuts = text.char_indices().map(|(at, _)| at).take(64).chain([text.len()]);
    for cut in cuts {
        let Some(part) = text.get(..cut) else { continue };
        if let Err(errors) = config::load::<Config>("tracemap.yaml", part, no_env()) {
            assert!(!errors.problems.is_empty(), "{part:?} failed without a problem");
            assert!(
                !errors.to_string().chars().any(|c| c.is_control() && c != '\n'),
                "{part:?} reached the terminal raw"
            );
            assert_eq!(
                errors.to_string().lines().count(),
                errors.problems.len(),
                "{part:?}"
            );
        }
    }
}

#[test]
fn a_callers_own_finding_gets_the_line_of_its_key() {
    let check = |config: &Config| {
        let clash = config
            .agent
            .outbound
            .as_ref()
            .is_some_and(|o| o.listen == config.agent.inbound[0].listen);
        let finding = |path: &str| Finding {
            path: path.to_owned(),
            message: format!("`{path}` is taken"),
            hint: None,
        };
        if clash {
            vec![
                finding("agent.inbound[0].listen"),
                finding("agent.outbound.absent"),
            ]
        } else {
            Vec::new()
        }
    };
    let text = "agent:\n  outbound:\n    listen: 127.0.0.1:1\n  inbound:\n    - upstream: u\n      listen: 127.0.0.1:1\n";
    let errors = Loader::new("t.yaml")
        .load_checked(text, no_env(), check)
        .expect_err("both listen on one address");
    expect![[r"
        t.yaml:3: `agent.outbound.absent` is taken
        t.yaml:6: `agent.inbound[0].listen` is taken"]]
    .assert_eq(&errors.to_string());
}

#[test]
fn a_file_that_cannot_be_read_is_the_same_kind_of_error() {
    let directory = std::env::temp_dir().join(format!("tracemap-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for this test");
    let garbage = directory.join("garbage.yaml");
    std::fs::write(&garbage, b"agent:\n  service: \xff\xfe\x00\n").expect("a file for this test");
    let good = directory.join("good.yaml");
    std::fs::write(&good, "agent: { service: cart }\n").expect("a file for this test");

    let show = |name: &str| match config::read_file::<Config>(&directory.join(name), no_env()) {
        Ok(config) => format!("{:?}", config.agent.service),
        Err(errors) => errors
            .to_string()
            .replace(&directory.display().to_string(), "DIR"),
    };
    expect!["DIR/absent.yaml: cannot read the configuration: No such file or directory (os error 2)"]
        .assert_eq(&show("absent.yaml"));
    expect!["DIR/garbage.yaml:2: the file is not UTF-8 text: save it as UTF-8"]
        .assert_eq(&show("garbage.yaml"));
    expect![[r#"Some("cart")"#]].assert_eq(&show("good.yaml"));
    std::fs::remove_dir_all(&directory).expect("the directory is this test's own");
}

#[test]
fn the_schema_is_the_same_text_each_time_and_knows_the_units() {
    let schema = config::schema::<Config>();
    assert_eq!(schema, config::schema::<Config>());
    let json: serde_json::Value = serde_json::from_str(&schema).expect("the schema is JSON");
    assert_eq!(json["$defs"]["HumanDuration"]["type"], "string");
    assert_eq!(json["$defs"]["Web"]["additionalProperties"], false);
    assert!(schema.ends_with("}\n"));
}
