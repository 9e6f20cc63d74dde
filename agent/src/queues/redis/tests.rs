//! Redis commands and replies: what goes on, what is told, and every cut of it.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::splice::testing::{Notes, however_cut};
use super::super::splice::{NotUnderstood, Receiving, Sending, Sent, Skip, Splice};
use super::*;

/// A command as clients write it.
fn command(words: &[&str]) -> String {
    let each = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), each.collect::<String>())
}

/// The same of words without spaces.
fn words(line: &str) -> String {
    command(&line.split(' ').collect::<Vec<_>>())
}

const TRACEPARENT: &str =
    "traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 x-correlation-id order-7";

struct Talk {
    redis: Redis,
    notes: Notes,
}

impl Talk {
    fn new() -> Self {
        let mut notes = Notes::injecting();
        notes.joins = true;
        Self {
            redis: Redis::new(),
            notes,
        }
    }

    /// What goes on of what the client says in `lines`.
    fn client(&mut self, lines: &[&str]) -> String {
        let said: String = lines.iter().map(|line| words(line)).collect();
        let (mut input, mut out) = (BytesMut::from(said.as_str()), BytesMut::new());
        let told = self.redis.client_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((told, &*input), (Ok(()), b"".as_slice()));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[track_caller]
    fn server(&mut self, said: &str) {
        let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
        let told = self.redis.broker_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((told, &*input), (Ok(()), b"".as_slice()));
        assert_eq!(out, said.as_bytes(), "answers are never changed");
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes.lines)
    }
}

/// What goes on of `lines`, and what is told, however it is cut.
#[track_caller]
fn client(lines: &[&str], passed: &[&str], told: &[&str]) {
    let of = |lines: &[&str]| lines.iter().map(|line| words(line)).collect::<String>();
    let (out, notes) = however_cut(Redis::new, true, of(lines).as_bytes());
    assert_eq!(String::from_utf8_lossy(&out), of(passed));
    assert_eq!(notes, told);
}

/// What is told of the answer to `asked`, however it is cut.
#[track_caller]
fn server(asked: &[&str], said: &str, told: &[&str]) {
    let make = || {
        let mut talk = Talk::new();
        talk.notes.add.clear();
        talk.client(asked);
        talk.redis
    };
    let (out, notes) = however_cut(make, false, said.as_bytes());
    assert_eq!(String::from_utf8_lossy(&out), said);
    assert_eq!(notes, told);
}

#[test]
fn an_entry_gets_fields_behind_its_own() {
    client(
        &["GET a", "XADD orders * a 1", "PING"],
        &["GET a", &format!("XADD orders * a 1 {TRACEPARENT}"), "PING"],
        &["1 xadd orders 2 [a=1]"],
    );
}

#[test]
fn fields_are_found_behind_every_option() {
    for options in [
        "*",
        "1-1",
        "NOMKSTREAM *",
        "MAXLEN 10 *",
        "maxlen ~ 10 *",
        "MAXLEN = 10 *",
        "MINID ~ 5-0 LIMIT 100 *",
        "nomkstream KEEPREF MAXLEN 3 *",
    ] {
        let said = format!("xadd s {options} maxlen 1 LIMIT 2");
        client(
            &[&said],
            &[&format!("{said} {TRACEPARENT}")],
            &["1 xadd s 13 [maxlen=1 LIMIT=2]"],
        );
    }
}

#[test]
fn context_that_is_there_is_never_added_to() {
    let said = "XADD s * TraceParent x";
    client(&[said], &[said], &["1 xadd s 12 [TraceParent=x]"]);
}

#[test]
fn an_entry_that_the_server_will_refuse_goes_on_as_it_came() {
    for said in ["XADD s *", "XADD s * a", "XADD s", "XADD", "XADD s * a 1 b"] {
        client(&[said], &[said], &["skipped UnknownFrame"]);
    }
}

