//! Small readers and writers shared by the formats: numbers, base64 and optional whitespace.
//!
//! In: bytes from outside. Out: fixed-size arrays and numbers, or `None`.
//! Left out on purpose: signs and digit separators, which no format has.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// gRPC wants values with and without padding read, and none written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `N` bytes from exactly `2 * N` lower-case hex digits; `None` for any other text.
pub(crate) fn from_lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// The number that 1 to `most` hex digits of either case stand for; at most 32 digits fit.
pub(crate) fn number_from_hex(text: &str, most: usize) -> Option<u128> {
    let legal = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    legal.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// The number that decimal digits stand for.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let legal = text.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| text.parse().ok()).flatten()
}

/// The bytes that base64 stands for, padded or not.
pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// `bytes` as base64 without padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Appends `bytes` as lower-case hex.
pub(crate) fn push_lower_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0x0f] {
            out.push(char::from(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            }));
        }
    }
}

/// The value without spaces and tabs at either end (RFC 9110, `OWS`).
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// [`trim_ows`] for text.
pub(crate) fn trim_ows_str(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// Whether `byte` may stand in a token (RFC 9110, section 5.6.2): header names and baggage keys.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
