use super::*;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use plait_shm::{Heard, Responses, WorkerLink};
use plait_sys::eventfd::EventFd;

#[derive(Default)]
struct Log {
    ends: Mutex<Vec<(u32, End)>>,
    cancelled: Mutex<Vec<u32>>,
    begun: AtomicU32,
}

#[derive(Clone)]
struct Mark {
    number: u32,
    wanted: bool,
    log: Arc<Log>,
}

impl Ticket for Mark {
    fn try_begin(&self) -> bool {
        self.log.begun.fetch_add(1, SeqCst);
        self.wanted
    }
    fn cancel(self) {
        self.log.cancelled.lock().unwrap().push(self.number);
    }
    fn finish(self, end: End) {
        self.log.ends.lock().unwrap().push((self.number, end));
    }
}

struct World {
    state: State<Mark>,
    log: Arc<Log>,
    workers: BTreeMap<u64, (WorkerLink, Responses)>,
}

impl World {
    fn new(limit: usize) -> Self {
        Self { state: State::new(limit), log: Arc::default(), workers: BTreeMap::new() }
    }

    fn submit_wanted(&mut self, number: u32, wanted: bool) {
        let mut after = Aftermath::new();
        let ticket = Mark { number, wanted, log: Arc::clone(&self.log) };
        self.state.submit(0, Arc::new([]), &number.to_ne_bytes(), ticket, &mut after);
        after.run();
    }

    fn submit(&mut self, number: u32) {
        self.submit_wanted(number, true);
    }

    /// A worker that is ready, played by this thread.
    fn hire(&mut self) -> u64 {
        let (requests, responses) = plait_shm::link().unwrap();
        let memory = requests.memory().try_clone_to_owned().unwrap();
        let bell = EventFd::new().unwrap().as_fd().try_clone_to_owned().unwrap();
        let link = WorkerLink::open(memory, EventFd::from(bell)).unwrap();
        let (lifeline, _) = Lifeline::new().unwrap();
        let worker = self.state.add(Slot::new(requests, lifeline, 1));
        self.workers.insert(worker, (link, responses));
        self.says(worker, wire::READY, 0);
        worker
    }

    fn says(&mut self, worker: u64, kind: u64, number: u64) {
        let mut after = Aftermath::new();
        self.state.heard(worker, wire::message(kind, number, 0, b"text"), &mut after);
        after.run();
    }

    /// The number of the task that the worker takes off its ring.
    fn takes(&mut self, worker: u64) -> u64 {
        let Heard::Message(message) = self.workers.get_mut(&worker).unwrap().0.receive().unwrap() else {
            panic!("nobody interrupts")
        };
        wire::parse(&message).unwrap().0[1]
    }

    fn dies(&mut self, worker: u64) {
        let mut after = Aftermath::new();
        self.state.bury(worker, Status::Killed(9), &mut after);
        after.run();
    }

    fn ended(&self) -> Vec<(u32, &'static str)> {
        let kind = |end: &End| match end {
            End::Reply(reply) if reply.raised => "raised",
            End::Reply(_) => "returned",
            End::Died(_) => "died",
            End::Broken(_) => "broken",
        };
        self.log.ends.lock().unwrap().iter().map(|(number, end)| (*number, kind(end))).collect()
    }
}

#[test]
fn each_idle_worker_gets_one_task() {
    let mut world = World::new(2);
    for number in 1..=3 {
        world.submit(number);
    }
    assert_eq!(world.state.wanted(), 2);
    let (a, b) = (world.hire(), world.hire());
    assert_eq!((world.takes(a), world.takes(b), world.state.wanted()), (1, 2, 0));
    world.says(b, wire::RETURNED, 2);
    assert_eq!(world.takes(b), 3);
    world.says(a, wire::RAISED, 1);
    world.says(b, wire::RETURNED, 3);
    assert_eq!(world.ended(), [(2, "returned"), (1, "raised"), (3, "returned")]);
}

#[test]
fn a_death_costs_the_task_that_was_begun() {
    let mut world = World::new(1);
    world.submit(1);
    world.submit(2);
    let worker = world.hire();
    world.takes(worker);
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
    assert_eq!(world.state.wanted(), 1);
}

#[test]
fn a_task_that_a_dead_worker_never_took_is_not_lost_and_begins_once() {
    let mut world = World::new(1);
    let dead = world.hire();
    world.submit(1);
    world.submit(2);
    world.dies(dead);
    assert_eq!(world.ended(), []);
    let worker = world.hire();
    assert_eq!(world.takes(worker), 1);
    world.says(worker, wire::RETURNED, 1);
    assert_eq!(world.takes(worker), 2);
    assert_eq!(world.log.begun.load(SeqCst), 2);
}

