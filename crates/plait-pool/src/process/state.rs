//! Who waits, who works at what, and what is to be done about it.
//!
//! Everything here happens under one short lock and neither blocks nor calls
//! out: the tickets whose tasks ended are collected in an [`Aftermath`], which
//! the caller runs when it has let go of the lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use plait_sys::clock::Instant;
use plait_sys::process::{Blow, ProcessFd, Status};

use super::aftermath::Aftermath;
use super::appetite::Appetite;
use super::death::Death;
use super::leisure::Leisure;
use super::pace::Pace;
use super::pool::Call;
use super::pulse::Rounds;
use super::queue::Queue;
use super::room::Room;
use super::slot::{Fate, Slot, Stage};
use super::statistics::Tally;
use super::task::Task;
use super::watch::Watch;
use super::wire;
use super::{End, Error, Ticket};
use crate::alarms::Alarms;

/// So many workers in a row that die before they are ready break the pool.
const TOLERATED_STARTS: u32 = 3;

pub(crate) struct State<T> {
    pub(super) queue: Queue<T>,
    pub(crate) slots: BTreeMap<u64, Slot<T>>,
    /// Those who have nothing; the last has worked last.
    pub(super) idle: Vec<u64>,
    /// Those who have something and may be handed more, in turn.
    pub(super) open: VecDeque<u64>,
    /// How many tasks workers have besides the one that each has to begin
    /// with.
    pub(super) ahead: usize,
    pub(super) pace: Pace,
    /// When to look at whom.
    pub(crate) alarms: Alarms,
    pub(super) rounds: Rounds,
    /// How many tasks may wait beyond those that run, before who submits waits.
    max_pending: Option<usize>,
    pub(crate) room: Arc<Room>,
    /// Until when the supervisor sleeps, if it does.
    pub(crate) asleep_until: Option<Instant>,
    pub(super) answers: u32,
    pub(crate) appetite: Appetite,
    next_task: u64,
    next_worker: u64,
    limit: usize,
    /// How many tasks a worker runs at once.
    pub(super) width: usize,
    /// After so many tasks a worker leaves.
    pub(super) tasks_per_worker: usize,
    /// Whether workers are asked for before there are tasks.
    pub(super) eager: bool,
    pub(super) closing: bool,
    pub(crate) broken: Option<Arc<str>>,
    /// Running tasks are being ended; those left at this time are killed.
    pub(crate) kill_at: Option<Instant>,
    pub(super) terminating: bool,
    /// What failed is not tried again.
    pub(super) gives_up: bool,
    pub(super) failed_starts: u32,
    pub(super) watch: Watch,
    pub(super) tally: Tally,
    pub(super) leisure: Leisure,
}

impl<T: Ticket> State<T> {
    pub(crate) fn new(limit: usize, max_pending: Option<usize>) -> Self {
        Self {
            queue: Queue::new(),
            slots: BTreeMap::new(),
            idle: Vec::new(),
            open: VecDeque::new(),
            ahead: 0,
            pace: Pace::default(),
            alarms: Alarms::default(),
            rounds: Rounds::default(),
            max_pending,
            room: Arc::default(),
            asleep_until: None,
            answers: 0,
            appetite: Appetite::new(None),
            next_task: 1,
            next_worker: FIRST_WORKER,
            limit,
            width: 1,
            tasks_per_worker: usize::MAX,
            eager: false,
            closing: false,
            broken: None,
            kill_at: None,
            terminating: false,
            gives_up: false,
            failed_starts: 0,
            watch: Watch::default(),
            tally: Tally::default(),
            leisure: Leisure::default(),
        }
    }

    pub(crate) fn check_open(&self) -> super::Result<()> {
        match &self.broken {
            Some(reason) => Err(Error::Broken(Arc::clone(reason))),
            None if self.closing => Err(Error::Shutdown),
            None => Ok(()),
        }
    }

    /// Whether as much waits as may wait.
    pub(crate) fn is_full(&self) -> bool {
        let handed = || self.slots.values().map(|slot| slot.handed.len()).sum::<usize>();
        let running = self.limit.saturating_mul(self.width);
        self.max_pending.is_some_and(|most| self.queue.len() + handed() >= running.saturating_add(most))
    }

    /// Wakes those who wait until the pool is not full, if it is not or never
    /// will take anything.
    pub(super) fn offer_room(&self) {
        if self.max_pending.is_some() && (!self.is_full() || self.check_open().is_err()) {
            self.room.offer();
        }
    }

    /// Whether the supervisor has to be woken to look at somebody in time.
    pub(crate) fn is_overslept(&self) -> bool {
        self.asleep_until.is_some_and(|until| self.alarms.next().is_some_and(|next| next < until))
    }

    /// Whether it ends when it has done what it has.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Takes a task and returns its number; the caller has called
    /// [`check_open`](Self::check_open).
    pub(crate) fn submit(&mut self, call: Call, ticket: T, after: &mut Aftermath<T>) -> u64 {
        let Call { image, needs, mut parcel, terms } = call;
        let id = self.next_task;
        self.next_task += 1;
        parcel.address(wire::TASK, id, image);
        self.queue.put(Task { id, parcel, needs, terms, attempts: 0, ticket });
        self.dispatch(after);
        id
    }

    // ---- workers come