#[test]
fn fields_are_only_added_where_that_was_asked_for() {
    struct No(Notes);
    impl Courier for No {
        fn reads(&mut self, carried: &dyn propagation::Extract) -> propagation::Extracted {
            self.0.reads(carried)
        }
        fn sends(&mut self, message: &Sending<'_>) -> Sent {
            self.0.sends(message)
        }
        fn stands_for(&mut self, token: Token, messages: usize) {
            self.0.stands_for(token, messages);
        }
        fn not_added(&mut self, token: Token, messages: usize) {
            self.0.not_added(token, messages);
        }
        fn receives(&mut self, messages: &Receiving<'_>) -> Option<Token> {
            self.0.receives(messages)
        }
        fn settle(&mut self, token: Token, end: End<'_>) {
            self.0.settle(token, end);
        }
        fn goes_blind(&mut self) {}
        fn skipped(&mut self, why: Skip) {
            self.0.skipped(why);
        }
        fn injects(&self) -> bool {
            true
        }
        fn joins(&self) -> bool {
            true
        }
        fn may_change(&self, destination: &str) -> bool {
            destination == "yes:7"
        }
        fn way_to(&mut self, _: &str, _: u16) -> Option<(String, u16)> {
            None
        }
    }
    let mut courier = No(Notes::injecting());
    let said = words("XADD no * a 1") + &words("XADD yes:7 * a 1");
    let (mut input, mut out) = (BytesMut::from(said.as_str()), BytesMut::new());
    let told = Redis::new().client_said(&mut input, &mut out, &mut courier);
    assert_eq!(told, Ok(()));
    let expected = words("XADD no * a 1") + &words(&format!("XADD yes:7 * a 1 {TRACEPARENT}"));
    assert_eq!(out, expected.as_bytes());
    let told = ["1 xadd no 2 [a=1]", "1 not added", "2 xadd yes:* 2 [a=1]"];
    assert_eq!(courier.0.lines, told);
}

#[test]
fn the_answers_to_a_pipeline_are_matched_in_their_order() {
    let asked = [
        "SET a 1",
        "XADD s * a 1",
        "GET a",
        "GET a",
        "XADD s:1 * a 1",
        "XADD t NOMKSTREAM * a 1",
        "XADD u * a 1",
    ];
    server(
        &asked,
        "+OK\r\n$3\r\n1-0\r\n$1\r\n1\r\n*2\r\n+a\r\n*1\r\n:1\r\n-WRONGTYPE no stream\r\n_\r\n!9\r\nnothing x\r\n",
        &[
            "1 ok s@1-0",
            "2 error WRONGTYPE",
            "3 error no_stream",
            "4 error ERR",
        ],
    );
}

#[test]
fn what_answers_nothing_changes_no_order() {
    server(
        &["XADD s * a 1", "PING"],
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$3\r\n1-0\r\n>1\r\n+x\r\n+PONG\r\n",
        &["1 ok s@1-0"],
    );
    server(&[], "-ERR max number of clients reached\r\n", &[]);
}

#[test]
fn a_transaction_tells_of_its_entries_when_it_is_done() {
    server(
        &["MULTI", "SET a 1", "XADD s * a 1", "XADD s * a 2", "EXEC", "PING"],
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n$3\r\n1-0\r\n-OOM x\r\n+PONG\r\n",
        &["1 ok s@1-0", "2 error OOM"],
    );
}

#[test]
fn a_transaction_that_is_not_done_fails_its_entries() {
    for end in ["*-1\r\n", "_\r\n", "-EXECABORT Transaction discarded\r\n"] {
        server(
            &["MULTI", "XADD s * a 1", "EXEC", "PING"],
            &format!("+OK\r\n+QUEUED\r\n{end}+PONG\r\n"),
            &["1 error aborted"],
        );
    }
    for end in ["DISCARD", "RESET"] {
        client(
            &["MULTI", "XADD s 1-1 traceparent 1", end],
            &["MULTI", "XADD s 1-1 traceparent 1", end],
            &["1 xadd s 12 [traceparent=1]", "1 error discarded"],
        );
    }
}

#[test]
fn what_is_never_queued_is_not_expected_from_exec() {
    server(
        &["MULTI", "MULTI", "WATCH a", "XADD s * a 1", "EXEC", "EXEC"],
        "+OK\r\n-ERR nested\r\n-ERR inside\r\n+QUEUED\r\n*1\r\n$3\r\n1-0\r\n-ERR without\r\n",
        &["1 ok s@1-0"],
    );
}

#[test]
fn without_its_multi_nothing_is_known_of_what_follows() {
    let mut talk = Talk::new();
    talk.client(&["MULTI", "XADD s * a 1"]);
    talk.notes();
    let mut input = BytesMut::from("-NOPERM no\r\n$3\r\n1-0\r\n");
    let told = talk
        .redis
        .broker_said(&mut input, &mut BytesMut::new(), &mut talk.notes);
    assert_eq!(told, Err(NotUnderstood::Unknown));
}

