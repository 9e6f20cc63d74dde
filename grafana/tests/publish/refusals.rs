//! The stand-in refuses what Grafana refuses, so that a test which passes against it means something.
//!
//! In: requests that `publish` never makes. Out: the code and a part of the words of Grafana's own refusal.
//! Left out on purpose: how `publish` takes it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::{Grafana, TOKEN};

/// Status and body of a request of our own making.
async fn ask(grafana: &Grafana, head: &str, token: &str, body: &Value) -> (u16, String) {
    let url = grafana.url();
    let host = url.trim_start_matches("http://");
    let body = body.to_string();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn dashboard(uid: &str, title: &str, version: Option<i64>, folder: &str) -> Value {
    json!({"dashboard": {"id": null, "uid": uid, "title": title, "version": version, "tags": []}, "folderUid": folder})
}

#[tokio::test]
async fn a_save_is_refused_for_each_reason_that_grafana_has() {
    let grafana = Grafana::start().await;
    grafana
        .database()
        .folders
        .insert("f".to_owned(), "tracemap".to_owned());
    grafana.database().put("there", "Taken", &[], "f");
    grafana.database().put("file", "Of a file", &[], "f");
    grafana.database().dashboards.get_mut("file").unwrap().provisioned = true;
    let long = "x".repeat(41);
    for (body, status, word) in [
        (dashboard("new", " ", None, "f"), 400, "title cannot be empty"),
        (dashboard(&long, "t", None, "f"), 400, "uid too long"),
        (dashboard("a b", "t", None, "f"), 400, "illegal characters"),
        (dashboard("new", "t", None, "nowhere"), 400, "folder not found"),
        (dashboard("new", "Taken", None, "f"), 412, "name-exists"),
        (dashboard("there", "t", None, "f"), 412, "version-mismatch"),
        (dashboard("there", "t", Some(7), "f"), 412, "version-mismatch"),
        (
            dashboard("file", "t", Some(1), "f"),
            400,
            "Cannot save provisioned",
        ),
    ] {
        let (found, said) = ask(&grafana, "POST /api/dashboards/db", TOKEN, &body).await;
        assert_eq!((found, said.contains(word)), (status, true), "{body}: {said}");
    }
    let mut other_id = dashboard("there", "t", Some(1), "f");
    other_id["dashboard"]["id"] = json!(99);
    let (status, said) = ask(&grafana, "POST /api/dashboards/db", TOKEN, &other_id).await;
    assert_eq!(
        (status, said.contains("same uid already exists")),
        (400, true),
        "{said}"
    );
    let (status, _) = ask(
        &grafana,
        "POST /api/dashboards/db",
        TOKEN,
        &dashboard("there", "t", Some(1), "f"),
    )
    .await;
    assert_eq!(status, 200, "and takes what is right");
}

#[tokio::test]
async fn nobody_is_let_in_without_the_token_and_nothing_is_there_twice() {
    let grafana = Grafana::start().await;
    for token in ["", "another"] {
        assert_eq!(
            ask(&grafana, "GET /api/folders", token, &Value::Null).await.0,
            401,
            "{token}"
        );
    }
    let folder = json!({"title": "Tracemap"});
    for status in [200, 409] {
        assert_eq!(ask(&grafana, "POST /api/folders", TOKEN, &folder).await.0, status);
    }
    assert_eq!(ask(&grafana, "POST /api/folders", TOKEN, &json!({})).await.0, 400);
    for head in ["GET /api/dashboards/uid/none", "DELETE /api/dashboards/uid/none"] {
        assert_eq!(ask(&grafana, head, TOKEN, &Value::Null).await.0, 404, "{head}");
    }
}
