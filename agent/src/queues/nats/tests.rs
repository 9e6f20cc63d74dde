//! NATS as both sides say it: what goes on, what is told, and every cut of it.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::splice::testing::{Notes, however_cut};
use super::super::splice::{NotUnderstood, Splice};
use super::*;

const INFO: &str =
    "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1048576,\"jetstream\":true} \r\n";
const CONNECT: &str = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
const BLOCK: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                     x-correlation-id: order-7\r\n\r\n";

/// Both sides of one connection.
struct Talk {
    nats: Nats,
    notes: Notes,
}

impl Talk {
    fn new() -> Self {
        Self::saying(INFO, CONNECT)
    }

    fn saying(info: &str, connect: &str) -> Self {
        let mut talk = Self {
            nats: Nats::new(),
            notes: Notes::injecting(),
        };
        talk.notes.joins = true;
        assert_eq!(talk.broker(info), info);
        assert_eq!(talk.client(connect), connect);
        talk
    }

    fn client(&mut self, said: &str) -> String {
        let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
        let told = self.nats.client_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((told, &*input), (Ok(()), b"".as_slice()));
        String::from_utf8_lossy(&out).into_owned()
    }

    fn broker(&mut self, said: &str) -> String {
        let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
        let told = self.nats.broker_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((told, &*input), (Ok(()), b"".as_slice()));
        String::from_utf8_lossy(&out).into_owned()
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes.lines)
    }
}

/// What goes on of what a client says, and what is told, however it is cut.
#[track_caller]
fn client(said: &str, passed: &str, told: &[&str]) {
    let (out, lines) = however_cut(|| Talk::new().nats, true, said.as_bytes());
    assert_eq!(String::from_utf8_lossy(&out), passed);
    assert_eq!(lines, told);
}

#[track_caller]
fn broker(said: &str, told: &[&str]) {
    let (out, lines) = however_cut(|| Talk::new().nats, false, said.as_bytes());
    assert_eq!(String::from_utf8_lossy(&out), said);
    assert_eq!(lines, told);
}

#[test]
fn a_message_without_headers_gets_a_header_block_and_keeps_its_payload() {
    client(
        "PUB orders.new 5\r\nhello\r\nPING\r\n",
        &format!("HPUB orders.new 109 114\r\nNATS/1.0\r\n{BLOCK}hello\r\nPING\r\n"),
        &["1 publish orders.new 5 []", "1 ok"],
    );
}

#[test]
fn a_header_block_grows_at_its_end_and_the_rest_of_it_stays() {
    client(
        "hpub\torders.new  12  17 \r\nNATS/1.0\r\n\r\nhello\r\n",
        &format!("hpub\torders.new  109 114 \r\nNATS/1.0\r\n{BLOCK}hello\r\n"),
        &["1 publish orders.new 5 []", "1 ok"],
    );
    client(
        "HPUB a 27 28\r\nNATS/1.0 7 x\r\nb:1\r\nB: 2\r\n\r\n!\r\n",
        &format!("HPUB a 124 125\r\nNATS/1.0 7 x\r\nb:1\r\nB: 2\r\n{BLOCK}!\r\n"),
        &["1 publish a 1 []", "1 ok"],
    );
}

#[test]
fn context_that_is_there_is_never_added_to() {
    let said = format!(
        "HPUB a 81 82\r\nNATS/1.0\r\nTraceParent:{}\r\n\r\n!\r\n",
        parent(7)
    );
    client(&said, &said, &["1 publish a 1 [of 0000000000000007]", "1 ok"]);
    let invalid = "HPUB a 55 56\r\nNATS/1.0\r\nTraceParent:x\r\nX-Correlation-Id: order-6 \r\n\r\n!\r\n";
    assert_eq!(Talk::new().client(invalid), invalid);
}

fn parent(span: u8) -> String {
    format!("00-0af7651916cd43dd8448eb211c80319c-{span:016x}-01")
}

/// A message with these lines in its block.
fn with(subject: &str, lines: &str, payload: &str) -> String {
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    let total = block.len() + payload.len();
    format!("HPUB {subject} {} {total}\r\n{block}{payload}\r\n", block.len())
}

