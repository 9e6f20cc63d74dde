//! Strings and numbers, as Go writes them.
//!
//! In: a query, from the place where one begins. Out: its value.
//! Left out on purpose: signs, which are operators.

use super::{Lexer, Token};
use crate::duration;
use crate::traceql::{Fault, fault};

impl Lexer<'_> {
    /// A quoted part of an attribute's name, where only quote and backslash may be escaped.
    pub(super) fn quoted_key(&mut self, at: usize) -> Result<String, Fault> {
        let mut key = String::new();
        loop {
            match (self.bump(), self.peek()) {
                (Some('"'), _) => return Ok(key),
                (Some('\\'), Some(escaped @ ('"' | '\\'))) => {
                    key.push(escaped);
                    self.bump();
                }
                (Some('\\'), _) => {
                    return fault(self.at, "in a name only `\\\"` and `\\\\` are escapes");
                }
                (Some(plain), _) => key.push(plain),
                (None, _) => return fault(at, "the quoted name has no end, write `\"` behind it"),
            }
        }
    }

    /// The rest of a string behind its opening quote, with the escapes of Go.
    pub(super) fn quoted(&mut self, at: usize) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        loop {
            let here = self.at;
            match self.bump() {
                Some('"') => {
                    return String::from_utf8(bytes).or_else(|_| fault(at, "the string must be UTF-8"));
                }
                Some('\\') => self.escape(here, &mut bytes)?,
                None | Some('\n') => {
                    return fault(at, "the string has no end on its line, write `\"` behind it");
                }
                Some(plain) => bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, at: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let plain = match self.bump() {
            Some('a') => 7,
            Some('b') => 8,
            Some('t') => b'\t',
            Some('n') => b'\n',
            Some('v') => 11,
            Some('f') => 12,
            Some('r') => b'\r',
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('\'') => b'\'',
            Some(octal @ '0'..='7') => {
                self.at -= octal.len_utf8();
                let byte = u8::try_from(self.digits(3, 8, at)?);
                byte.or_else(|_| fault(at, "an octal escape must be at most `\\377`"))?
            }
            Some('x') => self.digits(2, 16, at)? as u8,
            Some(unicode @ ('u' | 'U')) => {
                let code = self.digits(if unicode == 'u' { 4 } else { 8 }, 16, at)?;
                let Some(character) = char::from_u32(code) else {
                    return fault(at, format!("U+{code:04X} is no character"));
                };
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return fault(at, "no such escape: write `\\\\` for a backslash"),
        };
        out.push(plain);
        Ok(())
    }

    fn digits(&mut self, count: u32, radix: u32, at: usize) -> Result<u32, Fault> {
        let mut number = 0_u32;
        for _ in 0..count {
            let Some(digit) = self.bump().and_then(|c| c.to_digit(radix)) else {
                return fault(at, format!("the escape needs {count} digits of base {radix}"));
            };
            number = number.wrapping_mul(radix).wrapping_add(digit);
        }
        Ok(number)
    }

    /// A duration where units follow, else an integer or a float.
    pub(super) fn number(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | 'µ' | 'μ'));
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Token::Int).or_else(|_| {
                let most = i64::MAX;
                fault(
                    at,
                    format!("`{text}` is too large, the largest integer is {most}"),
                )
            });
        }
        if text.ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']) {
            return self.exponent(text, at);
        }
        let float = text
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| text.parse::<f64>())
            .and_then(Result::ok);
        if let Some(float) = float {
            return Ok(Token::Float(float));
        }
        match duration::parse(text) {
            Ok(nanos) => Ok(Token::Duration(nanos)),
            Err(_) => fault(
                at,
                format!("`{text}` is neither a number nor a duration such as `1.5s` or `200ms`"),
            ),
        }
    }

    fn exponent(&mut self, mantissa: &str, at: usize) -> Result<Token, Fault> {
        let sign = self.bump().unwrap_or('+');
        let digits = self.take_while(|c| c.is_ascii_alphanumeric());
        let text = format!("{mantissa}{sign}{digits}");
        match text.parse() {
            Ok(float) => Ok(Token::Float(float)),
            Err(_) => fault(at, format!("`{text}` is no number")),
        }
    }
}
