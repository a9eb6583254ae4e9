//! Who gets which task: by example, and against a model at random.

use super::*;
use crate::process::slot::Stage;
use crate::process::world::World;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LARGE: usize = 20_000;

#[test]
fn one_task_is_handed_ahead_until_they_turn_out_short() {
    let mut world = World::new(1);
    let worker = world.hire();
    for number in 1..=400 {
        world.submit(number);
    }
    let handed = |world: &World| world.state.slots.get(&worker).unwrap().handed.len();
    assert_eq!(handed(&world), 2);
    for task in 1..=100 {
        assert_eq!(world.begins(worker), task);
        let message = crate::process::wire::message(crate::process::wire::RETURNED, task, 2_000, &[]);
        world.hears(worker, message);
    }
    assert!(handed(&world) > 100, "{}", handed(&world));
}

#[test]
fn a_large_message_waits_for_somebody_idle() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    let large = world.submit_as(2, true, LARGE);
    world.submit(3);
    assert_eq!((world.state.queue.len(), world.state.ahead), (2, 0));
    let first = world.begins(worker);
    world.returns(worker, first);
    assert_eq!(world.begins(worker), large);
    assert_eq!(world.unbegun(worker), [3]);
}

#[test]
fn what_nobody_wants_keeps_nothing_from_being_handed_ahead() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    world.submit_as(2, false, LARGE);
    world.submit(3);
    assert_eq!(world.begins(worker), 1);
    assert_eq!(world.unbegun(worker), [3]);
}

#[test]
fn who_becomes_idle_or_ready_takes_over_half_of_what_waits() {
    let mut world = World::new(3);
    let a = world.hire();
    // Short ones first, so that many are handed ahead.
    for _ in 0..200 {
        let task = world.submit(0);
        world.begins(a);
        let message = crate::process::wire::message(crate::process::wire::RETURNED, task, 0, &[]);
        world.hears(a, message);
    }
    let ids: Vec<u64> = (1..=8).map(|number| world.submit(number)).collect();
    assert_eq!(world.begins(a), ids[0]);
    let b = world.hire();
    // Both halves in the order of their submission.
    assert_eq!(world.unbegun(b), [ids[1], ids[3], ids[5], ids[7]]);
    assert_eq!(world.unbegun(a), [ids[2], ids[4], ids[6]]);
    assert_eq!(world.begins(b), ids[1]);
    let c = world.hire();
    assert_eq!(world.begins(c), ids[2]);
    world.returns(a, ids[0]);
    assert_eq!(world.begins(a), ids[4]);
}

#[test]
fn the_only_task_of_a_worker_stays_there() {
    let mut world = World::new(2);
    let a = world.hire();
    world.submit(1);
    world.hire();
    assert_eq!(world.begins(a), 1);
}

#[test]
fn a_task_is_taken_back_wherever_it_is_unless_it_has_begun() {
    let mut world = World::new(1);
    let worker = world.hire();
    for number in 1..=4 {
        world.submit(number);
    }
    assert_eq!(world.begins(worker), 1);
    assert_eq!(
        (world.state.has_begun(1), world.state.has_begun(2), world.state.has_begun(3)),
        (true, false, false)
    );
    assert_eq!(world.withdraws(1), Withdrawn::Running);
    // Handed over, and in the queue.
    assert_eq!(world.withdraws(2), Withdrawn::TakenBack(2));
    assert_eq!(world.withdraws(2), Withdrawn::Ended);
    assert_eq!(world.withdraws(4), Withdrawn::TakenBack(4));
    world.returns(worker, 1);
    assert_eq!(world.withdraws(1), Withdrawn::Ended);
    assert_eq!(world.begins(worker), 3);
}

#[test]
fn a_worker_wakes_from_the_handing_of_a_task_to_its_begin() {
    let mut world = World::new(1);
    let worker = world.hire();
    assert!(!world.state.wakes_somebody());
    let task = world.submit(1);
    assert!(world.state.wakes_somebody());
    assert_eq!(world.begins(worker), task);
    world.submit(2);
    assert!(!world.state.wakes_somebody());
    world.returns(worker, task);
    assert!(world.state.wakes_somebody());
    world.falls(worker);
    assert!(!world.state.wakes_somebody());
}