#[test]
fn messages_of_one_read_that_bear_the_same_have_one_span_and_all_bear_its_context() {
    let mut talk = Talk::new();
    let out = talk.client(
        "PUB orders.1 2\r\nok\r\nPUB orders.1 2\r\nno\r\nPING\r\nPUB orders.1 3\r\nyes\r\nPUB orders.2 0\r\n\r\n",
    );
    let went = |subject: &str, size: usize, payload: &str| {
        format!(
            "HPUB {subject} 109 {}\r\nNATS/1.0\r\n{BLOCK}{payload}\r\n",
            109 + size
        )
    };
    let each = [
        went("orders.1", 2, "ok"),
        went("orders.1", 2, "no"),
        "PING\r\n".to_owned(),
        went("orders.1", 3, "yes"),
        went("orders.2", 0, ""),
    ];
    assert_eq!(out, each.concat());
    assert_eq!(talk.notes(), ["1 publish orders.* 2 []", "1 are 4", "1 ok"]);
    talk.client("PUB orders.1 2\r\nok\r\n");
    assert_eq!(
        talk.notes(),
        ["2 publish orders.* 2 []", "2 ok"],
        "the next read is another"
    );
}

#[test]
fn messages_of_one_read_share_a_span_only_where_they_bear_the_same_and_go_to_the_same() {
    let of = |span: u8| format!("traceparent: {}\r\n", parent(span));
    let said = [
        with("a", "", "1"),
        with("a", &of(7), "1"),
        with("a", "x: 1\r\n", "1"),
        with("a", &of(8), "1"),
        with("b", "", "1"),
        with("a", "x-correlation-id: order-9\r\n", "1"),
        with("a", &of(7), "2"),
        with("b", "", "3"),
    ];
    let mut talk = Talk::new();
    let out = talk.client(&said.concat());
    let told = [
        "1 publish a 1 []",
        "2 publish a 1 [of 0000000000000007]",
        "3 publish a 1 [of 0000000000000008]",
        "4 publish b 1 []",
        "5 publish a 1 []",
        "1 are 2",
        "2 are 2",
        "4 are 2",
    ];
    let mut notes = talk.notes();
    notes.retain(|line| !line.ends_with("ok"));
    notes.sort_by_key(|line| line.contains("are"));
    assert_eq!(notes, told);
    let times = |piece: &str| out.matches(piece).count();
    assert_eq!(times("b7ad6b7169203331"), 5, "those without context are given it");
    assert_eq!(times("x-correlation-id"), 5, "and an id where they have none");
    assert_eq!(times("order-9"), 1);
}

#[test]
fn a_message_that_is_answered_or_has_an_id_or_is_cut_has_a_span_of_its_own() {
    let mut talk = Talk::new();
    let plain = "PUB a 2\r\nok\r\n";
    let others = [
        "PUB a _INBOX.x.1 2\r\nok\r\n".to_owned(),
        "PUB a elsewhere 2\r\nok\r\n".to_owned(),
        with("a", "Nats-Msg-Id: seven\r\n", "ok"),
    ];
    talk.client(&[plain, &others.concat(), plain, "PUB a 2\r\nok\r"].concat());
    let told = [
        "1 publish a 2 []",
        "2 publish a 2 []",
        "3 publish a 2 []",
        "3 ok",
        "4 publish a 2 []",
        "4 ok",
        "5 publish a 2 []",
        "1 are 2",
        "1 ok",
    ];
    assert_eq!(talk.notes(), told, "the second is answered later");
    talk.client("\n");
    assert_eq!(talk.notes(), ["5 ok"]);
}

#[test]
fn each_message_of_one_read_that_bears_what_is_not_believed_is_looked_at() {
    let mut talk = Talk::new();
    let said = with("a", "traceparent: x\r\n", "1");
    talk.client(&said.repeat(3));
    assert_eq!(talk.notes.read, 3);
    talk.client(&with("a", "", "1").repeat(3));
    assert_eq!(talk.notes.read, 4, "and of those that bear nothing the first");
}

#[test]
fn messages_of_one_read_that_are_too_large_with_context_are_counted_among_those_that_are_not() {
    let mut talk = Talk::saying(&INFO.replace("1048576", "119"), CONNECT);
    let (fits, over) = ("PUB a 10\r\n0123456789\r\n", "PUB a 11\r\n0123456789x\r\n");
    let out = talk.client(&[over, fits, over, fits, over].concat());
    assert_eq!(
        (
            out.matches(over).count(),
            out.matches("HPUB a 109 119\r\n").count()
        ),
        (3, 2)
    );
    let told = [
        "1 publish a 11 []",
        "skipped TooLarge",
        "skipped TooLarge",
        "skipped TooLarge",
        "1 are 5",
        "1 not added to 3",
        "1 ok",
    ];
    assert_eq!(talk.notes(), told);
}

