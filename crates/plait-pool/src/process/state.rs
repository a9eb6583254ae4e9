//! Who waits, who works at what, and what is to be done about it.
//!
//! Everything here happens under one short lock and neither blocks nor calls
//! out: the tickets whose tasks ended are collected in an [`Aftermath`], which
//! the caller runs when it has let go of the lock.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use plait_shm::Requests;
use plait_sys::clock::Instant;
use plait_sys::lifeline::Lifeline;
use plait_sys::process::{Blow, ProcessFd, Status};

use super::death::Death;
use super::wire::{self, Body, Image, Reply};
use super::{End, Error, Ticket};

/// So many workers in a row that die before they are ready break the pool.
const TOLERATED_STARTS: u32 = 3;
/// A worker that knows fewer images than this may keep them all.
const FIRST_SWEEP: usize = 256;

pub(crate) struct Task<T> {
    pub(crate) id: u64,
    pub(crate) message: Vec<u8>,
    pub(crate) needs: Arc<[Arc<Image>]>,
    /// Handed out before, to a worker that died without having taken it.
    pub(crate) begun: bool,
    pub(crate) ticket: T,
}

enum Outgoing {
    Image(Arc<Image>),
    /// The message of the task in `Stage::Busy`.
    Task,
    Order(Vec<u8>),
}

enum Stage<T> {
    Asked,
    Starting,
    Idle,
    Busy(Task<T>),
    Leaving,
}

pub(crate) struct Slot<T> {
    stage: Stage<T>,
    requests: Requests,
    outgoing: VecDeque<Outgoing>,
    /// How much of the first of them is sent.
    done: usize,
    /// The images that it has been sent.
    told: HashMap<u64, Weak<Image>>,
    /// When so many are known, those that nobody can name any more are to be
    /// forgotten.
    sweep_at: usize,
    process: Option<(u32, ProcessFd)>,
    /// The worker dies when this goes.
    _lifeline: Lifeline,
    /// Of which template it is the child.
    pub(crate) template: u64,
    pub(crate) dead_since: Option<Instant>,
    corrupt: bool,
}

