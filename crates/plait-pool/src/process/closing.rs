//! The end of a pool: closed, terminated, or broken.

use std::sync::Arc;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::process::Blow;

use super::aftermath::Aftermath;
use super::slot::{Fate, Handed, Slot, Stage};
use super::state::State;
use super::{End, Ticket};

impl<T: Ticket> State<T> {
    /// Ends all tasks, now and later, for this reason.
    pub(crate) fn fail(&mut self, reason: String, after: &mut Aftermath<T>) {
        let reason: Arc<str> = reason.into();
        let reason = Arc::clone(self.broken.get_or_insert(reason));
        let before = after.ended.len();
        let queued = self.queue.drain();
        after.ended.extend(queued.map(|task| (task.ticket, End::Broken(Arc::clone(&reason)), task.attempts)));
        for slot in self.slots.values_mut() {
            slot.condemn(false);
            slot.stage = Stage::Leaving;
            let handed = slot.strip().into_iter();
            after.ended.extend(handed.map(|Handed { task, .. }| {
                (task.ticket, End::Broken(Arc::clone(&reason)), task.attempts + 1)
            }));
        }
        self.tally.counts.failed += (after.ended.len() - before) as u64;
        self.ahead = 0;
        self.idle.clear();
        self.offer_room();
    }

    /// Takes no more tasks; gives up those that have not begun if `cancel`.
    pub(crate) fn close(&mut self, cancel: bool, after: &mut Aftermath<T>) {
        self.closing = true;
        self.gives_up |= cancel;
        if cancel {
            let before = after.cancelled.len();
            after.cancelled.extend(self.queue.drain().map(|task| task.ticket));
            let workers: Vec<u64> = self.slots.keys().copied().collect();
            for worker in workers {
                let tasks = self.recall(worker, Fate::Nobody);
                after.cancelled.extend(tasks.into_iter().rev().map(|task| task.ticket));
            }
            self.tally.cancelled += (after.cancelled.len() - before) as u64;
        }
        self.offer_room();
    }

    /// As [`close`](Self::close), and ends what runs: politely now, by force
    /// after `grace`.
    pub(crate) fn terminate(&mut self, grace: Duration, after: &mut Aftermath<T>) {
        self.close(true, after);
        self.terminating = true;
        self.kill_at.get_or_insert(Instant::now() + grace);
        for slot in self.slots.values().filter(|slot| !(slot.serves() && slot.handed.is_empty())) {
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
                slot.send_home();
            }
        }
        let stalled = |slot: &&mut Slot<T>| slot.stage == Stage::Serving && slot.pulse.is_stalled();
        self.slots.values_mut().filter(stalled).for_each(Slot::send_home);
    }

    /// Whether nothing is left to supervise.
    pub(crate) fn is_over(&self) -> bool {
        (self.closing || self.broken.is_some())
            && self.queue.is_empty()
            && self.slots.is_empty()
            && self.wanted() == 0
    }
}
