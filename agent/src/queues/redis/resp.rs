//! RESP, the protocol of Redis, in versions 2 and 3.
//!
//! In: bytes of values. Out: where each ends, without holding it; and the parts of one that is there whole.
//! Left out on purpose: values as types. Nothing is decoded but lengths, and what is asked for.
//!
//! Source: the Redis serialization protocol specification.

use memchr::memchr;

use super::super::splice::NotUnderstood;

/// Of a line: errors can be long, everything else is short.
const MAX_LINE: usize = 64 * 1024;
/// Of a line with a number: type, sign, 19 digits, line end.
const MAX_NUMBER_LINE: usize = 32;

/// The number on the line that begins `input`, behind its first byte, and the length of that line. `None` where more is
/// needed to tell.
///
/// # Errors
/// There is none.
pub(super) fn number(input: &[u8]) -> Result<Option<(i64, usize)>, NotUnderstood> {
    let within = input.get(..MAX_NUMBER_LINE).unwrap_or(input);
    let Some(end) = memchr(b'\n', within) else {
        let room = input.len() < MAX_NUMBER_LINE;
        return if room {
            Ok(None)
        } else {
            Err(NotUnderstood::Malformed)
        };
    };
    let digits = within.get(1..end).and_then(|line| line.strip_suffix(b"\r"));
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number
        .map(|number| Some((number, end + 1)))
        .ok_or(NotUnderstood::Malformed)
}

/// How far along in a value we are. Its depth does not matter: only how many values are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    values: u64,
    body: u64,
}

impl Walk {
    /// Before `values` of them.
    pub(super) fn over(values: u64) -> Self {
        Self { values, body: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.values == 0 && self.body == 0
    }

    /// What is still to come of a string that began.
    pub(super) fn body(&self) -> u64 {
        self.body
    }

    /// How much of `input` belongs to it; 0 where there must be more to tell.
    ///
    /// # Errors
    /// What begins `input` is no value.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<usize, NotUnderstood> {
        let mut at = 0;
        while !self.is_done() {
            let rest = input.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if self.body > 0 {
                let now = usize::try_from(self.body).unwrap_or(usize::MAX).min(rest.len());
                self.body -= now as u64;
                at += now;
                continue;
            }
            match self.head(rest) {
                Ok(0) => break,
                Ok(len) => at += len,
                // What comes before it passes first.
                Err(_) if at > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }

    /// Enters the value that begins `input`; the length of its first line, 0 where that is not there.
    fn head(&mut self, input: &[u8]) -> Result<usize, NotUnderstood> {
        let kind = input.first().copied().unwrap_or_default();
        let (each, own) = match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {
                let len = line(input)?;
                self.values -= u64::from(len > 0);
                return Ok(len);
            }
            b'$' | b'=' | b'!' => (0, 0),
            b'*' | b'~' | b'>' => (1, 0),
            b'%' => (2, 0),
            // Pairs, and then what they are of.
            b'|' => (2, 1),
            _ => return Err(NotUnderstood::Malformed),
        };
        let Some((number, len)) = number(input)? else {
            return Ok(0);
        };
        // Below 0 it is none at all.
        let number = u64::try_from(number).unwrap_or(0);
        let is_none = input.get(1) == Some(&b'-');
        if each == 0 {
            self.body = if is_none { 0 } else { number.saturating_add(2) };
        }
        let more = number.checked_mul(each).and_then(|more| more.checked_add(own));
        let values = more.and_then(|more| (self.values - 1).checked_add(more));
        self.values = values.ok_or(NotUnderstood::Malformed)?;
        Ok(len)
    }
}

/// The length of the line that begins `input`; 0 where its end is not there.
pub(super) fn line(input: &[u8]) -> Result<usize, NotUnderstood> {
    let within = input.get(..MAX_LINE).unwrap_or(input);
    match memchr(b'\n', within) {
        Some(end) => Ok(end + 1),
        None if input.len() < MAX_LINE => Ok(0),
        None => Err(NotUnderstood::Malformed),
    }
}

/// Reads on in a value that is there whole. `None` throughout where it is not what is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// How many values follow within the array or map that is next; `None` for an absent one too.
    pub(super) fn enter(&mut self) -> Option<u64> {
        let each = match self.rest.first()? {
            b'*' | b'~' => 1,
            b'%' => 2,
            _ => return None,
        };
        let (number, len) = number(self.rest).ok()??;
        self.rest = self.rest.get(len..)?;
        u64::try_from(number).ok()?.checked_mul(each)
    }

