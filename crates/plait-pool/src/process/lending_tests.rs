use super::super::borrowing::{Arenas, same};
use super::super::packer::{Packer, Parcel};
use super::*;
use plait_shm::arena::{Arena, View};
use proptest::prelude::*;

const ROOM: usize = 1 << 24;
const LARGE: usize = 100_000;

/// Both sides, in one process.
struct Pair {
    arena: Arc<Arena>,
    results: Arc<Results>,
    kept: Kept,
    told: HashMap<u64, Weak<Image>>,
    worker: Arenas,
    bell: Arc<EventFd>,
}

fn pair() -> Pair {
    let arena = Arena::create("plait-test", ROOM, ROOM).unwrap();
    let bell = Arc::new(EventFd::new().unwrap());
    let results = Results::create(ROOM, Arc::clone(&bell)).unwrap();
    let theirs = results.fd().try_clone_to_owned().unwrap();
    let worker = Arenas::open(arena.region().fd_to_read().unwrap(), theirs).unwrap();
    Pair { arena, results, kept: Kept::default(), told: HashMap::new(), worker, bell }
}

fn fill(packer: &mut Packer, sizes: &[usize], byte: u8) {
    for &size in sizes {
        if let Some(mut block) = packer.room(size) {
            block.write(0, &vec![byte; size]);
            packer.add(block, size);
        } else {
            packer.write(&vec![byte; size]).unwrap();
        }
    }
}

impl Pair {
    fn request(&self, sizes: &[usize], byte: u8) -> Parcel {
        let mut packer = Packer::new(Some(Arc::clone(&self.arena)));
        fill(&mut packer, sizes, byte);
        packer.finish()
    }

    fn answer(&mut self, task: u64, packer: Packer) -> Vec<u8> {
        let mut message = self.worker.answer(packer);
        self.worker.amend(task, &mut message);
        message
    }

    fn open(&mut self, message: Vec<u8>, request: &Parcel) -> Result<(Body, Pieces), Corrupt> {
        open(Body::of(message), &request.blocks, Some(&self.results), &mut self.kept, &self.told)
    }

    /// Tells each side what the other has done with.
    fn settle(&mut self) {
        if let Some(done) = self.worker.done() {
            drop(self.kept.remove(&done).unwrap());
        }
        if let Some(free) = self.results.done() {
            self.worker.free(&free).unwrap();
        }
    }
}

#[test]
fn a_request_and_its_answer_leave_nothing() {
    let mut pair = pair();
    let request = pair.request(&[LARGE, 10, 2 * LARGE], 1);
    let (body, pieces) = pair.worker.receive(7, Body::of(request.message.clone())).unwrap();
    assert_eq!(body.as_ref(), [1; 10]);
    let views: Vec<View> = pieces.buffers.iter().map(|piece| piece.to_write().unwrap()).collect();
    assert_eq!(views.iter().map(View::to_vec).collect::<Vec<_>>(), [vec![1; LARGE], vec![1; 2 * LARGE]]);
    drop((views, pieces));
    let mut packer = pair.worker.packer();
    fill(&mut packer, &[LARGE], 2);
    let answer = pair.answer(7, packer);
    let (_, pieces) = pair.open(answer, &request).unwrap();
    drop(request);
    assert_eq!(pair.arena.in_use(), 0);
    assert_eq!(pieces.buffers[0].to_read().unwrap().to_vec(), vec![2; LARGE]);
    assert_eq!(pair.worker.packer_use(), 2 * GRAIN);
    drop(pieces);
    pair.settle();
    assert_eq!(pair.worker.packer_use(), 0);
    assert!(pair.kept.0.is_empty());
}

#[test]
fn a_stream_that_is_large_goes_by_the_arena() {
    let mut pair = pair();
    let mut packer = Packer::new(Some(Arc::clone(&pair.arena)));
    (0..40).for_each(|part| packer.write(&[part; 10_000]).unwrap());
    let request = packer.finish();
    let (_, pieces) = pair.worker.receive(1, Body::of(request.message.clone())).unwrap();
    let stream = pieces.stream.unwrap().to_read().unwrap().to_vec();
    assert_eq!(stream, (0..40).flat_map(|part| [part; 10_000]).collect::<Vec<u8>>());
}

