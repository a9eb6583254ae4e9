//! A state with workers that are played by the test.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use plait_shm::Stage;
use plait_sys::clock::Instant;
use plait_sys::eventfd::EventFd;
use plait_sys::lifeline::Lifeline;
use plait_sys::process::Status;

use super::aftermath::Aftermath;
use super::pool::Call;
use super::slot::Slot;
use super::state::State;
use super::terms::Terms;
use super::{End, Parcel, Ticket, ToDo, Withdrawn, Worker, wire};

#[derive(Default)]
pub(super) struct Log {
    pub(super) ends: Mutex<Vec<(u32, End)>>,
    pub(super) attempts: Mutex<Vec<u32>>,
    pub(super) cancelled: Mutex<Vec<u32>>,
}

#[derive(Clone)]
pub(super) struct Mark {
    pub(super) number: u32,
    wanted: bool,
    log: Arc<Log>,
}

impl Ticket for Mark {
    fn is_wanted(&self) -> bool {
        self.wanted
    }
    fn cancel(self) {
        self.log.cancelled.lock().unwrap().push(self.number);
    }
    fn finish(self, end: End, attempts: u32) {
        self.log.ends.lock().unwrap().push((self.number, end));
        self.log.attempts.lock().unwrap().push(attempts);
    }
}

pub(super) struct World {
    pub(super) state: State<Mark>,
    pub(super) log: Arc<Log>,
    pub(super) workers: BTreeMap<u64, Worker>,
}

