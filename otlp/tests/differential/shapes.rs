//! Requests as SDKs write them, then bent: what a sender may do by the wire format although none is known to.
//!
//! In: bytes as dice. Out: the bytes of a request. Nothing but zeros makes a small valid one.
//! Left out on purpose: judging the result; about half of what comes out is malformed.

/// Decisions, from bytes that proptest and the fuzzer can shrink; all zero at the end.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn throw(&mut self, sides: usize) -> usize {
        let low = self.0.next().copied().map_or(0, usize::from);
        let high = if sides > 256 {
            self.0.next().copied().map_or(0, usize::from)
        } else {
            0
        };
        (high << 8 | low) % sides.max(1)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.throw(256) as u8).collect()
    }
}

/// A field with how wastefully it is written: bytes too many in its key, its length and its value.
#[derive(Clone)]
struct Field {
    number: u32,
    value: Wire,
    waste: [u8; 3],
}

#[derive(Clone)]
enum Wire {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
    Group(Vec<Field>),
    Fixed32(u32),
}

/// A request of a few spans with up to eight things bent in it.
pub(crate) fn request(entropy: &[u8]) -> Vec<u8> {
    let mut dice = Dice(entropy.iter());
    let bends = dice.throw(9);
    let cut = dice.throw(16) == 15;
    let mut request = sdk_request(&mut dice);
    for _ in 0..bends {
        bend(&mut request, &mut dice);
    }
    let mut out = Vec::new();
    write_all(&request, &mut out);
    if cut {
        let length = out.len().saturating_sub(1 + dice.throw(64));
        out.truncate(length);
    }
    out
}

fn field(number: u32, value: Wire) -> Field {
    Field {
        number,
        value,
        waste: [0; 3],
    }
}

fn text(number: u32, text: &str) -> Field {
    field(number, Wire::Bytes(text.as_bytes().to_vec()))
}

fn sdk_request(dice: &mut Dice<'_>) -> Vec<Field> {
    let resources = 1 + dice.throw(2);
    (0..resources)
        .map(|_| {
            let resource = field(1, Wire::Message(attributes(1, dice)));
            let scopes = (0..=dice.throw(2)).map(|_| scope_spans(dice));
            let mut fields: Vec<_> = std::iter::once(resource).chain(scopes).collect();
            if dice.throw(4) == 3 {
                fields.push(text(3, "https://opentelemetry.io/schemas/1.37.0"));
            }
            field(1, Wire::Message(fields))
        })
        .collect()
}

fn scope_spans(dice: &mut Dice<'_>) -> Field {
    let scope = vec![text(1, "io.opentelemetry.http"), text(2, "2.9.0")];
    let spans = (0..=dice.throw(3)).map(|_| field(2, Wire::Message(span(dice))));
    let fields = std::iter::once(field(1, Wire::Message(scope))).chain(spans);
    field(2, Wire::Message(fields.collect()))
}

fn span(dice: &mut Dice<'_>) -> Vec<Field> {
    let mut fields = vec![
        field(1, Wire::Bytes(dice.bytes(16))),
        field(2, Wire::Bytes(dice.bytes(8))),
    ];
    if dice.throw(8) == 7 {
        fields.push(text(3, "ot=th:8"));
    }
    if dice.throw(2) == 1 {
        fields.push(field(4, Wire::Bytes(dice.bytes(8))));
    }
    fields.push(field(5, Wire::Bytes(string(dice))));
    fields.push(field(6, Wire::Varint(dice.throw(7) as u64)));
    fields.push(field(7, Wire::Fixed64(1_760_000_000_000_000_000)));
    fields.push(field(8, Wire::Fixed64(1_760_000_000_012_345_678)));
    fields.extend(attributes(9, dice));
    if dice.throw(4) == 3 {
        let mut event = vec![field(1, Wire::Fixed64(1)), text(2, "exception")];
        event.extend(attributes(3, dice));
        fields.push(field(11, Wire::Message(event)));
    }
    if dice.throw(4) == 3 {
        let mut link = vec![
            field(1, Wire::Bytes(dice.bytes(16))),
            field(2, Wire::Bytes(dice.bytes(8))),
        ];
        link.extend(attributes(4, dice));
        link.push(field(6, Wire::Fixed32(0x101)));
        fields.push(field(13, Wire::Message(link)));
    }
    let mut status = Vec::new();
    if dice.throw(4) == 3 {
        status.push(field(2, Wire::Bytes(string(dice))));
    }
    if dice.throw(2) == 1 {
        status.push(field(3, Wire::Varint(dice.throw(4) as u64)));
    }
    fields.push(field(15, Wire::Message(status)));
    fields.push(field(16, Wire::Fixed32(0x101)));
    fields
}

fn attributes(number: u32, dice: &mut Dice<'_>) -> Vec<Field> {
    (0..dice.throw(5))
        .map(|_| {
            let key = ["http.route", "service.name", "server.port", "ключ", "k"][dice.throw(5)];
            let value = field(2, Wire::Message(any_value(dice, 0)));
            field(number, Wire::Message(vec![text(1, key), value]))
        })
        .collect()
}

