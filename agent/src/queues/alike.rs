//! Messages that a client sends together, by what they bear: those that bear the same have one span, and are given its context.
//!
//! In: what each message bears, one after the other. Out: the groups that they fall into, each with the token of its span and
//! what to add to its messages. Messages that bear nothing are one group; each trace and each correlation id among them is one
//! of its own.
//! Left out on purpose: what a message looks like, and which messages are sent together: a batch (Kafka), or what one read of a
//! connection brought (NATS, MQTT). A context that two of those bear has a span in each.

use std::collections::HashMap;

use propagation::{CorrelationId, Extracted, SpanId, TraceId};

use super::splice::{Courier, Sent, Token};

/// The messages so far.
#[derive(Debug, Default)]
pub(super) struct Alike {
    groups: Vec<Group>,
    known: HashMap<Bears, usize>,
}

/// Messages that bear the same, and have one span.
#[derive(Debug)]
pub(super) struct Group {
    /// Absent where the span has ended, and no further message can be of it.
    pub(super) token: Option<Token>,
    /// As [`Sent::add`].
    pub(super) add: Vec<(String, Vec<u8>)>,
    pub(super) messages: usize,
    /// How many of them went without what was to be added.
    pub(super) bare: usize,
}

/// What decides on a message's place in a trace and on its correlation id.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bears {
    context: Option<(TraceId, SpanId, u8)>,
    start: Option<TraceId>,
    correlation: Option<CorrelationId>,
}

impl Bears {
    /// `None` where the message bears what is no other's: that is rare, and its span tells of it in full.
    fn of(extracted: &Extracted) -> Option<Self> {
        let context = extracted.context.as_ref();
        let decided = context.is_none() && extracted.decision.is_some();
        let plain = !decided && extracted.others.is_empty() && extracted.skywalking.is_none();
        plain.then(|| Self {
            context: context.map(|it| (it.trace_id, it.span_id, it.flags.bits())),
            start: extracted.start.as_ref().map(|start| start.trace_id),
            correlation: extracted.correlation.clone(),
        })
    }
}

impl Alike {
    /// The number of the group that a message of this falls into, which counts it. `send` tells of the message where it is
    /// the first of one.
    pub(super) fn join(&mut self, extracted: &Extracted, send: impl FnOnce() -> Sent) -> usize {
        let bears = Bears::of(extracted);
        let known = bears.as_ref().and_then(|bears| self.known.get(bears));
        let at = known.copied().unwrap_or_else(|| {
            let Sent { token, add } = send();
            let (at, messages, bare) = (self.groups.len(), 0, 0);
            self.groups.push(Group {
                token,
                add,
                messages,
                bare,
            });
            if let Some(bears) = bears.filter(|_| token.is_some()) {
                self.known.insert(bears, at);
            }
            at
        });
        self.again(at);
        at
    }

    /// One more message of a group that is known.
    pub(super) fn again(&mut self, at: usize) {
        if let Some(group) = self.groups.get_mut(at) {
            group.messages += 1;
        }
    }

    pub(super) fn group(&mut self, at: usize) -> Option<&mut Group> {
        self.groups.get_mut(at)
    }

    /// There are no more: says of how many messages each span is, and returns those that are open.
    pub(super) fn end(self, courier: &mut dyn Courier) -> Vec<(Token, Group)> {
        let each = self.groups.into_iter().filter_map(|group| {
            let token = group.token?;
            if group.messages > 1 {
                courier.stands_for(token, group.messages);
            }
            Some((token, group))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use propagation::Propagator;

    use super::super::splice::testing::Notes;
    use super::*;

    fn bearing(pairs: &[(&str, &str)]) -> Extracted {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        Propagator::default().extract(&pairs.collect::<Vec<_>>())
    }

    /// Into which groups messages that bear these fall, where each that is told of has this token.
    fn groups(all: &[&[(&str, &str)]], token: impl Fn(u64) -> Option<Token>) -> Vec<usize> {
        let (mut alike, mut told) = (Alike::default(), 0);
        let each = all.iter().map(|pairs| {
            alike.join(&bearing(pairs), || {
                told += 1;
                Sent {
                    token: token(told),
                    ..Sent::default()
                }
            })
        });
        each.collect()
    }

    const OF: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    const UNSAMPLED: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    );
    const OTHER: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01",
    );
    const ID: (&str, &str) = ("x-correlation-id", "order-7");

    #[test]
    fn what_decides_on_a_place_in_a_trace_tells_messages_apart() {
        let all: [&[(&str, &str)]; 10] = [
            &[],
            &[OF],
            &[OTHER],
            &[ID],
            &[OF, ID],
            &[UNSAMPLED],
            &[ID],
            &[],
            &[OF],
            &[("a", "b")],
        ];
        assert_eq!(
            groups(&all, |told| Some(Token(told))),
            [0, 1, 2, 3, 4, 5, 3, 0, 1, 0]
        );
    }

    #[test]
    fn a_message_that_bears_what_is_rare_is_alone() {
        let decided = ("b3", "1");
        let all: [&[(&str, &str)]; 3] = [&[decided], &[decided], &[]];
        assert_eq!(groups(&all, |told| Some(Token(told))), [0, 1, 2]);
    }

    #[test]
    fn no_message_joins_a_span_that_has_ended() {
        let open = |told| (told > 2).then_some(Token(told));
        assert_eq!(groups(&[&[], &[], &[], &[]], open), [0, 1, 2, 2]);
    }

    #[test]
    fn each_span_that_is_open_is_told_of_how_many_messages_it_is() {
        let (mut alike, mut notes) = (Alike::default(), Notes::default());
        for (pairs, token) in [
            (&[OF][..], Some(Token(1))),
            (&[], Some(Token(2))),
            (&[], None),
            (&[], None),
        ] {
            alike.join(&bearing(pairs), || Sent {
                token,
                ..Sent::default()
            });
        }
        let ended = alike.end(&mut notes);
        let each: Vec<_> = ended
            .iter()
            .map(|(token, group)| (token.0, group.messages))
            .collect();
        assert_eq!(each, [(1, 1), (2, 3)]);
        assert_eq!(notes.lines, ["2 are 3"]);
    }
}
