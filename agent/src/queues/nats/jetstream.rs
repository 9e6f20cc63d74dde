//! What `JetStream` says in subjects and payloads.
//!
//! In: reply subjects, acknowledgements and answers. Out: which message of which stream they are of, and how it ended.
//! Left out on purpose: the requests of its interface, which are no messages.
//!
//! Source: NATS ADR-15 (reply subjects) and the server's `jetstream_api.go` and `consumer.go`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;

pub(super) const ACK_PREFIX: &[u8] = b"$JS.ACK.";
/// As much of an acknowledgement as must be seen: `+TERM`.
pub(super) const ACK_WORD: usize = 5;
/// What answers about a consumer begin with.
pub(super) const CONSUMER_ANSWER: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.consumer_"#;

/// What the reply subject of a delivery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery<'a> {
    pub(super) stream: &'a str,
    pub(super) consumer: &'a str,
    pub(super) sequence: u64,
    /// Counts the deliveries of the consumer.
    pub(super) number: u64,
}

impl<'a> Delivery<'a> {
    /// `None` where `reply` is no subject to acknowledge by.
    pub(super) fn read(reply: &'a [u8]) -> Option<Self> {
        if !reply.starts_with(ACK_PREFIX) {
            return None;
        }
        let reply = std::str::from_utf8(reply).ok()?;
        let tokens = reply.split('.').count();
        // The longer form names domain and account first, and may end in a token that only makes it unique.
        let before = match tokens {
            9 => 2,
            11 | 12 => 4,
            _ => return None,
        };
        let mut rest = reply.split('.').skip(before);
        Some(Self {
            stream: rest.next()?,
            consumer: rest.next()?,
            // How often it was delivered comes first.
            sequence: rest.nth(1)?.parse().ok()?,
            number: rest.next()?.parse().ok()?,
        })
    }

    /// The name that the broker gave to the message.
    pub(super) fn place(&self) -> String {
        place(self.stream, self.sequence)
    }

    /// What tells one consumer from another.
    pub(super) fn consumer_key(&self) -> String {
        consumer_key(self.stream, self.consumer)
    }
}

fn place(stream: &str, sequence: u64) -> String {
    let mut place = String::with_capacity(stream.len() + 21);
    // Writing into memory does not fail.
    let _ = write!(place, "{stream}@{sequence}");
    place
}

fn consumer_key(stream: &str, consumer: &str) -> String {
    [stream, consumer].join(".")
}

/// What an acknowledgement does to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    Done,
    Failed(&'static str),
    /// More time was asked for.
    Working,
}

impl Ack {
    /// By the first [`ACK_WORD`] bytes of its payload of `len` bytes; the server takes no notice of others.
    pub(super) fn read(word: &[u8], len: usize) -> Self {
        match word {
            b"" | b"+OK" => Self::Done,
            b"+ACK" if len == 4 => Self::Done,
            _ if word.starts_with(b"+NXT") => Self::Done,
            _ if word.starts_with(b"-NAK") => Self::Failed("nak"),
            _ if word.starts_with(b"+TERM") => Self::Failed("term"),
            _ => Self::Working,
        }
    }
}

/// What was answered to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A message is in a stream, at this place; none where it was there before.
    Stored(Option<String>),
    /// It is in none, by this error code.
    Refused(String),
    /// Not `JetStream`'s.
    Other,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    /// As of HTTP.
    code: u16,
    /// Says more; servers before 2.4 have none.
    err_code: Option<u32>,
}

impl Answer {
    pub(super) fn read(payload: &[u8]) -> Self {
        if payload.first() != Some(&b'{') {
            return Self::Other;
        }
        match serde_json::from_slice(payload) {
            Ok(Stored {
                error: Some(refusal), ..
            }) => Self::Refused(refusal.err_code.unwrap_or(refusal.code.into()).to_string()),
            Ok(Stored {
                stream: Some(stream),
                seq: Some(sequence),
                duplicate,
                ..
            }) => Self::Stored((!duplicate).then(|| place(&stream, sequence))),
            _ => Self::Other,
        }
    }
}

/// What a consumer has to acknowledge, where it is not each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Nothing,
    /// A message, and with it all before.
    UpTo,
}

