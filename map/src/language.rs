//! The language that a service is written in, and the library by which it logs.
//!
//! In: `telemetry.sdk.language` as resources say it, or what people state. Out: [`Language`], [`LogLibrary`].
//! Left out on purpose: languages that the semantic conventions do not list; such a service has none here.
//! Source: OpenTelemetry semantic conventions, "Telemetry SDK" resource attributes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value of `telemetry.sdk.language`.
///
/// Where a service is seen through several SDKs the smallest counts: proxies report as `cpp` and pages in a browser as
/// `webjs` beside the service whose name they bear, so these two come last. The order is the variants'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// .NET.
    Dotnet,
    /// Erlang and Elixir.
    Erlang,
    /// Go.
    Go,
    /// Java and what else runs on its machine.
    Java,
    /// JavaScript in Node.
    Nodejs,
    /// PHP.
    Php,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// Rust.
    Rust,
    /// Swift.
    Swift,
    /// C++, and proxies written in it.
    Cpp,
    /// JavaScript in a browser.
    Webjs,
}

impl Language {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::Dotnet,
        Self::Erlang,
        Self::Go,
        Self::Java,
        Self::Nodejs,
        Self::Php,
        Self::Python,
        Self::Ruby,
        Self::Rust,
        Self::Swift,
        Self::Cpp,
        Self::Webjs,
    ];

    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dotnet => "dotnet",
            Self::Erlang => "erlang",
            Self::Go => "go",
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Php => "php",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
            Self::Swift => "swift",
            Self::Cpp => "cpp",
            Self::Webjs => "webjs",
        }
    }

    /// The language of an attribute's value; `None` for what the conventions do not list.
    pub fn of(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.as_str() == value)
    }
}

/// A library by which services log, and for which configuration is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLibrary {
    /// `tracing-subscriber`, Rust.
    TracingSubscriber,
    /// Logback, Java.
    Logback,
    /// Log4j 2, Java.
    Log4j2,
    /// The standard library's `logging`, Python.
    Logging,
    /// `structlog`, Python.
    Structlog,
    /// pino, Node.
    Pino,
    /// The standard library's `log/slog`, Go.
    Slog,
    /// zap, Go.
    Zap,
    /// Serilog, .NET.
    Serilog,
}

impl LogLibrary {
    /// All of them, by language.
    pub const ALL: [Self; 9] = [
        Self::TracingSubscriber,
        Self::Logback,
        Self::Log4j2,
        Self::Logging,
        Self::Structlog,
        Self::Pino,
        Self::Slog,
        Self::Zap,
        Self::Serilog,
    ];

    /// Its name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TracingSubscriber => "tracing-subscriber",
            Self::Logback => "logback",
            Self::Log4j2 => "log4j2",
            Self::Logging => "logging",
            Self::Structlog => "structlog",
            Self::Pino => "pino",
            Self::Slog => "slog",
            Self::Zap => "zap",
            Self::Serilog => "serilog",
        }
    }

    /// The language that it is for.
    pub fn language(self) -> Language {
        match self {
            Self::TracingSubscriber => Language::Rust,
            Self::Logback | Self::Log4j2 => Language::Java,
            Self::Logging | Self::Structlog => Language::Python,
            Self::Pino => Language::Nodejs,
            Self::Slog | Self::Zap => Language::Go,
            Self::Serilog => Language::Dotnet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_files_and_on_the_wire() {
        for language in Language::ALL {
            let written = serde_json::to_value(language).unwrap();
            assert_eq!(written, language.as_str());
            assert_eq!(Language::of(language.as_str()), Some(language));
        }
        for library in LogLibrary::ALL {
            assert_eq!(serde_json::to_value(library).unwrap(), library.as_str());
        }
        assert_eq!(Language::of("cobol"), None);
        assert!(Language::ALL.is_sorted(), "the order decides between several");
    }
}
