//! What a broker says of itself and of the others: its versions, and where they are.

use super::super::testing::*;
use super::super::versions::{API_VERSIONS, DESCRIBE_CLUSTER, FIND_COORDINATOR, METADATA, PRODUCE};
use crate::queues::splice::testing::{Notes, however_cut};

const SHIFT: u16 = 10_000;

fn shifting() -> Talk {
    let mut talk = Talk::new(Notes::default());
    talk.notes.port_shift = Some(SHIFT);
    talk
}

/// A broker that is found elsewhere by `shift`.
fn broker(frame: Frame, host: &str, port: u16, shift: u16) -> Frame {
    let host = if shift == 0 { host } else { "127.0.0.1" };
    frame.string(host).i32(i32::from(port + shift))
}

fn metadata(version: i16, shift: u16) -> Vec<u8> {
    let flexible = version >= 9;
    let mut frame = answering(5, flexible);
    if version >= 3 {
        frame = frame.i32(0);
    }
    frame = frame.array(2);
    for (id, host, port) in [(1, "one.kafka.example", 9092), (2, "two", 9093)] {
        frame = broker(frame.i32(id), host, port, shift);
        if version >= 1 {
            frame = frame.null_string();
        }
        frame = frame.tags();
    }
    frame.raw(b"cluster, controller, topics").sized()
}

fn coordinator(version: i16, shift: u16) -> Vec<u8> {
    let mut frame = answering(5, version >= 3);
    if version >= 1 {
        frame = frame.i32(0);
    }
    if version < 4 {
        frame = frame.i16(0);
        if version >= 1 {
            frame = frame.string("NONE");
        }
        return broker(frame.i32(1), "one.kafka.example", 9092, shift)
            .tags()
            .sized();
    }
    frame = frame.array(3);
    for (key, port) in [("a", 9092), ("b", 9093)] {
        frame = broker(frame.string(key).i32(1), "kafka.example", port, shift)
            .i16(0)
            .null_string()
            .tags();
    }
    frame
        .string("c")
        .i32(-1)
        .string("")
        .i32(-1)
        .i16(15)
        .string("none yet")
        .tags()
        .tags()
        .sized()
}

fn cluster(version: i16, shift: u16) -> Vec<u8> {
    let mut frame = answering(5, true).i32(0).i16(0).null_string();
    if version >= 1 {
        frame = frame.raw(&[1]);
    }
    frame = frame.string("cluster").i32(1).array(2);
    for (id, host, port) in [(1, "one.kafka.example", 9092), (2, "two", 9093)] {
        frame = broker(frame.i32(id), host, port, shift).string("rack");
        if version >= 2 {
            frame = frame.raw(&[0]);
        }
        frame = frame.tags();
    }
    frame.i32(0).tags().sized()
}

/// The kind and a response of a version, with ports that are so much higher.
type Of<'a> = &'a dyn Fn(i16, u16) -> (i16, Vec<u8>);

