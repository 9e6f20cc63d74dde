//! What a client asks of Redis, as far as it is of streams or changes how answers are matched.
//!
//! In: the arguments of one command. Out: what it is, and where in it keys, groups and fields stand.
//! Left out on purpose: whether the server would take it; its answer says so.

use std::ops::Range;

use propagation::Extract;

/// Longer than any name that is asked for here.
pub(super) const MAX_NAME: usize = 16;

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has one answer, and passes as it comes.
    Other,
    /// What follows it has no answers that could be matched.
    NotMatched,
    Multi,
    Exec,
    Discard,
    Reset,
    /// It has one answer even within `MULTI`.
    Watch,
    /// Its arguments are wanted.
    Held(Held),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Client,
    Add,
    Read,
    ReadGroup,
    Ack,
    Claim,
    AutoClaim,
}

impl Kind {
    /// By its name, in any case.
    pub(super) fn of(name: &[u8]) -> Self {
        let mut upper = [0; MAX_NAME];
        let Some(upper) = upper.get_mut(..name.len()) else {
            return Self::Other;
        };
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        match &*upper {
            b"XADD" => Self::Held(Held::Add),
            b"XREAD" => Self::Held(Held::Read),
            b"XREADGROUP" => Self::Held(Held::ReadGroup),
            b"XACK" | b"XACKDEL" => Self::Held(Held::Ack),
            b"XCLAIM" => Self::Held(Held::Claim),
            b"XAUTOCLAIM" => Self::Held(Held::AutoClaim),
            b"CLIENT" => Self::Held(Held::Client),
            b"MULTI" => Self::Multi,
            b"EXEC" => Self::Exec,
            b"DISCARD" => Self::Discard,
            b"RESET" => Self::Reset,
            b"WATCH" => Self::Watch,
            b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE"
            | b"SUNSUBSCRIBE" | b"MONITOR" | b"SYNC" | b"PSYNC" | b"REPLCONF" => Self::NotMatched,
            _ => Self::Other,
        }
    }
}

/// The arguments of a command that is there whole, its name the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) input: &'a [u8],
    pub(super) bounds: &'a [Range<usize>],
}

impl<'a> Arguments<'a> {
    /// Empty where there is none.
    pub(super) fn get(&self, number: usize) -> &'a [u8] {
        let bounds = self.bounds.get(number).cloned().unwrap_or_default();
        self.input.get(bounds).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    fn is(&self, number: usize, word: &str) -> bool {
        self.get(number).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether `word` is one of those from `first` to `STREAMS`, or to the last.
    pub(super) fn has(&self, first: usize, word: &str) -> bool {
        (first..self.len())
            .take_while(|number| !self.is(*number, "STREAMS"))
            .any(|number| self.is(number, word))
    }

    /// Whether `CLIENT` has the server leave answers out.
    pub(super) fn leaves_answers_out(&self) -> bool {
        self.is(1, "REPLY") && !self.is(2, "ON")
    }

    /// The group of `XREADGROUP`, which comes first or behind other options.
    pub(super) fn group(&self) -> &'a [u8] {
        let at = (1..self.len()).find(|number| self.is(*number, "GROUP"));
        at.map_or(b"", |at| self.get(at + 1))
    }

    /// The fields of `XADD`, name and value by turns; `None` where the server would not take it.
    pub(super) fn fields(&self) -> Option<Pairs<'a>> {
        let mut at = 2;
        loop {
            at += match self.get(at).to_ascii_uppercase().as_slice() {
                b"NOMKSTREAM" | b"KEEPREF" | b"DELREF" | b"ACKED" => 1,
                b"MAXLEN" | b"MINID" => 2 + usize::from(matches!(self.get(at + 1), b"~" | b"=")),
                b"LIMIT" | b"IDMPAUTO" => 2,
                b"IDMP" => 3,
                _ => break,
            };
        }
        let fields = self.bounds.get(at + 1..)?;
        let paired = !fields.is_empty() && fields.len().is_multiple_of(2);
        paired.then_some(Pairs {
            input: self.input,
            bounds: fields,
        })
    }
}

/// Names and values by turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs<'a> {
    input: &'a [u8],
    bounds: &'a [Range<usize>],
}

impl<'a> Pairs<'a> {
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let input = self.input;
        let get = move |bounds: &Range<usize>| input.get(bounds.clone()).unwrap_or_default();
        self.bounds
            .as_chunks()
            .0
            .iter()
            .map(move |[name, value]| (get(name), get(value)))
    }

    /// Bytes of names and values.
    pub(super) fn size(&self) -> u64 {
        self.bounds.iter().map(|bounds| bounds.len() as u64).sum()
    }
}

impl Extract for Pairs<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        let of_key = |name: &[u8]| name.eq_ignore_ascii_case(key.as_bytes());
        for (_, value) in self.iter().filter(|(name, _)| of_key(name)) {
            found(value);
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.iter() {
            if let Ok(name) = std::str::from_utf8(name) {
                found(name, value);
            }
        }
    }
}