#[test]
fn headers_that_are_agreed_on_between_two_messages_of_one_read_are_added_to_the_second() {
    let mut talk = Talk::saying(INFO, "CONNECT {\"headers\":false}\r\n");
    let said = "PUB a 1\r\n!\r\n";
    let out = talk.client(&[said, CONNECT, said, said].concat());
    let went = format!("HPUB a 109 110\r\nNATS/1.0\r\n{BLOCK}!\r\n");
    assert_eq!(out, [said, CONNECT, &went, &went].concat());
    let told = talk.notes();
    assert_eq!(told[2..], ["1 are 3", "1 not added", "1 ok"]);
}

#[test]
fn headers_that_are_no_longer_agreed_on_are_not_added_to_the_next_message_of_one_read() {
    let (mut talk, said) = (Talk::new(), "PUB a 1\r\n!\r\n");
    let again = "CONNECT {\"headers\":false}\r\n";
    let out = talk.client(&[said, said, again, said].concat());
    let went = format!("HPUB a 109 110\r\nNATS/1.0\r\n{BLOCK}!\r\n");
    assert_eq!(out, [&went, &went, again, said].concat());
}

#[test]
fn messages_of_one_read_that_the_broker_will_refuse_fail_each() {
    let mut talk = Talk::saying(&INFO.replace("1048576", "3"), CONNECT);
    talk.client(&"PUB a 4\r\nfour\r\n".repeat(2));
    let told = talk.notes();
    let failed = told
        .iter()
        .filter(|line| line.contains("maximum_payload_violation"))
        .count();
    assert_eq!(failed, 2, "{told:?}");
}

#[test]
fn messages_of_one_read_whose_span_has_ended_are_told_of_each() {
    let mut talk = Talk::new();
    talk.notes.full = true;
    talk.client(&"PUB a 1\r\n!\r\n".repeat(3));
    assert_eq!(
        talk.notes(),
        ["1 publish a 1 []", "2 publish a 1 []", "3 publish a 1 []"]
    );
}

#[test]
fn what_shares_a_span_is_told_also_where_the_read_ends_in_what_is_not_understood() {
    let mut talk = Talk::new();
    let said = "PUB a 1\r\n!\r\n".repeat(2) + "NONSENSE\r\n";
    let mut input = BytesMut::from(said.as_str());
    let told = talk
        .nats
        .client_said(&mut input, &mut BytesMut::new(), &mut talk.notes);
    assert_eq!(told, Err(NotUnderstood::Malformed));
    assert_eq!(talk.notes(), ["1 publish a 1 []", "1 are 2", "1 ok"]);
}

#[test]
fn destinations_beyond_the_bound_of_one_read_have_a_span_for_each_message() {
    let mut talk = Talk::new();
    let subjects = (0..stroke::MAX_DESTINATIONS).map(|number| format!("PUB a{number:x}x 0\r\n\r\n"));
    let one_more = "PUB b 0\r\n\r\n".repeat(2);
    talk.client(&(subjects.collect::<String>() + &one_more));
    let told = talk.notes();
    let of = |subject: &str| told.iter().filter(|line| line.contains(subject)).count();
    assert_eq!((of(" publish b "), of(" are ")), (2, 0), "{told:?}");
}

#[test]
fn lines_may_end_as_the_server_allows() {
    client(
        "PuB a  0\n\r\nping\n",
        &format!("HPuB a  109 109\nNATS/1.0\r\n{BLOCK}\r\nping\n"),
        &["1 publish a 0 []", "1 ok"],
    );
}

#[test]
fn nothing_is_added_unless_both_sides_said_that_they_take_headers() {
    for (info, connect) in [
        ("INFO {\"max_payload\":1048576}\r\n", CONNECT),
        (INFO, "CONNECT {\"headers\":false}\r\n"),
        (INFO, "CONNECT {}\r\n"),
    ] {
        let mut talk = Talk::saying(info, connect);
        let said = "PUB a 1\r\n!\r\n";
        assert_eq!(talk.client(said), said);
        let told = ["1 publish a 1 []", "skipped NoHeaders", "1 not added", "1 ok"];
        assert_eq!(talk.notes(), told);
    }
}

