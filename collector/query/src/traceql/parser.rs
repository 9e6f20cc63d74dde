//! `TraceQL`'s grammar.
//!
//! In: tokens. Out: a filter, or the first token that cannot stand where it does.
//! Left out on purpose: evaluation, which is the store's.

mod expression;

use std::iter::Peekable;
use std::vec::IntoIter;

use store::{Field, Filter};

use super::lexer::{Comparison, Token};
use super::{Fault, MAX_DEPTH, MAX_TERMS, fault};
pub(super) use expression::Operand;
use expression::word_operand;

/// A whole query, with the hints behind it, which change nothing here: the newest traces always come first.
pub(super) fn query(tokens: Vec<(usize, Token)>) -> Result<Filter, Fault> {
    let mut parser = Parser::over(tokens);
    let filter = parser.spansets(0)?;
    parser.hints()?;
    parser.end()?;
    Ok(filter)
}

/// One field and nothing else.
pub(super) fn field(tokens: Vec<(usize, Token)>) -> Result<Field, Fault> {
    let mut parser = Parser::over(tokens);
    let (at, token) = parser.next();
    let field = match token {
        Token::Attribute(scope, key) => Field::Attribute { scope, key },
        Token::Word(word) => match word_operand(at, &word)? {
            Operand::Field(field) => field,
            _ => return fault(at, format!("`{word}` is a value, not a field")),
        },
        _ => {
            return fault(
                at,
                "a field must stand here, such as `resource.service.name` or `status`",
            );
        }
    };
    parser.end()?;
    Ok(field)
}

/// `&&` or `||`.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    And,
    Or,
}

struct Parser {
    tokens: Peekable<IntoIter<(usize, Token)>>,
    end: usize,
    terms: usize,
}

impl Parser {
    fn over(tokens: Vec<(usize, Token)>) -> Self {
        let end = tokens.last().map_or(0, |(at, _)| *at);
        Self {
            tokens: tokens.into_iter().peekable(),
            end,
            terms: 0,
        }
    }

    fn peek(&mut self) -> (usize, &Token) {
        match self.tokens.peek() {
            Some((at, token)) => (*at, token),
            None => (self.end, &Token::End),
        }
    }

    fn next(&mut self) -> (usize, Token) {
        self.tokens.next().unwrap_or((self.end, Token::End))
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek().1 == wanted;
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, wanted: &Token, what: &str) -> Result<(), Fault> {
        let (at, _) = self.peek();
        if self.take(wanted) {
            Ok(())
        } else {
            fault(at, format!("{what} is missing here"))
        }
    }

    fn join(&mut self) -> Option<Join> {
        let join = match self.peek().1 {
            Token::And => Join::And,
            Token::Or => Join::Or,
            _ => return None,
        };
        self.next();
        Some(join)
    }

    /// Counts what the store will have to look at.
    fn count(&mut self, at: usize) -> Result<(), Fault> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return fault(
                at,
                format!("a query may have at most {MAX_TERMS} comparisons and spansets"),
            );
        }
        Ok(())
    }

    fn spansets(&mut self, depth: usize) -> Result<Filter, Fault> {
        let mut filter = self.spanset(depth)?;
        while let Some(join) = self.join() {
            let next = self.spanset(depth)?;
            filter = match join {
                Join::And => Filter::And(Box::new(filter), Box::new(next)),
                Join::Or => Filter::Or(Box::new(filter), Box::new(next)),
            };
        }
        Ok(filter)
    }

    fn spanset(&mut self, depth: usize) -> Result<Filter, Fault> {
        let (at, token) = self.next();
        self.count(at)?;
        match token {
            Token::OpenParen => {
                let depth = deeper(at, depth)?;
                let filter = self.spansets(depth)?;
                self.unsupported()?;
                self.expect(&Token::CloseParen, "`)`")?;
                Ok(filter)
            }
            Token::OpenBrace if self.take(&Token::CloseBrace) => Ok(Filter::All),
            Token::OpenBrace => {
                let condition = self.condition(depth)?;
                self.expect(&Token::CloseBrace, "`}`, `&&`, `||` or a comparison")?;
                Ok(Filter::Spans(condition))
            }
            Token::Word(word) => fault(
                at,
                match word.as_str() {
                    "count" | "avg" | "min" | "max" | "sum" => {
                        format!("the aggregate `{word}` is not supported")
                    }
                    "by" | "coalesce" | "select" => format!("the operation `{word}` is not supported"),
                    _ => format!("`{word}` must stand within braces, as in `{{name=\"GET /cart\"}}`"),
                },
            ),
            _ => fault(at, "a query begins with `{`, as in `{status=error}`"),
        }
    }

    /// Refuses by its name what could follow a spanset in full `TraceQL`.
    fn unsupported(&mut self) -> Result<(), Fault> {
        let (at, token) = self.peek();
        let name = match token {
            Token::Pipe => {
                return fault(
                    at,
                    "pipelines (`|`) are not supported, neither aggregates nor metrics: write one filter in braces",
                );
            }
            Token::Structural(name) => *name,
            Token::Compare(comparison) => comparison.as_str(),
            _ => return Ok(()),
        };
        fault(
            at,
            format!("the operator `{name}` between spansets is not supported: write `&&` or `||`"),
        )
    }

    fn hints(&mut self) -> Result<(), Fault> {
        if !self.take(&Token::Word("with".to_owned())) {
            return Ok(());
        }
        self.expect(&Token::OpenParen, "`(`")?;
        loop {
            let (at, token) = self.next();
            if !matches!(token, Token::Word(_)) {
                return fault(at, "a hint must stand here, such as `most_recent=true`");
            }
            self.expect(&Token::Compare(Comparison::Eq), "`=`")?;
            self.literal()?;
            if self.take(&Token::CloseParen) {
                return Ok(());
            }
            self.expect(&Token::Comma, "`,` or `)`")?;
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.unsupported()?;
        let (at, token) = self.peek();
        if *token == Token::End {
            return Ok(());
        }
        fault(at, "the query must end here, or go on with `&&` or `||`")
    }
}

fn deeper(at: usize, depth: usize) -> Result<usize, Fault> {
    if depth >= MAX_DEPTH {
        return fault(at, format!("a query may nest at most {MAX_DEPTH} deep"));
    }
    Ok(depth + 1)
}
