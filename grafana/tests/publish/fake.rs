//! Grafana's dashboard API as far as `publish` uses it: what it keeps, what it refuses, and how it fails.
//!
//! In: requests, and faults that a test plants. Out: Grafana's answers, with its codes and words, and a log of all writes.
//! Left out on purpose: everything else. It is written down from Grafana's sources and documentation
//! (`pkg/services/dashboards/errors.go`, `database.go`, `pkg/api/dashboard.go`, `folder.go`), not recorded from one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// The only token that is let in.
pub(crate) const TOKEN: &str = "glsa_a-secret-that-is-never-shown";

/// What goes wrong with the next request of a kind.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, with this `Retry-After`, and no effect.
    Status(u16, Option<&'static str>),
    /// The connection breaks, and there was no effect.
    BreakBefore,
    /// It has its effect, and the connection breaks before the answer is whole.
    BreakAfter,
    /// Somebody else saves the dashboard first, with this tag for all its tags.
    SavedBySomebody(&'static str),
    /// Somebody removes all folders first.
    FoldersVanish,
}

/// A dashboard in the data base.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) json: Value,
    pub(crate) version: i64,
    pub(crate) folder: String,
    pub(crate) provisioned: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Titles by uid.
    pub(crate) folders: BTreeMap<String, String>,
    /// By uid.
    pub(crate) dashboards: BTreeMap<String, Stored>,
    /// Method and beginning of the path, and what goes wrong with the next such request; in order.
    pub(crate) faults: Vec<(Method, &'static str, Fault)>,
    /// From this many writes on it only answers 503.
    pub(crate) dies_after: Option<usize>,
    /// Every write that had an effect: method and uid.
    pub(crate) writes: Vec<String>,
    /// Every request.
    pub(crate) requests: usize,
}

impl Database {
    /// Puts a dashboard where it is, as if somebody had made it.
    pub(crate) fn put(&mut self, uid: &str, title: &str, tags: &[&str], folder: &str) {
        let json = json!({"uid": uid, "title": title, "tags": tags, "panels": []});
        let stored = Stored {
            json,
            version: 1,
            folder: folder.to_owned(),
            provisioned: false,
        };
        self.dashboards.insert(uid.to_owned(), stored);
    }
}

/// A Grafana on loopback, until the test ends.
#[derive(Clone)]
pub(crate) struct Grafana {
    address: SocketAddr,
    database: Arc<Mutex<Database>>,
}

impl Grafana {
    pub(crate) async fn start() -> Self {
        let database: Arc<Mutex<Database>> = Arc::default();
        let app = axum::Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&database));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, database }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap()
    }
}

async fn serve(State(database): State<Arc<Mutex<Database>>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut database = database.lock().unwrap();
    database.requests += 1;
    let authorization = head
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if authorization != format!("Bearer {TOKEN}") {
        return answer(
            401,
            json!({"message": format!("Invalid API key: {authorization}")}),
        );
    }
    if database
        .dies_after
        .is_some_and(|writes| database.writes.len() >= writes)
    {
        return answer(503, json!({"message": "database is closed"}));
    }
    let path = head.uri.path().to_owned();
    let planted = database
        .faults
        .iter()
        .position(|(method, begin, _)| *method == head.method && path.starts_with(begin));
    let planted = planted.map(|index| database.faults.remove(index).2);
    match planted {
        Some(Fault::Status(status, after)) => {
            let mut answer = answer(status, json!({"message": "try again"}));
            if let Some(after) = after {
                answer.headers_mut().insert("retry-after", after.parse().unwrap());
            }
            return answer;
        }
        Some(Fault::BreakBefore) => return broken(),
        Some(Fault::SavedBySomebody(tag)) => {
            let posted: Value = serde_json::from_slice(&body).unwrap();
            let stored = database
                .dashboards
                .get_mut(posted["dashboard"]["uid"].as_str().unwrap())
                .unwrap();
            stored.version += 1;
            stored.json["tags"] = json!([tag]);
            stored.json["description"] = json!("somebody was here");
        }
        Some(Fault::FoldersVanish) => database.folders.clear(),
        Some(Fault::BreakAfter) | None => {}
    }
    let query: BTreeMap<String, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(pair)
        .collect();
    let answered = route(&mut database, &head.method, &path, &query, &body);
    if matches!(planted, Some(Fault::BreakAfter)) {
        broken()
    } else {
        answered
    }
}

/// A pair of a query; none of the tests' values is escaped.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

fn route(
    db: &mut Database,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    body: &Bytes,
) -> Response {
    let posted: Value = serde_json::from_slice(body).unwrap_or_default();
    let dashboard = path.strip_prefix("/api/dashboards/uid/");
    match (method.as_str(), path, dashboard) {
        ("GET", "/api/folders", _) => {
            let all = db
                .folders
                .iter()
                .map(|(uid, title)| json!({"uid": uid, "title": title, "id": 1}));
            page(all.collect(), query)
        }
        ("POST", "/api/folders", _) => create_folder(db, &posted),
        ("GET", "/api/search", _) => page(search(db, query), query),
        ("POST", "/api/dashboards/db", _) => save(db, &posted),
        ("GET", _, Some(uid)) => match db.dashboards.get(uid) {
            None => answer(404, json!({"message": "Dashboard not found"})),
            Some(stored) => answer(200, shown(db, stored)),
        },
        ("DELETE", _, Some(uid)) => remove(db, uid),
        _ => answer(404, json!({"message": "Not found"})),
    }
}