    /// How many more workers to ask for.
    pub(crate) fn wanted(&self) -> usize {
        let room = self.limit.saturating_sub(self.slots.len());
        let useless = self.broken.is_some() || self.terminating || self.failed_starts >= TOLERATED_STARTS;
        if room == 0 || useless {
            return 0;
        }
        // Even a pool that is closed at once has workers that ran its initializer.
        if self.eager && (!self.closing || self.next_worker == FIRST_WORKER) {
            return room;
        }
        let coming = |slot: &&Slot<T>| matches!(slot.stage, Stage::Asked | Stage::Starting);
        let coming = self.slots.values().filter(coming).count();
        // What is handed ahead could run elsewhere.
        (self.queue.len() + self.ahead).saturating_sub(coming).min(room)
    }

    pub(crate) fn add(&mut self, mut slot: Slot<T>) -> u64 {
        slot.left = self.tasks_per_worker;
        slot.width = self.width;
        let worker = self.next_worker;
        self.next_worker += 1;
        self.slots.insert(worker, slot);
        worker
    }

    /// The template has forked `worker`. The process, if it is not wanted.
    pub(crate) fn forked(&mut self, worker: u64, pid: u32, fd: ProcessFd) -> Option<&ProcessFd> {
        let unwanted = self.terminating || self.broken.is_some();
        let slot = self.slots.get_mut(&worker)?;
        slot.forked(pid, fd);
        if unwanted {
            slot.strike(Blow::Kill);
        }
        slot.fd()
    }

    /// The template has forked `worker`, but what it is held by was lost: it
    /// is ended by its lifeline, and buried when the template has reaped it.
    pub(crate) fn lose(&mut self, worker: u64, after: &mut Aftermath<T>) {
        if let Some(slot) = self.slots.get_mut(&worker) {
            // That is no failed start.
            slot.stage = Stage::Leaving;
            slot.condemn(false);
            slot.lifeline = None;
            self.abandon(worker, after);
        }
    }

    /// A worker has ended before it was ready.
    pub(crate) fn start_failed(&mut self, how: &str, after: &mut Aftermath<T>) {
        self.failed_starts += 1;
        let working = self.slots.values().any(Slot::serves);
        if self.failed_starts >= TOLERATED_STARTS && !working {
            let count = self.failed_starts;
            self.fail(
                format!("{count} worker processes in a row ended before they were ready; the last {how}"),
                after,
            );
        }
    }

    // ---- workers go

    /// `worker` has died, and all it wrote has been heard. How it died is still
    /// to be learned.
    pub(crate) fn died(&mut self, worker: u64, after: &mut Aftermath<T>) {
        if let Some(slot) = self.slots.get_mut(&worker) {
            slot.dead_since.get_or_insert_with(Instant::now);
            // Before anything is taken back: that would be queued to be skipped.
            slot.hush();
            self.abandon(worker, after);
        }
    }

    /// Gives what `worker` has not begun to others.
    pub(super) fn abandon(&mut self, worker: u64, after: &mut Aftermath<T>) {
        self.idle.retain(|&other| other != worker);
        for task in self.recall(worker, Fate::Another) {
            if self.terminating {
                // Terminating has recalled all; a worker that writes garbage
                // may say otherwise.
                after.cancelled.push(task.ticket);
            } else {
                self.queue.put(task);
            }
        }
        self.dispatch(after);
    }

    /// `worker` is gone and all it wrote has been heard.
    pub(crate) fn bury(
        &mut self,
        worker: u64,
        status: Status,
        stderr: Arc<str>,
        after: &mut Aftermath<T>,
    ) -> Option<Slot<T>> {
        self.died(worker, after);
        let mut slot = self.slots.remove(&worker)?;
        let Slot { corrupt, excess, unstoppable, .. } = slot;
        let death = Death { pid: slot.pid(), status, corrupt, excess, unstoppable, stderr };
        let unready = matches!(slot.stage, Stage::Asked | Stage::Starting);
        if slot.stage == Stage::Serving {
            // Workers do get ready: those after it may be tried anew.
            self.failed_starts = 0;
        }
        self.ahead -= slot.handed.len().saturating_sub(1);
        self.tally.restarts += u64::from(slot.stage != Stage::Leaving && slot.stage != Stage::Asked);
        self.tally.note_exit(worker, status);
        self.alarms.clear(worker);
        for handed in slot.strip() {
            let end = slot.end_of(&handed, End::Died(death.clone()));
            self.settle(handed.task, end, after);
        }
        if unready && !self.terminating && self.broken.is_none() {
            self.start_failed(&death.of_a_start(), after);
        }
        self.dispatch(after);
        // Those who cannot be replaced leave nobody behind who waits.
        if self.failed_starts >= TOLERATED_STARTS && self.slots.is_empty() && self.broken.is_none() {
            self.start_failed(&death.of_a_start(), after);
        }
        Some(slot)
    }

    /// Whether there is something to do that only the supervisor does.
    pub(crate) fn calls(&self) -> bool {
        self.closing
            || self.broken.is_some()
            || self.is_overslept()
            || self.is_unwatched()
            || self.appetite.is_blind()
            || self.hoards()
            || self.wanted() > 0
    }
}

/// The numbers below are for what else the supervisor watches.
pub(crate) const FIRST_WORKER: u64 = 16;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
