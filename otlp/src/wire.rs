//! The protobuf wire format: keys, varints, fixed words, lengths and groups.
//!
//! In: bytes from anywhere. Out: one field after the other, borrowed, or the fault and where it stands.
//! Left out on purpose: what the fields mean (`view::schema`), and enum or packed encodings, which OTLP traces
//! do not have below a varint.
//! Source: <https://protobuf.dev/programming-guides/encoding/>; where that leaves room, what prost accepts.

/// How deep messages and groups may nest below the request, as in prost.
pub(crate) const MAX_DEPTH: u32 = 100;

/// What is wrong with the bytes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within a varint, or it is longer than ten bytes or larger than 64 bits.
    #[error("a varint must end within its message and fit 64 bits")]
    Varint,
    /// A key of more than 32 bits, or with field number 0.
    #[error("a field key must fit 32 bits and its field number must not be 0")]
    Key,
    /// Wire type 6 or 7.
    #[error("wire type {0} does not exist, it must be 0 to 5")]
    WireType(u8),
    /// A value reaches past the end of the message that holds it.
    #[error("{wanted} bytes are announced but {left} are left in the message")]
    Truncated {
        /// Bytes that the length or the wire type announces.
        wanted: u64,
        /// Bytes that are there.
        left: usize,
    },
    /// A known field with the wire type of another.
    #[error("the field has wire type {found} but must have {wanted}")]
    Mismatch {
        /// What stands in the key.
        found: u8,
        /// What the message definition asks for.
        wanted: u8,
    },
    /// The end of a group that did not begin, or of another one.
    #[error("a group ends that did not begin")]
    EndGroup,
    /// A string that is not UTF-8.
    #[error("a string must be UTF-8")]
    Utf8,
    /// Messages or groups nest too deeply.
    #[error("messages may nest at most 100 deep")]
    Depth,
}

/// A fault and the byte at which the field or value that has it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultAt {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
}

/// One field's value. A group is only announced: [`Reader::skip_group`] must come next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Reader<'a>),
    Group,
    Fixed32(u32),
}

impl Payload<'_> {
    pub(crate) fn wire_type(&self) -> u8 {
        match self {
            Payload::Varint(_) => 0,
            Payload::Fixed64(_) => 1,
            Payload::Bytes(_) => 2,
            Payload::Group => 3,
            Payload::Fixed32(_) => 5,
        }
    }
}

const END_GROUP: u8 = 4;

/// A cursor over one message; knows where it stands in the whole request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Offset in the whole request of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes not yet read.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Payload<'a>)>, FaultAt> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let (number, wire_type) = self.key()?;
        let payload = match wire_type {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Payload::Bytes(self.delimited()?),
            3 => Payload::Group,
            END_GROUP => {
                return Err(FaultAt {
                    fault: Fault::EndGroup,
                    at: start,
                });
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                return Err(FaultAt {
                    fault: Fault::WireType(other),
                    at: start,
                });
            }
        };
        Ok(Some((number, payload)))
    }

    /// Reads up to and with the end of group `number`, which has just begun. `depth` is what prost would have
    /// left for the message that holds the group; a group in a group takes one more.
    pub(crate) fn skip_group(&mut self, number: u32, depth: u32) -> Result<(), FaultAt> {
        self.enter(depth)?;
        loop {
            let start = self.at;
            let (inner, wire_type) = self.key()?;
            match wire_type {
                END_GROUP if inner == number => return Ok(()),
                END_GROUP => {
                    return Err(FaultAt {
                        fault: Fault::EndGroup,
                        at: start,
                    });
                }
                3 => self.skip_group(inner, depth - 1)?,
                _ => {
                    self.enter(depth - 1)?;
                    self.skip_value(wire_type, start)?;
                }
            }
        }
    }

    /// Refuses to go on where nothing is left of the allowed depth.
    pub(crate) fn enter(&self, depth: u32) -> Result<(), FaultAt> {
        if depth == 0 {
            Err(self.fault(Fault::Depth))
        } else {
            Ok(())
        }
    }

    fn fault(&self, fault: Fault) -> FaultAt {
        FaultAt { fault, at: self.at }
    }

    fn skip_value(&mut self, wire_type: u8, start: usize) -> Result<(), FaultAt> {
        match wire_type {
            0 => self.varint().map(drop),
            1 => self.array::<8>().map(drop),
            2 => self.delimited().map(drop),
            5 => self.array::<4>().map(drop),
            other => Err(FaultAt {
                fault: Fault::WireType(other),
                at: start,
            }),
        }
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u8), FaultAt> {
        let start = self.at;
        let key = self.varint()?;
        let Ok(key) = u32::try_from(key) else {
            return Err(FaultAt {
                fault: Fault::Key,
                at: start,
            });
        };
        let (number, wire_type) = (key >> 3, (key & 7) as u8);
        if number == 0 {
            return Err(FaultAt {
                fault: Fault::Key,
                at: start,
            });
        }
        Ok((number, wire_type))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, FaultAt> {
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            self.at += 1;
            return Ok(u64::from(first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, FaultAt> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // Nine bytes hold 63 bits: the tenth has room for one.
                if index == 9 && byte > 1 {
                    break;
                }
                self.advance(index + 1);
                return Ok(value);
            }
        }
        Err(self.fault(Fault::Varint))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FaultAt> {
        match self.rest.first_chunk::<N>() {
            Some(array) => {
                self.advance(N);
                Ok(*array)
            }
            None => Err(self.fault(Fault::Truncated {
                wanted: N as u64,
                left: self.rest.len(),
            })),
        }
    }

    #[inline]
    pub(crate) fn delimited(&mut self) -> Result<Reader<'a>, FaultAt> {
        let wanted = self.varint()?;
        let taken = usize::try_from(wanted)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let Some((inside, rest)) = taken else {
            return Err(self.fault(Fault::Truncated {
                wanted,
                left: self.rest.len(),
            }));
        };
        let reader = Reader {
            rest: inside,
            at: self.at,
        };
        self.at += inside.len();
        self.rest = rest;
        Ok(reader)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
        self.at += count;
    }
}
