//! Ending what runs: at its deadline, or because somebody asked.
//!
//! The worker says in its shared memory what it runs and since when. To stop
//! it, the parent marks that run there; the mark is won or lost against the
//! end of the run in one word (`plait_shm::Run`), so a run that was marked
//! ends as stopped, and none other does. Then a signal tells the worker; when
//! the grace is over it is killed.

use std::cmp::Ordering;
use std::time::Duration;

use plait_shm::{Run, Stage, Stop};
use plait_sys::clock::Instant;
use plait_sys::process::Blow;

use super::aftermath::Aftermath;
use super::deal::Withdrawn;
use super::slot::{Handed, Slot};
use super::state::State;
use super::task::Task;
use super::terms::Terms;
use super::wire::{self, Body};
use super::{End, Stopped, Ticket};

/// When to signal again: a signal that comes right before a system call
/// leaves the process asleep in it.
const SIGNAL_AGAIN: Duration = Duration::from_millis(20);

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Deadline,
    Cancel,
}

/// A stop under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    /// Which run is stopped; `None` where several run at once, and the task is.
    run: Option<Run>,
    why: Why,
    terms: Terms,
    /// How long it had run.
    ran: Duration,
    kill_at: Instant,
    killed: bool,
}

impl Stopping {
    /// How the task has ended, the worker having gone through with it.
    pub(crate) fn end(&self, pid: Option<u32>, place: Option<Body>, output: Option<Body>) -> End {
        let stopped = Stopped {
            pid,
            timeout: self.terms.timeout.unwrap_or_default(),
            grace: self.terms.grace,
            ran: self.ran,
            killed: self.killed,
            item: self.run.map_or(0, Run::item),
            place,
            output,
        };
        match self.why {
            Why::Deadline => End::TimedOut(stopped),
            Why::Cancel => End::Killed(stopped),
        }
    }

    fn is_of(&self, run: Run) -> bool {
        self.run.is_none_or(|stopped| stopped.is(run))
    }
}

impl<T> Slot<T> {
    /// Looks after what it runs. When to look again, if that is to be.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        if self.runs_several() {
            return self.look_at_each(now);
        }
        let (run, since) = self.requests().run();
        let current = self.handed.iter().position(|handed| handed.sequence == run.sequence());
        if let Some(current) = current
            && self.is_stopping(current, run)
        {
            return self.press(current, now);
        }
        let mut next = None;
        for (index, handed) in self.handed.iter().enumerate() {
            let Some(timeout) = handed.task.terms.timeout else { continue };
            let deadline = match handed.sequence.cmp(&run.sequence()) {
                // Its answer comes.
                Ordering::Less => continue,
                // It begins at this moment, at the earliest.
                Ordering::Greater => now + timeout,
                Ordering::Equal if run.stage() != Stage::Runs => continue,
                Ordering::Equal => since + timeout,
            };
            if deadline <= now && Some(index) == current {
                if self.ask(index, run, since, Why::Deadline, now) {
                    return self.press(index, now);
                }
                // Lost to its end: whatever runs then began a moment ago.
                return Some(now + SIGNAL_AGAIN);
            }
            next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
        }
        next
    }

    /// Whether a stop is under way, of what runs, the handed task at `index`.
    /// One that was of an earlier item of it is over.
    fn is_stopping(&mut self, index: usize, run: Run) -> bool {
        let Some(handed) = self.handed.get_mut(index) else { return false };
        let earlier = |stopping: &Stopping| stopping.why == Why::Deadline && !stopping.is_of(run);
        if handed.stopping.as_ref().is_some_and(earlier) {
            handed.stopping = None;
        }
        handed.stopping.is_some() && matches!(run.stage(), Stage::Stops(_))
    }

    /// Asks it to stop `run`, which is of the handed task at `index`. False if
    /// that has ended.
    fn ask(&mut self, index: usize, run: Run, since: Instant, why: Why, now: Instant) -> bool {
        let what = match why {
            Why::Deadline => Stop::Item,
            Why::Cancel => Stop::Task,
        };
        let Some(run) = self.requests().stop(run, what) else { return false };
        let Some(handed) = self.handed.get_mut(index) else { return false };
        let terms = handed.task.terms;
        let kill_at = now + terms.grace;
        // A deadline that was being enforced has had its time from then on.
        let kill_at = handed.stopping.as_ref().map_or(kill_at, |before| before.kill_at.min(kill_at));
        let ran = now.saturating_since(since);
        handed.stopping = Some(Stopping { run: Some(run), why, terms, ran, kill_at, killed: false });
        true
    }

    /// As [`look`](Self::look), where several tasks run at once.
    fn look_at_each(&mut self, now: Instant) -> Option<Instant> {
        let (mut next, mut signal) = (None, false);
        for index in 0..self.handed.len() {
            let Some(handed) = self.handed.get(index) else { break };
            if handed.stopping.is_none() {
                let Some(timeout) = handed.task.terms.timeout else { continue };
                // It begins at this moment, at the earliest.
                let begun = self.begun(handed);
                let deadline = begun.map_or(now + timeout.max(SIGNAL_AGAIN), |begun| begun + timeout);
                if deadline > now {
                    next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
                    continue;
                }
                self.ask_for_one(index, Why::Deadline, now);
            }
            let Some(stopping) = self.handed.get_mut(index).and_then(|handed| handed.stopping.as_mut())
            else {
                continue;
            };
            if stopping.kill_at <= now {
                stopping.killed = true;
                // Those beside it go with it, and those behind it to others.
                self.unstoppable = true;
                self.condemn(false);
                return None;
            }
            let again = stopping.kill_at.min(now + SIGNAL_AGAIN);
            next = Some(next.map_or(again, |next: Instant| next.min(again)));
            signal = true;
        }
        if signal {
            self.strike(Blow::Stop);
        }
        next
    }

    /// Asks it to stop the handed task at `index`, one of several that run. It
    /// ends as stopped from here on, whatever the worker answers.
    fn ask_for_one(&mut self, index: usize, why: Why, now: Instant) {
        let Some(since) = self.handed.get(index).and_then(|handed| self.begun(handed)) else { return };
        let Some(handed) = self.handed.get_mut(index) else { return };
        let (terms, id) = (handed.task.terms, handed.task.id);
        let kill_at = now + terms.grace;
        // As in `ask`.
        let kill_at = handed.stopping.as_ref().map_or(kill_at, |before| before.kill_at.min(kill_at));
        let ran = now.saturating_since(since);
        let told = handed.stopping.replace(Stopping { run: None, why, terms, ran, kill_at, killed: false });
        if told.is_none() {
            self.order(wire::message(wire::STOP, id, 0, &[]));
            self.pump();
        }
    }

    /// Gets on with the stop of the handed task at `index`: a signal, or the
    /// end when the grace is over.
    fn press(&mut self, index: usize, now: Instant) -> Option<Instant> {
        let stopping = self.handed.get_mut(index)?.stopping.as_mut()?;
        if stopping.kill_at <= now {
            stopping.killed = true;
            self.condemn(false);
            return None;
        }
        let next = stopping.kill_at.min(now + SIGNAL_AGAIN);
        self.strike(Blow::Stop);
        Some(next)
    }

    /// How a task that it had begun has ended if it is dead: by what we did, or
    /// else as `otherwise` says.
    pub(crate) fn end_of(&self, handed: &Handed<T>, otherwise: End) -> End {
        let (run, _) = self.requests().run();
        match &handed.stopping {
            Some(stopping) if stopping.why == Why::Cancel || stopping.is_of(run) => {
                stopping.end(self.pid(), None, None)
            }
            _ => otherwise,
        }
    }
}

