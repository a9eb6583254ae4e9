//! A state with workers that are played by the test.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use plait_shm::Responses;
use plait_sys::eventfd::EventFd;
use plait_sys::lifeline::Lifeline;
use plait_sys::process::Status;

use super::aftermath::Aftermath;
use super::slot::Slot;
use super::state::State;
use super::{End, Request, Ticket, ToDo, Withdrawn, Worker, wire};

#[derive(Default)]
pub(super) struct Log {
    pub(super) ends: Mutex<Vec<(u32, End)>>,
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
    fn finish(self, end: End) {
        self.log.ends.lock().unwrap().push((self.number, end));
    }
}

pub(super) struct World {
    pub(super) state: State<Mark>,
    pub(super) log: Arc<Log>,
    pub(super) workers: BTreeMap<u64, (Worker, Responses)>,
}

impl World {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: State::new(limit), log: Arc::default(), workers: BTreeMap::new() }
    }

    fn run<R>(&mut self, act: impl FnOnce(&mut State<Mark>, &mut Aftermath<Mark>) -> R) -> R {
        let mut after = Aftermath::new();
        let result = act(&mut self.state, &mut after);
        after.run();
        result
    }

    pub(super) fn submit_as(&mut self, number: u32, wanted: bool, weight: usize) -> u64 {
        let ticket = Mark { number, wanted, log: Arc::clone(&self.log) };
        self.run(|state, after| state.submit(0, Arc::new([]), Request::of(&vec![0; weight]), ticket, after))
    }

    pub(super) fn submit(&mut self, number: u32) -> u64 {
        self.submit_as(number, true, 4)
    }

    /// A worker that the template was asked for.
    pub(super) fn ask(&mut self) -> u64 {
        let (requests, responses) = plait_shm::link().unwrap();
        let memory = requests.memory().try_clone_to_owned().unwrap();
        let bell = EventFd::new().unwrap().as_fd().try_clone_to_owned().unwrap();
        let worker = self.state.add(Slot::new(requests, Lifeline::new().unwrap().0, 1));
        self.workers.insert(worker, (Worker::new(memory, bell).unwrap(), responses));
        worker
    }

    /// A worker that is ready.
    pub(super) fn hire(&mut self) -> u64 {
        let worker = self.ask();
        self.says(worker, wire::READY, 0);
        worker
    }

    pub(super) fn says(&mut self, worker: u64, kind: u64, number: u64) {
        let message = wire::message(kind, number, 1_000_000, b"text");
        self.run(|state, after| state.heard(worker, message, after));
    }

    /// The number of the task that the worker begins; it blocks if there is
    /// none.
    pub(super) fn begins(&mut self, worker: u64) -> u64 {
        match self.workers.get_mut(&worker).unwrap().0.receive().unwrap() {
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
        match withdrawn {
            Withdrawn::TakenBack(mark) => Withdrawn::TakenBack(mark.number),
            Withdrawn::Running => Withdrawn::Running,
            Withdrawn::Ended => Withdrawn::Ended,
        }
    }

    /// Its pidfd is readable.
    pub(super) fn falls(&mut self, worker: u64) {
        self.run(|state, after| state.died(worker, after));
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
        let begun = |sequence| slot.requests().begun(sequence).is_some();
        slot.handed.iter().filter(|h| !begun(h.sequence)).map(|h| h.task.id).collect()
    }

    pub(super) fn ended(&self) -> Vec<(u32, &'static str)> {
        let kind = |end: &End| match end {
            End::Reply(reply) if reply.raised => "raised",
            End::Reply(_) => "returned",
            End::Died(_) => "died",
            End::Broken(_) => "broken",
        };
        self.log.ends.lock().unwrap().iter().map(|(number, end)| (*number, kind(end))).collect()
    }

    pub(super) fn cancelled(&self) -> Vec<u32> {
        self.log.cancelled.lock().unwrap().clone()
    }
}
