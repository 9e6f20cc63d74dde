//! A secret that is shown nowhere.
//!
//! In: what a person or a file gives. Out: something a header can carry, and no text of it for logs.
//! Left out on purpose: where it comes from.

use std::fmt;

use super::HttpError;

/// A secret that is sent as bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub(super) String);

impl Token {
    /// Takes the token without the white space around it.
    ///
    /// # Errors
    /// An empty one, and one that no header can carry.
    pub fn new(text: &str) -> Result<Self, HttpError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(HttpError::Token);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_and_one_that_no_header_carries_is_refused() {
        assert_eq!(format!("{:?}", Token::new(" secret\n").unwrap()), "Token(…)");
        for wrong in ["", " \n", "two words", "two\nlines", "schlüssel"] {
            assert!(matches!(Token::new(wrong), Err(HttpError::Token)), "{wrong:?}");
        }
    }
}