impl<T: Ticket> State<T> {
    /// `worker` has been handed a task on these terms.
    pub(super) fn expect(&mut self, worker: u64, terms: Terms) {
        if let Some(timeout) = terms.timeout {
            // It begins now, at the earliest: then is soon enough to look.
            self.alarms.set(worker, Instant::now() + timeout);
        }
    }

    /// Looks after every worker whose time has come.
    pub(crate) fn look_around(&mut self, now: Instant, after: &mut Aftermath<T>) {
        while let Some(worker) = self.alarms.due(now) {
            self.look(worker, now, after);
        }
    }

    fn look(&mut self, worker: u64, now: Instant, after: &mut Aftermath<T>) {
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        if !slot.serves() {
            return;
        }
        if let Some(at) = slot.look(now) {
            self.alarms.set(worker, at);
        } else if !slot.serves() {
            // Killed: others need not wait for its end to be seen.
            self.abandon(worker, after);
        }
    }

    /// Takes the task `id` back, or stops it if it has begun. True for
    /// [`Withdrawn::Running`] means: it is being stopped.
    pub(crate) fn stop(&mut self, id: u64, now: Instant, after: &mut Aftermath<T>) -> Withdrawn<T> {
        let withdrawn = self.withdraw(id);
        if !matches!(withdrawn, Withdrawn::Running) {
            return withdrawn;
        }
        let Some((worker, index)) = self.find(id) else { return Withdrawn::Ended };
        let Some(slot) = self.slots.get_mut(&worker) else { return Withdrawn::Ended };
        let Some(handed) = slot.handed.get(index) else { return Withdrawn::Ended };
        if handed.stopping.as_ref().is_some_and(|stopping| stopping.why == Why::Cancel) {
            return Withdrawn::Running;
        }
        let sequence = handed.sequence;
        debug_assert!(slot.begun(handed).is_some(), "it cannot be taken back");
        if slot.runs_several() {
            slot.ask_for_one(index, Why::Cancel, now);
            if slot.serves() {
                self.look(worker, now, after);
            }
            return Withdrawn::Running;
        }
        // Who sees that the task has begun sees what its worker runs.
        let (run, since) = slot.requests().run();
        if run.sequence() != sequence || !slot.ask(index, run, since, Why::Cancel, now) {
            // However it has ended: nobody wants it tried again.
            if let Some(handed) = slot.handed.get_mut(index) {
                handed.task.terms.retries = 0;
            }
            return Withdrawn::Ended;
        }
        if slot.serves() {
            self.look(worker, now, after);
        }
        Withdrawn::Running
    }

    /// An attempt at `task` has ended: so has the task, or it is tried again.
    pub(super) fn settle(&mut self, mut task: Task<T>, end: End, after: &mut Aftermath<T>) {
        task.attempts += 1;
        let again = match &end {
            End::Reply(reply) => reply.again,
            End::Died(_) | End::TimedOut(_) => true,
            End::Killed(_) | End::Broken(_) => false,
        };
        let over = self.broken.is_some() || self.gives_up;
        if again && !over && task.attempts <= task.terms.retries {
            self.queue.put(task);
        } else {
            self.tally.counts.add(&end);
            after.ended.push((task.ticket, end, task.attempts));
            after.blocks.extend(task.parcel.blocks);
        }
    }
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
