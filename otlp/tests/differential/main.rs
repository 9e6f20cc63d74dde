//! The view against prost on requests that are nearly what SDKs write.

mod agreement;
mod shapes;

use agreement::agree;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

const CASES: u32 = 6_000;

/// The same cases on every run: what fails once fails again.
fn runner() -> TestRunner {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[0x7a; 32]))
}

fn entropy() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

#[test]
fn the_view_and_prost_agree_on_bent_requests() {
    let accepted = std::cell::Cell::new(0);
    runner()
        .run(&entropy(), |entropy| {
            accepted.set(accepted.get() + u32::from(agree(&shapes::request(&entropy))));
            Ok(())
        })
        .expect("they agree");
    let accepted = accepted.get();
    assert!(
        (CASES / 4..CASES * 9 / 10).contains(&accepted),
        "{accepted} of {CASES} accepted: too one-sided to prove much"
    );
}

#[test]
fn the_view_and_prost_agree_on_bent_requests_with_a_byte_changed() {
    runner()
        .run(
            &(entropy(), any::<prop::sample::Index>(), any::<u8>()),
            |(entropy, at, byte)| {
                let mut body = shapes::request(&entropy);
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] = byte;
                }
                agree(&body);
                Ok(())
            },
        )
        .expect("they agree");
}

#[test]
fn a_request_that_nothing_is_bent_in_is_taken() {
    assert!(agree(&shapes::request(&[])));
}
