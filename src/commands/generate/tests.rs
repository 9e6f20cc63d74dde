//! What `tracemap generate` refuses before it writes, whose file it extends, and whom it asks to reload.
//!
//! In: maps, configurations and Alertmanager files on disk; servers that answer as Prometheus does. Out: what is on disk
//! after, and the one message. Left out on purpose: the shapes of Alertmanager files, which `alerts` tests.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const MAP: &str = "version: 1\nedges: [{client: user, server: web}, {client: web, server: cart}]\n";
const ALERTMANAGER: &str = "route:\n  receiver: ops # all\nreceivers:\n- name: ops\n";

struct Place(TempDir);

impl Place {
    fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("map.yaml", MAP), ("am.yaml", ALERTMANAGER)].iter().chain(files) {
            std::fs::write(place.at(name), text).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn args(&self) -> Args {
        Args {
            map: self.at("map.yaml"),
            out: Some(self.at("out")),
            config: Some(self.at("tracemap.yaml")).filter(|path| path.exists()),
            profile: None,
            check: false,
            merge_into: None,
            reload: Vec::new(),
            verbose: false,
        }
    }

    fn merging(&self) -> Args {
        Args {
            merge_into: Some(self.at("am.yaml")),
            ..self.args()
        }
    }

    /// The one message; nothing was written.
    fn refused(&self, args: &Args) -> String {
        let error = run(args).expect_err("this is refused").to_string();
        assert!(!self.at("out").exists(), "{error}");
        assert_eq!(self.read("am.yaml").matches("tracemap").count(), 0, "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }
}

#[test]
fn a_stated_service_that_the_map_lacks_is_told_with_its_line_and_nothing_is_written() {
    let place = Place::with(&[(
        "tracemap.yaml",
        "services:\n  web: {team: a}\n  crat: {team: shop}\n",
    )]);
    let said = place.refused(&place.merging());
    assert!(
        said.contains("tracemap.yaml:3: `crat` is no node of the map: did you mean `cart`?"),
        "{said}"
    );
}

#[test]
fn an_owner_without_a_receiver_is_told_with_the_key_to_set_and_nothing_is_written() {
    let yaml = "generate:\n  alerts:\n    receivers:\n      teams: {front: 'http://front.example'}\n\
                services: {web: {team: front}, cart: {team: shop}}\n";
    let place = Place::with(&[("tracemap.yaml", yaml)]);
    let said = place.refused(&place.args());
    assert!(
        said.contains("tracemap.yaml:4: pages of the team `shop` reach nobody; it owns `cart`"),
        "{said}"
    );
    let nobody = Place::with(&[("tracemap.yaml", "services: {cart: {team: shop}}\n")]);
    run(&nobody.args()).expect("without any receiver the first run succeeds");
}

#[test]
fn an_objective_out_of_range_is_told_wherever_it_is_stated_and_nothing_is_written() {
    let objective = "services: {cart: {objectives: [{latency: 300ms, target: 99, window: 30d}]}}\n";
    let place = Place::with(&[("tracemap.yaml", objective)]);
    assert!(
        place
            .refused(&place.args())
            .contains("tracemap.yaml:1: `target` is 99")
    );
    let place = Place::with(&[("map.yaml", &format!("{MAP}{objective}"))]);
    let said = place.refused(&place.args());
    assert!(
        said.contains("map.yaml: `target` of an objective of `cart` is 99"),
        "{said}"
    );
}

#[test]
fn timeouts_that_cannot_fit_into_each_other_are_told_with_their_line_and_nothing_is_written() {
    let yaml = "services:\n  web: {objectives: [{latency: 300ms, target: 0.99, window: 30d}]}\n  cart:\n    resilience:\n      \
                timeout: 2s\n";
    let place = Place::with(&[("tracemap.yaml", yaml)]);
    let said = place.refused(&place.args());
    assert!(
        said.contains(
            "tracemap.yaml:5: `timeout` of `cart` is 2s, but the longest objective of `web` is 300ms"
        ),
        "{said}"
    );
}

#[test]
fn a_number_for_resilience_stays_while_its_cause_moves_by_less_than_a_fifth() {
    let place = Place::with(&[]);
    let timeout_after = |slow: f64| {
        let mut map = map_from_yaml(MAP).unwrap();
        let key = map.edges.keys().find(|key| key.server.as_str() == "cart");
        let key = key.unwrap().clone();
        let stats = &mut map.edges.get_mut(&key).unwrap().stats;
        stats.requests = 1000.0;
        (0..1000).for_each(|_| stats.client.observe(slow));
        std::fs::write(place.at("map.stats.yaml"), map::file::stats_to_yaml(&map)).unwrap();
        run(&place.args()).unwrap();
        let file = place.read("out/resilience.yaml");
        let line = file.lines().find(|line| line.trim().starts_with("attempt:"));
        line.expect("a timeout").trim().to_owned()
    };
    let before = timeout_after(0.2);
    assert_eq!(timeout_after(0.22), before);
    assert_ne!(timeout_after(0.4), before);
}

#[test]
fn an_alertmanager_file_that_cannot_be_read_or_extended_is_named_and_nothing_is_written() {
    let place = Place::with(&[("am.yaml", "route: {receiver: ops}\nreceivers: [\n")]);
    let said = place.refused(&place.merging());
    assert!(said.contains("am.yaml`: line 2 is not YAML"), "{said}");
    let args = Args {
        merge_into: Some(place.at("nowhere.yaml")),
        ..place.args()
    };
    assert!(place.refused(&args).contains("nowhere.yaml"));
}

#[test]
fn a_merged_file_keeps_its_mode_a_link_stays_one_and_a_look_says_what_is_out_of_date() {
    let place = Place::with(&[]);
    let file = place.at("am.yaml");
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let link = place.at("link.yaml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let args = |check| Args {
        merge_into: Some(link.clone()),
        check,
        ..place.args()
    };
    run(&args(true)).unwrap();
    assert_eq!(place.read("am.yaml"), ALERTMANAGER, "a look writes nothing");
    run(&args(false)).unwrap();
    let merged = place.read("am.yaml");
    assert!(
        merged.contains("receiver: ops # all\n") && merged.contains("tracemap-page"),
        "{merged}"
    );
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(run(&args(true)).unwrap(), ExitCode::SUCCESS);
    std::fs::write(&file, merged.replace("tracemap-page", "tracemap-pag")).unwrap();
    assert_eq!(run(&args(true)).unwrap(), ExitCode::from(1));
}

#[test]
fn the_profile_of_the_command_line_comes_before_that_of_the_configuration() {
    let place = Place::with(&[("tracemap.yaml", "generate: {alerts: {profile: static}}\n")]);
    let rules = |place: &Place| place.read(&format!("out/{}", alerts::RULES_PATH));
    run(&place.args()).unwrap();
    assert!(rules(&place).contains("traces_service_graph_request_server_seconds_sum"));
    assert!(!place.at("out").join(alerts::BURN_RULES_PATH).exists());
    let live = Args {
        profile: Some(Profile::Live),
        ..place.args()
    };
    run(&live).unwrap();
    assert!(rules(&place).contains("tracemap_own_slow_total"));
    assert!(place.at("out").join(alerts::BURN_RULES_PATH).exists());
}

/// A server that answers each request alike; its address.
async fn answering(status: u16, text: &'static str) -> String {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    let only_post = axum::routing::post(move || async move { (status, text) });
    let app = axum::Router::new().route("/-/reload", only_post);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_reload_is_asked_for_once_and_what_is_said_against_it_is_told() {
    reload(&answering(200, "").await).await.unwrap();
    let told = async |status, text| {
        reload(&answering(status, text).await)
            .await
            .unwrap_err()
            .to_string()
    };
    let off = told(403, "Lifecycle API is not enabled.").await;
    assert!(off.contains("`--web.enable-lifecycle`"), "{off}");
    let refused = told(500, "failed to reload config: couldn't load configuration").await;
    assert!(
        refused.contains("couldn't load configuration: it goes on with the configuration that it had"),
        "{refused}"
    );
    let stranger = told(404, "no such page").await;
    assert!(
        stranger.contains("is this the address of a Prometheus"),
        "{stranger}"
    );
    let nobody = reload("http://127.0.0.1:1").await.unwrap_err().to_string();
    assert!(nobody.contains("tried 1 times"), "{nobody}");
}