#[test]
fn what_was_cancelled_is_not_handed_out() {
    let mut world = World::new(1);
    world.submit_wanted(1, false);
    world.submit(2);
    let worker = world.hire();
    assert_eq!(world.takes(worker), 2);
    assert_eq!(world.ended(), []);
}

#[test]
fn an_answer_to_another_question_condemns_the_worker() {
    for (kind, number) in [(wire::RETURNED, 77), (wire::READY, 0), (99, 1)] {
        let mut world = World::new(1);
        world.submit(1);
        let worker = world.hire();
        world.takes(worker);
        world.says(worker, kind, number);
        world.dies(worker);
        let ends = world.log.ends.lock().unwrap();
        assert!(matches!(ends[..], [(1, End::Died(death))] if death.corrupt));
    }
}

#[test]
fn an_initializer_that_fails_breaks_everything() {
    let mut world = World::new(2);
    let worker = world.hire();
    world.submit(1);
    world.takes(worker);
    world.submit(2);
    let (requests, _) = plait_shm::link().unwrap();
    let other = world.state.add(Slot::new(requests, Lifeline::new().unwrap().0, 1));
    world.says(other, wire::UNFIT, 0);
    assert_eq!(world.ended(), [(2, "broken"), (1, "broken")]);
    assert!(matches!(world.state.check_open(), Err(Error::Broken(reason)) if reason.contains("text")));
    world.dies(worker);
    world.dies(other);
    assert!(world.state.is_over());
    assert_eq!(world.ended().len(), 2);
}

#[test]
fn workers_that_never_get_ready_break_the_pool() {
    let mut world = World::new(1);
    world.submit(1);
    for round in 0..3 {
        assert_eq!((world.state.wanted(), world.ended().len()), (1, 0), "{round}");
        let (requests, _) = plait_shm::link().unwrap();
        let worker = world.state.add(Slot::new(requests, Lifeline::new().unwrap().0, 1));
        world.dies(worker);
    }
    assert_eq!(world.ended(), [(1, "broken")]);
    assert!(matches!(world.state.check_open(), Err(Error::Broken(reason)) if reason.contains("SIGKILL")));
}

#[test]
fn failed_starts_beside_a_working_worker_break_the_pool_only_when_it_is_gone() {
    let mut world = World::new(2);
    let worker = world.hire();
    world.submit(1);
    world.takes(worker);
    world.submit(2);
    for _ in 0..3 {
        let (requests, _) = plait_shm::link().unwrap();
        let other = world.state.add(Slot::new(requests, Lifeline::new().unwrap().0, 1));
        world.dies(other);
    }
    assert_eq!((world.ended().len(), world.state.wanted()), (0, 0));
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died"), (2, "broken")]);
}

#[test]
fn closing_finishes_or_cancels_and_then_sends_home() {
    for cancel in [false, true] {
        let mut world = World::new(1);
        let worker = world.hire();
        world.submit(1);
        world.submit(2);
        assert_eq!(world.takes(worker), 1);
        let mut after = Aftermath::new();
        world.state.close(cancel, &mut after);
        after.run();
        assert!(matches!(world.state.check_open(), Err(Error::Shutdown)));
        world.says(worker, wire::RETURNED, 1);
        if cancel {
            assert_eq!(*world.log.cancelled.lock().unwrap(), [2]);
        } else {
            assert_eq!(world.takes(worker), 2);
            world.state.dismiss();
            world.says(worker, wire::RETURNED, 2);
        }
        world.state.dismiss();
        assert!(!world.state.is_over());
        world.dies(worker);
        assert!(world.state.is_over());
    }
}

#[test]
fn terminating_leaves_no_task_without_an_end() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    world.submit(2);
    world.takes(worker);
    let mut after = Aftermath::new();
    world.state.terminate(Duration::ZERO, &mut after);
    after.run();
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
    assert_eq!(*world.log.cancelled.lock().unwrap(), [2]);
    assert!(world.state.is_over());
}

#[test]
fn a_worker_forgets_the_images_that_are_gone() {
    let mut world = World::new(1);
    let worker = world.hire();
    let kept = Image::new(b"kept");
    let slot = world.state.slots.get_mut(&worker).unwrap();
    for _ in 0..10 * FIRST_SWEEP {
        slot.tell(&[Arc::clone(&kept), Image::new(b"gone")]);
        slot.pump();
        let link = &mut world.workers.get_mut(&worker).unwrap().0;
        while !slot.has_taken_everything() {
            link.receive().unwrap();
        }
    }
    assert!(slot.told.len() <= 2 * FIRST_SWEEP, "{}", slot.told.len());
    assert!(slot.told.contains_key(&kept.id()));
}
