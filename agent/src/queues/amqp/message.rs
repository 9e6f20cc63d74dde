//! A message that passes in parts: a method, a header, and bodies until all of it went on.
//!
//! In: each part. Out: what the conventions say of it, and its span settled with the last byte where nobody else settles it.
//! Left out on purpose: who sends it to whom, and who acknowledges it.

use otlp::encode::Attributes;

use super::content::Content;
use super::ledger::{Told, failed};
use super::names;
use crate::queues::splice::{End, Token};

/// A message that passes in parts. The texts are kept to be filled again.
#[derive(Default)]
pub(super) struct Message {
    pub(super) stage: Stage,
    pub(super) destination: String,
    anonymous: bool,
    routing_key: String,
}

#[derive(Default)]
pub(super) enum Stage {
    #[default]
    Idle,
    Header,
    Body {
        left: u64,
        token: Option<Token>,
    },
}

impl Message {
    pub(super) fn begin(&mut self, exchange: &[u8], routing_key: &[u8], queue: &[u8], told: &mut Told<'_>) {
        self.break_off("unfinished", told);
        self.stage = Stage::Header;
        self.anonymous = names::destination(exchange, routing_key, queue, &mut self.destination);
        self.routing_key.clear();
        self.routing_key.push_str(&String::from_utf8_lossy(routing_key));
    }

    pub(super) fn break_off(&mut self, error: &str, told: &mut Told<'_>) {
        if let Stage::Body {
            token: Some(token), ..
        } = std::mem::take(&mut self.stage)
        {
            told.courier.settle(token, failed(error));
        }
    }

    /// `length` bytes of the body went on; zero where it has none. `token` is settled with the last of them.
    pub(super) fn body(&mut self, length: usize, told: &mut Told<'_>) {
        let Stage::Body { left, token } = &mut self.stage else {
            return;
        };
        *left = left.saturating_sub(length as u64);
        if *left > 0 {
            return;
        }
        if let Some(token) = token.take() {
            told.courier.settle(token, End::default());
        }
        self.stage = Stage::Idle;
    }

    pub(super) fn describe(&self, content: &Content<'_>, out: &mut Attributes) {
        if !self.routing_key.is_empty() {
            out.push(
                "messaging.rabbitmq.destination.routing_key",
                self.routing_key.as_str(),
            );
        }
        if self.anonymous {
            out.push("messaging.destination.anonymous", true);
        }
        if let Some(id) = content.message_id {
            out.push("messaging.message.id", id);
        }
        if let Some(id) = content.correlation_id {
            out.push("messaging.message.conversation_id", id);
        }
    }
}
