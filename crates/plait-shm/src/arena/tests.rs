use super::*;
use proptest::prelude::*;
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
fn what_is_freed_after_a_trim_is_not_kept() {
    let arena = arena(LEN);
    let taken = || arena.region().taken().unwrap() as usize;
    let [early, late, later] = [3, 2, 4].map(|count| arena.block(count * GRAIN, false).unwrap());
    drop(early);
    assert_eq!(taken(), 9 * GRAIN);
    arena.trim();
    assert_eq!(taken(), 6 * GRAIN);
    drop(late);
    assert_eq!((arena.kept(), taken()), (0, 4 * GRAIN));
    // Who allocates again may do so more often.
    let next = arena.block(GRAIN, false).unwrap();
    drop((next, later));
    assert_eq!((arena.kept(), taken()), (5 * GRAIN, 5 * GRAIN));
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

#[derive(Debug, Clone)]
enum Step {
    Take(usize, bool),
    Grow(usize, usize),
    Shrink(usize, usize),
    Drop(usize),
    Keep(usize),
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = 1..12 * GRAIN;
    let step = prop_oneof![
        5 => (len.clone(), any::<bool>()).prop_map(|(len, to_grow)| Step::Take(len, to_grow)),
        2 => (any::<usize>(), len.clone()).prop_map(|(which, len)| Step::Grow(which, len)),
        2 => (any::<usize>(), len).prop_map(|(which, len)| Step::Shrink(which, len)),
        4 => any::<usize>().prop_map(Step::Drop),
        1 => (0..32 * GRAIN).prop_map(Step::Keep),
        1 => Just(Step::Trim),
    ];
    proptest::collection::vec(step, 0..60)
}

/// A block, and how many of its bytes are this one.
type Written = (Block, usize, u8);

fn fill(block: &mut Block, byte: u8) {
    let bytes = vec![byte; block.len()];
    block.write(0, &bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each block keeps what was written to it, whatever becomes of others.
    #[test]
    fn no_two_blocks_overlap_and_all_space_returns(steps in steps()) {
        const ROOM: usize = 64 * GRAIN;
        let arena = Arena::create("plait-test", ROOM, ROOM / 4).unwrap();
        let mut blocks: Vec<Written> = Vec::new();
        for (byte, step) in (1..=u8::MAX).cycle().zip(steps) {
            match step {
                Step::Take(len, to_grow) => {
                    if let Some(mut block) = arena.block(len, to_grow) {
                        prop_assert!(block.len() >= len && block.offset() + block.len() <= ROOM);
                        fill(&mut block, byte);
                        let len = block.len();
                        blocks.push((block, len, byte));
                    }
                }
                Step::Grow(which, len) if !blocks.is_empty() => {
                    let at = which % blocks.len();
                    let (block, written, old) = &mut blocks[at];
                    if block.grow(len) {
                        prop_assert!(block.len() >= len);
                        let mut before = Vec::new();
                        block.read(*written, &mut before);
                        prop_assert!(before.iter().all(|b| b == old));
                        fill(block, byte);
                        (*written, *old) = (block.len(), byte);
                    }
                }
                Step::Shrink(which, len) if !blocks.is_empty() => {
                    let at = which % blocks.len();
                    let (block, written, _) = &mut blocks[at];
                    block.shrink(len);
                    *written = block.len();
                }
                Step::Drop(which) if !blocks.is_empty() => {
                    let at = which % blocks.len();
                    blocks.swap_remove(at);
                }
                Step::Keep(bytes) => arena.keep(bytes),
                Step::Trim => arena.trim(),
                _ => {}
            }
            let total: usize = blocks.iter().map(|(block, ..)| block.len()).sum();
            prop_assert_eq!(arena.in_use(), total);
            let mut places: Vec<_> = blocks.iter().map(|(b, ..)| (b.offset(), b.len())).collect();
            places.sort_unstable();
            prop_assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        }
        for (block, len, byte) in &blocks {
            let mut bytes = Vec::new();
            block.read(*len, &mut bytes);
            prop_assert!(bytes.iter().all(|b| b == byte));
        }
        blocks.clear();
        prop_assert_eq!(arena.in_use(), 0);
        prop_assert!(arena.block(ROOM, false).is_some());
        arena.trim();
        prop_assert_eq!(arena.region().taken().unwrap(), 0);
    }
}
