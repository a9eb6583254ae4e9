use super::*;
use std::os::fd::AsFd;

const LEN: usize = 1 << 26;

fn arena(keep: usize) -> Arc<Arena> {
    Arena::create("plait-test", LEN, keep).unwrap()
}

fn hold() -> Hold {
    Arc::new(())
}

fn write(view: &View, at: usize, byte: u8) {
    assert!(at < view.len() && view.is_writable());
    // SAFETY: within the view.
    let place = unsafe { view.start().add(at) };
    // SAFETY: it may be written to, and is this test's.
    unsafe { place.write(byte) };
}

fn address(view: &View) -> usize {
    view.start().as_ptr() as usize
}

#[test]
fn a_block_arrives_at_the_other_side() {
    let arena = arena(LEN);
    let mut block = arena.block(3 * GRAIN + 5, false).unwrap();
    assert_eq!(block.len(), 4 * GRAIN);
    let sent: Vec<u8> = (0..block.len()).map(|i| (i % 251) as u8).collect();
    block.write(0, &sent);
    let reader = Arc::new(Region::open(arena.region().fd_to_read().unwrap()).unwrap());
    let place = block.offset()..block.offset() + sent.len();
    let whole = View::to_read(&reader, place.clone(), hold()).unwrap();
    assert_eq!(whole.to_vec(), sent);
    let copy = View::to_write(&reader, place.start + 100..place.end, hold()).unwrap();
    write(&copy, 7, 255);
    assert_eq!(whole.to_vec(), sent);
    assert_eq!((copy.to_vec()[7], copy.to_vec()[8]), (255, sent[108]));
    assert!(View::to_write(&reader, LEN - 1..LEN + 1, hold()).is_err());
    assert!(View::to_read(&reader, usize::MAX..usize::MAX, hold()).is_err());
}

#[test]
fn what_is_free_is_given_back_but_for_what_is_kept() {
    let arena = arena(8 * GRAIN);
    let taken = || arena.region().taken().unwrap() as usize;
    let blocks: Vec<Block> = (0..32).map(|_| arena.block(GRAIN, false).unwrap()).collect();
    assert_eq!((arena.in_use(), taken()), (32 * GRAIN, 32 * GRAIN));
    drop(blocks);
    assert_eq!(arena.in_use(), 0);
    assert!(arena.kept() <= 8 * GRAIN && arena.kept() > 0);
    assert_eq!(taken(), arena.kept());
    arena.trim();
    assert_eq!((arena.kept(), taken()), (0, 0));
}

#[test]
fn grows_in_place_shrinks_and_runs_out() {
    let arena = arena(LEN);
    let mut block = arena.block(GRAIN, true).unwrap();
    assert!(block.grow(LEN / 2));
    assert!(block.grow(10));
    assert_eq!(block.len(), LEN / 2);
    let wall = arena.block(GRAIN, false).unwrap();
    assert!(!block.grow(LEN / 2 + 1));
    assert!(arena.block(LEN / 2, false).is_none());
    assert!(arena.block(usize::MAX, false).is_none());
    drop(wall);
    block.shrink(0);
    assert_eq!(arena.in_use(), GRAIN);
    drop(block);
    assert_eq!(arena.in_use(), 0);
}

#[test]
fn a_view_is_found_until_it_is_written_to() {
    let arena = arena(LEN);
    let block = arena.block(4 * GRAIN, false).unwrap();
    let place = block.offset()..block.offset() + block.len();
    let mine = hold();
    let view = View::to_write(arena.region(), place.clone(), Arc::clone(&mine)).unwrap();
    let found = find(address(&view) + 10, GRAIN).unwrap();
    assert_eq!(found.range, place.start + 10..place.start + 10 + GRAIN);
    assert!(Arc::ptr_eq(&found.hold, &mine));
    assert!(find(address(&view) + 10, 4 * GRAIN).is_none());
    write(&view, GRAIN, 1);
    assert!(find(address(&view) + 10, GRAIN).is_none());
    assert!(find(address(&view) + 2 * GRAIN, 2 * GRAIN).is_some());
    let gone = address(&view);
    drop(view);
    assert!(find(gone, 1).is_none());
}

#[test]
fn without_address_space_bytes_are_copied() {
    let arena = arena(LEN);
    let mut block = arena.block(10, false).unwrap();
    block.write(0, b"0123456789");
    let unmapped = SparseMemory::open(arena.region().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let region = Arc::new(Region::new(unmapped, None));
    let view = View::to_read(&region, block.offset() + 2..block.offset() + 5, hold()).unwrap();
    assert_eq!(view.to_vec(), b"234");
}
