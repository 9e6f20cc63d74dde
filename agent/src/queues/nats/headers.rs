//! The header block of a NATS message.
//!
//! In: the block as it came. Out: its pairs, what stands on its first line, and the same block with more pairs at its end.
//! Left out on purpose: folding and repeated keys. All pairs stay as they are, in their order.
//!
//! Source: NATS ADR-4. `NATS/1.0`, an inline status or none, then `Key: value` lines and an empty one.

use bytes::BytesMut;
use memchr::memmem;
use propagation::Extract;

const VERSION: &[u8] = b"NATS/1.0";
const LINE_END: &[u8] = b"\r\n";

/// A header block that can be read and added to; or none, which can be added to as well.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    /// Without the last, empty line. Empty where there is no block.
    block: &'a [u8],
    /// Behind the version, without spaces.
    status: &'a [u8],
    lines: &'a [u8],
}

impl<'a> Headers<'a> {
    /// `None` where `block` is no header block.
    pub(super) fn read(block: &'a [u8]) -> Option<Self> {
        let before_end = block.strip_suffix(LINE_END)?;
        let first_end = memmem::find(before_end, LINE_END)?;
        let (first, lines) = before_end.split_at_checked(first_end + LINE_END.len())?;
        let status = first.strip_prefix(VERSION)?.trim_ascii();
        let whole = lines.is_empty() || lines.ends_with(LINE_END);
        whole.then_some(Self {
            block: before_end,
            status,
            lines,
        })
    }

    /// The broker's own word, such as `503`, where it says something in place of a message.
    pub(super) fn status(&self) -> Option<&'a str> {
        let code = self.status.split(|byte| *byte == b' ').next()?;
        let code = std::str::from_utf8(code).ok()?;
        (!code.is_empty()).then_some(code)
    }

    /// The first value of `key`, whatever its case.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self.pairs();
        let (_, value) = pairs.find(|(found, _)| found.eq_ignore_ascii_case(key))?;
        std::str::from_utf8(value).ok()
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let lines = self.lines.split(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (key, value) = line.split_at_checked(colon)?;
            let key = std::str::from_utf8(key).ok()?;
            Some((key, value.strip_prefix(b":")?.trim_ascii()))
        })
    }

    fn has(&self, key: &str) -> bool {
        self.pairs().any(|(own, _)| own.eq_ignore_ascii_case(key))
    }

    /// Writes the lines of `add`, but for keys that are there, and for what would break the block: nobody sends such context.
    pub(super) fn lines(&self, add: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
        for (key, value) in add.iter().filter(|pair| is_writable(pair)) {
            if !self.has(key) {
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(LINE_END);
            }
        }
    }

    /// How long the block is with `added` bytes of lines in it.
    pub(super) fn len_with(&self, added: usize) -> usize {
        let version = if self.block.is_empty() {
            VERSION.len() + LINE_END.len()
        } else {
            self.block.len()
        };
        version + added + LINE_END.len()
    }

    /// The block with the lines `added` behind what is in it.
    pub(super) fn write_with(&self, added: &[u8], out: &mut BytesMut) {
        if self.block.is_empty() {
            out.extend_from_slice(VERSION);
            out.extend_from_slice(LINE_END);
        }
        out.extend_from_slice(self.block);
        out.extend_from_slice(added);
        out.extend_from_slice(LINE_END);
    }
}

impl Extract for Headers<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in self.pairs().filter(|(own, _)| own.eq_ignore_ascii_case(key)) {
            found(value);
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.pairs().for_each(|(key, value)| found(key, value));
    }
}

fn is_writable((key, value): &(String, Vec<u8>)) -> bool {
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n');
    !key.is_empty()
        && !key.bytes().any(|byte| byte == b':' || !byte.is_ascii_graphic())
        && !value.iter().any(breaks)
}

#[cfg(test)]
mod tests {
    use super::super::super::splice::testing::pairs;
    use super::*;

    #[test]
    fn pairs_are_read_in_their_order_whatever_their_case_and_spaces() {
        let block = b"NATS/1.0\r\nA: 1\r\na:2\r\nno colon\r\nB:\t x y \r\n\r\n";
        let headers = Headers::read(block).expect("a block");
        assert_eq!(pairs(&headers), "A=1 a=2 B=x y");
        let mut values = Vec::new();
        headers.get_all("a", &mut |value| values.push(value.to_vec()));
        assert_eq!(values, [b"1".to_vec(), b"2".to_vec()]);
        assert_eq!((headers.status(), headers.get("b")), (None, Some("x y")));
    }

    #[test]
    fn the_brokers_own_word_is_no_pair() {
        let headers = Headers::read(b"NATS/1.0 404 No Messages\r\n\r\n").expect("a block");
        assert_eq!((headers.status(), pairs(&headers).as_str()), (Some("404"), ""));
    }

    #[test]
    fn what_is_no_block_is_not_read() {
        for block in [
            b"".as_slice(),
            b"\r\n",
            b"NATS/1.0\r\n",
            b"HTTP/1.0\r\n\r\n",
            b"NATS/1.0\r\na: 1\r\n",
            b"NATS/1.0\r\na: 1\n\r\n",
        ] {
            assert!(Headers::read(block).is_none(), "{}", block.escape_ascii());
        }
    }

    #[test]
    fn more_pairs_stand_behind_those_that_are_there() {
        let add = [("traceparent".to_owned(), b"x".to_vec())];
        for (block, expected) in [
            ("", "NATS/1.0\r\ntraceparent: x\r\n\r\n"),
            (
                "NATS/1.0 200 ok\r\nA:1\r\n\r\n",
                "NATS/1.0 200 ok\r\nA:1\r\ntraceparent: x\r\n\r\n",
            ),
        ] {
            let headers = Headers::read(block.as_bytes()).unwrap_or_default();
            let (mut lines, mut out) = (Vec::new(), BytesMut::new());
            headers.lines(&add, &mut lines);
            headers.write_with(&lines, &mut out);
            assert_eq!(out, expected.as_bytes());
            assert_eq!(headers.len_with(lines.len()), expected.len());
        }
    }

    #[test]
    fn what_would_break_the_block_is_not_added() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
        let add = [
            pair("a", "1\r\nb: 2"),
            pair("a:b", "1"),
            pair("", "1"),
            pair("ok", "1"),
        ];
        let mut lines = Vec::new();
        Headers::default().lines(&add, &mut lines);
        assert_eq!(lines, b"ok: 1\r\n");
    }

    #[test]
    fn a_key_that_is_there_is_not_added_again_whatever_its_case() {
        let add = ["a", "b"].map(|key| (key.to_owned(), b"2".to_vec()));
        let headers = Headers::read(b"NATS/1.0\r\nA: 1\r\n\r\n").expect("a block");
        let mut lines = Vec::new();
        headers.lines(&add, &mut lines);
        assert_eq!(lines, b"b: 2\r\n");
    }
}
