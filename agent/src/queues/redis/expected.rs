//! Answers that are still to come.
//!
//! In: commands as they go to the server. Out: in the same order, what the answer to each is to be read for.
//! Left out on purpose: commands whose answers say nothing to us; they are only counted.

use std::collections::VecDeque;

use super::super::splice::{Courier, End, Token};

/// Commands of streams without an answer. Those beyond it end when they are sent.
const MAX_PENDING: usize = 4_096;

/// What an answer is read for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// So many answers say nothing to us.
    Others(u64),
    /// `MULTI`: from here on commands are queued.
    Multi,
    /// What was queued is done, or not.
    Exec(Queued),
    /// `XADD`: the id of the entry.
    Add { token: Token, stream: Box<[u8]> },
    /// `XREAD` and `XREADGROUP`: entries. Of a group, where there is one.
    Read(Option<Group>),
    /// `XCLAIM` and `XAUTOCLAIM`: entries of one stream.
    Claim {
        stream: Box<[u8]>,
        group: Group,
        automatic: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Box<str>,
    /// Whether its entries are to be acknowledged.
    pub(super) acknowledges: bool,
}

/// The answers within that to `EXEC`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) answers: VecDeque<Expected>,
    pub(super) count: u64,
}

impl Queued {
    /// It will not be done.
    pub(super) fn fail(self, why: &str, courier: &mut dyn Courier) {
        let end = End {
            error: Some(why),
            place: None,
        };
        for answer in self.answers {
            if let Expected::Add { token, .. } = answer {
                courier.settle(token, end);
            }
        }
    }
}

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    coming: VecDeque<Expected>,
    queued: Option<Queued>,
    /// Those that are not only counted, queued ones as well.
    pending: usize,
}

impl Answers {
    /// The answer to a command that just goes to the server. `false` where there is no room for it, and it counts among the
    /// others.
    pub(super) fn expect(&mut self, answer: Expected) -> bool {
        let fits = self.pending < MAX_PENDING;
        self.pending += usize::from(fits);
        let answer = if fits { answer } else { Expected::Others(1) };
        match &mut self.queued {
            Some(queued) => {
                // It is told at once that it was queued, and at `EXEC` the rest.
                count_other(&mut self.coming);
                queued.count += 1;
                push(&mut queued.answers, answer);
            }
            None => push(&mut self.coming, answer),
        }
        fits
    }

    pub(super) fn expect_other(&mut self) {
        if let Some(queued) = &mut self.queued {
            queued.count += 1;
            count_other(&mut queued.answers);
        }
        count_other(&mut self.coming);
    }

    /// An answer to a command that is never queued.
    pub(super) fn expect_at_once(&mut self) {
        count_other(&mut self.coming);
    }

    pub(super) fn multi(&mut self) {
        if self.queued.is_some() {
            // It is refused, and changes nothing.
            return self.expect_at_once();
        }
        self.queued = Some(Queued::default());
        self.pending += 1;
        self.coming.push_back(Expected::Multi);
    }

    pub(super) fn exec(&mut self) {
        match self.queued.take() {
            Some(queued) => {
                self.pending += 1;
                self.coming.push_back(Expected::Exec(queued));
            }
            None => self.expect_at_once(),
        }
    }

    /// `DISCARD` and `RESET`: what was queued will not be done.
    pub(super) fn discard(&mut self) -> Queued {
        self.expect_at_once();
        let queued = self.queued.take().unwrap_or_default();
        self.forget(&queued);
        queued
    }

    /// What the next answer is read for.
    pub(super) fn next(&self) -> Option<&Expected> {
        self.coming.front()
    }

    /// The next answer is there.
    pub(super) fn take(&mut self) -> Option<Expected> {
        if let Some(Expected::Others(count)) = self.coming.front_mut()
            && *count > 1
        {
            *count -= 1;
            return Some(Expected::Others(1));
        }
        let taken = self.coming.pop_front()?;
        self.pending -= usize::from(!matches!(taken, Expected::Others(_)));
        Some(taken)
    }

    /// The answers of `queued` come one by one.
    pub(super) fn enter(&mut self, queued: Queued) {
        for answer in queued.answers.into_iter().rev() {
            self.coming.push_front(answer);
        }
    }

    /// Those of `queued` will not come.
    pub(super) fn forget(&mut self, queued: &Queued) {
        let open = |answer: &&Expected| !matches!(answer, Expected::Others(_));
        self.pending -= queued.answers.iter().filter(open).count();
    }
}

fn push(answers: &mut VecDeque<Expected>, answer: Expected) {
    match answer {
        Expected::Others(_) => count_other(answers),
        answer => answers.push_back(answer),
    }
}

fn count_other(answers: &mut VecDeque<Expected>) {
    match answers.back_mut() {
        Some(Expected::Others(count)) => *count += 1,
        _ => answers.push_back(Expected::Others(1)),
    }
}
