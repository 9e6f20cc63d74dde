//! Questions of a test to an API server.
//!
//! In: an address, a token, objects. Out: statuses and JSON; a patient wait for a state.
//! Left out on purpose: what the product's own publisher knows: paths are found by the server's own list of kinds.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use kubernetes::{Client, Content, Server, parse_address};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const LARGEST: usize = 32 << 20;
/// How long a state may take to come: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks one server, as one user.
pub(crate) struct Api {
    client: Client,
}

impl Api {
    pub(crate) fn new(url: &str, ca: &Path, token: &Path) -> Self {
        let (scheme, authority) = parse_address(url).expect("an address");
        let server = Server {
            scheme,
            authority,
            token_file: token.to_owned(),
            ca_file: ca.to_owned(),
            user_agent: "test",
        };
        Self {
            client: Client::new(server, Arc::new(())),
        }
    }

    /// Status and answer.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, content: Content<'_>) -> (u16, Value) {
        let mut connection = self.client.connect().await.expect("a connection");
        let answer = connection
            .ask(method, path, JSON, content)
            .await
            .expect("an answer");
        let status = answer.status.as_u16();
        let text = answer.read(LARGEST).await.expect("all of it");
        let text = String::from_utf8_lossy(&text).into_owned();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The status, where there is an answer.
    pub(crate) async fn try_get(&mut self, path: &str) -> Option<u16> {
        let mut connection = self.client.connect().await.ok()?;
        let answer = connection
            .ask(Method::GET, path, JSON, Content::None)
            .await
            .ok()?;
        Some(answer.status.as_u16())
    }

    /// An object or a list, where there is one.
    pub(crate) async fn get(&mut self, path: &str) -> Option<Value> {
        let (status, value) = self.ask(Method::GET, path, Content::None).await;
        assert!(matches!(status, 200 | 404), "{path}: {status} {value}");
        (status == 200).then_some(value)
    }

    /// Makes or changes an object as a field manager, and fields that the server does not know are refused.
    pub(crate) async fn apply(&mut self, object: &Value, manager: &str) -> Value {
        let path = self.path(object).await;
        let path = format!("{path}?fieldManager={manager}&fieldValidation=Strict");
        let text = object.to_string();
        let (status, answer) = self.ask(Method::PATCH, &path, Content::Apply(&text)).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {answer}\n{object}");
        answer
    }

    /// Replaces an object, as `kubectl edit` does.
    pub(crate) async fn replace(&mut self, object: &Value, manager: &str) -> Value {
        let path = format!("{}?fieldManager={manager}", self.path(object).await);
        let text = object.to_string();
        let (status, answer) = self.ask(Method::PUT, &path, Content::Json(&text)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(crate) async fn delete(&mut self, path: &str) {
        let (status, answer) = self.ask(Method::DELETE, path, Content::None).await;
        assert!(matches!(status, 200 | 202), "{path}: {status} {answer}");
    }

    /// A namespace, with the account that a controller would make for its pods.
    pub(crate) async fn namespace(&mut self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&namespace, "test").await;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name},
        });
        self.apply(&account, "test").await;
    }

    /// Writes a token of a service account to a file, as the kubelet does for a pod.
    pub(crate) async fn token(&mut self, namespace: &str, account: &str, file: &Path) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        });
        let (status, answer) = self
            .ask(Method::POST, &path, Content::Json(&request.to_string()))
            .await;
        assert_eq!(status, 201, "{answer}");
        let token = answer["status"]["token"].as_str().expect("a token");
        std::fs::write(file, token).expect("a file");
    }

    /// Whether this user may.
    pub(crate) async fn may(&mut self, verb: &str, (group, resource): (&str, &str), namespace: &str) -> bool {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "namespace": namespace,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let (status, answer) = self
            .ask(Method::POST, path, Content::Json(&review.to_string()))
            .await;
        assert_eq!(status, 201, "{answer}");
        answer["status"]["allowed"] == json!(true)
    }

    /// Where an object is, by what the server says of its kind.
    async fn path(&mut self, object: &Value) -> String {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let api = if version.contains('/') { "apis" } else { "api" };
        let known = self.get(&format!("/{api}/{version}")).await;
        let known = known.unwrap_or_else(|| panic!("the server knows no {version}"));
        let resources = known["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.iter().find(|one| {
            one["kind"] == json!(kind) && !one["name"].as_str().unwrap_or_default().contains('/')
        });
        let found = found.unwrap_or_else(|| panic!("the server knows no {kind} of {version}"));
        let plural = found["name"].as_str().unwrap_or_default();
        if found["namespaced"] == json!(true) {
            let namespace = text("/metadata/namespace");
            format!("/{api}/{version}/namespaces/{namespace}/{plural}/{name}")
        } else {
            format!("/{api}/{version}/{plural}/{name}")
        }
    }
}

/// Waits until it is so.
pub(crate) async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