#[test]
fn a_message_that_would_be_too_large_with_context_goes_on_as_it_came() {
    let info = INFO.replace("1048576", "119");
    let fits = format!("PUB a 10\r\n{}\r\n", "x".repeat(10));
    assert!(
        Talk::saying(&info, CONNECT)
            .client(&fits)
            .starts_with("HPUB a 109 119\r\n")
    );
    let over = format!("PUB a 11\r\n{}\r\n", "x".repeat(11));
    let mut talk = Talk::saying(&info, CONNECT);
    assert_eq!(talk.client(&over), over);
    let told = ["1 publish a 11 []", "skipped TooLarge", "1 not added", "1 ok"];
    assert_eq!(talk.notes(), told);
}

#[test]
fn a_message_that_the_broker_will_refuse_for_its_size_fails() {
    let mut talk = Talk::saying(&INFO.replace("1048576", "3"), CONNECT);
    assert_eq!(talk.client("PUB a 4\r\n"), "PUB a 4\r\n");
    assert!(
        talk.notes()
            .contains(&"1 error maximum_payload_violation".to_owned())
    );
}

#[test]
fn a_line_that_would_be_too_long_with_its_new_sizes_goes_on_as_it_came() {
    let subject = "s".repeat(MAX_LINE - "PUB  1\r\n".len());
    let said = format!("PUB {subject} 1\r\n!\r\n");
    let mut talk = Talk::new();
    assert_eq!(talk.client(&said), said);
    assert_eq!(talk.notes().get(1).map(String::as_str), Some("skipped TooLarge"));
}

#[test]
fn a_span_ends_with_the_last_byte_of_its_message() {
    let mut talk = Talk::new();
    talk.client("PUB a 5\r\nhel");
    assert_eq!(talk.notes(), ["1 publish a 5 []"]);
    talk.client("lo");
    assert_eq!(talk.notes(), Vec::<String>::new());
    talk.client("\r\n");
    assert_eq!(talk.notes(), ["1 ok"]);
}

#[test]
fn the_protocols_own_subjects_are_no_messages() {
    let said =
        "PUB $JS.API.STREAM.NAMES _INBOX.a.b 0\r\n\r\nPUB _INBOX.x.y 2\r\nok\r\nPUB $KV.b.k 1\r\n1\r\n";
    client(said, said, &[]);
    broker("MSG _INBOX.a.b 1 2\r\n{}\r\nMSG $SYS.x 1 2\r\n{}\r\n", &[]);
}

#[test]
fn a_subject_with_ids_in_it_is_one_destination() {
    let mut talk = Talk::new();
    talk.client("PUB orders.42.paid 0\r\n\r\n");
    assert_eq!(talk.notes()[0], "1 publish orders.*.paid 0 []");
}

#[test]
fn jetstreams_answer_tells_where_the_message_is() {
    let mut talk = Talk::new();
    talk.client("PUB orders.new _INBOX.a.b 1\r\n!\r\nPUB orders.new _INBOX.a.c 1\r\n!\r\n");
    assert_eq!(talk.notes().len(), 2, "nothing ends before its answer");
    talk.broker("MSG _INBOX.a.c 1 29\r\n{\"stream\":\"ORDERS\", \"seq\":12}\r\n");
    assert_eq!(talk.notes(), ["2 ok ORDERS@12"]);
    talk.broker("MSG _INBOX.a.b 1 45\r\n{\"error\":{\"code\":400,\"err_code\":10071},\"x\":1}\r\n");
    assert_eq!(talk.notes(), ["1 error 10071"]);
}

#[test]
fn an_answer_is_read_however_it_is_cut() {
    let make = || {
        let mut talk = Talk::new();
        talk.client("PUB a _INBOX.a.b 1\r\n!\r\n");
        talk.nats
    };
    let said = "MSG _INBOX.a.b 1 22\r\n{\"stream\":\"S\",\"seq\":1}\r\nPING\r\n";
    let (out, told) = however_cut(make, false, said.as_bytes());
    assert_eq!(out, said.as_bytes());
    assert_eq!(told, ["1 ok S@1"]);
}

