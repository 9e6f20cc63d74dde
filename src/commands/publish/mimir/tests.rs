//! The command against a ruler that refuses what Mimir refuses.
//!
//! In: groups of rules, a fake that stores them and answers as Mimir's ruler does. Out: what is stored after, what is told.
//! Left out on purpose: what Mimir makes of an expression; `promtool` has looked at those before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use collector::generate::Artefacts;

use super::*;

/// What a ruler keeps of one tenant.
#[derive(Default)]
struct Store {
    namespaces: BTreeMap<String, Groups>,
    /// The limit of rules in a group; 0 is none.
    max_rules: usize,
    /// So many requests are answered with 503 first.
    away: usize,
    /// How often something was written.
    writes: usize,
}

type Shared = Arc<Mutex<Store>>;

/// A ruler on loopback.
struct Ruler {
    store: Shared,
    url: String,
}

impl Ruler {
    async fn start(store: Store) -> Self {
        let store = Arc::new(Mutex::new(store));
        let app = Router::new()
            .route(&format!("{RULES}/{{namespace}}"), get(list).post(set))
            .route(&format!("{RULES}/{{namespace}}/{{group}}"), delete(remove))
            .with_state(Arc::clone(&store));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { store, url }
    }

    fn server(&self, tenant: Option<&str>) -> Server {
        let header = tenant.map(|tenant| (HeaderName::from_static("x-scope-orgid"), tenant.to_owned()));
        Server::new(Address {
            url: self.url.clone(),
            header,
            patience: Duration::from_secs(30),
            ..Address::default()
        })
        .unwrap()
    }

    async fn publish(&self, wanted: &Groups, dry_run: bool) -> Report {
        publish(&self.server(Some("shop")), "tracemap", wanted, dry_run)
            .await
            .unwrap()
    }

    fn groups(&self, namespace: &str) -> Vec<String> {
        let store = self.store.lock().unwrap();
        store
            .namespaces
            .get(namespace)
            .map(|groups| groups.keys().cloned().collect())
            .unwrap_or_default()
    }
}

/// What stands before every answer: a fault that passes, and a request of no tenant.
fn refused(store: &mut Store, headers: &HeaderMap) -> Option<Response> {
    if store.away > 0 {
        store.away -= 1;
        return Some((StatusCode::SERVICE_UNAVAILABLE, "ring is empty").into_response());
    }
    let has_tenant = headers
        .get("x-scope-orgid")
        .is_some_and(|tenant| tenant == "shop");
    (!has_tenant).then(|| (StatusCode::UNAUTHORIZED, "no org id\n").into_response())
}

async fn list(State(store): State<Shared>, Path(namespace): Path<String>, headers: HeaderMap) -> Response {
    let mut store = store.lock().unwrap();
    if let Some(refusal) = refused(&mut store, &headers) {
        return refusal;
    }
    let groups = store.namespaces.get(&namespace).cloned().unwrap_or_default();
    let all = serde_json::json!({ &namespace: groups.values().map(as_stored).collect::<Vec<_>>() });
    let empty = if groups.is_empty() {
        serde_json::json!({})
    } else {
        all
    };
    serde_yaml::to_string(&empty).unwrap().into_response()
}

/// Mimir leaves out a hold of nothing and writes durations in its own way.
fn as_stored(group: &Value) -> Value {
    let mut group = group.clone();
    for rule in group["rules"].as_array_mut().unwrap() {
        let rule = rule.as_object_mut().unwrap();
        rule.retain(|key, value| key != "for" || value != "0s");
        if rule.get("keep_firing_for").is_some_and(|keep| keep == "90s") {
            rule.insert("keep_firing_for".to_owned(), "1m30s".into());
        }
    }
    group
}