const ENTRY: &str = "*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$11\r\ntraceparent\r\n$1\r\nx\r\n";
const OTHER: &str = "*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n";
const GONE: &str = "*2\r\n$3\r\n3-0\r\n*-1\r\n";

#[test]
fn entries_are_received_stream_by_stream_in_both_versions() {
    let told = [
        "1 Receives xread o:* [a=1 traceparent=x] [b=2]",
        "1 ok",
        "2 Receives xread t [b=2]",
        "2 ok",
    ];
    let asked = ["XREAD STREAMS o:1 t 0 0"];
    let resp2 = format!("*2\r\n*2\r\n$3\r\no:1\r\n*3\r\n{ENTRY}{GONE}{OTHER}*2\r\n$1\r\nt\r\n*1\r\n{OTHER}");
    server(&asked, &resp2, &told);
    let resp3 = format!("%2\r\n$3\r\no:1\r\n*3\r\n{ENTRY}{GONE}{OTHER}$1\r\nt\r\n*1\r\n{OTHER}");
    server(&asked, &resp3, &told);
    for nothing in [
        "*-1\r\n",
        "_\r\n",
        "*0\r\n",
        "-NOGROUP x\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n",
    ] {
        server(&asked, nothing, &[]);
    }
}

#[test]
fn one_entry_of_a_group_is_worked_on_until_it_is_acknowledged() {
    let mut talk = Talk::new();
    talk.client(&["XREADGROUP GROUP g c COUNT 1 STREAMS s >"]);
    talk.server(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{ENTRY}"));
    assert_eq!(
        talk.notes(),
        ["1 Processes xreadgroup s s@1-0[a=1 traceparent=x]"]
    );
    talk.client(&["XACK s g 2-0", "XACK s h 1-0", "XACK t g 1-0"]);
    assert_eq!(talk.notes(), Vec::<String>::new());
    talk.client(&["XACK s g 0-1 1-0"]);
    assert_eq!(talk.notes(), ["1 ok"]);
}

#[test]
fn one_entry_is_done_when_the_client_reads_again() {
    let mut talk = Talk::new();
    talk.client(&["XREADGROUP COUNT 1 GROUP g c STREAMS s >"]);
    talk.server(&format!("%1\r\n$1\r\ns\r\n*1\r\n{ENTRY}"));
    talk.notes();
    talk.client(&["XREADGROUP GROUP g c STREAMS s >"]);
    assert_eq!(talk.notes(), ["1 ok"]);
}

#[test]
fn entries_that_nobody_acknowledges_one_by_one_are_received() {
    let received = ["1 Receives xreadgroup s s@1-0[a=1 traceparent=x]", "1 ok"];
    let mut talk = Talk::new();
    talk.client(&["XREADGROUP GROUP g c NOACK STREAMS s >"]);
    talk.server(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{ENTRY}"));
    assert_eq!(talk.notes(), received);
    talk.client(&["XREADGROUP GROUP g c STREAMS noack >"]);
    talk.server(&format!("*1\r\n*2\r\n$5\r\nnoack\r\n*2\r\n{ENTRY}{OTHER}"));
    assert_eq!(
        talk.notes(),
        [
            "2 Receives xreadgroup noack noack@1-0[a=1 traceparent=x] noack@2-0[b=2]",
            "2 ok"
        ]
    );
}

#[test]
fn claimed_entries_are_told_as_read_ones() {
    let mut talk = Talk::new();
    talk.client(&[
        "XCLAIM s g c 0 1-0",
        "XAUTOCLAIM s g c 0 0",
        "XCLAIM s g c 0 1-0 JUSTID",
    ]);
    talk.server(&format!(
        "*2\r\n{ENTRY}{OTHER}*3\r\n$3\r\n0-0\r\n*2\r\n{ENTRY}*-1\r\n*0\r\n*1\r\n$3\r\n1-0\r\n"
    ));
    assert_eq!(
        talk.notes(),
        [
            "1 Receives xclaim s s@1-0[a=1 traceparent=x] s@2-0[b=2]",
            "1 ok",
            "2 Processes xautoclaim s s@1-0[a=1 traceparent=x]"
        ]
    );
}

#[test]
fn large_values_pass_as_they_come() {
    let mut talk = Talk::new();
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    for part in ["*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nxx", "yyy"] {
        input.extend_from_slice(part.as_bytes());
        talk.redis
            .client_said(&mut input, &mut out, &mut talk.notes)
            .expect("a command");
        assert!(input.is_empty(), "nothing is held");
    }
}

#[test]
fn commands_and_answers_that_are_not_held_pass_and_are_counted() {
    let mut talk = Talk::new();
    let large = "v".repeat(MAX_HELD);
    let said = format!("XADD s * a {large}");
    assert_eq!(talk.client(&[&said, "PING"]), words(&said) + &words("PING"));
    assert_eq!(talk.notes(), ["skipped NotHeld"]);
    let many = "XACK s g".to_owned() + &" 1-0".repeat(8_192);
    assert_eq!(talk.client(&[&many]), words(&many));
    assert_eq!(talk.notes(), ["skipped NotHeld"]);
    talk.client(&["XREAD STREAMS s 0"]);
    talk.server("$3\r\n1-0\r\n+PONG\r\n:1\r\n");
    let entry = format!(
        "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n${}\r\n{large}\r\n",
        large.len()
    );
    talk.server(&format!("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{entry}"));
    assert_eq!(talk.notes(), ["skipped NotHeld"]);
    talk.client(&["XADD s * a 1"]);
    talk.server("$3\r\n2-0\r\n");
    assert_eq!(talk.notes(), ["1 xadd s 2 [a=1]", "1 ok s@2-0"]);
}

#[test]
fn beyond_the_bound_entries_end_when_they_are_sent() {
    let mut talk = Talk::new();
    let said = vec!["XADD s * traceparent 1"; 4_097];
    talk.client(&said);
    let notes = talk.notes();
    assert_eq!(notes.iter().filter(|line| line.ends_with(" ok")).count(), 1);
    assert_eq!(notes.last().map(String::as_str), Some("4097 ok"));
    talk.server(&"$3\r\n1-0\r\n".repeat(4_097));
    assert_eq!(talk.notes().len(), 4_096);
    talk.client(&said[..1]);
    assert_eq!(talk.notes().len(), 1, "there is room again");
}

#[test]
fn inline_commands_have_an_answer_each() {
    let said = "PING\r\n\r\n  \r\nset a 1\n";
    let mut talk = Talk::new();
    let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
    talk.redis
        .client_said(&mut input, &mut out, &mut talk.notes)
        .expect("commands");
    assert_eq!(out, said.as_bytes());
    talk.client(&["XADD s * a 1"]);
    talk.server("+PONG\r\n+OK\r\n$3\r\n1-0\r\n");
    assert_eq!(talk.notes(), ["1 xadd s 2 [a=1]", "1 ok s@1-0"]);
    let (out, told) = however_cut(Redis::new, true, b"PING\r\nMULTI\r\n");
    assert_eq!(
        (out, told),
        (b"PING\r\n".to_vec(), vec![NotUnderstood::Unknown.to_string()])
    );
}

#[test]
fn empty_commands_have_no_answer() {
    let mut talk = Talk::new();
    let mut input = BytesMut::from("*0\r\n*-1\r\n");
    talk.redis
        .client_said(&mut input, &mut BytesMut::new(), &mut talk.notes)
        .expect("commands");
    talk.client(&["XADD s * a 1"]);
    talk.server("$3\r\n1-0\r\n");
    assert_eq!(talk.notes(), ["1 xadd s 2 [a=1]", "1 ok s@1-0"]);
}

#[test]
fn modes_without_matched_answers_pass_unseen() {
    for said in [
        "SUBSCRIBE a",
        "psubscribe a",
        "MONITOR",
        "CLIENT REPLY OFF",
        "client reply SKIP",
        "PSYNC ? -1",
    ] {
        let mut talk = Talk::new();
        talk.client(&["XADD s * a 1", "CLIENT REPLY ON", "CLIENT SETNAME x"]);
        let said = words(said);
        let (mut input, mut out) = (BytesMut::from(said.as_str()), BytesMut::new());
        let told = talk.redis.client_said(&mut input, &mut out, &mut talk.notes);
        assert_eq!((told, out.len()), (Err(NotUnderstood::Unknown), 0), "{said}");
        assert_eq!(&*input, said.as_bytes());
    }
    let mut talk = Talk::new();
    let told = talk.redis.broker_said(
        &mut BytesMut::from(":1\r\n"),
        &mut BytesMut::new(),
        &mut talk.notes,
    );
    assert_eq!(told, Err(NotUnderstood::Unknown), "nobody asked");
}

#[test]
fn a_client_that_begins_tls_passes_unseen() {
    let (out, told) = however_cut(Redis::new, true, b"\x16\x03\x01\x02\x00\x01");
    assert_eq!((out.len(), told), (0, vec![NotUnderstood::Encrypted.to_string()]));
}

#[test]
fn what_the_server_would_not_take_passes_unseen() {
    for said in [
        "*x\r\n",
        "*1\r\n+PING\r\n",
        "*2\r\n$4\r\nXADD\r\n$-1\r\n",
        "*1\r\n$x\r\n",
        "*1048577\r\n",
        "*1\n",
    ] {
        let mut talk = Talk::new();
        let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
        let told = talk.redis.client_said(&mut input, &mut out, &mut talk.notes);
        assert_eq!(told, Err(NotUnderstood::Malformed), "{said}");
        assert_eq!([&out[..], &input[..]].concat(), said.as_bytes());
    }
}

fn pass(splice: &mut Redis, from_client: bool, bytes: &[u8], cuts: usize, notes: &mut Notes) -> Vec<u8> {
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let mut parts = bytes.chunks(cuts);
    for part in parts.by_ref() {
        input.extend_from_slice(part);
        let said = if from_client {
            splice.client_said(&mut input, &mut out, notes)
        } else {
            splice.broker_said(&mut input, &mut out, notes)
        };
        if said.is_err() {
            break;
        }
    }
    out.extend_from_slice(&input);
    parts.for_each(|part| out.extend_from_slice(part));
    out.to_vec()
}

proptest! {
    #[test]
    fn what_was_added_can_be_taken_away_and_all_else_is_as_it_was(
        said in prop::collection::vec(
            (any::<bool>(), prop::collection::vec("[a-z \r\n]{0,12}", 1..7)), 1..12
        ), cuts in 1..300_usize
    ) {
        let (mut bytes, mut expected) = (String::new(), String::new());
        for (is_add, fields) in &said {
            let mut all: Vec<&str> = if *is_add { vec!["XADD", "s", "*"] } else { vec!["SET"] };
            all.extend(fields.iter().map(String::as_str));
            bytes.push_str(&command(&all));
            if *is_add && fields.len() % 2 == 0 {
                all.extend(TRACEPARENT.split(' '));
            }
            expected.push_str(&command(&all));
        }
        let mut talk = Talk::new();
        let passed = pass(&mut talk.redis, true, bytes.as_bytes(), cuts, &mut talk.notes);
        prop_assert_eq!(String::from_utf8_lossy(&passed), expected);
    }

    #[test]
    fn arbitrary_bytes_pass_whole(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..30),
            prop::sample::select(vec![
                "*1\r\n$5\r\nMULTI\r\n", "*1\r\n$4\r\nEXEC\r\n", "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n",
                "$1\r\nb\r\n", "*2\r\n", "$3\r\n", "%1\r\n", "*3\r\n$3\r\nSET\r\n", "PING\r\n", "+OK\r\n", "_\r\n",
                "$3\r\n1-0\r\n", "*4\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n0\r\n", ">1\r\n+a\r\n",
                "*4\r\n$4\r\nXACK\r\n$1\r\ns\r\n$1\r\ng\r\n$3\r\n1-0\r\n", "*-1\r\n", "$9999999999\r\n", "|1\r\n+a\r\n+b\r\n",
            ]).prop_map(|part| part.as_bytes().to_vec()),
        ], 0..14), cuts in 1..60_usize, from_client: bool
    ) {
        let bytes = parts.concat();
        let mut talk = Talk::new();
        talk.notes.add.clear();
        if !from_client {
            let asked = ["MULTI", "XADD s * a 1", "EXEC", "XREADGROUP GROUP g c STREAMS s >", "XAUTOCLAIM s g c 0 0", "PING"];
            talk.client(&asked);
        }
        let passed = pass(&mut talk.redis, from_client, &bytes, cuts, &mut talk.notes);
        prop_assert_eq!(passed, bytes);
    }

    #[test]
    fn arbitrary_answers_of_entries_never_panic(bytes in "[*%$+:_0-9a\r\n-]{0,80}") {
        let _ = entries::streams(bytes.as_bytes());
        let _ = entries::claimed(bytes.as_bytes(), true);
    }
}