#[test]
fn a_request_ends_with_its_reply_or_with_nobody_there() {
    let mut talk = Talk::new();
    talk.client(
        "PUB rates.get _INBOX.a.b 1\r\n!\r\nPUB rates.get _INBOX.a.c 1\r\n!\r\nPUB r _INBOX.a.d 0\r\n\r\n",
    );
    talk.notes();
    talk.broker("MSG _INBOX.a.b 1 3\r\n1.5\r\nHMSG _INBOX.a.c 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
    let coded = "NATS/1.0\r\nNats-Service-Error-Code: 404\r\n\r\n";
    talk.broker(&format!("HMSG _INBOX.a.d 1 {0} {0}\r\n{coded}\r\n", coded.len()));
    assert_eq!(talk.notes(), ["1 ok", "2 error no_responders", "3 error 404"]);
    talk.broker("MSG _INBOX.a.b 1 3\r\n1.5\r\n");
    assert_eq!(
        talk.notes(),
        Vec::<String>::new(),
        "the second answer is nobody's"
    );
}

#[test]
fn replies_are_awaited_at_the_subjects_that_the_client_chose() {
    let mut talk = Talk::new();
    talk.client("SUB mine.x.* 1\r\nPUB a mine.x.1 0\r\n\r\nPUB a elsewhere.x 0\r\n\r\nPUB $JS.API.INFO mine.x.2 0\r\n\r\n");
    assert_eq!(talk.notes(), ["1 publish a 0 []", "2 publish a 0 []", "2 ok"]);
    talk.broker("MSG mine.x.1 1 2\r\nok\r\nMSG mine.x.2 1 2\r\n{}\r\n");
    assert_eq!(talk.notes(), ["1 ok"]);
}

#[test]
fn a_delivery_without_a_reply_subject_is_done_at_once() {
    broker(
        "HMSG orders.7 1 35 36\r\nNATS/1.0\r\nTraceparent: 00-1\r\nA:\r\n\r\n!\r\n",
        &["1 Processes deliver orders.* []", "1 ok"],
    );
    broker(
        "MSG a 1 2\r\nok\r\n+OK\r\n",
        &["1 Processes deliver a []", "1 ok"],
    );
}

/// A delivery with these lines in its block.
fn delivery(subject: &str, sid: u8, lines: &str) -> String {
    let said = with(subject, lines, "ok");
    said.replacen(&format!("HPUB {subject}"), &format!("HMSG {subject} {sid}"), 1)
}

#[test]
fn deliveries_of_one_read_to_one_subscription_that_bear_the_same_have_one_span() {
    let of = |span: u8| format!("traceparent: {}\r\n", parent(span));
    let said = [
        delivery("orders.1", 1, &of(7)),
        delivery("orders.2", 1, &of(7)),
        delivery("orders.1", 1, &of(7)),
        delivery("orders.1", 2, &of(7)),
        delivery("orders.1", 1, &of(8)),
        "MSG orders.1 1 2\r\nok\r\nMSG orders.1 1 2\r\nok\r\n".to_owned(),
    ];
    let mut talk = Talk::new();
    talk.client("SUB orders.* 1\r\nSUB orders.1 2\r\n");
    assert_eq!(talk.broker(&said.concat()), said.concat());
    let mut told = talk.notes();
    let ends = told.iter().filter(|line| line.ends_with(" ok")).count();
    assert_eq!(ends, 4, "they end with the read");
    told.retain(|line| !line.ends_with(" ok"));
    told.sort_by_key(|line| line.contains("are"));
    let expected = [
        "1 Processes deliver orders.* [of 0000000000000007]",
        "2 Processes deliver orders.* [of 0000000000000007]",
        "3 Processes deliver orders.* [of 0000000000000008]",
        "4 Processes deliver orders.* []",
        "1 are 3",
        "4 are 2",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_delivery_that_is_answered_or_has_an_id_or_is_one_of_a_few_or_is_cut_has_a_span_of_its_own() {
    let mut talk = Talk::new();
    talk.client("SUB a 1\r\nSUB b 2\r\nUNSUB 2 2\r\n");
    let said = [
        "MSG a 1 _INBOX.x 0\r\n\r\n",
        &delivery("a", 1, "nats-msg-id: seven\r\n"),
        &delivery("a", 1, "nats-msg-id: seven\r\n"),
        "MSG b 2 0\r\n\r\n",
        "MSG b 2 0\r\n\r\n",
        "MSG a 1 0\r\n\r\n",
        "MSG a 1 0\r\n\r",
    ];
    talk.broker(&said.concat());
    let told = talk.notes();
    let spans = told.iter().filter(|line| line.contains("Processes")).count();
    assert_eq!(spans, said.len(), "{told:?}");
    assert!(
        talk.nats.subscriptions.delivers(b"2").is_none(),
        "each was counted"
    );
}

#[test]
fn deliveries_that_share_a_span_count_for_their_subscription() {
    let mut talk = Talk::new();
    talk.client("SUB a 1\r\n");
    talk.broker(&"MSG a 1 0\r\n\r\n".repeat(5));
    talk.client("UNSUB 1 5\r\n");
    assert!(talk.nats.subscriptions.delivers(b"1").is_none());
}

#[test]
fn a_jetstream_delivery_lasts_until_it_is_acknowledged() {
    for (ack, told) in [
        ("0\r\n\r\n", "1 ok"),
        ("4\r\n+ACK\r\n", "1 ok"),
        ("16\r\n-NAK {\"delay\":1}\r\n", "1 error nak"),
        ("5\r\n+TERM\r\n", "1 error term"),
    ] {
        let make = || {
            let mut talk = Talk::new();
            talk.broker("MSG o.n 1 $JS.ACK.S.C.1.17.5.1700000000000000000.0 2\r\nok\r\n");
            assert_eq!(talk.notes(), ["1 Processes deliver o.n S@17[]"]);
            talk.client("PUB $JS.ACK.S.C.1.17.5.1700000000000000000.0 4\r\n+WPI\r\n");
            assert_eq!(talk.notes(), Vec::<String>::new());
            talk.nats
        };
        let said = format!("PUB $JS.ACK.S.C.1.17.5.1700000000000000000.0 {ack}");
        let (out, lines) = however_cut(make, true, said.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), said);
        assert_eq!(lines, [told]);
    }
}

fn consumer(policy: &str) -> String {
    let answer = format!(
        "{{\"type\":\"io.nats.jetstream.api.v1.consumer_info_response\",\"stream_name\":\"S\",\"name\":\"C\",\
         \"config\":{{\"ack_policy\":\"{policy}\"}}}}"
    );
    format!("MSG _INBOX.a.b 1 {}\r\n{answer}\r\n", answer.len())
}

fn delivered(number: u32) -> String {
    format!("MSG a 1 $JS.ACK.S.C.1.{number}.{number}.1.0 0\r\n\r\n")
}

#[test]
fn deliveries_of_a_consumer_that_acknowledges_nothing_are_done_at_once() {
    let mut talk = Talk::new();
    talk.broker(&consumer("none"));
    talk.broker(&delivered(1));
    assert_eq!(talk.notes(), ["1 Processes deliver a S@1[]", "1 ok"]);
    talk.broker(&consumer("explicit"));
    talk.broker(&delivered(2));
    assert_eq!(talk.notes(), ["2 Processes deliver a S@2[]"]);
}

#[test]
fn an_acknowledgement_ends_all_before_it_where_the_consumer_does_so() {
    let mut talk = Talk::new();
    talk.broker(&consumer("all"));
    for number in 1..=4 {
        talk.broker(&delivered(number));
    }
    talk.notes();
    talk.client("PUB $JS.ACK.S.C.1.3.3.1.0 0\r\n\r\n");
    let mut told = talk.notes();
    told.sort_unstable();
    assert_eq!(told, ["1 ok", "2 ok", "3 ok"]);
}

#[test]
fn what_the_broker_says_in_place_of_a_message_is_none() {
    broker(
        "HMSG deliver.x 1 31 31\r\nNATS/1.0 100 Idle Heartbeat\r\n\r\n\r\n",
        &[],
    );
}

#[test]
fn a_delivery_that_is_answered_lasts_until_then() {
    let mut talk = Talk::new();
    talk.client("SUB rates.get workers 1\r\n");
    talk.broker("MSG rates.get 1 _INBOX.a.b 0\r\n\r\n");
    assert_eq!(talk.notes(), ["1 Processes deliver rates.get []"]);
    assert_eq!(
        talk.client("PUB _INBOX.a.b 2\r\nok\r\n"),
        "PUB _INBOX.a.b 2\r\nok\r\n"
    );
    assert_eq!(talk.notes(), ["1 ok"]);
    talk.broker("MSG rates.get 1 _INBOX.a.c 0\r\n\r\nMSG rates.get 1 _INBOX.a.d 0\r\n\r\n");
    assert_eq!(talk.notes().len(), 2, "who answers may have several under way");
    talk.client("PUB _INBOX.a.d 0\r\n\r\nPUB _INBOX.a.c 0\r\n\r\n");
    assert_eq!(talk.notes(), ["3 ok", "2 ok"]);
}

#[test]
fn who_never_answers_is_done_with_a_delivery_when_the_next_comes() {
    let mut talk = Talk::new();
    talk.client("SUB a 1\r\n");
    talk.broker("MSG a 1 _INBOX.a.b 0\r\n\r\nMSG a 1 _INBOX.a.c 0\r\n\r\n");
    assert_eq!(
        talk.notes(),
        ["1 Processes deliver a []", "2 Processes deliver a []", "1 ok"]
    );
    talk.client("UNSUB 1\r\n");
    assert_eq!(talk.notes(), ["2 ok"]);
}

#[test]
fn a_subscription_is_forgotten_after_the_deliveries_that_it_asked_for() {
    let mut talk = Talk::new();
    talk.client("SUB a 1\r\nUNSUB 1 2\r\n");
    assert!(talk.nats.subscriptions.delivers(b"1").is_some());
    talk.broker("MSG a 1 0\r\n\r\n");
    assert!(talk.nats.subscriptions.delivers(b"1").is_none());
}

#[test]
fn at_the_bound_the_oldest_request_ends_early() {
    let mut talk = Talk::new();
    for number in 0..=MAX_REQUESTS {
        talk.client(&format!("PUB a _INBOX.{number} 0\r\n\r\n"));
    }
    assert_eq!(talk.notes().last().map(String::as_str), Some("1 ok"));
    for number in 0..=MAX_DELIVERIES {
        talk.broker(&delivered(number as u32));
    }
    let first = format!("{} ok", MAX_REQUESTS + 2);
    assert_eq!(talk.notes().last(), Some(&first));
}

#[test]
fn header_blocks_that_are_too_long_or_broken_pass_and_are_counted() {
    let long = "x".repeat(MAX_HEADERS);
    let block = format!("NATS/1.0\r\na: {long}\r\n\r\n");
    let (headers, total) = (block.len(), block.len() + 1);
    for (said, told) in [
        (format!("{headers} {total}\r\n{block}!\r\n"), "skipped NotHeld"),
        ("4 5\r\noops!\r\n".to_owned(), "skipped UnknownFrame"),
    ] {
        let mut talk = Talk::new();
        let published = format!("HPUB a {said}");
        assert_eq!(talk.client(&published), published);
        assert_eq!(talk.notes(), [told]);
        let delivered = format!("HMSG a 1 {said}");
        assert_eq!(talk.broker(&delivered), delivered);
        assert_eq!(talk.notes(), [told]);
    }
}

#[test]
fn a_broker_tells_of_its_cluster_as_it_is_found_through_the_agent() {
    let mut talk = Talk::new();
    talk.notes.port_shift = Some(1);
    let told = talk.broker("INFO {\"headers\":true,\"connect_urls\":[\"10.0.0.1:4222\"]}\r\nPING\r\n");
    assert_eq!(
        told,
        "INFO {\"headers\":true,\"connect_urls\":[\"127.0.0.1:4223\"]}\r\nPING\r\n"
    );
}

#[test]
fn a_client_that_begins_tls_passes_unseen() {
    let hello = b"\x16\x03\x01\x02\x00\x01".as_slice();
    let (out, told) = however_cut(Nats::new, true, hello);
    assert_eq!((out.len(), told), (0, vec![NotUnderstood::Encrypted.to_string()]));
}

#[test]
fn what_the_server_would_not_take_passes_unseen_with_all_that_follows() {
    for said in [
        "GET / HTTP/1.1\r\n",
        "PUBX a 1\r\n",
        "PUB a\r\n",
        "PUB a b c 1\r\n",
        "PUB a 1234567890\r\n",
        "PUB a -1\r\n",
        "PUB a 1x\r\n",
        "HPUB a 2 1\r\n",
        "HPUB a 1\r\n",
        "MSG a 1 1\r\n",
        "CONNECT nonsense\r\n",
        "\r\n",
        "\x16\x03",
    ] {
        let mut talk = Talk::new();
        let (mut input, mut out) = (BytesMut::from(said), BytesMut::new());
        let told = talk.nats.client_said(&mut input, &mut out, &mut talk.notes);
        assert_eq!((told, out.len()), (Err(NotUnderstood::Malformed), 0), "{said}");
        assert_eq!(&*input, said.as_bytes(), "nothing is lost");
    }
    let long = format!("PUB {}", "a".repeat(MAX_LINE));
    let (out, told) = however_cut(Nats::new, true, &long.as_bytes()[..40]);
    assert_eq!((out.len(), told.len()), (0, 0));
    let mut input = BytesMut::from(long.as_str());
    let told = Nats::new().client_said(&mut input, &mut BytesMut::new(), &mut Notes::default());
    assert_eq!(told, Err(NotUnderstood::Malformed));
    assert_eq!(
        Nats::new().broker_said(
            &mut BytesMut::from("PUB a 1\r\n"),
            &mut BytesMut::new(),
            &mut Notes::default()
        ),
        Err(NotUnderstood::Malformed)
    );
}

/// Messages as clients write them.
fn message() -> impl Strategy<Value = (String, Option<String>, Option<String>, Vec<u8>)> {
    let key = prop::sample::select(vec!["orders.new", "a", "t.42.x", "_INBOX.a", "$JS.API.X"]);
    let reply = prop::option::of("[a-z]{1,8}");
    let headers = prop::option::of("([A-Za-z-]{1,10}: ?[ -~]{0,20}\r\n){0,4}");
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (key.prop_map(str::to_owned), reply, headers, payload)
}

fn write(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, headers: Option<&str>, payload: &[u8]) {
    let reply = reply.map_or(String::new(), |reply| format!("{reply} "));
    let size = payload.len();
    let head = match headers {
        None => format!("PUB {subject} {reply}{size}\r\n"),
        Some(lines) => {
            let block = format!("NATS/1.0\r\n{lines}\r\n");
            format!(
                "HPUB {subject} {reply}{} {}\r\n{block}",
                block.len(),
                block.len() + size
            )
        }
    };
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

fn pass(splice: &mut Nats, from_client: bool, bytes: &[u8], cuts: usize, notes: &mut Notes) -> Vec<u8> {
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    for part in bytes.chunks(cuts) {
        input.extend_from_slice(part);
        let said = if from_client {
            splice.client_said(&mut input, &mut out, notes)
        } else {
            splice.broker_said(&mut input, &mut out, notes)
        };
        if said.is_err() {
            // From here on all bytes pass unseen.
            let at = out.len() + input.len();
            let rest = bytes.get(at.min(bytes.len())..).unwrap_or_default();
            out.extend_from_slice(&input);
            out.extend_from_slice(rest);
            return out.to_vec();
        }
    }
    out.extend_from_slice(&input);
    out.to_vec()
}

proptest! {
    #[test]
    fn what_was_added_can_be_taken_away_and_all_else_is_as_it_was(
        messages in prop::collection::vec(message(), 1..8), cuts in 1..300_usize
    ) {
        let (mut said, mut expected) = (Vec::new(), Vec::new());
        for (subject, reply, headers, payload) in &messages {
            write(&mut said, subject, reply.as_deref(), headers.as_deref(), payload);
            let is_message = !is_protocol(subject.as_bytes());
            let bears = headers.as_ref().is_some_and(|lines| lines.to_lowercase().contains("\r\ntraceparent:"));
            let lines = headers.clone().unwrap_or_default() + BLOCK.trim_end_matches("\r\n") + "\r\n";
            let headers = if is_message && !bears { Some(lines) } else { headers.clone() };
            write(&mut expected, subject, reply.as_deref(), headers.as_deref(), payload);
        }
        let mut talk = Talk::new();
        let passed = pass(&mut talk.nats, true, &said, cuts, &mut talk.notes);
        prop_assert_eq!(passed.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn arbitrary_bytes_pass_whole(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::select(vec![
                "PUB a 3\r\n", "HPUB a 12 12\r\n", "NATS/1.0\r\n\r\n", "MSG a 1 _INBOX.1 3\r\n", "\r\n", "abc\r\n",
                "HMSG a 1 12 15\r\n", "INFO {}\r\n", "CONNECT {}\r\n", "SUB a 1\r\n", "UNSUB 1\r\n", "PING\r\n",
                "PUB $JS.ACK.S.C.1.1.1.1.1 4\r\n", "MSG _INBOX.1 1 2\r\n{}\r\n", "PUB a _INBOX.1 999999999\r\n",
            ]).prop_map(|part| part.as_bytes().to_vec()),
        ], 0..12), cuts in 1..60_usize, from_client: bool
    ) {
        let bytes = parts.concat();
        let mut nats = Nats::new();
        let passed = pass(&mut nats, from_client, &bytes, cuts, &mut Notes::default());
        prop_assert_eq!(passed, bytes);
    }
}
