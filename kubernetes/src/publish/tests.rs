//! The publisher before a server that answers as a test says; `tests/deploy/cluster.rs` has it before a real one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::*;
use crate::{Server, parse_address};

type Answers = dyn Fn(&str, &str) -> (u16, Value) + Send + Sync;

/// A server, and what it was asked: `METHOD path?query`, and the body.
struct Fake {
    answers: Box<Answers>,
    asked: Mutex<Vec<(String, String)>>,
}

async fn answer(State(fake): State<Arc<Fake>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let target = head.uri.to_string();
    let asked = format!("{} {target}", head.method);
    let body = String::from_utf8(body.to_vec()).unwrap();
    fake.asked.lock().unwrap().push((asked, body));
    let (status, said) = (fake.answers)(head.method.as_str(), &target);
    let status = StatusCode::from_u16(status).unwrap();
    let headers = [("retry-after", "7"), ("content-type", "application/json")];
    (status, headers, said.to_string()).into_response()
}

/// A publisher of such a server.
async fn publisher(
    kinds: &[Kind],
    answers: impl Fn(&str, &str) -> (u16, Value) + Send + Sync + 'static,
) -> (Publisher, Arc<Fake>) {
    let fake = Arc::new(Fake {
        answers: Box::new(answers),
        asked: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(fake.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (scheme, authority) = parse_address(&format!("http://{address}")).unwrap();
    let server = Server {
        scheme,
        authority,
        token_file: "/nothing".into(),
        ca_file: "/nothing".into(),
        user_agent: "test",
    };
    let target = Target {
        namespace: "shop".to_owned(),
        instance: "one".to_owned(),
        kinds: kinds.iter().copied().collect(),
        force: false,
    };
    (Publisher::new(Client::new(server, Arc::new(())), target), fake)
}

impl Fake {
    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked
            .into_iter()
            .map(|(asked, _)| asked.split('?').next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn config_map(name: &str) -> Object {
    let json =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}});
    Object::new(json).unwrap()
}

fn there(name: &str, version: &str, instance: &str, manager: &str, operation: &str) -> Value {
    json!({"metadata": {
        "name": name, "uid": format!("uid-{name}"), "resourceVersion": version,
        "labels": {MANAGED_BY: US, INSTANCE: instance},
        "managedFields": [{"manager": manager, "operation": operation}],
    }})
}

async fn round(publisher: &mut Publisher, wanted: &[Object]) -> Result<Vec<String>, Failure> {
    let there = publisher.look().await?;
    let report = publisher.publish(&there, wanted, false).await?;
    Ok(report.steps.iter().map(ToString::to_string).collect())
}

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

#[tokio::test]
async fn while_nothing_differs_there_is_one_list_and_nothing_else() {
    let version = Arc::new(Mutex::new(Vec::<Value>::new()));
    let items = version.clone();
    let (mut publisher, fake) = publisher(&[Kind::ConfigMap], move |method, target| match method {
        "PATCH" => (201, there("a", "5", "one", US, "Apply")),
        _ if target.starts_with(&format!("{MAPS}?")) => (200, json!({"items": *items.lock().unwrap()})),
        _ => (404, json!({})),
    })
    .await;
    let wanted = [config_map("a")];
    assert_eq!(
        round(&mut publisher, &wanted).await.unwrap(),
        ["ConfigMap a: applied"]
    );
    let list = format!("GET {MAPS}");
    let patch = format!("PATCH {MAPS}/a");
    assert_eq!(
        fake.asked(),
        [list.clone(), format!("GET {MAPS}/a"), patch.clone()]
    );
    *version.lock().unwrap() = vec![there("a", "5", "one", US, "Apply")];
    assert_eq!(
        round(&mut publisher, &wanted).await.unwrap(),
        ["ConfigMap a: unchanged"]
    );
    assert_eq!(fake.asked(), std::slice::from_ref(&list));
    // Somebody wrote to it.
    *version.lock().unwrap() = vec![there("a", "6", "one", US, "Apply")];
    assert_eq!(
        round(&mut publisher, &wanted).await.unwrap(),
        ["ConfigMap a: applied"]
    );
    assert_eq!(fake.asked(), [list.clone(), patch.clone()]);
    // It is generated otherwise.
    *version.lock().unwrap() = vec![there("a", "5", "one", US, "Apply")];
    let mut other = config_map("a");
    other.json["data"]["a"] = json!("2");
    round(&mut publisher, &[other]).await.unwrap();
    assert_eq!(fake.asked(), [list, patch]);
}

#[tokio::test]
async fn only_what_has_both_labels_and_our_fields_is_removed_and_only_as_it_was_seen() {
    let (mut publisher, fake) = publisher(&[Kind::ConfigMap], |method, _| {
        let mut unlabelled = there("unlabelled", "1", "one", US, "Apply");
        unlabelled["metadata"]["labels"] = json!({MANAGED_BY: US});
        let mut leaving = there("leaving", "1", "one", US, "Apply");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let items = [
            there("gone", "9", "one", US, "Apply"),
            there("of-another", "1", "two", US, "Apply"),
            there("a-copy", "1", "one", "kubectl", "Apply"),
            there("updated", "1", "one", US, "Update"),
            unlabelled,
            leaving,
        ];
        match method {
            "DELETE" => (200, json!({})),
            _ => (200, json!({"items": items})),
        }
    })
    .await;
    assert_eq!(
        round(&mut publisher, &[]).await.unwrap(),
        ["ConfigMap gone: removed"]
    );
    let asked = fake.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].0, format!("DELETE {MAPS}/gone"));
    let options: Value = serde_json::from_str(&asked[1].1).unwrap();
    assert_eq!(
        options["preconditions"],
        json!({"uid": "uid-gone", "resourceVersion": "9"})
    );
}

