//! The closed sets of OTLP spans: what a span's role was and how it ended.
//!
//! In: numbers as they stand on the wire. Out: enums, and the numbers again.
//! Left out on purpose: numbers of later versions of the protocol. They read as the zero value, as protobuf
//! libraries do it, because a span of an unknown kind is still a span.

/// The role of a span (`Span.kind`, opentelemetry/proto/trace/v1/trace.proto).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Not said, or a number this version does not know.
    #[default]
    Unspecified,
    /// Work within one service.
    Internal,
    /// The handling of a request that came over the network.
    Server,
    /// A request sent over the network.
    Client,
    /// A message handed to a broker.
    Producer,
    /// A message taken from a broker.
    Consumer,
}

impl Kind {
    /// The kind with this number on the wire; unknown numbers are [`Kind::Unspecified`].
    pub fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// Its number on the wire, 0 to 5.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Its name in lower case, as span metrics and queries write it: `server`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// How a span ended (`Status.code`, opentelemetry/proto/trace/v1/trace.proto).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusCode {
    /// Not said, or a number this version does not know. Counts as success.
    #[default]
    Unset,
    /// Said to be a success by the application.
    Ok,
    /// A failure.
    Error,
}

impl StatusCode {
    /// The code with this number on the wire; unknown numbers are [`StatusCode::Unset`].
    pub fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// Its number on the wire, 0 to 2.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Its name in lower case: `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}
