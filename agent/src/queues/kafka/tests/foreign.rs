//! What nobody should say, and what is said by others.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::Kafka;
use super::super::testing::*;
use crate::queues::splice::testing::{Notes, however_cut};
use crate::queues::splice::{NotUnderstood, Splice as _};

fn kafka() -> Kafka {
    Kafka::new(MESSAGE_MAX_BYTES)
}

/// What goes on and what stays of it, and what was said.
fn said(kafka: &mut Kafka, from_client: bool, bytes: &[u8]) -> (Vec<u8>, Result<(), NotUnderstood>) {
    let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
    let mut notes = Notes::injecting();
    let said = if from_client {
        kafka.client_said(&mut input, &mut out, &mut notes)
    } else {
        kafka.broker_said(&mut input, &mut out, &mut notes)
    };
    out.extend_from_slice(&input);
    (out.to_vec(), said)
}

#[test]
fn requests_that_are_not_read_pass_however_they_come() {
    // Heartbeat; SaslHandshake v1; SaslAuthenticate; something that is not invented yet.
    let requests: Vec<u8> = [(12, 4), (17, 1), (36, 2), (300, 7)]
        .iter()
        .flat_map(|(key, version)| ask(*key, *version, 5))
        .collect();
    assert_eq!(however_cut(kafka, true, &requests), (requests.clone(), vec![]));
    let responses = [
        answering(5, false).raw(b"yes").sized(),
        answering(9, false).sized(),
    ]
    .concat();
    let make = || {
        let mut kafka = kafka();
        said(&mut kafka, true, &requests).1.expect("requests");
        kafka
    };
    assert_eq!(however_cut(make, false, &responses), (responses.clone(), vec![]));
}

#[test]
fn tokens_without_frames_make_the_connection_pass_unseen() {
    let (handshake, token) = (ask(17, 0, 5), b"\0\0\0\x07\0user\0x");
    let before = ask(12, 0, 4);
    let bytes = [before.as_slice(), &handshake, token].concat();
    assert_eq!(
        said(&mut kafka(), true, &bytes),
        (bytes, Err(NotUnderstood::Unknown))
    );
}

#[test]
fn a_tls_handshake_makes_the_connection_pass_unseen() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let (out, told) = however_cut(kafka, true, hello);
    assert!(out.is_empty());
    assert_eq!(told, ["what follows is encrypted"]);
}

#[test]
fn other_protocols_make_the_connection_pass_unseen() {
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\0\0\0\x07\0\x0c\0\0\0\0\0",
        b"\xff\xff\xff\xff\0\x0c\0\0\0\0\0\x01",
        b"\0\0\0\x08\xff\xff\0\0\0\0\0\x01",
        b"\0\0\0\x08\0\x0c\xff\xff\0\0\0\x01",
    ] {
        let (_, told) = however_cut(kafka, true, bytes);
        assert_eq!(told, ["what was said is not this protocol"], "{bytes:?}");
    }
    for bytes in [b"\0\0\0\x03\0\0\0\0".as_slice(), b"\x80\0\0\0\0\0\0\0"] {
        let (_, told) = however_cut(kafka, false, bytes);
        assert_eq!(told, ["what was said is not this protocol"], "{bytes:?}");
    }
}

#[test]
fn a_request_whose_client_has_no_name_that_can_be_is_not_held() {
    for key in [0, 1] {
        // Of version 99, so that nothing else asks for it to be whole.
        let header = Frame::new(false)
            .i32(100 << 20)
            .i16(key)
            .i16(99)
            .i32(5)
            .i16(-2)
            .raw("x".repeat(40_000).as_bytes())
            .bytes;
        let mut talk = Talk::new(Notes::default());
        assert_eq!(talk.client(&header), header);
    }
}

/// A connection on which a request of every kind waits, all with the same number.
fn asked(correlation: i32) -> Kafka {
    let mut talk = Talk::new(Notes::injecting());
    for (key, version) in [
        (0, 12),
        (1, 12),
        (3, 12),
        (10, 4),
        (18, 3),
        (60, 1),
        (0, 3),
        (1, 4),
        (3, 0),
        (10, 0),
    ] {
        talk.client(&ask(key, version, correlation));
    }
    talk.kafka
}

fn frames() -> Vec<Vec<u8>> {
    let headers: [Header<'_>; 1] = [("traceparent", Some(b"a"))];
    let batch = batch(
        PLAIN,
        &[
            record(0, None, Some(b"v"), &headers),
            record(1, Some(b"k"), None, &[]),
        ],
    );
    vec![
        produce(3, 0, 1, &[&batch]),
        produce(12, 0, 1, &[&batch, &batch]),
        fetched(4, 0, &[(&batch, &[(1, 2)])]),
        fetched(12, 0, &[(&batch, &[])]),
        produced(3, 0, &[(0, 1)]),
        produced(12, 0, &[(6, 1)]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_of_a_client_pass_whole(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(said(&mut kafka(), true, &bytes).0, bytes);
    }

    #[test]
    fn any_response_passes_whole(bodies in proptest::collection::vec(proptest::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..60), 0..12)) {
        let mut bytes: Vec<u8> = bodies.iter().flat_map(|body| answering(5, false).raw(body).sized()).collect();
        // Notes without a way: addresses stay, and only versions may change.
        let (out, _) = said(&mut asked(5), false, &bytes);
        prop_assert_eq!(out.len(), bytes.len());
        bytes.truncate(bytes.len() / 2);
        prop_assert_eq!(said(&mut asked(5), false, &bytes).0.len(), bytes.len());
    }

    #[test]
    fn a_frame_with_a_byte_wrong_panics_nowhere(frame in 0..6_usize, at: proptest::sample::Index, byte: u8) {
        let mut bytes = frames()[frame].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = said(&mut kafka(), true, &bytes);
        for rounds in 0..10 {
            let mut kafka = asked(0);
            for _ in 0..rounds {
                kafka.waiting.pop_front();
            }
            prop_assert_eq!(said(&mut kafka, false, &bytes).0, bytes.clone());
        }
    }
}
