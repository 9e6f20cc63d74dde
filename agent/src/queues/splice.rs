//! What one protocol is to the rest of the agent: bytes in, bytes out, and word of every message among them.
//!
//! In: what client and broker of one connection say, as it comes. Out: the same bytes with what is to be added to messages,
//! and by way of a [`Courier`] what was sent, received and settled.
//! Left out on purpose: sockets, clocks, spans and ids, which are the courier's.

use bytes::BytesMut;
use otlp::encode::Attributes;
use propagation::{Extract, Extracted};

/// One protocol on one connection.
///
/// Both functions take whole pieces (frames, lines, or as much of them as can be judged alone) from the front of `input`
/// and append to `out` what goes on. What is not a whole piece yet stays in `input`, and the next call has more of it;
/// bodies pass as they come and are waited for only where they must be changed. Every byte that was taken has been
/// written, as it was or changed, when a function returns.
pub(crate) trait Splice: Send {
    /// What the client said.
    ///
    /// # Errors
    /// What begins `input` is not understood. From then on neither function is called again: all bytes pass unseen,
    /// beginning with those in `input`.
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood>;

    /// What the broker said.
    ///
    /// # Errors
    /// As [`Splice::client_said`].
    fn broker_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood>;
}

/// Why a connection passes unseen from here on. Nobody is harmed; its messages have no spans and no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUnderstood {
    /// It is not the protocol that was configured, or broken.
    #[error("what was said is not this protocol")]
    Malformed,
    /// A version or a mode of the protocol that we do not read.
    #[error("this version or mode of the protocol is not read")]
    Unknown,
    /// Client and broker agreed to speak TLS, or another encryption, from here on.
    #[error("what follows is encrypted")]
    Encrypted,
}

/// Why a message, or a part of what was said, goes on as it came although more was wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// With what would be added it would be over a bound of broker or protocol.
    TooLarge,
    /// The peer said that it takes no headers, or the version has none.
    NoHeaders,
    /// A frame, a command or an API that is known to the protocol and not to us.
    UnknownFrame,
    /// Compressed in a way that we do not read, or broken inside.
    Compression,
    /// Larger than what is held in memory to be read.
    NotHeld,
}

/// An open span of a message. It ends by [`Courier::settle`]; those that are open when a connection ends fail then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// A message on its way to the broker.
pub(crate) struct Sending<'a> {
    /// `messaging.destination.name`, as the semantic conventions form it for the system. It has few values.
    pub(crate) destination: &'a str,
    /// `messaging.operation.name`: what the protocol calls it, such as `publish`.
    pub(crate) operation: &'static str,
    pub(crate) carried: Carried<'a>,
    /// `messaging.message.body.size` in bytes, where it is known by now; told of a span that stays that of one message.
    pub(crate) size: Option<u64>,
    /// Adds what else the conventions ask for.
    pub(crate) more: &'a dyn Fn(&mut Attributes),
}

/// What a message says of its place in a trace.
#[derive(Clone, Copy)]
pub(crate) enum Carried<'a> {
    /// Its metadata as it came.
    Raw(&'a dyn Extract),
    /// What [`Courier::reads`] made of that, so that messages that are sent together and bear the same are told of as one.
    Read(&'a Extracted),
}

/// What becomes of a message that is sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Absent where nothing is told of the message.
    pub(crate) token: Option<Token>,
    /// What to add to the message's metadata, keys in lower case and none of them there yet; empty where it stays as it is.
    /// Of [`Carried::Read`] nobody knows which keys are there: whoever adds it passes over those that a message has.
    /// Whoever cannot add it says so by [`Courier::skipped`] and [`Courier::not_added`].
    pub(crate) add: Vec<(String, Vec<u8>)>,
}

/// Messages on their way from the broker to the consumer.
pub(crate) struct Receiving<'a> {
    /// As [`Sending::destination`].
    pub(crate) destination: &'a str,
    /// As [`Sending::operation`], such as `deliver` or `poll`.
    pub(crate) operation: &'static str,
    pub(crate) how: How,
    /// As [`Sending::size`].
    pub(crate) size: Option<u64>,
    /// At least one.
    pub(crate) messages: &'a [Received<'a>],
    /// As [`Sending::more`].
    pub(crate) more: &'a dyn Fn(&mut Attributes),
}

/// One of them, or several of one batch that bear the same.
pub(crate) struct Received<'a> {
    pub(crate) carried: Carried<'a>,
    /// As [`End::place`].
    pub(crate) place: Option<&'a str>,
    /// How many; at least 1.
    pub(crate) messages: usize,
}