impl<T> Slot<T> {
    pub(crate) fn new(requests: Requests, lifeline: Lifeline, template: u64) -> Self {
        Self {
            stage: Stage::Asked,
            requests,
            outgoing: VecDeque::new(),
            done: 0,
            told: HashMap::new(),
            sweep_at: FIRST_SWEEP,
            process: None,
            _lifeline: lifeline,
            template,
            dead_since: None,
            corrupt: false,
        }
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn fd(&self) -> Option<&ProcessFd> {
        self.process.as_ref().map(|(_, fd)| fd)
    }

    /// Queues the images that it has not been sent.
    pub(crate) fn tell(&mut self, needs: &[Arc<Image>]) {
        for image in needs {
            if let Entry::Vacant(place) = self.told.entry(image.id()) {
                place.insert(Arc::downgrade(image));
                self.outgoing.push_back(Outgoing::Image(Arc::clone(image)));
            }
        }
        if self.told.len() >= self.sweep_at {
            self.sweep();
        }
    }

    /// Has the worker forget the images that are gone here.
    fn sweep(&mut self) {
        let Self { told, outgoing, .. } = self;
        told.retain(|&id, image| {
            let lives = image.strong_count() > 0;
            if !lives {
                outgoing.push_back(Outgoing::Order(wire::message(wire::IMAGE, id, 0, &[])));
            }
            lives
        });
        self.sweep_at = 2 * told.len() + FIRST_SWEEP;
    }

    pub(crate) fn order(&mut self, message: Vec<u8>) {
        self.outgoing.push_back(Outgoing::Order(message));
    }

    /// Sends what there is room for.
    pub(crate) fn pump(&mut self) {
        while let Some(next) = self.outgoing.front() {
            let message = match (next, &self.stage) {
                (Outgoing::Image(image), _) => image.message(),
                (Outgoing::Order(message), _) => message,
                (Outgoing::Task, Stage::Busy(task)) => &task.message,
                // The task was given up; nobody waits for the rest of it.
                (Outgoing::Task, _) => return self.condemn(false),
            };
            match self.requests.push(message, &mut self.done) {
                Ok(true) => {
                    self.outgoing.pop_front();
                    self.done = 0;
                }
                Ok(false) => return,
                Err(_) => return self.condemn(true),
            }
        }
    }

    /// Whether [`pump`](Self::pump) would get on.
    pub(crate) fn may_pump(&mut self) -> bool {
        match (self.outgoing.front(), &self.stage) {
            (None, _) => false,
            (Some(Outgoing::Image(image)), _) => self.requests.may_go_on(image.message(), self.done),
            (Some(Outgoing::Order(message)), _) => self.requests.may_go_on(message, self.done),
            (Some(Outgoing::Task), Stage::Busy(task)) => self.requests.may_go_on(&task.message, self.done),
            (Some(Outgoing::Task), _) => true,
        }
    }

    /// Ends the worker: what it wrote cannot be trusted, or is not wanted.
    pub(crate) fn condemn(&mut self, corrupt: bool) {
        self.corrupt |= corrupt;
        self.outgoing.clear();
        self.done = 0;
        self.strike(Blow::Kill);
    }

    pub(crate) fn strike(&self, blow: Blow) {
        if let Some((_, fd)) = &self.process {
            // Refused only to a worker that changed its user; its lifeline
            // still holds.
            let _ = fd.strike(blow);
        }
    }

    fn has_taken_everything(&self) -> bool {
        self.outgoing.is_empty() && self.requests.all_taken()
    }
}

/// What is left to do when the lock has been let go of.
pub(crate) struct Aftermath<T> {
    ended: Vec<(T, End)>,
    cancelled: Vec<T>,
    dropped: Vec<Task<T>>,
}

impl<T: Ticket> Aftermath<T> {
    pub(crate) fn new() -> Self {
        Self { ended: Vec::new(), cancelled: Vec::new(), dropped: Vec::new() }
    }