    /// The string that is next.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        match self.rest.first()? {
            b'$' => {
                let (number, len) = number(self.rest).ok()??;
                let from = self.rest.get(len..)?;
                let (string, rest) = from.split_at_checked(usize::try_from(number).ok()?)?;
                self.rest = rest.get(2..)?;
                Some(string)
            }
            b'+' => {
                let (first, rest) = self.rest.split_at_checked(line(self.rest).ok()?)?;
                self.rest = rest;
                Some(first.get(1..)?.trim_ascii_end())
            }
            _ => None,
        }
    }

    /// Leaves out `values`, and returns their bytes.
    pub(super) fn skip(&mut self, values: u64) -> Option<&'a [u8]> {
        let mut walk = Walk::over(values);
        let len = walk.step(self.rest).ok()?;
        let (skipped, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        walk.is_done().then_some(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends_whatever_its_depth_and_kind() {
        for value in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":1\r\n",
            ",1.5\r\n",
            "#t\r\n",
            "_\r\n",
            "(123\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "$3\r\na\nb\r\n",
            "=7\r\ntxt:abc\r\n",
            "!3\r\nERR\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n*1\r\n$1\r\na\r\n:2\r\n",
            "%1\r\n+a\r\n*1\r\n:1\r\n",
            "~1\r\n:1\r\n",
            ">2\r\n+a\r\n+b\r\n",
            "|1\r\n+ttl\r\n:1\r\n+OK\r\n",
        ] {
            let input = format!("{value}+next\r\n");
            for cut in 0..=input.len() {
                let mut walk = Walk::over(1);
                let first = walk.step(&input.as_bytes()[..cut]).expect("a value");
                let second = walk.step(&input.as_bytes()[first..]).expect("a value");
                assert_eq!(
                    (first + second, walk.is_done()),
                    (value.len(), true),
                    "{value} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_value_is_not_walked_over() {
        for value in [
            "?\r\n",
            "*x\r\n",
            "$1",
            "*9223372036854775807\r\n%9223372036854775807\r\n",
            "$\n",
            "*1\n",
        ] {
            let mut walk = Walk::over(1);
            let first = walk.step(value.as_bytes());
            let rest = value.as_bytes().get(first.unwrap_or(0)..).unwrap_or_default();
            let again = first.is_err() || walk.step(rest).is_err();
            assert!(again != (value == "$1"), "{value}");
        }
        assert!(Walk::over(1).step(&vec![b'+'; MAX_LINE]).is_err());
        assert!(number(&[b'*'; MAX_NUMBER_LINE]).is_err());
    }

    #[test]
    fn a_string_longer_than_memory_is_walked_over_as_it_comes() {
        let mut walk = Walk::over(1);
        let head = "$9000000000000000000\r\n";
        assert_eq!(walk.step(head.as_bytes()), Ok(head.len()));
        assert_eq!(walk.step(&[0; 100]), Ok(100));
        assert_eq!(walk.body(), 9_000_000_000_000_000_002 - 100);
    }

    #[test]
    fn parts_are_found_in_a_value_that_is_there() {
        let mut cursor = Cursor::new(b"*4\r\n$2\r\nab\r\n+x\r\n*1\r\n:1\r\n%1\r\n+a\r\n_\r\n");
        assert_eq!(cursor.enter(), Some(4));
        assert_eq!(cursor.string(), Some(b"ab".as_slice()));
        assert_eq!(cursor.string(), Some(b"x".as_slice()));
        assert_eq!(cursor.skip(1), Some(b"*1\r\n:1\r\n".as_slice()));
        assert_eq!(cursor.enter(), Some(2));
        assert_eq!((cursor.enter(), cursor.string().is_some()), (None, true));
        assert_eq!((cursor.string(), cursor.skip(2)), (None, None));
    }
}