impl World {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: State::new(limit, None), log: Arc::default(), workers: BTreeMap::new() }
    }

    pub(super) fn bounded(limit: usize, max_pending: usize) -> Self {
        Self { state: State::new(limit, Some(max_pending)), ..Self::new(limit) }
    }

    fn run<R>(&mut self, act: impl FnOnce(&mut State<Mark>, &mut Aftermath<Mark>) -> R) -> R {
        let mut after = Aftermath::new();
        let result = act(&mut self.state, &mut after);
        after.run();
        result
    }

    fn submit_all(&mut self, number: u32, wanted: bool, weight: usize, terms: Terms) -> u64 {
        let ticket = Mark { number, wanted, log: Arc::clone(&self.log) };
        let parcel = Parcel::of(&vec![0; weight]);
        let call = Call { image: 0, needs: Arc::new([]), parcel, terms };
        self.run(|state, after| state.submit(call, ticket, after))
    }

    pub(super) fn submit_as(&mut self, number: u32, wanted: bool, weight: usize) -> u64 {
        self.submit_all(number, wanted, weight, Terms::default())
    }

    pub(super) fn submit_on(&mut self, number: u32, terms: Terms) -> u64 {
        self.submit_all(number, true, 4, terms)
    }

    /// Looks after the workers as if it were `now`.
    pub(super) fn looks(&mut self, now: Instant) {
        self.run(|state, after| state.look_around(now, after));
    }

    /// Lets some time pass, and feels the pulses.
    pub(super) fn feels(&mut self, now: &mut Instant) {
        *now = *now + std::time::Duration::from_millis(200);
        self.run(|state, after| {
            state.next_round();
            state.feel_pulses(*now, after);
        });
    }

    /// Sends on to the worker.
    pub(super) fn pumps(&mut self, worker: u64) {
        self.state.slots.get_mut(&worker).unwrap().pump();
    }

    pub(super) fn stage(&self, worker: u64) -> Stage {
        self.state.slots[&worker].requests().run().0.stage()
    }

    pub(super) fn stops(&mut self, task: u64) -> Withdrawn<u32> {
        let stopped = self.run(|state, after| {
            let stopped = state.stop(task, Instant::now(), after);
            state.dispatch(after);
            stopped
        });
        number_of(stopped)
    }

    pub(super) fn submit(&mut self, number: u32) -> u64 {
        self.submit_as(number, true, 4)
    }

    /// A worker that the template was asked for.
    pub(super) fn ask(&mut self) -> u64 {
        let (requests, responses) = plait_shm::link().unwrap();
        let memory = requests.memory().try_clone_to_owned().unwrap();
        let bell = EventFd::new().unwrap().as_fd().try_clone_to_owned().unwrap();
        let slot = Slot::new(requests, responses, None, Lifeline::new().unwrap().0, 1);
        let worker = self.state.add(slot);
        self.workers.insert(worker, Worker::new(memory, bell, None).unwrap());
        worker
    }

    /// A worker that is ready.
    pub(super) fn hire(&mut self) -> u64 {
        let worker = self.ask();
        self.says(worker, wire::READY, 0);
        worker
    }

    /// As [`hire`](Self::hire), of one that runs several tasks at once.
    pub(super) fn hire_one_of_several(&mut self) -> u64 {
        let worker = self.ask();
        self.workers.get_mut(&worker).unwrap().run_several();
        self.says(worker, wire::READY, 0);
        worker
    }

    pub(super) fn says(&mut self, worker: u64, kind: u64, number: u64) {
        let message = wire::message(kind, number, 1_000_000, b"text");
        self.hears(worker, message);
    }

    pub(super) fn hears(&mut self, worker: u64, message: Vec<u8>) {
        self.run(|state, after| {
            state.heard(worker, message, after);
            state.dispatch(after);
        });
    }

    /// The number of the task that the worker begins; it blocks if there is
    /// none.
    pub(super) fn begins(&mut self, worker: u64) -> u64 {
        match self.workers.get_mut(&worker).unwrap().receive().unwrap() {
            ToDo::Task { task, .. } => task,
            other => panic!("not a task: {other:?}"),
        }
    }

    pub(super) fn returns(&mut self, worker: u64, task: u64) {
        self.says(worker, wire::RETURNED, task);
    }

    pub(super) fn withdraws(&mut self, task: u64) -> Withdrawn<u32> {
        let withdrawn = self.run(|state, after| {
            let withdrawn = state.withdraw(task);
            state.dispatch(after);
            withdrawn
        });
        number_of(withdrawn)
    }

    /// Its pidfd is readable.
    pub(super) fn falls(&mut self, worker: u64) {
        self.run(|state, after| state.died(worker, after));
    }

    /// What it is held by did not arrive.
    pub(super) fn loses(&mut self, worker: u64) {
        self.run(|state, after| state.lose(worker, after));
    }

    /// Its status is known.
    pub(super) fn dies(&mut self, worker: u64) {
        self.workers.remove(&worker);
        drop(self.run(|state, after| state.bury(worker, Status::Killed(9), "".into(), after)));
    }

    pub(super) fn closes(&mut self, cancel: bool) {
        self.run(|state, after| state.close(cancel, after));
    }

    pub(super) fn terminates(&mut self) {
        self.run(|state, after| state.terminate(std::time::Duration::ZERO, after));
    }

    /// Which of the tasks with `worker` have not begun, in their order.
    pub(super) fn unbegun(&self, worker: u64) -> Vec<u64> {
        let Some(slot) = self.state.slots.get(&worker) else { return Vec::new() };
        slot.handed.iter().filter(|h| slot.begun(h).is_none()).map(|h| h.task.id).collect()
    }

    pub(super) fn ended(&self) -> Vec<(u32, &'static str)> {
        let kind = |end: &End| match end {
            End::Reply(reply) if reply.raised => "raised",
            End::Reply(_) => "returned",
            End::Died(_) => "died",
            End::TimedOut(stopped) if stopped.killed => "timed out, killed",
            End::TimedOut(_) => "timed out",
            End::Killed(_) => "killed",
            End::Broken(_) => "broken",
        };
        self.log.ends.lock().unwrap().iter().map(|(number, end)| (*number, kind(end))).collect()
    }

    pub(super) fn cancelled(&self) -> Vec<u32> {
        self.log.cancelled.lock().unwrap().clone()
    }
}

fn number_of(withdrawn: Withdrawn<Mark>) -> Withdrawn<u32> {
    match withdrawn {
        Withdrawn::TakenBack(mark) => Withdrawn::TakenBack(mark.number),
        Withdrawn::Running => Withdrawn::Running,
        Withdrawn::Ended => Withdrawn::Ended,
    }
}
