//! `TraceQL`'s words.
//!
//! In: a query. Out: tokens, each with the byte it begins at, the end included.
//! Left out on purpose: which token may follow which.

mod literals;
mod token;

use store::Scope;

use super::{Fault, MAX_QUERY_BYTES, fault};
use token::OPERATORS;
pub(super) use token::{Comparison, Token};

/// All tokens of `text`, the last one [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    if text.len() > MAX_QUERY_BYTES {
        let len = text.len();
        return fault(
            0,
            format!("the query has {len} bytes but may have at most {MAX_QUERY_BYTES}"),
        );
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space()?;
        let at = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        tokens.push((at, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    /// Always at the beginning of a character.
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or("")
    }

    fn skip_space(&mut self) -> Result<(), Fault> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                match self.rest().find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return fault(self.at, "the comment has no end, write `*/` behind it"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let Some(first) = self.peek() else {
            return Ok(Token::End);
        };
        if first == '"' {
            self.bump();
            return self.quoted(at).map(Token::Str);
        }
        if first == '`' {
            self.bump();
            let text = self.take_while(|c| c != '`').replace('\r', "");
            return match self.bump() {
                Some(_) => Ok(Token::Str(text)),
                None => fault(at, "the string has no end, write a backtick behind it"),
            };
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '.' {
            self.bump();
            return self.attribute(None, at);
        }
        if first.is_alphabetic() || first == '_' {
            return self.word();
        }
        for (text, token) in &OPERATORS {
            if self.rest().starts_with(text) {
                self.at += text.len();
                return Ok(token.clone());
            }
        }
        if let '*' | '/' | '%' | '^' = first {
            self.bump();
            return Ok(Token::Arithmetic(first));
        }
        fault(at, format!("`{}` has no meaning here", first.escape_debug()))
    }

    /// A word, or an attribute where the word is a scope and a dot follows.
    fn word(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
        if self.rest().starts_with('.') {
            self.bump();
            return match word {
                "span" => self.attribute(Some(Scope::Span), at),
                "resource" => self.attribute(Some(Scope::Resource), at),
                "event" => self.attribute(Some(Scope::Event), at),
                "link" => self.attribute(Some(Scope::Link), at),
                "instrumentation" => self.attribute(Some(Scope::Instrumentation), at),
                "parent" => fault(
                    at,
                    "`parent.` is not supported: a condition reads one span and its resource",
                ),
                _ => fault(
                    at,
                    format!(
                        "`{word}.` is no scope: write `.{word}…` for an attribute of any scope, or begin with \
                         `span.`, `resource.`, `event.`, `link.` or `instrumentation.`"
                    ),
                ),
            };
        }
        if self.rest().starts_with(':') {
            self.bump();
            let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Ok(Token::Word(format!("{word}:{name}")));
        }
        Ok(Token::Word(word.to_owned()))
    }

    /// The key behind a scope: everything up to a space or an operator, parts of it in quotes.
    fn attribute(&mut self, scope: Option<Scope>, at: usize) -> Result<Token, Fault> {
        let mut key = String::new();
        while let Some(next) = self.peek() {
            if next == '"' {
                self.bump();
                key.push_str(&self.quoted_key(at)?);
            } else if ends_attribute(next) {
                break;
            } else {
                key.push(next);
                self.bump();
            }
        }
        if key.is_empty() {
            return fault(at, "an attribute needs a name, as in `.http.route`");
        }
        Ok(Token::Attribute(scope, key))
    }
}

fn ends_attribute(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ','
        )
}