#[test]
fn what_a_task_leaves_behind_stays_until_its_last_view_goes() {
    let mut pair = pair();
    let request = pair.request(&[LARGE, LARGE], 1);
    let (_, pieces) = pair.worker.receive(7, Body::of(request.message.clone())).unwrap();
    let behind = pieces.buffers[1].to_write().unwrap();
    drop(pieces);
    let packer = pair.worker.packer();
    let answer = pair.answer(7, packer);
    let (_, pieces) = pair.open(answer, &request).unwrap();
    assert_eq!(pieces, Pieces::default());
    drop(request);
    pair.settle();
    assert_eq!(pair.arena.in_use(), 2 * GRAIN);
    assert_eq!(behind.to_vec(), vec![1; LARGE]);
    drop(behind);
    pair.settle();
    assert_eq!(pair.arena.in_use(), 0);
}

#[test]
fn what_comes_back_as_it_was_sent_is_not_copied() {
    let mut pair = pair();
    let request = pair.request(&[LARGE, LARGE], 3);
    let (_, pieces) = pair.worker.receive(7, Body::of(request.message.clone())).unwrap();
    let view = pieces.buffers[1].to_write().unwrap();
    let address = view.start().as_ptr() as usize;
    assert_eq!(same(7, address + 100, LARGE - 100), Some((1, 100)));
    assert_eq!(same(8, address, LARGE), None);
    assert_eq!(same(7, address + 5, LARGE / 8), Some((1, 5)));
    assert_eq!(same(7, address + 5, LARGE / 9), None);
    let mut packer = pair.worker.packer();
    packer.add_same(1, 100, LARGE - 100);
    drop((view, pieces));
    let answer = pair.answer(7, packer);
    assert_eq!(pair.worker.packer_use(), 0);
    let (_, pieces) = pair.open(answer, &request).unwrap();
    let offset = request.blocks[1].offset();
    assert_eq!(pieces.buffers[0].range(), offset + 100..offset + LARGE);
    drop(request);
    assert_eq!(pair.arena.in_use(), 2 * GRAIN);
    assert_eq!(pieces.buffers[0].to_write().unwrap().to_vec(), vec![3; LARGE - 100]);
    drop(pieces);
    assert_eq!(pair.arena.in_use(), 0);
}

#[test]
fn an_image_that_an_answer_names_is_kept() {
    let mut pair = pair();
    let request = pair.request(&[], 0);
    let image = Image::new(pair.request(&[LARGE], 5));
    pair.told.insert(image.id(), Arc::downgrade(&image));
    let (_, pieces) = image.read().unwrap();
    assert_eq!(pieces.buffers[0].to_read().unwrap().to_vec(), vec![5; LARGE]);
    drop(pieces);
    let mut packer = pair.worker.packer();
    packer.write(b"named").unwrap();
    packer.mention(image.id());
    packer.mention(image.id() + 1);
    let answer = pair.answer(7, packer);
    let (body, pieces) = pair.open(answer, &request).unwrap();
    assert_eq!((body.as_ref(), &pieces.images), (&b"named"[..], &vec![Arc::clone(&image)]));
    drop(image);
    assert_eq!(pair.arena.in_use(), 2 * GRAIN);
    drop(pieces);
    assert_eq!(pair.arena.in_use(), 0);
}

#[test]
fn of_a_dead_worker_only_what_is_in_use_stays() {
    let mut pair = pair();
    let mut packer = pair.worker.packer();
    fill(&mut packer, &[LARGE, LARGE, LARGE], 5);
    let request = pair.request(&[], 0);
    let answer = pair.answer(7, packer);
    let (_, mut pieces) = pair.open(answer, &request).unwrap();
    let last = pieces.buffers.pop().unwrap();
    let taken = pair.results.taken();
    pieces.buffers.truncate(1);
    pair.results.close();
    assert!(pair.results.taken() < taken);
    assert_eq!(last.to_read().unwrap().to_vec(), vec![5; LARGE]);
    drop((last, pieces));
    assert_eq!(pair.results.taken(), 0);
    assert!(pair.results.done().is_none());
}