#[tokio::test]
async fn an_object_of_another_or_of_nobody_we_know_is_never_written() {
    let (mut publisher, fake) = publisher(&[Kind::ConfigMap], |_, target| {
        let list = json!({"items": [there("theirs", "1", "two", US, "Apply")]});
        let is_list = target.starts_with(&format!("{MAPS}?"));
        (
            200,
            if is_list {
                list
            } else {
                json!({"metadata": {"name": "somebodys"}})
            },
        )
    })
    .await;
    let told = round(&mut publisher, &[config_map("somebodys"), config_map("theirs")])
        .await
        .unwrap();
    assert!(told[0].starts_with("ConfigMap somebodys: left alone"), "{told:?}");
    assert!(told[1].contains("app.kubernetes.io/instance: two"), "{told:?}");
    assert!(fake.asked().iter().all(|asked| asked.starts_with("GET ")));
    // Nor one that is generated for elsewhere.
    let mut elsewhere = config_map("elsewhere");
    elsewhere.json["metadata"]["namespace"] = json!("other");
    let told = round(&mut publisher, &[elsewhere]).await.unwrap();
    assert!(
        told[0].contains("`other`") && told[0].contains("`shop`"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_one_object_or_kind_does_not_hold_up_the_others() {
    let kinds = [Kind::ConfigMap, Kind::PrometheusRule, Kind::AlertmanagerConfig];
    let (mut publisher, _) = publisher(&kinds, |method, target| match method {
        "PATCH" if target.contains("/b?") => (500, json!({"message": "failed calling webhook"})),
        "PATCH" => (201, there("a", "5", "one", US, "Apply")),
        _ if target.contains("prometheusrules?") => (404, json!({})),
        _ if target.contains("alertmanagerconfigs?") => (403, json!({"message": "must not"})),
        _ if target.starts_with(&format!("{MAPS}?")) => (200, json!({"items": null})),
        _ => (404, json!({})),
    })
    .await;
    let of = |kind: Kind| {
        let json =
            json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": {"name": "r"}});
        Object::new(json).unwrap()
    };
    let wanted = [
        of(Kind::PrometheusRule),
        of(Kind::AlertmanagerConfig),
        config_map("b"),
        config_map("a"),
    ];
    let told = round(&mut publisher, &wanted).await.unwrap();
    assert_eq!(
        told,
        [
            "PrometheusRule r: refused: the cluster has no `PrometheusRule` of `monitoring.coreos.com/v1`: install \
             its definition",
            "AlertmanagerConfig r: refused: must not",
            "ConfigMap b: refused: failed calling webhook",
            "ConfigMap a: applied",
        ]
    );
}

#[tokio::test]
async fn a_server_without_time_ends_the_round_and_its_hint_is_handed_on() {
    for (status, reason) in [
        (429, Reason::Busy),
        (503, Reason::Busy),
        (401, Reason::Unauthorized),
    ] {
        let (mut publisher, fake) = publisher(&[Kind::ConfigMap], move |method, target| match method {
            "PATCH" => (status, json!({"message": "later"})),
            _ if target.starts_with(&format!("{MAPS}?")) => (200, json!({"items": []})),
            _ => (404, json!({})),
        })
        .await;
        let wanted = [config_map("a"), config_map("b")];
        let failure = round(&mut publisher, &wanted).await.unwrap_err();
        assert_eq!(failure.reason, reason);
        assert_eq!(failure.retry_after, Duration::from_secs(7));
        assert!(failure.cause.contains("later"), "{failure}");
        assert_eq!(fake.asked().len(), 3, "`b` was not tried");
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let (mut publisher, fake) = publisher(&[Kind::ConfigMap], |method, target| match method {
        "DELETE" => (200, json!({})),
        _ if target.contains("continue=to%2Fb") => (
            200,
            json!({"metadata": {"continue": ""}, "items": [there("b", "1", "one", US, "Apply")]}),
        ),
        _ => (
            200,
            json!({"metadata": {"continue": "to/b"}, "items": [there("a", "1", "one", US, "Apply")]}),
        ),
    })
    .await;
    let told = round(&mut publisher, &[]).await.unwrap();
    assert_eq!(told, ["ConfigMap a: removed", "ConfigMap b: removed"]);
    assert_eq!(fake.asked().len(), 4);
}