/// What the consumer does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It was handed one message, or several that bear the same, and works on them until it settles them: a CONSUMER span that
    /// lasts so long and is a child of the one that sent them. Its calls meanwhile belong to it as they would to a request.
    Processes,
    /// It asked for messages and got some: a CLIENT span with a link to each of them. When it works on which nobody sees.
    Receives,
}

/// How an open span ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct End<'a> {
    /// `error.type` where it failed: few values, such as the broker's error code by name.
    pub(crate) error: Option<&'a str>,
    /// The name that the broker gave to the message, by which another agent's span of the same message is found without a
    /// change to it: `TOPIC/PARTITION@OFFSET` (Kafka; the offset of the first record of its batch, whichever of them a consumer
    /// gets), `STREAM@ENTRY-ID` (Redis), `STREAM@SEQUENCE` (`JetStream`). It is the same for sender and receiver.
    pub(crate) place: Option<&'a str>,
}

/// Whoever is told of messages, and says what to add to them.
pub(crate) trait Courier {
    /// What a message bears, for those who compare messages that are sent together.
    fn reads(&mut self, carried: &dyn Extract) -> Extracted;
    /// The client sends a message.
    fn sends(&mut self, message: &Sending<'_>) -> Sent;
    /// The message of `token` is one of so many, more than one, that were sent or received together and bear the same: its span
    /// is that of all of them.
    fn stands_for(&mut self, token: Token, messages: usize);
    /// What was to be added to so many messages of `token` could not be. Whoever shares a span says first of how many messages
    /// it is.
    fn not_added(&mut self, token: Token, messages: usize);
    /// The consumer gets messages. `None` where nothing is told of them.
    fn receives(&mut self, messages: &Receiving<'_>) -> Option<Token>;
    /// The broker has taken a message, or the consumer is done with one. Tokens that are unknown are ignored.
    fn settle(&mut self, token: Token, end: End<'_>);
    /// The connection passes unseen from here on: nobody will say how its messages end.
    fn goes_blind(&mut self);
    /// Something went on as it came although more was wanted of it; counted.
    fn skipped(&mut self, why: Skip);
    /// Whether context may be added to messages at all; where not, bodies need not be held to be changed.
    fn injects(&self) -> bool;
    /// Whether the names that brokers give to messages are wanted.
    fn joins(&self) -> bool;
    /// Whether context may be added to messages of this destination, where adding is for the application to see.
    fn may_change(&self, destination: &str) -> bool;
    /// Where a client that was told of a broker at `host:port` finds it through the agent. `None`: there.
    fn way_to(&mut self, host: &str, port: u16) -> Option<(String, u16)>;
}

#[cfg(any(test, fuzzing))]
pub(crate) mod testing {
    //! A courier that writes down what it is told.

    use std::fmt::Write as _;

    use propagation::Propagator;

    use super::super::cloud_events::Event;
    use super::*;

    /// What was told, a line each.
    #[derive(Debug, Default)]
    pub(crate) struct Notes {
        pub(crate) lines: Vec<String>,
        /// Spans that are sent end at once.
        pub(crate) full: bool,
        /// How many messages were read for what they bear.
        pub(crate) read: usize,
        /// What every message that bears no `traceparent` gets.
        pub(crate) add: Vec<(String, Vec<u8>)>,
        pub(crate) joins: bool,
        /// Where brokers are found: by port, as `127.0.0.1` and this much more.
        pub(crate) port_shift: Option<u16>,
        next: u64,
    }

    /// What a message says, in words.
    fn words(carried: Carried<'_>) -> String {
        match carried {
            Carried::Raw(carried) => pairs(carried),
            Carried::Read(extracted) => {
                let of = |context: &propagation::SpanContext| format!("of {}", context.span_id);
                extracted.context.as_ref().map_or_else(String::new, of)
            }
        }
    }

    fn bears(carried: Carried<'_>) -> bool {
        match carried {
            Carried::Raw(carried) => {
                let mut bears = false;
                carried.get_all("traceparent", &mut |_| bears = true);
                bears
            }
            Carried::Read(extracted) => extracted.context.is_some(),
        }
    }

    /// A `traceparent` and a correlation id as every message gets them.
    pub(crate) fn context() -> Vec<(String, Vec<u8>)> {
        let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_vec();
        let correlation = b"order-7".to_vec();
        vec![
            ("traceparent".to_owned(), parent),
            ("x-correlation-id".to_owned(), correlation),
        ]
    }

    /// All pairs of a carrier, in their order.
    pub(crate) fn pairs(carried: &dyn Extract) -> String {
        let mut text = String::new();
        carried.each(&mut |key, value| {
            let _ = write!(text, "{key}={} ", String::from_utf8_lossy(value));
        });
        text.trim_end().to_owned()
    }

    impl Notes {
        /// One that adds [`context`].
        pub(crate) fn injecting() -> Self {
            Self {
                add: context(),
                ..Self::default()
            }
        }

        fn token(&mut self) -> Token {
            self.next += 1;
            Token(self.next)
        }
    }

    impl Courier for Notes {
        fn reads(&mut self, carried: &dyn Extract) -> Extracted {
            self.read += 1;
            let propagator = Propagator::default();
            match Event::of(carried) {
                Some(event) => propagator.extract(&event),
                None => propagator.extract(carried),
            }
        }

        fn sends(&mut self, message: &Sending<'_>) -> Sent {
            let token = self.token();
            let carried = words(message.carried);
            let Sending {
                destination,
                operation,
                size,
                ..
            } = message;
            let size = size.map_or_else(|| "?".to_owned(), |size| size.to_string());
            self.lines.push(format!(
                "{} {operation} {destination} {size} [{carried}]",
                token.0
            ));
            Sent {
                token: (!self.full).then_some(token),
                add: if bears(message.carried) {
                    Vec::new()
                } else {
                    self.add.clone()
                },
            }
        }

        fn stands_for(&mut self, token: Token, messages: usize) {
            self.lines.push(format!("{} are {messages}", token.0));
        }

        fn not_added(&mut self, token: Token, messages: usize) {
            let times = match messages {
                1 => String::new(),
                messages => format!(" to {messages}"),
            };
            self.lines.push(format!("{} not added{times}", token.0));
        }

        fn receives(&mut self, messages: &Receiving<'_>) -> Option<Token> {
            let token = self.token();
            let each = messages.messages.iter().map(|message| {
                let place = message.place.unwrap_or_default();
                let times = match message.messages {
                    1 => String::new(),
                    messages => format!("*{messages}"),
                };
                format!("{place}[{}]{times}", words(message.carried))
            });
            let each = each.collect::<Vec<_>>().join(" ");
            let Receiving {
                destination,
                operation,
                how,
                ..
            } = messages;
            self.lines
                .push(format!("{} {how:?} {operation} {destination} {each}", token.0));
            Some(token)
        }

        fn settle(&mut self, token: Token, end: End<'_>) {
            let error = end
                .error
                .map_or_else(|| "ok".to_owned(), |error| format!("error {error}"));
            let place = end.place.map_or_else(String::new, |place| format!(" {place}"));
            self.lines.push(format!("{} {error}{place}", token.0));
        }

        fn goes_blind(&mut self) {
            self.lines.push("blind".to_owned());
        }

        fn skipped(&mut self, why: Skip) {
            self.lines.push(format!("skipped {why:?}"));
        }

        fn injects(&self) -> bool {
            !self.add.is_empty()
        }

        fn joins(&self) -> bool {
            self.joins
        }

        fn may_change(&self, _: &str) -> bool {
            self.injects()
        }

        fn way_to(&mut self, _: &str, port: u16) -> Option<(String, u16)> {
            let port = port.checked_add(self.port_shift?)?;
            Some(("127.0.0.1".to_owned(), port))
        }
    }

    /// Gives `bytes` to `splice` whole, then cut at every place, then byte by byte, each time to a splicer made anew by
    /// `make`; what goes on must always be the same. Returns that.
    ///
    /// # Panics
    /// It depends on how the bytes came.
    pub(crate) fn however_cut<S: Splice>(
        make: impl Fn() -> S,
        from_client: bool,
        bytes: &[u8],
    ) -> (Vec<u8>, Vec<String>) {
        let run = |parts: &[&[u8]]| {
            let (mut splice, mut notes) = (make(), Notes::injecting());
            let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
            for part in parts {
                input.extend_from_slice(part);
                let said = if from_client {
                    splice.client_said(&mut input, &mut out, &mut notes)
                } else {
                    splice.broker_said(&mut input, &mut out, &mut notes)
                };
                if let Err(error) = said {
                    notes.lines.push(error.to_string());
                    break;
                }
            }
            (out.to_vec(), notes.lines)
        };
        let whole = run(&[bytes]);
        for cut in 1..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(run(&[first, second]), whole, "cut at {cut}");
        }
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(run(&each), whole, "byte by byte");
        whole
    }
}