#[test]
fn much_that_is_done_with_rings_the_supervisor_once() {
    let mut pair = pair();
    let request = pair.request(&[], 0);
    let mut packer = pair.worker.packer();
    fill(&mut packer, &[LINGERING / 2; 3], 5);
    let answer = pair.answer(7, packer);
    let (_, mut pieces) = pair.open(answer, &request).unwrap();
    pieces.buffers.pop();
    assert!(!pair.bell.drain().unwrap() && !pair.results.lingers());
    drop(pieces);
    assert!(pair.bell.drain().unwrap() && pair.results.lingers());
    pair.settle();
    assert!(!pair.results.lingers());
    assert_eq!(pair.worker.packer_use(), 0);
}

#[test]
fn what_no_worker_of_ours_says_is_refused() {
    let mut pair = pair();
    let request = pair.request(&[LARGE], 0);
    let say = |items: &[Item]| {
        let mut message = wire::message(wire::RETURNED, 1, 0, &[]);
        parcel::begin(items, &mut message);
        message
    };
    let len = LARGE;
    for item in [
        Item::Stream { offset: ROOM, len },
        Item::Buffer { offset: 1, len },
        Item::Buffer { offset: usize::MAX, len },
        Item::Buffer { offset: 0, len: 0 },
        Item::Same { index: 1, offset: 0, len },
        Item::Same { index: 0, offset: 2 * GRAIN, len: 1 },
        Item::Same { index: 0, offset: usize::MAX, len },
        Item::Kept { index: 9 },
    ] {
        assert!(pair.open(say(&[item]), &request).is_err(), "{item:?}");
    }
    let twice = say(&[Item::Buffer { offset: GRAIN, len }, Item::Buffer { offset: 2 * GRAIN, len }]);
    assert!(pair.open(twice, &request).is_err());
    assert!(pair.kept.remove(&wire::places(wire::DONE, &[0])).is_err());
    assert!(pair.kept.remove(&[1, 2, 3]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Tasks overlap, leave views behind, and answer with what they got.
    #[test]
    fn whatever_tasks_do_nothing_stays(steps in proptest::collection::vec(
        (proptest::collection::vec(1..2 * LARGE, 0..4), any::<bool>(), any::<bool>(), any::<bool>()), 1..20,
    )) {
        let mut pair = pair();
        let (mut behind, mut unread) = (Vec::new(), Vec::new());
        for (task, (sizes, keeps, returns, settles)) in (1..).zip(steps) {
            let byte = 100 + task as u8;
            let request = pair.request(&sizes, byte);
            let (_, pieces) = pair.worker.receive(task, Body::of(request.message.clone())).unwrap();
            let mut views: Vec<View> = pieces.buffers.iter().map(|piece| piece.to_write().unwrap()).collect();
            prop_assert!(views.iter().all(|view| view.to_vec().iter().all(|&b| b == byte)));
            let mut packer = pair.worker.packer();
            if returns {
                for view in &views {
                    let (index, offset) = same(task, view.start().as_ptr() as usize, view.len()).unwrap();
                    packer.add_same(index, offset, view.len());
                }
            }
            fill(&mut packer, &sizes, byte);
            if keeps && let Some(view) = views.pop() {
                behind.push((view, byte));
            }
            drop((views, pieces));
            let answer = pair.answer(task, packer);
            let (_, pieces) = pair.open(answer, &request).unwrap();
            unread.push((pieces, byte));
            if settles {
                unread.pop();
                behind.pop();
                pair.settle();
            }
        }
        for (pieces, byte) in &unread {
            for piece in &pieces.buffers {
                prop_assert!(piece.to_read().unwrap().to_vec().iter().all(|b| b == byte));
            }
        }
        prop_assert!(behind.iter().all(|(view, byte)| view.to_vec().iter().all(|b| b == byte)));
        drop((unread, behind));
        pair.settle();
        prop_assert_eq!((pair.arena.in_use(), pair.worker.packer_use()), (0, 0));
        prop_assert!(pair.kept.0.is_empty());
    }
}
