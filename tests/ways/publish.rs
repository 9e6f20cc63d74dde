//! `tracemap publish grafana`, from a map and from a directory.

use std::path::Path;

use crate::fake::{Grafana, TOKEN};
use crate::{told, tracemap};

const MAP: &str = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n";

/// A map of two services in a directory; the path of its file.
fn map(dir: &Path) -> String {
    let path = dir.join("map.yaml");
    std::fs::write(&path, MAP).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_exits_1_where_something_would_change_and_0_after_it_was_done() {
    let (grafana, dir) = (Grafana::start().await, tempfile::tempdir().unwrap());
    let (url, map) = (grafana.url(), map(dir.path()));
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.display().to_string();
    let publish = ["publish", "grafana", "--url", &url, "--map", &map];
    let with = |more: &[&'static str]| -> Vec<&str> {
        publish.iter().copied().chain(more.iter().copied()).collect()
    };

    let (code, out, err) = told(&tracemap(&with(&["--dry-run"]), &[("TRACEMAP_GRAFANA_TOKEN", TOKEN)]).await);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(
        out.contains("the folder \"tracemap\" would be new") && out.contains("create: \"Service cart\""),
        "{out}"
    );
    assert!(grafana.database().writes.is_empty());

    let mut args = with(&[]);
    args.extend(["--token-file", &file]);
    let (code, out, err) = told(&tracemap(&args, &[]).await);
    assert_eq!(code, Some(0), "{out}{err}");
    let made = grafana.database().dashboards.len();
    assert!(
        made >= 3 && out.ends_with(&format!("{made} done, 0 unchanged\n")),
        "{out}"
    );

    let mut args = with(&["--dry-run", "--token"]);
    args.push(TOKEN);
    let (code, out, _) = told(&tracemap(&args, &[]).await);
    assert_eq!((code, out), (Some(0), format!("{made} unchanged\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_directory_is_published_as_the_map_it_is_of() {
    let (grafana, dir) = (Grafana::start().await, tempfile::tempdir().unwrap());
    let (url, map, out) = (
        grafana.url(),
        map(dir.path()),
        dir.path().join("generated").display().to_string(),
    );
    let (code, _, err) = told(&tracemap(&["generate", "--map", &map, "--out", &out], &[]).await);
    assert_eq!(code, Some(0), "{err}");
    let token = [("TRACEMAP_GRAFANA_TOKEN", TOKEN)];
    let from_dir = tracemap(&["publish", "grafana", "--url", &url, "--dir", &out], &token).await;
    assert_eq!(told(&from_dir).0, Some(0), "{from_dir:?}");
    let from_map = tracemap(
        &["publish", "grafana", "--url", &url, "--map", &map, "--dry-run"],
        &token,
    )
    .await;
    assert_eq!(told(&from_map).0, Some(0), "{from_map:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_exits_2_says_what_is_done_and_shows_no_token() {
    let (grafana, dir) = (Grafana::start().await, tempfile::tempdir().unwrap());
    let (url, map) = (grafana.url(), map(dir.path()));
    let wrong = [("TRACEMAP_GRAFANA_TOKEN", "glsa_wrong")];
    let (code, out, err) =
        told(&tracemap(&["publish", "grafana", "--url", &url, "--map", &map], &wrong).await);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(
        err.contains("nothing was changed") && err.contains("401"),
        "{err}"
    );
    assert!(!format!("{out}{err}").contains("glsa_wrong"), "{out}{err}");

    grafana.database().dies_after = Some(2);
    let token = [("TRACEMAP_GRAFANA_TOKEN", TOKEN)];
    let args = [
        "publish", "grafana", "--url", &url, "--map", &map, "--wait", "300ms",
    ];
    let (code, out, err) = told(&tracemap(&args, &token).await);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(
        out.contains("1 done, ") && out.contains(" not tried") && out.contains("database is closed"),
        "{out}"
    );
    assert!(err.contains("not everything could be published"), "{err}");
}
