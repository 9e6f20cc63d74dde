//! Commands on their way to Redis.
//!
//! In: what a client said, from the beginning of a command. Out: the same; what the answer is to be read for.
//! Left out on purpose: `XADD`, see `additions`.

use std::ops::Range;

use bytes::BytesMut;

use super::super::splice::{Courier, NotUnderstood, Skip};
use super::command::{Arguments, Held, Kind, MAX_NAME};
use super::expected::{Expected, Group};
use super::resp::{Walk, line, number};
use super::{MAX_HELD, Redis, Rest, TLS_HANDSHAKE};

/// More arguments are not held.
const MAX_ARGUMENTS: i64 = 8_192;
/// More arguments no server takes (`MAX_ARGUMENTS` of versions before 7).
pub(super) const MAX_TAKEN: i64 = 1024 * 1024;
/// Longer keys are not told of.
const MAX_KEY: usize = 1_024;
/// What was queued was given up.
const DISCARDED: &str = "discarded";

/// How far into a command that is held.
#[derive(Debug)]
pub(super) struct Scan {
    held: Held,
    /// Bytes of the first line.
    pub(super) head: usize,
    pub(super) count: i64,
    /// Where it goes on; its end once it is there.
    pub(super) at: usize,
    bounds: Vec<Range<usize>>,
}

impl Scan {
    /// Whether the command is there; `None` where it is too large to be held.
    fn go_on(&mut self, input: &[u8]) -> Result<Option<bool>, NotUnderstood> {
        while (self.bounds.len() as i64) < self.count {
            let rest = input.get(self.at..).unwrap_or_default();
            let Some((len, head)) = string(rest)? else {
                return Ok(Some(false));
            };
            let begin = self.at + head;
            let bounds = begin..begin.saturating_add(len);
            if bounds.end > MAX_HELD {
                return Ok(None);
            }
            if input.len() < bounds.end + 2 {
                return Ok(Some(false));
            }
            self.at = bounds.end + 2;
            self.bounds.push(bounds);
        }
        Ok(Some(true))
    }
}

/// The length of the string that begins `input`, and of its first line.
fn string(input: &[u8]) -> Result<Option<(usize, usize)>, NotUnderstood> {
    let Some(kind) = input.first() else {
        return Ok(None);
    };
    if *kind != b'$' {
        return Err(NotUnderstood::Malformed);
    }
    let Some((len, head)) = number(input)? else {
        return Ok(None);
    };
    let len = usize::try_from(len).map_err(|_| NotUnderstood::Malformed)?;
    Ok(Some((len, head)))
}

