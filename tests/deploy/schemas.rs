//! What Kubernetes, the Prometheus operator and meshes say of their own objects, as JSON Schemas that kubeconform reads.
//!
//! In: `swagger.json` of a release of Kubernetes and resource definitions of the others, which `tests/deploy/tools.sh`
//! fetches. Out: a directory with one file for each kind and version that is asked for; unknown fields are refused.
//! Left out on purpose: what only an API server checks, such as names, references between objects and CEL rules.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Writes the schemas of these objects. One that nobody knows has none, and kubeconform says so.
pub(crate) fn write(from: &Path, to: &Path, objects: &[Value]) {
    let wanted: BTreeSet<String> = objects.iter().map(of_object).collect();
    let swagger = read(&from.join("swagger.json"));
    let definitions = swagger["definitions"].as_object().expect("definitions");
    for (name, definition) in definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten() {
            if wanted.contains(&of(kind)) {
                save(to, &of(kind), &closed(name, definitions));
            }
        }
    }
    for entry in std::fs::read_dir(from.join("crds")).expect("resource definitions") {
        let crd = read(&entry.expect("an entry").path());
        let spec = &crd["spec"];
        for version in spec["versions"].as_array().expect("versions") {
            let kind = json!({
                "group": spec["group"], "kind": spec["names"]["kind"], "version": version["name"],
            });
            if wanted.contains(&of(&kind)) {
                save(
                    to,
                    &of(&kind),
                    &of_definition(&version["schema"]["openAPIV3Schema"]),
                );
            }
        }
    }
}

fn of_object(object: &Value) -> String {
    let api = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api.rsplit_once('/').unwrap_or(("", api));
    of(&json!({ "group": group, "version": version, "kind": object["kind"] }))
}

/// As kubeconform asks for it: the kind, the first part of the group and the version.
fn of(kind: &Value) -> String {
    let text = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
    let group = text("group");
    let group = group.split('.').next().unwrap_or_default();
    let parts = [text("kind"), group.to_owned(), text("version")];
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    format!("{}.json", parts.join("-"))
}

/// A definition with all that it refers to.
fn closed(name: &str, definitions: &Map<String, Value>) -> Value {
    let mut found = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(next) = open.pop() {
        if found.insert(next.clone()) {
            refers(&definitions[&next], &mut open);
        }
    }
    let needed: Map<String, Value> = found
        .into_iter()
        .map(|name| {
            let schema = scalar(&name).unwrap_or_else(|| strict(&definitions[&name]));
            (name, schema)
        })
        .collect();
    json!({ "$ref": format!("#/definitions/{name}"), "definitions": needed })
}

/// Types that are written in more than one way, which swagger has no word for.
fn scalar(name: &str) -> Option<Value> {
    let either = ["util.intstr.IntOrString", "api.resource.Quantity"];
    let is_either = either.iter().any(|end| name.ends_with(end));
    is_either.then(|| json!({ "type": ["string", "number"] }))
}

fn refers(schema: &Value, to: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                to.extend(name.strip_prefix("#/definitions/").map(str::to_owned));
            }
            fields.values().for_each(|value| refers(value, to));
        }
        Value::Array(items) => items.iter().for_each(|item| refers(item, to)),
        _ => {}
    }
}

/// The same, with every field refused that is not named.
fn strict(schema: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let mut out = fields.clone();
    for key in ["properties", "items", "additionalProperties"] {
        if let Some(inner) = fields.get(key) {
            out.insert(key.to_owned(), below(key, inner));
        }
    }
    if fields.contains_key("x-kubernetes-int-or-string") {
        return json!({ "type": ["string", "number"] });
    }
    let is_object = fields.contains_key("properties") && !fields.contains_key("additionalProperties");
    if is_object && !fields.contains_key("x-kubernetes-preserve-unknown-fields") {
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    Value::Object(out)
}

fn below(key: &str, inner: &Value) -> Value {
    match inner {
        Value::Object(named) if key == "properties" => named
            .iter()
            .map(|(name, schema)| (name.clone(), strict(schema)))
            .collect(),
        other => strict(other),
    }
}

/// The schema of a resource definition, with what every object has and not every definition names.
fn of_definition(schema: &Value) -> Value {
    let mut schema = strict(schema);
    for (key, kind) in [
        ("apiVersion", "string"),
        ("kind", "string"),
        ("metadata", "object"),
    ] {
        let field = &mut schema["properties"][key];
        if field.is_null() {
            *field = json!({ "type": kind });
        }
    }
    schema
}

fn save(to: &Path, file: &str, schema: &Value) {
    std::fs::write(to.join(file), schema.to_string()).expect("a schema is written");
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path)
        .unwrap_or_else(|error| panic!("cannot read `{}`: {error}; {}", path.display(), super::GET_TOOLS));
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn an_unknown_field_is_refused_however_deep_and_free_maps_stay_free() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"properties": {"port": {"type": "integer"}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "many": {"items": {"properties": {"x": {}}}},
    }});
    let told = strict(&schema);
    assert_eq!(told["additionalProperties"], json!(false));
    assert_eq!(told["properties"]["spec"]["additionalProperties"], json!(false));
    assert_eq!(
        told["properties"]["many"]["items"]["additionalProperties"],
        json!(false)
    );
    assert_eq!(
        told["properties"]["labels"], schema["properties"]["labels"],
        "what is free stays free"
    );
}