    pub(crate) fn run(self) {
        drop(self.dropped);
        for (ticket, end) in self.ended {
            ticket.finish(end);
        }
        for ticket in self.cancelled {
            ticket.cancel();
        }
    }
}

pub(crate) struct State<T> {
    queue: VecDeque<Task<T>>,
    pub(crate) slots: BTreeMap<u64, Slot<T>>,
    idle: Vec<u64>,
    next_task: u64,
    next_worker: u64,
    limit: usize,
    closing: bool,
    pub(crate) broken: Option<Arc<str>>,
    /// Running tasks are being ended; those left at this time are killed.
    pub(crate) kill_at: Option<Instant>,
    terminating: bool,
    failed_starts: u32,
}

impl<T: Ticket> State<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            slots: BTreeMap::new(),
            idle: Vec::new(),
            next_task: 1,
            next_worker: FIRST_WORKER,
            limit,
            closing: false,
            broken: None,
            kill_at: None,
            terminating: false,
            failed_starts: 0,
        }
    }

    pub(crate) fn check_open(&self) -> super::Result<()> {
        match &self.broken {
            Some(reason) => Err(Error::Broken(Arc::clone(reason))),
            None if self.closing => Err(Error::Shutdown),
            None => Ok(()),
        }
    }

    /// Takes a task; the caller has called [`check_open`](Self::check_open).
    pub(crate) fn submit(
        &mut self,
        image: u64,
        needs: Arc<[Arc<Image>]>,
        body: &[u8],
        ticket: T,
        after: &mut Aftermath<T>,
    ) {
        let id = self.next_task;
        self.next_task += 1;
        let message = wire::message(wire::TASK, id, image, body);
        self.queue.push_back(Task { id, message, needs, begun: false, ticket });
        self.dispatch(after);
    }

    /// Gives what waits to those who are idle.
    pub(crate) fn dispatch(&mut self, after: &mut Aftermath<T>) {
        while let Some(&worker) = self.idle.last() {
            let Some(mut task) = self.queue.pop_front() else { return };
            if !task.begun && !task.ticket.try_begin() {
                after.dropped.push(task);
                continue;
            }
            task.begun = true;
            self.idle.pop();
            let Some(slot) = self.slots.get_mut(&worker) else {
                debug_assert!(false, "who is idle has a slot");
                self.queue.push_front(task);
                continue;
            };
            slot.tell(&task.needs);
            slot.outgoing.push_back(Outgoing::Task);
            slot.stage = Stage::Busy(task);
            slot.pump();
        }
    }

    /// How many more workers to ask for.
    pub(crate) fn wanted(&self) -> usize {
        if self.broken.is_some() || self.terminating || self.failed_starts >= TOLERATED_STARTS {
            return 0;
        }
        let coming =
            self.slots.values().filter(|slot| matches!(slot.stage, Stage::Asked | Stage::Starting)).count();
        let room = self.limit.saturating_sub(self.slots.len());
        self.queue.len().saturating_sub(coming).min(room)
    }

    pub(crate) fn add(&mut self, slot: Slot<T>) -> u64 {
        let worker = self.next_worker;
        self.next_worker += 1;
        self.slots.insert(worker, slot);
        worker
    }

    /// The template has forked `worker`. The process, if it is not wanted.
    pub(crate) fn forked(&mut self, worker: u64, pid: u32, fd: ProcessFd) -> Option<&ProcessFd> {
        let unwanted = self.terminating || self.broken.is_some();
        let slot = self.slots.get_mut(&worker)?;
        if matches!(slot.stage, Stage::Asked) {
            slot.stage = Stage::Starting;
        }
        slot.process = Some((pid, fd));
        if unwanted || slot.corrupt {
            slot.strike(Blow::Kill);
        }
        slot.fd()
    }

    /// A worker could not be had.
    pub(crate) fn start_failed(&mut self, how: &str, after: &mut Aftermath<T>) {
        self.failed_starts += 1;
        let working = self.slots.values().any(|slot| matches!(slot.stage, Stage::Idle | Stage::Busy(_)));
        if self.failed_starts >= TOLERATED_STARTS && !working {
            let count = self.failed_starts;
            self.fail(
                format!("{count} worker processes in a row ended before they were ready; the last {how}"),
                after,
            );
        }
    }

    /// What `worker` says.
    pub(crate) fn heard(&mut self, worker: u64, message: Vec<u8>, after: &mut Aftermath<T>) {
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        let Some(([kind, number, _], _)) = wire::parse(&message) else { return slot.condemn(true) };
        match (kind, std::mem::replace(&mut slot.stage, Stage::Leaving)) {
            (wire::READY, Stage::Asked | Stage::Starting) => {
                self.failed_starts = 0;
                slot.stage = Stage::Idle;
                self.idle.push(worker);
            }
            (wire::UNFIT, Stage::Asked | Stage::Starting) => {
                let body = Body::of(message);
                let text = String::from_utf8_lossy(body.as_ref()).into_owned();
                self.fail(format!("the initializer of a worker process failed:\n{text}"), after);
            }
            (wire::RETURNED | wire::RAISED, Stage::Busy(task)) if task.id == number => {
                slot.stage = Stage::Idle;
                self.idle.push(worker);
                let reply = Reply { raised: kind == wire::RAISED, body: Body::of(message) };
                after.ended.push((task.ticket, End::Reply(reply)));
            }
            // It was told to leave in the meantime.
            (_, Stage::Leaving) => {}
            (_, stage) => {
                slot.stage = stage;
                slot.condemn(true);
            }
        }
        self.dispatch(after);
    }

    /// `worker` is gone and all it wrote has been heard.
    pub(crate) fn bury(&mut self, worker: u64, status: Status, after: &mut Aftermath<T>) -> Option<Slot<T>> {
        let mut slot = self.slots.remove(&worker)?;
        self.idle.retain(|&other| other != worker);
        let pid = slot.process.as_ref().map_or(0, |&(pid, _)| pid);
        let death = Death { pid, status, corrupt: slot.corrupt };
        match std::mem::replace(&mut slot.stage, Stage::Leaving) {
            Stage::Asked | Stage::Starting if !self.terminating && self.broken.is_none() => {
                self.start_failed(&format!("(process {pid}) {death}"), after);
            }
            Stage::Busy(task) => {
                let untouched = !slot.corrupt && !slot.has_taken_everything();
                if untouched && !self.terminating && self.broken.is_none() {
                    self.queue.push_front(task);
                } else {
                    after.ended.push((task.ticket, End::Died(death)));
                }
            }
            _ => {}
        }
        self.dispatch(after);
        // Those who cannot be replaced leave nobody behind who waits.
        if self.failed_starts >= TOLERATED_STARTS && self.slots.is_empty() && self.broken.is_none() {
            self.start_failed(&format!("(process {pid}) {death}"), after);
        }
        Some(slot)
    }

    /// Ends all tasks, now and later, for this reason.
    pub(crate) fn fail(&mut self, reason: String, after: &mut Aftermath<T>) {
        let reason: Arc<str> = reason.into();
        let reason = Arc::clone(self.broken.get_or_insert(reason));
        let queued = self.queue.drain(..);
        after.ended.extend(queued.map(|task| (task.ticket, End::Broken(Arc::clone(&reason)))));
        for slot in self.slots.values_mut() {
            slot.condemn(false);
            if let Stage::Busy(task) = std::mem::replace(&mut slot.stage, Stage::Leaving) {
                after.ended.push((task.ticket, End::Broken(Arc::clone(&reason))));
            }
        }
        self.idle.clear();
    }

    /// Takes no more tasks; gives up those that have not begun if `cancel`.
    pub(crate) fn close(&mut self, cancel: bool, after: &mut Aftermath<T>) {
        self.closing = true;
        if cancel {
            let (begun, waiting) = std::mem::take(&mut self.queue).into_iter().partition(|task| task.begun);
            self.queue = begun;
            let waiting: VecDeque<Task<T>> = waiting;
            after.cancelled.extend(waiting.into_iter().map(|task| task.ticket));
        }
    }

    /// As [`close`](Self::close), and ends what runs: politely now, by force
    /// after `grace`.
    pub(crate) fn terminate(&mut self, grace: Duration, after: &mut Aftermath<T>) {
        self.close(true, after);
        self.terminating = true;
        self.kill_at.get_or_insert(Instant::now() + grace);
        let reason: Arc<str> = "the pool was terminated before the task was begun".into();
        let queued = self.queue.drain(..);
        after.ended.extend(queued.map(|task| (task.ticket, End::Broken(Arc::clone(&reason)))));
        for slot in self.slots.values().filter(|slot| !matches!(slot.stage, Stage::Idle)) {
            slot.strike(Blow::Terminate);
        }
    }

    /// Kills those who are left when the grace is over.
    pub(crate) fn kill_rest(&mut self) {
        for slot in self.slots.values_mut() {
            slot.condemn(false);
        }
    }

    /// Sends home whoever is not needed any more.
    pub(crate) fn dismiss(&mut self) {
        if !self.closing || !self.queue.is_empty() {
            return;
        }
        for worker in std::mem::take(&mut self.idle) {
            if let Some(slot) = self.slots.get_mut(&worker) {
                slot.stage = Stage::Leaving;
                slot.order(wire::message(wire::LEAVE, 0, 0, &[]));
                slot.pump();
            }
        }
    }

    /// Whether nothing is left to supervise.
    pub(crate) fn is_over(&self) -> bool {
        (self.closing || self.broken.is_some()) && self.queue.is_empty() && self.slots.is_empty()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.slots.values().filter_map(|slot| slot.process.as_ref().map(|&(pid, _)| pid)).collect()
    }
}

/// The numbers below are for what else the supervisor watches.
pub(crate) const FIRST_WORKER: u64 = 16;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