fn any_value(dice: &mut Dice<'_>, level: usize) -> Vec<Field> {
    vec![match dice.throw(9) {
        3 => field(2, Wire::Varint(dice.throw(2) as u64)),
        4 | 5 => field(3, Wire::Varint(number(dice))),
        6 => field(4, Wire::Fixed64(number(dice))),
        7 if level < 3 => {
            let values = (0..dice.throw(3))
                .map(|_| field(1, Wire::Message(any_value(dice, level + 1))))
                .collect();
            field(5, Wire::Message(values))
        }
        8 if level < 3 => {
            let pair = vec![text(1, "k"), field(2, Wire::Message(any_value(dice, level + 1)))];
            field(6, Wire::Message(vec![field(1, Wire::Message(pair))]))
        }
        7 | 8 => field(7, Wire::Bytes(string(dice))),
        _ => field(1, Wire::Bytes(string(dice))),
    }]
}

/// Of one, two and ten bytes as a varint.
fn number(dice: &mut Dice<'_>) -> u64 {
    [dice.throw(128) as u64, 200, 8080, u64::MAX, 1 << 62][dice.throw(5)]
}

/// Of lengths around the word of the processor and around one byte of length, now and then not ASCII or not UTF-8.
fn string(dice: &mut Dice<'_>) -> Vec<u8> {
    let length = [4, 0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 126, 127, 128, 129, 300][dice.throw(16)];
    let mut bytes = vec![b'a'; length];
    let tail: &[u8] = match dice.throw(16) {
        13 => "é".as_bytes(),
        14 => "🦀".as_bytes(),
        15 => [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\x80"][dice.throw(4)],
        _ => b"",
    };
    let at = dice.throw(length + 1);
    bytes.splice(at..at, tail.iter().copied());
    bytes
}

/// Changes one thing in a message somewhere within `message`.
fn bend(message: &mut Vec<Field>, dice: &mut Dice<'_>) {
    let inner: Vec<_> = (0..message.len())
        .filter(|&at| matches!(message[at].value, Wire::Message(_)))
        .collect();
    if !inner.is_empty() && dice.throw(8) != 7 {
        let at = inner[dice.throw(inner.len())];
        if let Wire::Message(fields) = &mut message[at].value {
            return bend(fields, dice);
        }
    }
    if message.is_empty() {
        message.push(unknown(dice, 0));
        return;
    }
    let at = dice.throw(message.len());
    match dice.throw(11) {
        0 => message.insert(at, unknown(dice, 0)),
        1 => {
            let again = message[at].clone();
            message.insert(dice.throw(message.len() + 1), again);
        }
        2 => {
            let other = dice.throw(message.len());
            message.swap(at, other);
        }
        3 => split(message, at, dice),
        4 => message[at].waste[0] = 1 + dice.throw(5) as u8,
        5 => message[at].waste[1] = 1 + dice.throw(10) as u8,
        6 => message[at].waste[2] = 1 + dice.throw(10) as u8,
        7 => drop(message.remove(at)),
        8 => message[at].number = 1 + dice.throw(18) as u32,
        9 => message[at].value = unknown(dice, 0).value,
        _ => {
            let field = message[at].clone();
            message[at] = Field {
                value: Wire::Message(vec![field]),
                ..message[at].clone()
            };
        }
    }
}

/// Writes a message in two pieces, which readers merge; anything else twice.
fn split(message: &mut Vec<Field>, at: usize, dice: &mut Dice<'_>) {
    let mut second = message[at].clone();
    if let (Wire::Message(first), Wire::Message(rest)) = (&mut message[at].value, &mut second.value) {
        let middle = dice.throw(first.len() + 1);
        first.truncate(middle);
        rest.drain(..middle);
    }
    message.insert(at + 1, second);
}

fn unknown(dice: &mut Dice<'_>, level: usize) -> Field {
    let value = match dice.throw(6) {
        0 => Wire::Varint(number(dice)),
        1 => Wire::Fixed64(7),
        2 => Wire::Fixed32(7),
        3 => Wire::Bytes(string(dice)),
        _ if level < 4 => Wire::Group((0..dice.throw(3)).map(|_| unknown(dice, level + 1)).collect()),
        _ => Wire::Group(Vec::new()),
    };
    let number = [17, 3, 4, 99, 2_047, 2_048, (1 << 29) - 1][dice.throw(7)];
    field(number, value)
}

fn write_all(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        write(field, out);
    }
}

fn write(field: &Field, out: &mut Vec<u8>) {
    let [key_waste, length_waste, value_waste] = field.waste;
    let key = |wire_type, out: &mut Vec<u8>| {
        varint(u64::from(field.number) << 3 | wire_type, key_waste, out);
    };
    let delimited = |bytes: &[u8], out: &mut Vec<u8>| {
        key(2, out);
        varint(bytes.len() as u64, length_waste, out);
        out.extend(bytes);
    };
    match &field.value {
        Wire::Varint(value) => {
            key(0, out);
            varint(*value, value_waste, out);
        }
        Wire::Fixed64(value) => {
            key(1, out);
            out.extend(value.to_le_bytes());
        }
        Wire::Bytes(bytes) => delimited(bytes, out),
        Wire::Message(fields) => {
            let mut bytes = Vec::new();
            write_all(fields, &mut bytes);
            delimited(&bytes, out);
        }
        Wire::Group(fields) => {
            key(3, out);
            write_all(fields, out);
            key(4, out);
        }
        Wire::Fixed32(value) => {
            key(5, out);
            out.extend(value.to_le_bytes());
        }
    }
}

/// With `waste` bytes more than it needs, which is one too many beyond ten in all.
fn varint(value: u64, waste: u8, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(value, out);
    for _ in 0..waste {
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        out.push(0);
    }
}
