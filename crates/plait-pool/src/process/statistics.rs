//! What a pool and its workers are at, and what they have done.

use std::collections::VecDeque;

use plait_sys::process::Status;

use super::packer::Parcel;
use super::slot::{Slot, Stage};
use super::state::State;
use super::{End, Ticket};

/// Of so many workers that are gone it is known how they ended.
const EXITS: usize = 1024;

/// What has come of tasks, and what was carried for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that returned.
    pub done: u64,
    /// Tasks that raised, or ended with their worker or with the pool.
    pub failed: u64,
    /// Tasks that were ended because somebody cancelled them while they ran.
    pub killed: u64,
    /// Tasks that were ended at their deadline.
    pub timed_out: u64,
    /// Bytes of messages to workers that ask for tasks; of a pool also those of
    /// the objects that were shared with it.
    pub sent: u64,
    /// Bytes of their answers.
    pub received: u64,
}

impl Counts {
    /// A task, or an attempt at it, has ended so.
    pub(super) fn add(&mut self, end: &End) {
        let count = match end {
            End::Reply(reply) if !reply.raised => &mut self.done,
            End::Reply(_) | End::Died(_) | End::Broken(_) => &mut self.failed,
            End::Killed(_) => &mut self.killed,
            End::TimedOut(_) => &mut self.timed_out,
        };
        *count += 1;
    }
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is being made, or sets itself up.
    Starting,
    /// It has nothing to do.
    Idle,
    /// It has tasks.
    Busy,
    /// It was told to stop.
    Leaving,
    /// It has ended, or is being ended.
    Dead,
}

/// One worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerStatistics {
    /// Its process; none until the template has told it, which may be after
    /// its first task has begun. (A 0 would be a trap: `kill(0)` is for all of
    /// the caller's own group.)
    pub pid: Option<u32>,
    /// What it is at.
    pub activity: Activity,
    /// Tasks that it has and has not begun.
    pub queued: usize,
    /// Tasks that it has begun.
    pub running: usize,
    /// What has come of its tasks, each attempt by itself.
    pub counts: Counts,
}

/// A pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tasks that have not begun.
    pub queued: usize,
    /// Tasks that have begun.
    pub running: usize,
    /// What has come of its tasks.
    pub counts: Counts,
    /// Tasks that were cancelled before they began.
    pub cancelled: u64,
    /// Workers that ended though nobody had told them to.
    pub restarts: u64,
    /// Those who are there.
    pub workers: Vec<WorkerStatistics>,
}

/// What the state counts besides the workers' counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) cancelled: u64,
    pub(super) restarts: u64,
    /// How the last of those that are gone have ended.
    exits: VecDeque<(u64, Status)>,
}

impl Tally {
    /// `worker` is gone.
    pub(super) fn note_exit(&mut self, worker: u64, status: Status) {
        if self.exits.len() == EXITS {
            self.exits.pop_front();
        }
        self.exits.push_back((worker, status));
    }
}

impl<T> Slot<T> {
    fn statistics(&self) -> WorkerStatistics {
        let running = self.handed.iter().filter(|handed| self.begun(handed).is_some()).count();
        let activity = match self.stage {
            Stage::Asked | Stage::Starting => Activity::Starting,
            Stage::Leaving => Activity::Leaving,
            Stage::Serving if self.is_ended() => Activity::Dead,
            Stage::Serving if self.handed.is_empty() => Activity::Idle,
            Stage::Serving => Activity::Busy,
        };
        let queued = self.handed.len() - running;
        WorkerStatistics { pid: self.pid(), activity, queued, running, counts: self.counts }
    }
}

impl<T: Ticket> State<T> {
    /// An object has been placed for whichever tasks: it is carried once.
    pub(crate) fn count_shared(&mut self, parcel: &Parcel) {
        self.tally.counts.sent += parcel.weight() as u64;
    }

    /// How a worker that there has been has ended; `None` if it has not.
    pub(crate) fn exit(&self, worker: u64) -> Option<Status> {
        if self.slots.contains_key(&worker) {
            return None;
        }
        let exit = self.tally.exits.iter().find(|&&(other, _)| other == worker);
        Some(exit.map_or(Status::Unknown, |&(_, status)| status))
    }

    /// The process id of each worker that has one, and its number.
    pub(crate) fn processes(&self) -> Vec<(u32, u64)> {
        let pid = |slot: &Slot<T>| slot.process.as_ref().map(|&(pid, _)| pid);
        self.slots.iter().filter_map(|(&worker, slot)| Some((pid(slot)?, worker))).collect()
    }

    /// How the pool is doing.
    pub(crate) fn statistics(&self) -> Statistics {
        let workers: Vec<WorkerStatistics> = self.slots.values().map(Slot::statistics).collect();
        Statistics {
            queued: self.queue.len() + workers.iter().map(|worker| worker.queued).sum::<usize>(),
            running: workers.iter().map(|worker| worker.running).sum(),
            counts: self.tally.counts,
            cancelled: self.tally.cancelled,
            restarts: self.tally.restarts,
            workers,
        }
    }
}
