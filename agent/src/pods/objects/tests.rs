//! Objects as the API server writes them.

use super::*;

fn said(json: &str) -> Option<String> {
    let object: Object = serde_json::from_str(json).expect("an object");
    Some(match object.said("app.kubernetes.io/name")? {
        Said::Nothing(uid) => format!("{uid} has no address"),
        Said::Pod(pod) => {
            let attributes = pod.attributes.iter();
            attributes.fold(
                format!("{} at {:?}", pod.service, pod.addresses),
                |text, (key, value)| format!("{text} {}={value}", key.trim_start_matches("k8s.")),
            )
        }
    })
}

const CART: &str = r#"{
  "metadata": { "name": "cart-7d9f8b6c5-x2z4w", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
    "labels": { "pod-template-hash": "7d9f8b6c5" }, "annotations": null, "managedFields": [{ "a": {} }],
    "ownerReferences": [{ "kind": "Other", "name": "x" }, { "kind": "ReplicaSet", "name": "cart-7d9f8b6c5", "controller": true }] },
  "spec": { "nodeName": "n7", "containers": [{ "name": "app", "image": "cart" }], "initContainers": [{ "name": "once" }] },
  "status": { "phase": "Running", "podIP": "10.244.1.7", "podIPs": [{ "ip": "10.244.1.7" }, { "ip": "fd00::7" }] } }"#;

#[test]
fn a_pod_says_its_names_its_addresses_and_its_only_container() {
    let attributes = "pod.uid=u1 pod.name=cart-7d9f8b6c5-x2z4w pod.ip=10.244.1.7 namespace.name=shop node.name=n7 \
                      container.name=app replicaset.name=cart-7d9f8b6c5 deployment.name=cart";
    let expected = format!("cart at [10.244.1.7, fd00::7] {attributes}");
    assert_eq!(said(CART), Some(expected));
}

#[test]
fn a_container_beside_another_is_not_named_as_the_sender() {
    for more in [
        (
            "\"image\": \"cart\" }]",
            "\"image\": \"cart\" }, { \"name\": \"mesh\" }]",
        ),
        (
            "\"name\": \"once\"",
            "\"name\": \"mesh\", \"restartPolicy\": \"Always\"",
        ),
    ] {
        let text = said(&CART.replace(more.0, more.1)).expect("a pod");
        assert!(!text.contains("container.name"), "{text}");
    }
}

#[test]
fn a_stated_name_goes_before_the_label_and_the_label_before_the_owner() {
    let labelled = CART.replace(
        "\"labels\": {",
        "\"labels\": { \"app.kubernetes.io/name\": \"basket\",",
    );
    let stated = labelled.replace(
        "\"annotations\": null",
        "\"annotations\": { \"resource.opentelemetry.io/service.name\": \"stated\" }",
    );
    for (json, service) in [(CART, "cart"), (&labelled, "basket"), (&stated, "stated")] {
        let text = said(json).expect("a pod");
        assert!(text.starts_with(&format!("{service} at ")), "{text}");
        assert!(text.ends_with("deployment.name=cart"), "{text}");
    }
}

#[test]
fn pods_without_an_address_of_their_own_are_no_workload_by_address() {
    for (from, to) in [
        (
            "\"nodeName\": \"n7\",",
            "\"nodeName\": \"n7\", \"hostNetwork\": true,",
        ),
        ("Running", "Succeeded"),
        ("Running", "Failed"),
        ("\"status\":", "\"other\":"),
        ("\"spec\":", "\"other\":"),
        ("\"name\": \"cart-7d9f8b6c5-x2z4w\",", ""),
    ] {
        let text = said(&CART.replace(from, to));
        assert_eq!(text.as_deref(), Some("u1 has no address"), "{to}");
    }
    assert_eq!(said("{}"), None);
    assert_eq!(said(r#"{ "metadata": { "uid": "" }, "spec": null }"#), None);
    let odd = CART
        .replace("10.244.1.7", "ten")
        .replace("fd00::7", "::ffff:10.0.0.9");
    let text = said(&odd).expect("a pod");
    assert!(text.starts_with("cart at [10.0.0.9]"), "{text}");
}

#[test]
fn events_are_told_apart_and_what_is_none_is_an_error() {
    let read = |line: &str| match Event::read(line.as_bytes()) {
        Ok(Event::Is(object)) => format!("is {:?}", object.uid()),
        Ok(Event::Gone(object)) => format!("gone {:?}", object.uid()),
        Ok(Event::Bookmark(object)) => format!("bookmark {:?}", object.version()),
        Ok(Event::Error(code)) => format!("error {code}"),
        Ok(Event::Other) => "other".to_owned(),
        Err(_) => "no event".to_owned(),
    };
    for (line, expected) in [
        (
            r#"{"type":"ADDED","object":{"metadata":{"uid":"u1"}}}"#,
            r#"is Some("u1")"#,
        ),
        (
            r#"{"object":{"metadata":{"uid":"u1"}},"type":"MODIFIED"}"#,
            r#"is Some("u1")"#,
        ),
        (
            r#"{"type":"DELETED","object":{"metadata":{"uid":"u1"}}}"#,
            r#"gone Some("u1")"#,
        ),
        (
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#,
            r#"bookmark Some("9")"#,
        ),
        (
            r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410}}"#,
            "error 410",
        ),
        (r#"{"type":"ERROR","object":{}}"#, "error 500"),
        (r#"{"type":"NEW","object":7}"#, "other"),
        (r#"{"type":"ADDED","object":7}"#, "no event"),
        (r#"{"object":{}}"#, "no event"),
        ("", "no event"),
        ("{", "no event"),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
}