#[test]
fn a_task_that_is_half_sent_can_be_taken_back() {
    let mut world = World::new(1);
    let worker = world.hire();
    let long = world.submit_as(1, true, 3_000_000);
    assert_eq!(world.withdraws(long), Withdrawn::TakenBack(1));
    let next = world.submit(2);
    // The rest of it is sent, and skipped.
    std::thread::scope(|scope| {
        let World { state, workers, .. } = &mut world;
        let begun = scope.spawn(|| workers.get_mut(&worker).unwrap().receive().unwrap());
        let slot = state.slots.get_mut(&worker).unwrap();
        while !begun.is_finished() {
            slot.pump();
        }
        let begun = begun.join().unwrap();
        assert!(matches!(begun, crate::process::ToDo::Task { task, .. } if task == next));
    });
}

/// What the played workers know, and what must be true of the state.
struct Model {
    world: World,
    limit: usize,
    /// The task that each runs, and what it has answered and nobody heard.
    running: BTreeMap<u64, (Option<u64>, Vec<u64>)>,
    /// How often each was begun.
    begun: BTreeMap<u64, usize>,
    /// Those of whom we hear no more.
    withdrawn: Vec<u32>,
    submitted: u32,
}

impl Model {
    fn new(limit: usize) -> Self {
        Self {
            world: World::new(limit),
            limit,
            running: BTreeMap::new(),
            begun: BTreeMap::new(),
            withdrawn: Vec::new(),
            submitted: 0,
        }
    }

    fn pick(&self, which: usize) -> Option<u64> {
        self.running.keys().copied().nth(which % self.running.len().max(1))
    }

    fn step(&mut self, what: u8, which: usize) {
        let worker = self.pick(which);
        match (what, worker) {
            (0..=3, _) => {
                self.submitted += 1;
                let weight = if which.is_multiple_of(7) { LARGE } else { 8 };
                let id = self.world.submit_as(self.submitted, true, weight);
                assert_eq!(id, u64::from(self.submitted));
            }
            (4, _) if self.running.len() < self.limit => {
                let worker = self.world.hire();
                self.running.insert(worker, (None, Vec::new()));
            }
            (5 | 6, Some(worker)) => self.begin(worker),
            (7 | 8, Some(worker)) => self.answer(worker),
            (9 | 10, Some(worker)) => self.hear(worker),
            (11, Some(worker)) => {
                // What it has written is read first.
                while !self.running[&worker].1.is_empty() {
                    self.hear(worker);
                }
                if !which.is_multiple_of(3) {
                    self.world.falls(worker);
                }
                if !which.is_multiple_of(2) {
                    self.world.dies(worker);
                    self.running.remove(&worker);
                } else {
                    // Its status comes with the last step.
                    self.running.insert(worker, (None, Vec::new()));
                    self.world.falls(worker);
                }
            }
            (12, _) => {
                let id = which as u64 % (u64::from(self.submitted) + 1);
                if let Withdrawn::TakenBack(number) = self.world.withdraws(id) {
                    self.withdrawn.push(number);
                }
            }
            _ => {}
        }
        self.check();
    }

    fn begin(&mut self, worker: u64) {
        if self.running[&worker].0.is_none() && !self.world.unbegun(worker).is_empty() {
            let task = self.world.begins(worker);
            *self.begun.entry(task).or_default() += 1;
            self.running.get_mut(&worker).unwrap().0 = Some(task);
        }
    }

    fn answer(&mut self, worker: u64) {
        let (runs, answered) = self.running.get_mut(&worker).unwrap();
        answered.extend(runs.take());
    }

    fn hear(&mut self, worker: u64) {
        let (_, answered) = self.running.get_mut(&worker).unwrap();
        if !answered.is_empty() {
            let task = answered.remove(0);
            self.world.returns(worker, task);
        }
    }

