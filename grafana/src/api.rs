//! What `publish` needs of Grafana's HTTP API.
//!
//! In: questions in our words. Out: Grafana's answers, as far as they are used.
//! Left out on purpose: `/apis/dashboard.grafana.app`, which Grafana below 12 does not have; every version has `/api`.
//! Source: Grafana documentation, "Dashboard HTTP API", "Folder HTTP API", "Folder/Dashboard Search HTTP API";
//! `pkg/services/dashboards/errors.go` for what is refused.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, HttpError, Outage, Tried, encoded};

/// Grafana gives at most 5000 at once.
const PAGE: usize = 1000;

/// A dashboard as Grafana has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The model without what the data base adds.
    pub(crate) json: Value,
    /// Grows by one with each save.
    pub(crate) version: i64,
    /// Empty outside of folders.
    pub(crate) folder_uid: String,
    pub(crate) folder_title: String,
    /// It belongs to a file or an operator, and the API cannot change it.
    pub(crate) provisioned: bool,
}

/// What became of a request to save.
pub(crate) enum Saved {
    Done,
    /// Somebody saved in between.
    OtherVersion,
    /// Not known: look, and send again.
    Unclear,
}

/// The uids of the folders at the top that have this title, in upper or lower case.
pub(crate) async fn folders(client: &Client, title: &str) -> Result<Vec<(String, String)>, HttpError> {
    let mut found = Vec::new();
    for page in 1.. {
        let answer = client
            .get(&format!("/api/folders?limit={PAGE}&page={page}"))
            .await?;
        let items = list(client, &answer, "/api/folders")?;
        let same = items
            .iter()
            .filter(|item| text(item, "title").to_lowercase() == title.to_lowercase());
        found.extend(same.map(|item| (text(item, "uid"), text(item, "title"))));
        if items.len() < PAGE {
            break;
        }
    }
    Ok(found)
}

/// Asks once for a folder to be made. Look with [`folders`] what came of it.
pub(crate) async fn create_folder(
    client: &Client,
    title: &str,
    outage: &mut Outage,
) -> Result<(), HttpError> {
    match client
        .once(&Method::POST, "/api/folders", Some(&json!({ "title": title })))
        .await
    {
        Ok(Tried::Answer(_)) => Ok(()),
        Ok(Tried::Later(later)) => client.wait(outage, later).await,
        // It is there already: Grafana has said 409 and 412.
        Err(error) if matches!(error.status(), Some(409 | 412)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The uids of the dashboards of a folder that carry a tag.
pub(crate) async fn tagged(client: &Client, folder_uid: &str, tag: &str) -> Result<Vec<String>, HttpError> {
    let mut found = Vec::new();
    for page in 1.. {
        let query = format!(
            "type=dash-db&folderUIDs={}&tag={}",
            encoded(folder_uid),
            encoded(tag)
        );
        let answer = client
            .get(&format!("/api/search?{query}&limit={PAGE}&page={page}"))
            .await?;
        let items = list(client, &answer, "/api/search")?;
        // A Grafana that does not know one of the parameters answers with more than was asked for.
        let ours = items.iter().filter(|item| {
            let tags = item.get("tags").and_then(Value::as_array).into_iter().flatten();
            text(item, "folderUid") == folder_uid && tags.into_iter().any(|found| found == tag)
        });
        found.extend(ours.map(|item| text(item, "uid")));
        if items.len() < PAGE {
            break;
        }
    }
    found.retain(|uid| !uid.is_empty());
    Ok(found)
}

/// The dashboard with a uid, wherever it lies.
pub(crate) async fn dashboard(client: &Client, uid: &str) -> Result<Option<Found>, HttpError> {
    let mut answer = match client.get(&format!("/api/dashboards/uid/{}", encoded(uid))).await {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = answer.get_mut("meta").map(Value::take).unwrap_or_default();
    let mut json = answer.get_mut("dashboard").map(Value::take).unwrap_or_default();
    let Some(model) = json.as_object_mut() else {
        return Err(garbled(client, "/api/dashboards/uid", "no `dashboard` in it"));
    };
    model.remove("id");
    let version = model.remove("version").and_then(|version| version.as_i64());
    let version = version
        .or_else(|| meta.get("version")?.as_i64())
        .unwrap_or_default();
    Ok(Some(Found {
        version,
        folder_uid: text(&meta, "folderUid"),
        folder_title: text(&meta, "folderTitle"),
        provisioned: meta
            .get("provisioned")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        json,
    }))
}

/// Asks once for a dashboard to be saved, as the successor of `version` if there is one. Nothing is overwritten that is
/// not that version, nor another dashboard of the same title.
pub(crate) async fn save(
    client: &Client,
    json: &Value,
    version: Option<i64>,
    folder_uid: &str,
    outage: &mut Outage,
) -> Result<Saved, HttpError> {
    let mut model = json.clone();
    model["id"] = Value::Null;
    if let Some(version) = version {
        model["version"] = Value::from(version);
    }
    let body = json!({"dashboard": model, "folderUid": folder_uid, "message": "tracemap publish", "overwrite": false});
    match client
        .once(&Method::POST, "/api/dashboards/db", Some(&body))
        .await
    {
        Ok(Tried::Answer(_)) => Ok(Saved::Done),
        Ok(Tried::Later(later)) => client.wait(outage, later).await.map(|()| Saved::Unclear),
        Err(HttpError::Refused { status, body, .. })
            if status == 409 || status == 412 && text(&body, "status") == "version-mismatch" =>
        {
            Ok(Saved::OtherVersion)
        }
        Err(error) => Err(error),
    }
}

/// Removes a dashboard; one that is not there is removed.
pub(crate) async fn remove(client: &Client, uid: &str) -> Result<(), HttpError> {
    match client
        .delete(&format!("/api/dashboards/uid/{}", encoded(uid)))
        .await
    {
        Err(error) if error.status() != Some(404) => Err(error),
        _ => Ok(()),
    }
}

fn list<'a>(client: &Client, answer: &'a Value, path: &str) -> Result<&'a Vec<Value>, HttpError> {
    answer.as_array().ok_or_else(|| garbled(client, path, "no list"))
}

fn garbled(client: &Client, path: &str, problem: &str) -> HttpError {
    HttpError::Garbled {
        url: format!("{}{path}", client.url()),
        problem: problem.to_owned(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
