//! Real clients: services that use the OpenTelemetry SDKs of four languages report to a running collector.
//!
//! In: one program for each language (`python`, `node`, `java`, `go`), all telling the same story over each protocol that
//! their SDK speaks, and programs that log through generated files. Out: the map and the metrics of the collector, which must be
//! that story exactly; lines that must join their traces.
//! Left out on purpose: how SDKs behave when the collector refuses; that is `otlp`'s to test, byte by byte.

mod client;
mod logs;
mod pipelines;
mod story;
#[path = "../system/support.rs"]
#[allow(dead_code, reason = "the tests of `system` use more of it")]
mod support;

use crate::client::{Client, Language, run};
use crate::story::tells_its_story;

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_python_is_understood_over_every_protocol() {
    tells_its_story(&Client::build(Language::Python).await, &["grpc", "http/protobuf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_javascript_is_understood_over_every_protocol() {
    tells_its_story(
        &Client::build(Language::Node).await,
        &["grpc", "http/protobuf", "http/json"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_java_is_understood_over_every_protocol() {
    tells_its_story(&Client::build(Language::Java).await, &["grpc", "http/protobuf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_go_is_understood_over_every_protocol() {
    tells_its_story(&Client::build(Language::Go).await, &["grpc", "http/protobuf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reaches_no_collector_is_seen_to_fail() {
    let client = Client::build(Language::Go).await;
    let nobody = format!("http://127.0.0.1:{}", support::free_port());
    let told = client.run("http/protobuf", &nobody, 1).await;
    let complaint = told.expect_err("nobody listens there");
    assert!(complaint.contains("connection refused"), "{complaint}");
}

#[tokio::test]
async fn a_language_that_is_not_installed_is_a_failure_that_says_what_installs_it() {
    let told = run(&["no-such-language", "--version"], &std::env::temp_dir()).await;
    let told = told.expect_err("there is no such program");
    assert!(
        told.contains("`no-such-language`") && told.contains("tests/run.sh"),
        "{told}"
    );
}
