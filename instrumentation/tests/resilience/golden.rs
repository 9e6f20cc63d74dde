//! The files of a small shop, as people read them.
//!
//! In: the shop of `scene`. Out: the files in `golden`, compared byte by byte.
//! Left out on purpose: every service: one that is called by several, and one caller.

use expect_test::expect_file;
use instrumentation::resilience::{Mesh, ResilienceSettings, files};

use crate::scene::shop;

pub(crate) fn settings() -> ResilienceSettings {
    ResilienceSettings {
        mesh: [Mesh::Istio, Mesh::Linkerd, Mesh::Envoy].into(),
        ..ResilienceSettings::default()
    }
}

#[test]
fn the_shop_has_these_numbers_and_reasons() {
    let files = files(&shop(), &settings(), None);
    expect_file!["golden/resilience.yaml"].assert_eq(&files["resilience.yaml"]);
    expect_file!["golden/istio.yaml"].assert_eq(&files["resilience/istio/pay/payment.yaml"]);
    expect_file!["golden/linkerd.yaml"].assert_eq(&files["resilience/linkerd/ops/audit.yaml"]);
    expect_file!["golden/clusters.yaml"].assert_eq(&files["resilience/envoy/shop/cart/clusters.yaml"]);
    expect_file!["golden/routes.yaml"].assert_eq(&files["resilience/envoy/shop/web/routes.yaml"]);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    expect_file!["golden/files.txt"].assert_eq(&(names.join("\n") + "\n"));
}

#[test]
fn without_meshes_there_is_one_file_and_switched_off_there_is_none() {
    let names = |settings: &ResilienceSettings| -> Vec<String> {
        files(&shop(), settings, None).into_keys().collect()
    };
    assert_eq!(names(&ResilienceSettings::default()), ["resilience.yaml"]);
    let off = ResilienceSettings {
        enabled: false,
        ..settings()
    };
    assert!(names(&off).is_empty());
}
