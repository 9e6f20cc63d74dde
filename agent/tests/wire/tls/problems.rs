//! What a configuration says of TLS that cannot be.

use agent::Detected;

use super::pki::{Pki, keys};
use super::*;

fn problems(yaml: &str) -> Vec<String> {
    let findings = config(yaml).check_with(&Detected::default());
    findings
        .into_iter()
        .map(|finding| format!("{} [{}]", finding.message, finding.hint.unwrap_or_default()))
        .collect()
}

fn inbound(upstream: &str, rest: &str) -> Vec<String> {
    problems(&format!(
        "{{ service: cart, inbound: [{{ upstream: '{upstream}', {rest} }}] }}"
    ))
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_key_and_what_would_be_right() {
    let pki = Pki::new();
    let (one, two) = (pki.identity("one"), pki.identity("two"));
    let key = pki.path("bad.key");
    let secret = "c2VjcmV0IHNlY3JldA";
    std::fs::write(&key, format!("-----BEGIN PRIVATE KEY-----\n{secret}*\n")).expect("a file");
    let cert = one.cert.display();
    for (tls, start) in [
        (
            "cert: /nowhere/tls.crt, key: /nowhere/tls.key".to_owned(),
            "`agent.inbound[0].tls.cert` is `/nowhere/tls.crt`, but cannot read the certificate from `/nowhere/tls.crt`: No such file",
        ),
        (
            format!("cert: '{cert}', key: '{}'", two.key.display()),
            "`agent.inbound[0].tls.key` is `",
        ),
        (
            format!("cert: '{cert}', key: '{}'", key.display()),
            "`agent.inbound[0].tls.key` is `",
        ),
        (
            format!("cert: '{cert}', key: '{cert}'"),
            "`agent.inbound[0].tls.key` is `",
        ),
        (
            format!("cert: '{}', key: '{}'", one.key.display(), one.key.display()),
            "`agent.inbound[0].tls.cert` is `",
        ),
        (
            format!("{}, client_ca: '{}'", keys(&one), one.key.display()),
            "`agent.inbound[0].tls.client_ca` is `",
        ),
        (
            format!("{}, client_auth: require", keys(&one)),
            "`agent.inbound[0].tls.client_auth` is `require`, but no authority",
        ),
    ] {
        let found = inbound("http://127.0.0.1:8080", &format!("tls: {{ {tls} }}"));
        assert!(
            found.len() == 1 && found[0].starts_with(start),
            "{tls}: {found:#?}"
        );
        assert!(
            !found[0].contains(secret) && !found[0].ends_with("[]"),
            "{found:#?}"
        );
    }
    let mismatch = format!("tls: {{ cert: '{cert}', key: '{}' }}", two.key.display());
    let found = inbound("http://127.0.0.1:8080", &mismatch);
    assert!(
        found[0].contains("is not that of the first certificate"),
        "{found:#?}"
    );
}

#[tokio::test]
async fn tls_towards_a_server_needs_https_both_halves_and_a_name_that_can_be() {
    let pki = Pki::new();
    let ca = pki.ca.display();
    for (upstream, tls, start) in [
        (
            "http://cart:1",
            format!("ca: '{ca}'"),
            "`agent.inbound[0].upstream_tls` is set, but `agent.inbound[0].upstream` is `http://cart:1`, which is not encrypted",
        ),
        (
            "https://cart",
            format!("ca: '{ca}', cert: '{ca}'"),
            "`agent.inbound[0].upstream_tls.cert` is set without `agent.inbound[0].upstream_tls.key`",
        ),
        (
            "https://cart",
            format!("ca: '{ca}', server_name: 'a b'"),
            "`agent.inbound[0].upstream_tls.server_name`: `a b` is no host name",
        ),
        (
            "https://cart/path",
            format!("ca: '{ca}'"),
            "`agent.inbound[0].upstream",
        ),
    ] {
        let found = inbound(upstream, &format!("upstream_tls: {{ {tls} }}"));
        assert!(
            !found.is_empty() && found.iter().any(|line| line.starts_with(start)),
            "{tls}: {found:#?}"
        );
    }
    let good = inbound(
        "https://cart",
        &format!("upstream_tls: {{ ca: '{ca}', server_name: cart.example }}"),
    );
    assert_eq!(good, Vec::<String>::new());
    let listener = format!("mode: redirect, tls: {{ {} }}", keys(&pki.identity("localhost")));
    let found = problems(&format!("{{ service: cart, inbound: [{{ {listener} }}] }}"));
    let start = "`agent.inbound[0].tls` is set, but TLS of redirected connections passes unseen";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:#?}");
    let found = problems(&format!(
        "{{ service: cart, outbound: {{ tls: {{ ca: '{ca}', server_name: one }} }},
           export: {{ endpoint: 'http://c:1', tls: {{ ca: '{ca}' }} }} }}"
    ));
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("`agent.outbound.tls.server_name` is `one`")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|line| line
                .starts_with("`agent.export.tls` is set, but `agent.export.endpoint` is `http://c:1`")),
        "{found:#?}"
    );
}
