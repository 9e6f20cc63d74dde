//! The edge hint: what the caller says of itself in the `tracestate` member `tm`.
//!
//! In: the member's value. Out: who called, over what, when, and whether the caller's agent counts the edge itself;
//! either half of an edge makes the edge then. And the same written.
//! Left out on purpose: which peers may see it (the agent strips it for those it does not trust), and any trust in what
//! it says: it names a caller, it never makes a parent.
//!
//! Form: `c:CALLER;k:CLASS;t:MICROS[;n:1][;q:1][;d:CALLEE]`. CALLER and CALLEE are node ids with everything outside
//! `A-Z a-z 0-9 . _ / @ + -` percent-encoded, CLASS one letter, MICROS the time of sending in microseconds since 1970 in
//! hexadecimal. `d` is added by the callee's own agent: a service that passes its caller's `tracestate` on to whom it
//! calls does not make its caller theirs. Keys that are not known are passed over, so that later versions may add some.

use std::fmt::Write as _;

/// What a caller says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeHint {
    /// The caller's node id, `[environment/][namespace/]name`.
    pub caller: String,
    /// Over what it calls.
    pub class: EdgeClass,
    /// When it sent the request, nanoseconds since 1970, exact to the microsecond; 0 where it does not say.
    pub sent_unix_nano: u64,
    /// True where the caller's agent counts the edge itself: spans of it add no request.
    pub counted: bool,
    /// True where, moreover, no span of the caller's agent will come.
    pub quiet: bool,
    /// Whom it was meant for, where the callee's agent says so.
    pub callee: Option<String>,
}

/// Over what a caller calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeClass {
    /// HTTP, gRPC among it.
    #[default]
    Http,
    /// A message queue.
    Message,
}

/// Longest caller id that is read or written, in characters; a `tracestate` value has at most 256.
const MAX_CALLER: usize = 128;

impl EdgeHint {
    /// Reads the value of a `tm` member; `None` where it names no caller. No input panics.
    pub fn parse(value: &str) -> Option<Self> {
        let mut hint = Self {
            caller: String::new(),
            class: EdgeClass::default(),
            sent_unix_nano: 0,
            counted: false,
            quiet: false,
            callee: None,
        };
        for part in value.split(';') {
            match part.split_once(':')? {
                ("c", caller) => hint.caller = decoded(caller)?,
                ("k", "m") => hint.class = EdgeClass::Message,
                ("t", micros) if !micros.starts_with('+') => {
                    hint.sent_unix_nano = u64::from_str_radix(micros, 16).ok()?.checked_mul(1_000)?;
                }
                ("n", "1") => hint.counted = true,
                ("q", "1") => (hint.counted, hint.quiet) = (true, true),
                ("d", callee) => hint.callee = Some(decoded(callee)?),
                _ => {}
            }
        }
        (!hint.caller.is_empty() && hint.caller.len() <= MAX_CALLER).then_some(hint)
    }

    /// The member's value; `None` where the caller's id does not fit.
    pub fn value(&self) -> Option<String> {
        if self.caller.is_empty() || self.caller.len() > MAX_CALLER {
            return None;
        }
        let mut value = String::from("c:");
        encode(&self.caller, &mut value);
        let class = match self.class {
            EdgeClass::Http => 'h',
            EdgeClass::Message => 'm',
        };
        let _ = write!(value, ";k:{class};t:{:x}", self.sent_unix_nano / 1_000);
        if self.quiet {
            value.push_str(";q:1");
        } else if self.counted {
            value.push_str(";n:1");
        }
        if let Some(callee) = &self.callee {
            value.push_str(";d:");
            encode(callee, &mut value);
        }
        (value.len() <= 256).then_some(value)
    }
}

fn encode(id: &str, value: &mut String) {
    for byte in id.bytes() {
        if is_plain(byte) {
            value.push(char::from(byte));
        } else {
            let _ = write!(value, "%{byte:02x}");
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'@' | b'+' | b'-')
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? * 16 + digit()?) as u8);
        } else if is_plain(byte) {
            bytes.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceState;
    use proptest::prelude::*;

    #[test]
    fn a_hint_is_read_and_what_names_no_caller_is_none() {
        let hint = EdgeHint::parse("c:shop/web;k:m;t:5f5e100;z:later;q:1;d:cart").unwrap();
        let expected = EdgeHint {
            caller: "shop/web".to_owned(),
            class: EdgeClass::Message,
            sent_unix_nano: 100_000_000_000,
            counted: true,
            quiet: true,
            callee: Some("cart".to_owned()),
        };
        assert_eq!(hint, expected);
        let too_late = format!("c:web;t:{:x}", u64::MAX);
        for value in ["", "k:h", "c:", "c:a;t:xyz", "c:a%4", "c:a b", "c:%ff", &too_late] {
            assert_eq!(EdgeHint::parse(value), None, "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_written_is_a_legal_member_and_read_back(
            caller in "\\PC{1,40}", callee in proptest::option::of("\\PC{0,9}"), micros in 0..u64::MAX / 1_000,
            counted: bool, quiet: bool, message: bool,
        ) {
            let class = if message { EdgeClass::Message } else { EdgeClass::Http };
            let hint = EdgeHint { caller, class, sent_unix_nano: micros * 1_000, counted: counted || quiet, quiet, callee };
            if let Some(value) = hint.value() {
                prop_assert!(TraceState::parse(format!("tm={value}").as_bytes()).is_ok(), "{value}");
                prop_assert_eq!(EdgeHint::parse(&value), Some(hint));
            } else {
                let named = hint.caller.len() + hint.callee.as_ref().map_or(0, String::len);
                prop_assert!(named > 60, "{} {:?}", hint.caller, hint.callee);
            }
        }

        #[test]
        fn no_text_panics(value in "\\PC{0,80}") {
            let _ = EdgeHint::parse(&value);
        }
    }
}