impl Redis {
    /// Passes what begins `input`; 0 where it must be longer to be judged, or passes on its own from here.
    pub(super) fn command(
        &mut self,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<usize, NotUnderstood> {
        if let Some(mut scan) = self.scan.take() {
            return match scan.go_on(input)? {
                Some(true) => self.held_command(&scan, input, out, courier),
                Some(false) => {
                    self.scan = Some(scan);
                    Ok(0)
                }
                None => {
                    courier.skipped(Skip::NotHeld);
                    self.answers.expect_other();
                    Ok(self.pass_arguments(scan.count, scan.head, input, out))
                }
            };
        }
        match input.first() {
            Some(&TLS_HANDSHAKE) if !self.begun => Err(NotUnderstood::Encrypted),
            Some(b'*') => self.array(input, out, courier),
            _ => self.inline(input, out),
        }
    }

    fn array(
        &mut self,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<usize, NotUnderstood> {
        let Some((count, head)) = number(input)? else {
            return Ok(0);
        };
        if count > MAX_TAKEN {
            return Err(NotUnderstood::Malformed);
        }
        if count <= 0 {
            out.extend_from_slice(input.get(..head).unwrap_or_default());
            return Ok(head);
        }
        let rest = input.get(head..).unwrap_or_default();
        let Some((len, name_head)) = string(rest)? else {
            return Ok(0);
        };
        let kind = if len > MAX_NAME {
            Kind::Other
        } else {
            match rest.get(name_head..name_head + len) {
                Some(name) => Kind::of(name),
                None => return Ok(0),
            }
        };
        self.begun = true;
        match kind {
            Kind::Held(_) if count > MAX_ARGUMENTS => {
                courier.skipped(Skip::NotHeld);
                self.answers.expect_other();
            }
            Kind::Held(held) => {
                self.scan = Some(Scan {
                    held,
                    head,
                    count,
                    at: head,
                    bounds: Vec::with_capacity(count as usize),
                });
                return self.command(input, out, courier);
            }
            kind => self.expect(kind, courier)?,
        }
        Ok(self.pass_arguments(count, head, input, out))
    }

    /// Passes the first line, and leaves the arguments to pass.
    fn pass_arguments(&mut self, count: i64, head: usize, input: &[u8], out: &mut BytesMut) -> usize {
        out.extend_from_slice(input.get(..head).unwrap_or_default());
        self.passing = Rest(Walk::over(u64::try_from(count).unwrap_or_default()));
        head
    }

    fn expect(&mut self, kind: Kind, courier: &mut dyn Courier) -> Result<(), NotUnderstood> {
        match kind {
            Kind::NotMatched => return Err(NotUnderstood::Unknown),
            Kind::Multi => self.answers.multi(),
            Kind::Exec => self.answers.exec(),
            Kind::Watch => self.answers.expect_at_once(),
            Kind::Discard | Kind::Reset => {
                self.answers.discard().fail(DISCARDED, courier);
            }
            Kind::Other | Kind::Held(_) => self.answers.expect_other(),
        }
        Ok(())
    }

    /// A command on a line of its own, as people type them. Those that come so are not of streams.
    fn inline(&mut self, input: &[u8], out: &mut BytesMut) -> Result<usize, NotUnderstood> {
        let len = line(input)?;
        let whole = input.get(..len).unwrap_or_default();
        let name = whole.trim_ascii().split(u8::is_ascii_whitespace).next();
        match name.map(Kind::of) {
            _ if len == 0 => return Ok(0),
            Some(Kind::Other | Kind::Held(Held::Add | Held::Read | Held::ReadGroup | Held::Ack))
                if !whole.trim_ascii().is_empty() =>
            {
                self.answers.expect_other();
            }
            // The server takes no notice of it.
            _ if whole.trim_ascii().is_empty() => {}
            _ => return Err(NotUnderstood::Unknown),
        }
        self.begun = true;
        out.extend_from_slice(whole);
        Ok(len)
    }

    fn held_command(
        &mut self,
        scan: &Scan,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<usize, NotUnderstood> {
        let arguments = Arguments {
            input,
            bounds: &scan.bounds,
        };
        let key = arguments.get(1);
        match scan.held {
            Held::Client if arguments.leaves_answers_out() => return Err(NotUnderstood::Unknown),
            Held::Add if key.len() <= MAX_KEY => return Ok(self.add(scan, &arguments, out, courier)),
            Held::Read | Held::ReadGroup => self.read(scan.held, &arguments, courier),
            Held::Claim | Held::AutoClaim if !arguments.has(1, "JUSTID") && key.len() <= MAX_KEY => {
                self.end_open(courier);
                self.answers.expect(Expected::Claim {
                    stream: key.into(),
                    group: group(arguments.get(2), true),
                    automatic: scan.held == Held::AutoClaim,
                });
            }
            Held::Ack => {
                self.acknowledge(&arguments, courier);
                self.answers.expect_other();
            }
            _ => self.answers.expect_other(),
        }
        out.extend_from_slice(input.get(..scan.at).unwrap_or_default());
        Ok(scan.at)
    }

    fn read(&mut self, held: Held, arguments: &Arguments<'_>, courier: &mut dyn Courier) {
        let group = (held == Held::ReadGroup).then(|| {
            self.end_open(courier);
            group(arguments.group(), !arguments.has(1, "NOACK"))
        });
        self.answers.expect(Expected::Read(group));
    }

    /// By `XACK stream group id…`, and its relatives with options among the ids.
    fn acknowledge(&mut self, arguments: &Arguments<'_>, courier: &mut dyn Courier) {
        let is_open = self.open.as_ref().is_some_and(|open| {
            *open.stream == *arguments.get(1)
                && open.group.as_bytes() == arguments.get(2)
                && (3..arguments.len()).any(|number| arguments.get(number) == &*open.id)
        });
        if is_open {
            self.end_open(courier);
        }
    }
}

fn group(name: &[u8], acknowledges: bool) -> Group {
    Group {
        name: String::from_utf8_lossy(name).into(),
        acknowledges,
    }
}