#[test]
fn addresses_lead_through_the_agent_in_every_version() {
    let metadata_of = |version, shift| (METADATA, metadata(version, shift));
    let coordinator_of = |version, shift| (FIND_COORDINATOR, coordinator(version, shift));
    let cluster_of = |version, shift| (DESCRIBE_CLUSTER, cluster(version, shift));
    let all: [(Of<'_>, i16); 3] = [(&metadata_of, 13), (&coordinator_of, 6), (&cluster_of, 2)];
    for (of, newest) in all {
        for version in 0..=newest {
            let (key, response) = of(version, 0);
            let mut talk = shifting();
            talk.client(&ask(key, version, 5));
            assert_eq!(
                talk.broker(&response),
                of(version, SHIFT).1,
                "request {key}, version {version}"
            );
            // Where there is no way, they stay.
            let mut talk = Talk::new(Notes::default());
            talk.client(&ask(key, version, 5));
            assert_eq!(talk.broker(&response), response);
            assert!(talk.told().is_empty());
        }
    }
}

#[test]
fn what_is_no_address_stays() {
    for (host, port) in [("", 9092), ("kafka", 0), ("kafka", -1), ("kafka", 70_000)] {
        let mut talk = shifting();
        talk.client(&ask(FIND_COORDINATOR, 0, 5));
        let response = answering(5, false).i16(15).i32(-1).string(host).i32(port).sized();
        assert_eq!(talk.broker(&response), response);
        assert!(talk.told().is_empty());
    }
}

#[test]
fn responses_with_addresses_are_changed_however_they_come() {
    let make = || {
        let mut talk = shifting();
        talk.client(&ask(METADATA, 12, 5));
        talk.kafka
    };
    let (out, _) = however_cut(make, false, &[metadata(12, 0), ask(1, 2, 3)].concat());
    assert_eq!(
        out,
        [metadata(12, 0), ask(1, 2, 3)].concat(),
        "there is no way in these notes"
    );
}

#[test]
fn what_is_no_such_response_passes_and_is_counted() {
    for (key, version) in [
        (METADATA, 12),
        (FIND_COORDINATOR, 4),
        (DESCRIBE_CLUSTER, 0),
        (API_VERSIONS, 0),
    ] {
        let mut talk = shifting();
        talk.client(&ask(key, version, 5));
        let response = answering(5, false).raw(&[0, 0, 0, 0, 0, 200, 1, 2, 3]).sized();
        assert_eq!(talk.broker(&response), response);
        assert_eq!(talk.told(), ["skipped UnknownFrame"], "{key}");
    }
}

#[test]
fn a_version_that_is_not_read_passes_and_is_counted() {
    for (key, version) in [
        (METADATA, 14),
        (FIND_COORDINATOR, 7),
        (DESCRIBE_CLUSTER, 3),
        (PRODUCE, 13),
        (78, 1),
    ] {
        let mut talk = shifting();
        let request = ask(key, version, 5);
        assert_eq!(talk.client(&request), request);
        assert_eq!(talk.broker(&metadata(13, 0)), metadata(13, 0));
        assert_eq!(talk.told(), ["skipped UnknownFrame"], "{key}");
    }
}

/// A Produce response that tells of new leaders, and where they are.
fn moved(endpoints: &[(&str, u16)], shift: u16) -> Vec<u8> {
    let mut inner = Frame::new(true).array(endpoints.len());
    for (host, port) in endpoints {
        inner = broker(inner.i32(1), host, *port, shift).null_string().tags();
    }
    let plain = produced(10, 5, &[(6, -1)]);
    let mut frame = Frame::new(true).raw(&plain[4..plain.len() - 1]);
    // Three fields: one that is not known, the endpoints, and another that is not known.
    frame = frame.raw(&[3, 0x80, 0x01, 2, 0xff, 0xff, 0]);
    super::super::wire::put_uvarint(&mut frame.bytes, inner.bytes.len() as u32);
    frame.raw(&inner.bytes).raw(&[1, 1, 0x80]).sized()
}

#[test]
fn the_endpoints_of_new_leaders_lead_through_the_agent() {
    let short: [(&str, u16); 2] = [("one.kafka.example", 9092), ("two", 9093)];
    let long = [(
        "a.broker.with.a.name.that.takes.a.hundred.bytes.of.its.own.kafka.example",
        9094,
    ); 4];
    for endpoints in [&short[..], &long] {
        let mut talk = shifting();
        talk.client(&ask(PRODUCE, 10, 5));
        // The request was not one, so that it is known by its number only.
        talk.told();
        assert_eq!(talk.broker(&moved(endpoints, 0)), moved(endpoints, SHIFT));
        assert!(talk.told().is_empty());
    }
}

fn versions(version: i16, error: i16, newest: [i16; 3]) -> Vec<u8> {
    let flexible = version >= 3;
    let mut frame = Frame::new(flexible).i32(5).i16(error).array(4);
    for ((key, oldest), newest) in [(0, 3), (1, 4), (18, 0)].into_iter().zip(newest) {
        frame = frame.i16(key).i16(oldest).i16(newest).tags();
    }
    // One that has nothing that is read.
    frame = frame.i16(3).i16(14).i16(15).tags();
    frame.raw(b"throttle time, features").sized()
}

#[test]
fn versions_that_are_not_read_are_not_offered() {
    for version in 0..=4 {
        let mut talk = shifting();
        talk.client(&ask(API_VERSIONS, version, 5));
        let lowered = versions(version, 0, [12, 12, 4]);
        assert_eq!(talk.broker(&versions(version, 0, [13, 18, 4])), lowered);
        assert!(talk.told().is_empty());
        talk.client(&ask(API_VERSIONS, version, 5));
        let older = versions(version, 0, [7, 11, 2]);
        assert_eq!(talk.broker(&older), older);
    }
}

#[test]
fn the_answer_to_a_version_that_the_broker_does_not_know_is_in_the_first_form() {
    let mut talk = shifting();
    talk.client(&ask(API_VERSIONS, 4, 5));
    assert_eq!(
        talk.broker(&versions(0, 35, [13, 18, 4])),
        versions(0, 35, [12, 12, 4])
    );
}

#[test]
fn versions_are_lowered_however_they_come() {
    let make = || {
        let mut kafka = Talk::new(Notes::default());
        kafka.client(&ask(API_VERSIONS, 3, 5));
        kafka.kafka
    };
    let (out, _) = however_cut(make, false, &versions(3, 0, [13, 18, 4]));
    assert_eq!(out, versions(3, 0, [12, 12, 4]));
}
