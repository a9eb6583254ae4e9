//! Bodies of which a part lies in an arena.
//!
//! ```text
//! body     MARK 0 0 0 count:u32 item... bytes
//! item     kind:u32 index:u32 offset:u64 len:u64
//! ```
//!
//! A body that begins with another byte (a pickle does) is bytes alone; bytes
//! that begin with this one get a list of no items before them. What
//! comes from a worker is checked, never trusted: see `lending.rs` for where
//! an item may lie.

use plait_shm::Corrupt;

use super::wire::{Body, HEAD};

/// The first byte. Others are taken: 1 and 2 for what needs no pickle, 0x80
/// for pickles.
const MARK: u8 = 3;
const PREFIX: usize = 8;
const ITEM: usize = 24;

const STREAM: u32 = 0;
const BUFFER: u32 = 1;
const SAME: u32 = 2;
const KEPT: u32 = 3;
const IMAGE: u32 = 4;

/// Something that belongs to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// The bytes of the body themselves, in the sender's arena.
    Stream { offset: usize, len: usize },
    /// The next buffer, in the sender's arena.
    Buffer { offset: usize, len: usize },
    /// The next buffer: part of that item of the task which this answers, and
    /// still as it was sent.
    Same { index: usize, offset: usize, len: usize },
    /// That item of the task is still in use.
    Kept { index: usize },
    /// The bytes name that image.
    Image { id: u64 },
}

/// Adds the beginning of a body; the bytes, if any, come behind it.
pub(crate) fn begin(items: &[Item], body: &mut Vec<u8>) {
    body.extend_from_slice(&[MARK, 0, 0, 0]);
    body.extend_from_slice(&(items.len() as u32).to_ne_bytes());
    for item in items {
        let (kind, index, offset, len) = match *item {
            Item::Stream { offset, len } => (STREAM, 0, offset, len),
            Item::Buffer { offset, len } => (BUFFER, 0, offset, len),
            Item::Same { index, offset, len } => (SAME, index, offset, len),
            Item::Kept { index } => (KEPT, index, 0, 0),
            Item::Image { id } => (IMAGE, 0, id as usize, 0),
        };
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(&(index as u32).to_ne_bytes());
        body.extend_from_slice(&(offset as u64).to_ne_bytes());
        body.extend_from_slice(&(len as u64).to_ne_bytes());
    }
}

/// Whether the body of a message begins as one with items does.
pub(crate) fn is_marked(message: &[u8]) -> bool {
    message.get(HEAD) == Some(&MARK)
}

/// Adds items to the body of a message, which may have some.
pub(crate) fn amend(items: &[Item], message: &mut Vec<u8>) {
    if items.is_empty() {
        return;
    }
    let mut added = Vec::new();
    begin(items, &mut added);
    if !is_marked(message) {
        message.splice(HEAD..HEAD, added);
        return;
    }
    let place = HEAD + PREFIX - 4..HEAD + PREFIX;
    if let Some(&[a, b, c, d]) = message.get(place.clone()) {
        let count = u32::from_ne_bytes([a, b, c, d]) + items.len() as u32;
        message[place].copy_from_slice(&count.to_ne_bytes());
        message.splice(HEAD + PREFIX..HEAD + PREFIX, added.drain(PREFIX..));
    }
}

/// Takes the items off a body.
///
/// # Errors
/// No sender of ours wrote it.
pub(crate) fn open(body: Body) -> Result<(Body, Vec<Item>), Corrupt> {
    let bytes = body.as_ref();
    if bytes.first() != Some(&MARK) {
        return Ok((body, Vec::new()));
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Err(Corrupt("items")) };
    let [_, _, _, _, a, b, c, d] = *prefix;
    let count = u32::from_ne_bytes([a, b, c, d]) as usize;
    let Some(items) = count.checked_mul(ITEM).and_then(|len| rest.get(..len)) else {
        return Err(Corrupt("items"));
    };
    let items = items.chunks_exact(ITEM).map(item).collect::<Option<Vec<Item>>>().ok_or(Corrupt("item"))?;
    let streams = items.iter().filter(|item| matches!(item, Item::Stream { .. })).count();
    if streams > 1 {
        return Err(Corrupt("streams"));
    }
    Ok((body.without(PREFIX + count * ITEM), items))
}

fn item(bytes: &[u8]) -> Option<Item> {
    let (numbers, places) = bytes.split_first_chunk::<8>()?;
    let (offset, len) = places.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *numbers;
    let index = u32::from_ne_bytes([e, f, g, h]) as usize;
    let offset = usize::try_from(u64::from_ne_bytes(*offset)).ok()?;
    let len = usize::try_from(u64::from_ne_bytes(len.try_into().ok()?)).ok()?;
    Some(match u32::from_ne_bytes([a, b, c, d]) {
        STREAM => Item::Stream { offset, len },
        BUFFER => Item::Buffer { offset, len },
        SAME => Item::Same { index, offset, len },
        KEPT => Item::Kept { index },
        IMAGE => Item::Image { id: offset as u64 },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;
    use proptest::prelude::*;

    fn body(bytes: &[u8]) -> Body {
        Body::of(wire::message(wire::TASK, 1, 2, bytes))
    }

    fn any_item() -> impl Strategy<Value = Item> {
        (0..5u32, any::<u32>(), any::<usize>(), any::<usize>()).prop_map(|(kind, index, offset, len)| {
            let index = index as usize;
            match kind {
                STREAM | BUFFER => Item::Buffer { offset, len },
                SAME => Item::Same { index, offset, len },
                KEPT => Item::Kept { index },
                _ => Item::Image { id: offset as u64 },
            }
        })
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(
            stream in any::<Option<(usize, usize)>>(),
            mut items in proptest::collection::vec(any_item(), 0..20),
            bytes: Vec<u8>,
        ) {
            items.extend(stream.map(|(offset, len)| Item::Stream { offset, len }));
            let mut whole = Vec::new();
            begin(&items, &mut whole);
            whole.extend_from_slice(&bytes);
            let (rest, found) = open(body(&whole)).unwrap();
            prop_assert_eq!((rest.as_ref(), &found), (&bytes[..], &items));
            let mut message = wire::message(wire::RETURNED, 1, 2, &whole);
            amend(&[Item::Kept { index: 7 }], &mut message);
            let (rest, found) = open(Body::of(message)).unwrap();
            prop_assert_eq!(rest.as_ref(), &bytes[..]);
            prop_assert_eq!((&found[0], &found[1..]), (&Item::Kept { index: 7 }, &items[..]));
        }

        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>, marked: bool) {
            if marked {
                bytes.splice(0..0, [MARK, 0, 0, 0]);
            }
            let opened = open(body(&bytes));
            prop_assert!(bytes.first() == Some(&MARK) || opened.is_ok());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bytes in [&[MARK][..], &[MARK, 0, 0, 0, 255, 255, 255, 255], &[MARK, 0, 0, 0, 1, 0, 0, 0, 0]] {
            assert!(open(body(bytes)).is_err());
        }
        let mut twice = Vec::new();
        begin(&[Item::Stream { offset: 0, len: 1 }; 2], &mut twice);
        assert!(open(body(&twice)).is_err());
    }
}