async fn set(
    State(store): State<Shared>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut store = store.lock().unwrap();
    if let Some(refusal) = refused(&mut store, &headers) {
        return refusal;
    }
    let group: Option<Value> = std::str::from_utf8(&body)
        .ok()
        .and_then(|text| serde_yaml::from_str(text).ok());
    let Some((group, name)) = group.and_then(|g| Some((g.clone(), g.get("name")?.as_str()?.to_owned())))
    else {
        return (StatusCode::BAD_REQUEST, "unable to decode rule group\n").into_response();
    };
    let rules = group["rules"].as_array().map_or(0, Vec::len);
    if store.max_rules > 0 && rules > store.max_rules {
        let limit = store.max_rules;
        let said = format!("per-user rules per rule group limit (limit: {limit} actual: {rules}) exceeded\n");
        return (StatusCode::BAD_REQUEST, said).into_response();
    }
    store.writes += 1;
    store.namespaces.entry(namespace).or_default().insert(name, group);
    (StatusCode::ACCEPTED, r#"{"status":"success"}"#).into_response()
}

async fn remove(
    State(store): State<Shared>,
    Path((namespace, group)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut store = store.lock().unwrap();
    if let Some(refusal) = refused(&mut store, &headers) {
        return refusal;
    }
    store.writes += 1;
    match store.namespaces.entry(namespace).or_default().remove(&group) {
        Some(_) => (StatusCode::ACCEPTED, r#"{"status":"success"}"#).into_response(),
        None => (StatusCode::NOT_FOUND, "group does not exist\n").into_response(),
    }
}

/// The groups that are generated by default.
fn generated() -> Groups {
    let map = map::file::map_from_yaml("version: 1\nedges: [{client: user, server: web}]\n").unwrap();
    groups(&collector::generate::artefacts(
        &map,
        &collector::settings::GenerateSettings::default(),
    ))
    .unwrap()
}

fn group(name: &str, hold: &str) -> (String, Value) {
    let rule = serde_json::json!({"alert": "A", "expr": "up > 0", "for": hold, "keep_firing_for": "90s"});
    (
        name.to_owned(),
        serde_json::json!({"name": name, "interval": "30s", "rules": [rule]}),
    )
}

#[tokio::test]
async fn the_generated_rules_are_published_once_and_a_look_before_writes_nothing() {
    let ruler = Ruler::start(Store::default()).await;
    let wanted = generated();
    let look = ruler.publish(&wanted, true).await;
    assert_eq!(
        (look.changes, ruler.store.lock().unwrap().writes),
        (wanted.len(), 0),
        "{look:?}"
    );
    assert!(
        look.lines[0].starts_with("would create: group `tracemap-"),
        "{look:?}"
    );
    let first = ruler.publish(&wanted, false).await;
    assert!(!first.failed, "{first:?}");
    assert_eq!(
        ruler.groups("tracemap"),
        wanted.keys().cloned().collect::<Vec<_>>()
    );
    let again = ruler.publish(&wanted, false).await;
    assert_eq!(again.lines, [format!("0 done, {} unchanged", wanted.len())]);
}

#[tokio::test]
async fn what_differs_is_replaced_and_what_differs_in_its_spelling_only_is_not() {
    let ruler = Ruler::start(Store::default()).await;
    ruler
        .publish(
            &Groups::from([group("tracemap-a", "0s"), group("tracemap-b", "1m")]),
            false,
        )
        .await;
    let next = Groups::from([group("tracemap-a", "0s"), group("tracemap-b", "2m")]);
    let report = ruler.publish(&next, false).await;
    assert_eq!(
        report.lines,
        ["change: group `tracemap-b`", "1 done, 1 unchanged"]
    );
}

#[tokio::test]
async fn groups_of_ours_that_are_gone_are_removed_and_those_of_others_stay() {
    let others = Groups::from([group("tracemap-old", "1m"), group("nodes", "1m")]);
    let elsewhere = Groups::from([group("tracemap-old", "1m")]);
    let namespaces = BTreeMap::from([("tracemap".to_owned(), others), ("team".to_owned(), elsewhere)]);
    let store = Store {
        namespaces,
        ..Store::default()
    };
    let ruler = Ruler::start(store).await;
    let report = ruler
        .publish(&Groups::from([group("tracemap-new", "1m")]), false)
        .await;
    let told = [
        "create: group `tracemap-new`",
        "remove: group `tracemap-old`",
        "2 done, 0 unchanged",
    ];
    assert_eq!(report.lines, told);
    assert_eq!(ruler.groups("tracemap"), ["nodes", "tracemap-new"]);
    assert_eq!(ruler.groups("team"), ["tracemap-old"]);
}

#[tokio::test]
async fn a_ruler_with_the_default_limit_takes_all_rules_in_their_order() {
    let ruler = Ruler::start(Store {
        max_rules: 20,
        ..Store::default()
    })
    .await;
    let wanted = generated();
    let report = ruler.publish(&wanted, false).await;
    assert!(!report.failed, "{report:?}");
    let rules = |name: &str| wanted[name]["rules"].as_array().unwrap().len();
    assert_eq!(rules("tracemap-latency"), 20);
    assert!(rules("tracemap-latency-2") > 0);
    assert_eq!(
        wanted["tracemap-latency-2"]["interval"],
        wanted["tracemap-latency"]["interval"]
    );
    let last = wanted["tracemap-latency-2"]["rules"]
        .as_array()
        .unwrap()
        .last()
        .unwrap();
    assert_eq!(last["alert"], "LatencyNewNormal");
}

#[tokio::test]
async fn a_group_above_the_limit_is_told_with_the_setting_to_raise_and_nothing_old_is_removed_for_it() {
    let old = BTreeMap::from([("tracemap".to_owned(), Groups::from([group("tracemap-old", "1m")]))]);
    let ruler = Ruler::start(Store {
        namespaces: old,
        max_rules: 10,
        ..Store::default()
    })
    .await;
    let report = ruler.publish(&generated(), false).await;
    assert!(report.failed);
    let told = report.lines.join("\n");
    assert!(
        told.contains("(limit: 10 actual: ") && told.contains("`ruler_max_rules_per_rule_group`"),
        "{told}"
    );
    assert!(
        told.contains("not removed, because of the failure above: group `tracemap-old`"),
        "{told}"
    );
    let there = ruler.groups("tracemap");
    assert!(there.iter().any(|name| name == "tracemap-old"), "{there:?}");
    assert!(!there.iter().any(|name| name == "tracemap-latency"), "{there:?}");
}

#[tokio::test]
async fn a_ruler_that_is_away_for_a_while_is_asked_again() {
    let ruler = Ruler::start(Store {
        away: 2,
        ..Store::default()
    })
    .await;
    let report = ruler
        .publish(&Groups::from([group("tracemap-a", "1m")]), false)
        .await;
    assert_eq!(
        report.lines,
        ["create: group `tracemap-a`", "1 done, 0 unchanged"]
    );
}

#[tokio::test]
async fn a_request_of_no_tenant_is_told_with_the_argument_to_give() {
    let ruler = Ruler::start(Store::default()).await;
    let wanted = Groups::from([group("tracemap-a", "1m")]);
    let error = publish(&ruler.server(None), "tracemap", &wanted, false)
        .await
        .unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("nothing was changed") && told.contains("no org id") && told.contains("--tenant"),
        "{told}"
    );
}

#[tokio::test]
async fn something_that_is_no_ruler_is_told_and_nothing_is_written() {
    let app = Router::new().fallback(|| async { "<html>hello</html>" });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    let server = Server::new(Address {
        url,
        ..Address::default()
    });
    let wanted = Groups::from([group("tracemap-a", "1m")]);
    let error = publish(&server.unwrap(), "tracemap", &wanted, false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is this Mimir?"), "{error}");
}

#[test]
fn a_directory_without_rules_is_refused_because_all_would_go() {
    let error = groups(&Artefacts::new()).unwrap_err().to_string();
    assert!(error.contains("all that Mimir has would go"), "{error}");
    let broken = Artefacts::from([("alerts/rules/x.yaml".to_owned(), "groups: 7".to_owned())]);
    assert!(
        groups(&broken)
            .unwrap_err()
            .to_string()
            .contains("`alerts/rules/x.yaml`")
    );
}