fn shown(db: &Database, stored: &Stored) -> Value {
    let mut json = stored.json.clone();
    json["id"] = json!(7);
    json["version"] = json!(stored.version);
    let title = db.folders.get(&stored.folder).cloned().unwrap_or_default();
    json!({"meta": {"version": stored.version, "folderUid": stored.folder, "folderTitle": title,
        "provisioned": stored.provisioned}, "dashboard": json})
}

/// `limit` and `page`, which begins with 1.
fn page(all: Vec<Value>, query: &BTreeMap<String, String>) -> Response {
    let number = |key: &str, default| {
        query
            .get(key)
            .map_or(default, |text| text.parse::<usize>().unwrap())
    };
    let (limit, page) = (number("limit", 1000).min(5000), number("page", 1));
    let items: Vec<Value> = all.into_iter().skip((page - 1) * limit).take(limit).collect();
    answer(200, Value::from(items))
}

fn search(db: &Database, query: &BTreeMap<String, String>) -> Vec<Value> {
    let asked = |key: &str, has: &dyn Fn(&str) -> bool| query.get(key).is_none_or(|value| has(value));
    let dashboards = db.dashboards.iter().filter(|(_, stored)| {
        let tags: Vec<&str> = stored.json["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap())
            .collect();
        asked("tag", &|tag| tags.contains(&tag)) && asked("folderUIDs", &|uid| uid == stored.folder)
    });
    dashboards
        .map(|(uid, stored)| {
            json!({"uid": uid, "title": stored.json["title"], "type": "dash-db", "tags": stored.json["tags"],
                "folderUid": stored.folder})
        })
        .collect()
}

fn create_folder(db: &mut Database, posted: &Value) -> Response {
    let title = posted["title"].as_str().unwrap_or_default();
    if title.is_empty() {
        return answer(400, json!({"message": "folder title cannot be empty"}));
    }
    if db.folders.values().any(|other| other.eq_ignore_ascii_case(title)) {
        return answer(
            409,
            json!({"message": "a folder with the same name already exists in the current location"}),
        );
    }
    let uid = format!("folder{}", db.folders.len());
    db.folders.insert(uid.clone(), title.to_owned());
    db.writes.push(format!("folder {title}"));
    answer(200, json!({"uid": uid, "title": title}))
}

fn save(db: &mut Database, posted: &Value) -> Response {
    let model = &posted["dashboard"];
    let text = |key: &str| model[key].as_str().unwrap_or_default();
    let (uid, title) = (text("uid"), text("title"));
    let folder = posted["folderUid"].as_str().unwrap_or_default();
    let overwrite = posted["overwrite"].as_bool().unwrap_or_default();
    let bad = |message: &str| answer(400, json!({"message": message}));
    if title.trim().is_empty() {
        return bad("Dashboard title cannot be empty");
    }
    if title.len() > 5000 {
        return bad("Dashboard title cannot contain more than 5 000 characters");
    }
    if uid.len() > 40 {
        return bad("uid too long, max 40 characters");
    }
    if !uid
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        return bad("uid contains illegal characters");
    }
    if posted["message"]
        .as_str()
        .is_some_and(|message| message.len() > 500)
    {
        return bad("message too long, max 500 characters");
    }
    if !folder.is_empty() && !db.folders.contains_key(folder) {
        return answer(400, json!({"message": "folder not found", "status": "not-found"}));
    }
    let same_title = |other: &str, stored: &Stored| {
        other != uid && stored.folder == folder && stored.json["title"] == title
    };
    if db
        .dashboards
        .iter()
        .any(|(other, stored)| same_title(other, stored))
        && !overwrite
    {
        let message = "A dashboard with the same name in the folder already exists";
        return answer(412, json!({"status": "name-exists", "message": message}));
    }
    let existing = db.dashboards.get(uid);
    if existing.is_some_and(|existing| existing.provisioned) {
        return bad("Cannot save provisioned dashboard");
    }
    if !model["id"].is_null() && model["id"] != 7 {
        return bad("A dashboard with the same uid already exists");
    }
    if existing.is_some_and(|existing| model["version"].as_i64() != Some(existing.version)) && !overwrite {
        let message = "The dashboard has been changed by someone else";
        return answer(412, json!({"status": "version-mismatch", "message": message}));
    }
    let version = existing.map_or(1, |existing| existing.version + 1);
    let mut json = model.clone();
    for key in ["id", "version"] {
        json.as_object_mut().unwrap().remove(key);
    }
    let stored = Stored {
        json,
        version,
        folder: folder.to_owned(),
        provisioned: false,
    };
    db.dashboards.insert(uid.to_owned(), stored);
    db.writes.push(format!("save {uid}"));
    answer(200, json!({"status": "success", "uid": uid, "version": version}))
}

fn remove(db: &mut Database, uid: &str) -> Response {
    match db.dashboards.get(uid) {
        None => answer(404, json!({"message": "Dashboard not found"})),
        Some(stored) if stored.provisioned => {
            answer(400, json!({"message": "provisioned dashboard cannot be deleted"}))
        }
        Some(_) => {
            db.dashboards.remove(uid);
            db.writes.push(format!("remove {uid}"));
            answer(200, json!({"message": "Dashboard deleted"}))
        }
    }
}

fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

/// A body that ends in the middle, and the connection with it.
fn broken() -> Response {
    struct Broken(bool);
    impl hyper::body::Body for Broken {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())));
            }
            Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(
                b"{\"status\"",
            )))))
        }
    }
    Response::new(Body::new(Broken(false)))
}
