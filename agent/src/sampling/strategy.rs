//! What a service's SDKs are told to record, in Jaeger's words.
//!
//! In: shares by operation; or what a Jaeger collector answered. Out: the answer as JSON and as protobuf; or the shares.
//! Left out on purpose: rate limits. A share that moves with the load cannot be scaled up again.
//! Source: Jaeger, `api_v2/sampling.proto`, and its JSON as remote samplers read it.

use std::collections::BTreeMap;

use instrumentation::plan::pace::Limit;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::BoxError;

/// Most operations that are told apart; the rest have the share of all others.
pub(crate) const MAX_OPERATIONS: usize = 2_000;

/// The shares of new traces of one service, 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Strategy {
    /// Of operations that have none of their own.
    pub(crate) share: f64,
    /// By the name of a trace's first span.
    pub(crate) operations: BTreeMap<String, f64>,
    /// How much may be recorded in the whole system, by the name of a trace's first span; of the empty name what has no share of its own.
    /// What is not here nobody bounds.
    pub(crate) limits: BTreeMap<String, Limit>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    strategy_type: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probabilistic_sampling: Option<Probabilistic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation_sampling: Option<ByOperation>,
}

/// `PROBABILISTIC`, which some servers write as its number.
#[derive(Default, Serialize, Deserialize)]
#[serde(untagged)]
enum Kind {
    Number(i64),
    Word(String),
    #[default]
    Absent,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probabilistic {
    /// Absent where it is 0, as in all JSON of protobuf.
    #[serde(default)]
    sampling_rate: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByOperation {
    #[serde(default)]
    default_sampling_probability: f64,
    /// Traces a second that are recorded of each operation in any case; always 0.
    #[serde(default)]
    default_lower_bound_traces_per_second: f64,
    #[serde(default)]
    per_operation_strategies: Vec<OfOperation>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfOperation {
    operation: String,
    probabilistic_sampling: Option<Probabilistic>,
}

impl Strategy {
    /// One share for all operations.
    pub(crate) fn of(share: f64) -> Self {
        Self {
            share,
            operations: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }

    /// What a Jaeger collector answered. Operations beyond [`MAX_OPERATIONS`] are left out.
    ///
    /// # Errors
    /// The answer has no share, or one that is none.
    pub(crate) fn from_json(answer: &[u8]) -> Result<Self, BoxError> {
        let answer: Answer = serde_json::from_slice(answer)?;
        let of_all = answer.probabilistic_sampling.map(|all| all.sampling_rate);
        let (share, of_each) = match answer.operation_sampling {
            Some(of) => (Some(of.default_sampling_probability), of.per_operation_strategies),
            None => (of_all, Vec::new()),
        };
        let share = checked(share.ok_or("the strategy has no share")?)?;
        let mut operations = BTreeMap::new();
        for of in of_each.into_iter().take(MAX_OPERATIONS) {
            if let Some(probabilistic) = of.probabilistic_sampling {
                operations.insert(of.operation, checked(probabilistic.sampling_rate)?);
            }
        }
        Ok(Self {
            share,
            operations,
            limits: BTreeMap::new(),
        })
    }

    /// As JSON, the way Jaeger's agent and collector answered over HTTP.
    pub(crate) fn json(&self) -> String {
        let of_operation = |(operation, share): (&String, &f64)| OfOperation {
            operation: operation.clone(),
            probabilistic_sampling: Some(Probabilistic {
                sampling_rate: *share,
            }),
        };
        let answer = Answer {
            strategy_type: Kind::Word("PROBABILISTIC".to_owned()),
            probabilistic_sampling: Some(Probabilistic {
                sampling_rate: self.share,
            }),
            operation_sampling: (!self.operations.is_empty()).then(|| ByOperation {
                default_sampling_probability: self.share,
                default_lower_bound_traces_per_second: 0.0,
                per_operation_strategies: self.operations.iter().map(of_operation).collect(),
            }),
        };
        // Plain values always have a text.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// As `jaeger.api_v2.SamplingStrategyResponse`.
    pub(crate) fn protobuf(&self) -> Vec<u8> {
        let of_operation = |(operation, share): (&String, &f64)| proto::OfOperation {
            operation: operation.clone(),
            probabilistic: Some(proto::Probabilistic { rate: *share }),
        };
        let response = proto::Response {
            kind: 0,
            probabilistic: Some(proto::Probabilistic { rate: self.share }),
            by_operation: (!self.operations.is_empty()).then(|| proto::ByOperation {
                share: self.share,
                lower_bound: 0.0,
                of_each: self.operations.iter().map(of_operation).collect(),
            }),
        };
        response.encode_to_vec()
    }
}

/// The service that a `jaeger.api_v2.SamplingStrategyParameters` asks for.
///
/// # Errors
/// Not such a message.
pub(crate) fn asked(message: &[u8]) -> Result<String, prost::DecodeError> {
    proto::Parameters::decode(message).map(|parameters| parameters.service_name)
}

fn checked(share: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(format!("the share is {share}, but it must be between 0 and 1"))
}

/// The messages of `sampling.proto` as far as they are used, with its field numbers.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Parameters {
        #[prost(string, tag = "1")]
        pub(super) service_name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Response {
        /// 0 is PROBABILISTIC.
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(message, optional, tag = "2")]
        pub(super) probabilistic: Option<Probabilistic>,
        #[prost(message, optional, tag = "4")]
        pub(super) by_operation: Option<ByOperation>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Probabilistic {
        #[prost(double, tag = "1")]
        pub(super) rate: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ByOperation {
        #[prost(double, tag = "1")]
        pub(super) share: f64,
        #[prost(double, tag = "2")]
        pub(super) lower_bound: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) of_each: Vec<OfOperation>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OfOperation {
        #[prost(string, tag = "1")]
        pub(super) operation: String,
        #[prost(message, optional, tag = "2")]
        pub(super) probabilistic: Option<Probabilistic>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Strategy, String> {
        Strategy::from_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_sets_shares_or_says_why_not() {
        let rate = "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.25}}";
        assert_eq!(read(rate), Ok(Strategy::of(0.25)));
        assert_eq!(
            read("{\"strategyType\":0,\"probabilisticSampling\":{}}"),
            Ok(Strategy::of(0.0))
        );
        let too_much = "{\"probabilisticSampling\":{\"samplingRate\":25}}";
        assert!(read(too_much).is_err_and(|error| error.contains("is 25")));
        let limit =
            "{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":{\"maxTracesPerSecond\":2}}";
        assert_eq!(read(limit), Err("the strategy has no share".to_owned()));
        assert!(read("[]").is_err());
    }

    #[test]
    fn shares_by_operation_are_read_and_told_again_in_both_forms() {
        let text = "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.5},\
                    \"operationSampling\":{\"defaultSamplingProbability\":0.5,\"defaultLowerBoundTracesPerSecond\":0.0,\
                    \"perOperationStrategies\":[{\"operation\":\"GET /orders/{id}\",\
                    \"probabilisticSampling\":{\"samplingRate\":0.125}}]}}";
        let strategy = read(text).expect("a strategy");
        assert_eq!(strategy.share.to_bits(), 0.5_f64.to_bits());
        assert_eq!(strategy.operations.get("GET /orders/{id}"), Some(&0.125));
        assert_eq!(strategy.json(), text);
        let half = [0x12, 9, 9, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f];
        assert_eq!(Strategy::of(0.5).protobuf(), half);
        let told = proto::Response::decode(strategy.protobuf().as_slice()).expect("a message");
        let of_each = told.by_operation.expect("shares by operation").of_each;
        assert_eq!(of_each[0].operation, "GET /orders/{id}");
        assert_eq!(
            of_each[0].probabilistic,
            Some(proto::Probabilistic { rate: 0.125 })
        );
    }

    #[test]
    fn a_question_names_its_service() {
        assert_eq!(asked(b"\x0a\x04cart").expect("a message"), "cart");
        assert!(asked(b"\x0a\x7f").is_err());
    }
}