    fn check(&self) {
        let state = &self.world.state;
        let slots = || state.slots.iter();
        assert_eq!(state.ahead, slots().map(|(_, slot)| slot.handed.len().saturating_sub(1)).sum::<usize>());
        let mut idle: Vec<u64> = state.idle.clone();
        idle.sort_unstable();
        let free = |(_, slot): &(&u64, &Slot<_>)| slot.serves() && slot.handed.is_empty();
        assert_eq!(idle, slots().filter(free).map(|(&worker, _)| worker).collect::<Vec<_>>());
        if !idle.is_empty() {
            // Nobody is idle while something waits.
            assert!(state.queue.is_empty());
            for (&worker, slot) in slots() {
                let first = slot.handed.front().map(|handed| handed.task.id);
                assert!(self.world.unbegun(worker).iter().all(|&task| Some(task) == first));
            }
        }
        assert!(self.begun.values().all(|&times| times == 1), "begun twice");
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        let dead = |world: &World, worker: &u64| world.state.slots[worker].dead_since.is_some();
        let dead: Vec<u64> =
            self.running.keys().copied().filter(|worker| dead(&self.world, worker)).collect();
        for worker in dead {
            self.world.dies(worker);
            self.running.remove(&worker);
            self.check();
        }
        if self.running.is_empty() {
            let worker = self.world.hire();
            self.running.insert(worker, (None, Vec::new()));
        }
        self.world.closes(false);
        while self.world.state.slots.values().any(|slot| !slot.handed.is_empty()) {
            let workers: Vec<u64> = self.running.keys().copied().collect();
            for worker in workers {
                self.begin(worker);
                self.answer(worker);
                self.hear(worker);
                self.check();
            }
        }
        let ends = self.world.ended().into_iter().map(|(number, _)| number);
        let mut ends: Vec<u32> = ends.chain(self.withdrawn.iter().copied()).collect();
        ends.sort_unstable();
        assert_eq!(ends, (1..=self.submitted).collect::<Vec<_>>(), "each ends once");
    }
}

proptest! {
    #[test]
    fn every_task_ends_once_and_nobody_idles(
        limit in 1usize..5,
        script in prop::collection::vec((0u8..13, 0usize..1000), 1..150),
    ) {
        let mut model = Model::new(limit);
        for (what, which) in script {
            model.step(what, which);
        }
        model.finish();
    }
}

#[test]
fn a_worker_leaves_after_its_last_task() {
    let mut world = World::new(2);
    world.state.tasks_per_worker = 2;
    let first = world.hire();
    let tasks: Vec<u64> = (0..5).map(|number| world.submit(number)).collect();
    // It is handed no more than it may answer, though there would be room.
    assert_eq!(world.state.slots[&first].handed.len(), 2);
    // Another is wanted, and gets no more either when it takes its part.
    let second = world.hire();
    assert!(world.state.slots.values().all(|slot| slot.handed.len() <= 2));
    for worker in [first, second] {
        for _ in 0..2 {
            let task = world.begins(worker);
            assert!(tasks.contains(&task));
            world.returns(worker, task);
        }
        assert_eq!(world.state.slots[&worker].stage, Stage::Leaving);
    }
    assert_eq!(world.ended().len(), 4);
    assert_eq!(world.state.wanted(), 0, "they have their places until they are gone");
    world.dies(first);
    assert_eq!(world.state.wanted(), 1);
    let third = world.hire();
    let task = world.begins(third);
    world.returns(third, task);
    assert_eq!(world.ended().len(), 5);
    assert_eq!(world.state.slots[&third].stage, Stage::Serving);
}

#[test]
fn an_eager_pool_wants_workers_before_there_are_tasks() {
    let mut world = World::new(3);
    world.state.eager = true;
    world.closes(false);
    assert_eq!(world.state.wanted(), 3, "closed at once, it still starts");
    assert!(!world.state.is_over());
    world.hire();
    assert_eq!(world.state.wanted(), 0, "once it has begun to start, it only ends");
    let mut world = World::new(3);
    world.state.eager = true;
    let worker = world.hire();
    assert_eq!(world.state.wanted(), 2);
    world.dies(worker);
    assert_eq!(world.state.wanted(), 3);
}
