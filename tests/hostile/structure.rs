//! Changes to a model that leave it protobuf: fields that are gone, there twice, elsewhere, in pieces, or something else. Bytes
//! that are flipped mostly break a length, and the parser refuses the rest.

/// A source of numbers.
pub(crate) type Random<'a> = dyn FnMut() -> u64 + 'a;

/// Messages within messages that are taken apart.
const MAX_DEPTH: usize = 24;

#[derive(Clone)]
struct Field {
    number: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Varint(u64),
    /// Wire type and bytes.
    Fixed(u8, Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that are fields, too: no schema says whether they are meant so.
    Message(Vec<Field>),
}

/// A model like `bytes` with a few fields changed; `others` lend theirs. Without structure it is as it was.
pub(crate) fn changed(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let Some(mut fields) = parse(bytes, 0) else { return bytes.to_vec() };
    let other = (!others.is_empty()).then(|| below(random, others.len())).and_then(|i| parse(&others[i], 0));
    for _ in 0..=below(random, 3) {
        let mut fresh = other.as_ref().map(|other| somewhere(other, random).to_vec()).unwrap_or_default();
        change(place(&mut fields, random), &mut fresh, random);
    }
    let mut out = Vec::new();
    write(&fields, &mut out);
    out
}

fn below(random: &mut Random, n: usize) -> usize {
    (random() % n.max(1) as u64) as usize
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for i in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(7 * i)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn parse(bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let (mut at, mut fields) = (0, Vec::new());
    while at < bytes.len() {
        let tag = varint(bytes, &mut at)?;
        let mut take = |length: usize| {
            let taken = bytes.get(at..at.checked_add(length)?)?.to_vec();
            at += length;
            Some(taken)
        };
        let content = match tag & 7 {
            0 => Content::Varint(varint(bytes, &mut at)?),
            1 => Content::Fixed(1, take(8)?),
            5 => Content::Fixed(5, take(4)?),
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let inside = bytes.get(at..at.checked_add(length)?)?;
                at += length;
                match parse(inside, depth + 1).filter(|fields| depth < MAX_DEPTH && !fields.is_empty()) {
                    Some(fields) => Content::Message(fields),
                    None => Content::Bytes(inside.to_vec()),
                }
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push(Field { number: tag >> 3, content });
    }
    Some(fields)
}

fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let wire = match &field.content {
            Content::Varint(_) => 0,
            Content::Fixed(wire, _) => u64::from(*wire),
            _ => 2,
        };
        push(out, field.number << 3 | wire);
        match &field.content {
            Content::Varint(value) => push(out, *value),
            Content::Fixed(_, bytes) => out.extend(bytes),
            Content::Bytes(bytes) => {
                push(out, bytes.len() as u64);
                out.extend(bytes);
            }
            Content::Message(fields) => {
                let mut inside = Vec::new();
                write(fields, &mut inside);
                push(out, inside.len() as u64);
                out.extend(inside);
            }
        }
    }
}

/// A message at some depth.
fn place<'a>(fields: &'a mut Vec<Field>, random: &mut Random) -> &'a mut Vec<Field> {
    let inner: Vec<usize> = fields.iter().enumerate().filter(|(_, f)| matches!(f.content, Content::Message(_))).map(|(i, _)| i).collect();
    if inner.is_empty() || below(random, 5) == 0 {
        return fields;
    }
    let i = inner[below(random, inner.len())];
    match &mut fields[i].content {
        Content::Message(inside) => place(inside, random),
        _ => unreachable!("only messages were chosen"),
    }
}

fn somewhere<'a>(fields: &'a [Field], random: &mut Random) -> &'a [Field] {
    let inner: Vec<&Vec<Field>> =
        fields.iter().filter_map(|f| if let Content::Message(inside) = &f.content { Some(inside) } else { None }).collect();
    if inner.is_empty() || below(random, 5) == 0 { fields } else { somewhere(inner[below(random, inner.len())], random) }
}

fn change(fields: &mut Vec<Field>, fresh: &mut Vec<Field>, random: &mut Random) {
    if fields.is_empty() {
        fields.append(fresh);
        return;
    }
    let at = below(random, fields.len());
    let to = below(random, fields.len() + 1);
    match below(random, 10) {
        0 => drop(fields.remove(at)),
        1 => fields.insert(to, fields[at].clone()),
        2 => {
            let last = fields.len() - 1;
            fields.swap(at, to.min(last));
        }
        // A field of another model, under its own number or one that is used here.
        3 | 4 if !fresh.is_empty() => {
            let mut field = fresh.swap_remove(below(random, fresh.len()));
            if below(random, 2) == 0 {
                field.number = fields[at].number;
            }
            fields.insert(to, field);
        }
        5 => fields[at].number = 1 + random() % 32,
        6 => split(fields, at, random),
        _ => alter(&mut fields[at].content, random),
    }
}

/// One field with a length becomes two, which are one to protobuf where it is a message or a list.
fn split(fields: &mut Vec<Field>, at: usize, random: &mut Random) {
    let number = fields[at].number;
    let rest = match &mut fields[at].content {
        Content::Bytes(bytes) => Content::Bytes(bytes.split_off(below(random, bytes.len() + 1))),
        Content::Message(inside) => Content::Message(inside.split_off(below(random, inside.len() + 1))),
        content => content.clone(),
    };
    let to = at + 1 + below(random, fields.len() - at);
    fields.insert(to, Field { number, content: rest });
}

fn alter(content: &mut Content, random: &mut Random) {
    const NUMBERS: [u64; 12] = [0, 1, 2, 3, 7, 10, 11, 16, 1 << 31, 1 << 40, u64::MAX, u64::MAX - 1];
    match content {
        Content::Varint(value) => *value = if below(random, 2) == 0 { NUMBERS[below(random, NUMBERS.len())] } else { random() % 64 },
        Content::Fixed(_, bytes) => {
            let i = below(random, bytes.len());
            bytes[i] = random() as u8;
        }
        Content::Bytes(bytes) => match below(random, 4) {
            0 => bytes.truncate(below(random, bytes.len() + 1)),
            1 => bytes.extend(random().to_le_bytes()),
            _ if bytes.is_empty() => bytes.push(random() as u8),
            _ => {
                let i = below(random, bytes.len());
                bytes[i] = random() as u8;
            }
        },
        Content::Message(inside) => inside.reverse(),
    }
}