#[derive(Deserialize)]
struct ConsumerAnswer<'a> {
    #[serde(borrow)]
    stream_name: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    config: ConsumerConfig<'a>,
}

#[derive(Deserialize)]
struct ConsumerConfig<'a> {
    #[serde(borrow)]
    ack_policy: Cow<'a, str>,
}

/// What an answer says of a consumer: what tells it from another, and its policy where it is one of ours.
pub(super) fn policy(payload: &[u8]) -> Option<(String, Option<Policy>)> {
    if !payload.starts_with(CONSUMER_ANSWER) {
        return None;
    }
    let answer: ConsumerAnswer<'_> = serde_json::from_slice(payload).ok()?;
    let policy = match &*answer.config.ack_policy {
        "none" => Some(Policy::Nothing),
        "all" => Some(Policy::UpTo),
        _ => None,
    };
    Some((consumer_key(&answer.stream_name, &answer.name), policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_names_the_message_in_every_form() {
        let expected = Delivery {
            stream: "S",
            consumer: "C",
            sequence: 17,
            number: 5,
        };
        for reply in [
            "$JS.ACK.S.C.2.17.5.1700000000000000000.0",
            "$JS.ACK._.hash.S.C.2.17.5.1700000000000000000.0",
            "$JS.ACK.hub.hash.S.C.2.17.5.1700000000000000000.0.rnd",
        ] {
            assert_eq!(Delivery::read(reply.as_bytes()), Some(expected), "{reply}");
        }
        assert_eq!(expected.place(), "S@17");
        for reply in [
            "_INBOX.a.b",
            "$JS.ACK.S.C.2.17.5.1",
            "$JS.ACK.S.C.2.x.5.1.0",
            "$JS.ACK.S.C.2.17.99999999999999999999.1.0",
        ] {
            assert_eq!(Delivery::read(reply.as_bytes()), None, "{reply}");
        }
    }

    #[test]
    fn acknowledgements_are_read_as_the_server_reads_them() {
        for (payload, ack) in [
            ("", Ack::Done),
            ("+ACK", Ack::Done),
            ("+OK", Ack::Done),
            ("+NXT 10", Ack::Done),
            ("-NAK", Ack::Failed("nak")),
            ("-NAK {\"delay\":1}", Ack::Failed("nak")),
            ("+TERM", Ack::Failed("term")),
            ("+TERM poison", Ack::Failed("term")),
            ("+WPI", Ack::Working),
            ("+ACKS", Ack::Working),
            ("hm", Ack::Working),
        ] {
            let word = payload.as_bytes();
            let word = word.get(..ACK_WORD).unwrap_or(word);
            assert_eq!(Ack::read(word, payload.len()), ack, "{payload}");
        }
    }

    #[test]
    fn an_answer_tells_the_place_or_the_error_or_nothing() {
        let refused = |code: &str| Answer::Refused(code.to_owned());
        for (payload, answer) in [
            (
                r#"{"stream":"S","seq":9}"#,
                Answer::Stored(Some("S@9".to_owned())),
            ),
            (r#"{"stream":"S","seq":9,"duplicate":true}"#, Answer::Stored(None)),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"S","seq":0}"#,
                refused("10071"),
            ),
            (r#"{"error":{"code":503,"description":"x"}}"#, refused("503")),
            (r#"{"error":"mine"}"#, Answer::Other),
            (r#"{"total":3}"#, Answer::Other),
            ("{", Answer::Other),
            ("", Answer::Other),
        ] {
            assert_eq!(Answer::read(payload.as_bytes()), answer, "{payload}");
        }
    }

    #[test]
    fn a_consumers_policy_is_learnt_from_what_is_answered_about_it() {
        let answer = |policy: &str| {
            format!(
                r#"{{"type":"io.nats.jetstream.api.v1.consumer_create_response","stream_name":"S","name":"C","config":{{"ack_policy":"{policy}"}},"num_pending":0}}"#
            )
        };
        for (name, known) in [
            ("none", Some(Policy::Nothing)),
            ("all", Some(Policy::UpTo)),
            ("explicit", None),
        ] {
            assert_eq!(policy(answer(name).as_bytes()), Some(("S.C".to_owned(), known)));
        }
        assert_eq!(policy(br#"{"stream_name":"S"}"#), None);
    }
}
