use super::*;
use crate::process::wire::Body;
use plait_shm::arena::View;
use proptest::prelude::*;

const ROOM: usize = 1 << 24;

fn arena() -> Arc<Arena> {
    Arena::create("plait-test", ROOM, ROOM).unwrap()
}

fn bytes_of(parcel: &Parcel) -> (Vec<u8>, Vec<Item>) {
    let (body, items) = parcel::open(Body::of(parcel.message.clone())).unwrap();
    let stream = items.iter().position(|item| matches!(item, Item::Stream { .. }));
    let bytes = match stream.map(|at| items[at]) {
        Some(Item::Stream { len, .. }) => {
            let mut bytes = Vec::new();
            parcel.blocks[0].read(len, &mut bytes);
            bytes
        }
        _ => body.as_ref().to_vec(),
    };
    (bytes, items)
}

#[test]
fn what_is_small_needs_no_arena() {
    let arena = arena();
    let mut packer = Packer::new(Some(Arc::clone(&arena)));
    packer.write(b"hello, ").unwrap();
    packer.write(b"world").unwrap();
    assert_eq!(packer.private(), Some(&b"hello, world"[..]));
    assert!(packer.room(LARGE - 1).is_none());
    assert_eq!(bytes_of(&packer.finish()), (b"hello, world".to_vec(), vec![]));
    assert_eq!(arena.in_use(), 0);
}

#[test]
fn what_is_not_sent_comes_back() {
    let arena = arena();
    let mut packer = Packer::new(Some(Arc::clone(&arena)));
    packer.write(&vec![1; 3 * LARGE]).unwrap();
    let block = packer.room(LARGE).unwrap();
    packer.add(block, LARGE);
    assert!(arena.in_use() >= 4 * LARGE);
    packer.clear();
    assert_eq!(arena.in_use(), 0);
    assert_eq!(packer.private(), Some(&[][..]));
}

#[test]
fn a_full_arena_means_private_memory() {
    let arena = arena();
    let wall = arena.block(ROOM - 4 * LARGE, false).unwrap();
    let mut packer = Packer::new(Some(Arc::clone(&arena)));
    let sent: Vec<u8> = (0..6 * LARGE).map(|i| (i % 251) as u8).collect();
    for part in sent.chunks(LARGE / 2) {
        packer.write(part).unwrap();
    }
    assert!(packer.room(LARGE).is_some());
    assert!(packer.room(5 * LARGE).is_none());
    assert_eq!(packer.private(), Some(&sent[..]));
    drop(wall);
    assert_eq!(bytes_of(&packer.finish()).0, sent);
    assert_eq!(arena.in_use(), 0);
}

#[test]
fn what_lies_in_the_arena_is_not_copied_again() {
    let arena = arena();
    let mut packer = Packer::new(Some(Arc::clone(&arena)));
    let block = Arc::new(packer.room(16 * LARGE).unwrap());
    let (start, used) = (block.offset(), arena.in_use());
    let see = |range| View::to_write(arena.region(), range, hold(&block)).unwrap();
    let whole = see(start..start + 16 * LARGE);
    let address = whole.start().as_ptr() as usize;
    assert!(packer.find(address + 4096, 8 * LARGE).is_none());
    assert!(packer.find(address, LARGE).is_none());
    assert!(Packer::new(Some(self::arena())).find(address, 16 * LARGE).is_none());
    let found = packer.find(address, 2 * LARGE).unwrap();
    packer.add_lent(found, 2 * LARGE);
    let parcel = packer.finish();
    assert_eq!(bytes_of(&parcel).1, [Item::Buffer { offset: start, len: 2 * LARGE }]);
    drop((whole, block));
    assert_eq!(arena.in_use(), used);
    drop(parcel);
    assert_eq!(arena.in_use(), 0);
}

#[test]
fn what_looks_like_a_list_of_items_is_bytes() {
    let mut packer = Packer::new(None);
    packer.write(&[3; 40]).unwrap();
    assert_eq!(bytes_of(&packer.finish()), (vec![3; 40], vec![]));
}

proptest! {
    #[test]
    fn any_writes_arrive(parts in proptest::collection::vec((0..3 * LARGE, any::<u8>()), 0..12), walls: bool) {
        let arena = arena();
        // Walls keep a stream from growing where it is.
        let mut between = Vec::new();
        let (mut packer, mut sent) = (Packer::new(Some(Arc::clone(&arena))), Vec::new());
        for (len, byte) in parts {
            let part = vec![byte; len];
            packer.write(&part).unwrap();
            sent.extend_from_slice(&part);
            between.extend(walls.then(|| arena.block(1, true).unwrap()));
        }
        prop_assert_eq!(packer.len(), sent.len());
        let parcel = packer.finish();
        prop_assert_eq!(&bytes_of(&parcel).0, &sent);
        drop((parcel, between));
        prop_assert_eq!(arena.in_use(), 0);
    }
}
