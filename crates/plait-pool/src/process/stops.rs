//! Ending what runs: at its deadline, or because somebody asked.
//!
//! The worker says in its shared memory what it runs and since when. To stop
//! it, the parent marks that run there; the mark is won or lost against the
//! end of the run in one word (`plait_shm::Run`), so a run that was marked
//! ends as stopped, and none other does. Then a signal tells the worker; when
//! the grace is over it is killed.

use std::time::Duration;

use plait_shm::{Run, Stage, Stop};
use plait_sys::clock::Instant;
use plait_sys::process::Blow;

use super::aftermath::Aftermath;
use super::deal::Withdrawn;
use super::slot::Slot;
use super::state::State;
use super::task::Task;
use super::terms::Terms;
use super::wire::Body;
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
    run: Run,
    why: Why,
    terms: Terms,
    /// How long it had run.
    ran: Duration,
    kill_at: Instant,
    killed: bool,
}

impl Stopping {
    /// Whether it is of the task of this sequence.
    pub(crate) fn is_of(&self, sequence: u64) -> bool {
        self.run.sequence() == sequence
    }

    /// How the task has ended, the worker having gone through with it.
    pub(crate) fn end(&self, pid: u32, place: Option<Body>, output: Option<Body>) -> End {
        let stopped = Stopped {
            pid,
            timeout: self.terms.timeout.unwrap_or_default(),
            grace: self.terms.grace,
            ran: self.ran,
            killed: self.killed,
            item: self.run.item(),
            place,
            output,
        };
        match self.why {
            Why::Deadline => End::TimedOut(stopped),
            Why::Cancel => End::Killed(stopped),
        }
    }
}

impl<T> Slot<T> {
    /// Looks after what it runs. When to look again, if that is to be.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let (run, since) = self.requests().run();
        if self.is_stopping(run) {
            return self.press(now);
        }
        let mut next = None;
        let mut late = None;
        for handed in &self.handed {
            let Some(timeout) = handed.task.terms.timeout else { continue };
            let deadline = match handed.sequence.cmp(&run.sequence()) {
                // Its answer comes.
                std::cmp::Ordering::Less => continue,
                // It begins at this moment, at the earliest.
                std::cmp::Ordering::Greater => now + timeout,
                std::cmp::Ordering::Equal if run.stage() != Stage::Runs => continue,
                std::cmp::Ordering::Equal => since + timeout,
            };
            if deadline <= now {
                late = Some(handed.task.terms);
            } else {
                next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
            }
        }
        match late {
            // Lost to its end: whatever runs then began a moment ago.
            Some(terms) if !self.ask(run, since, Why::Deadline, terms, now) => Some(now + SIGNAL_AGAIN),
            Some(_) => self.press(now),
            None => next,
        }
    }

    /// Whether a stop is under way, of what runs. One that was of an earlier
    /// item of the task is over.
    fn is_stopping(&mut self, run: Run) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        if stopping.why == Why::Deadline && !stopping.run.is(run) && stopping.is_of(run.sequence()) {
            self.stopping = None;
            return false;
        }
        matches!(run.stage(), Stage::Stops(_)) && stopping.is_of(run.sequence())
    }

    /// Asks it to stop `run`. False if that has ended.
    fn ask(&mut self, run: Run, since: Instant, why: Why, terms: Terms, now: Instant) -> bool {
        let what = match why {
            Why::Deadline => Stop::Item,
            Why::Cancel => Stop::Task,
        };
        let Some(run) = self.requests().stop(run, what) else { return false };
        self.stopping = Some(Stopping {
            run,
            why,
            terms,
            ran: now.saturating_since(since),
            kill_at: now + terms.grace,
            killed: false,
        });
        true
    }

    /// Gets on with the stop: a signal, or the end when the grace is over.
    fn press(&mut self, now: Instant) -> Option<Instant> {
        let stopping = self.stopping.as_mut()?;
        if stopping.kill_at <= now {
            stopping.killed = true;
            self.condemn(false);
            return None;
        }
        let next = stopping.kill_at.min(now + SIGNAL_AGAIN);
        self.strike(Blow::Stop);
        Some(next)
    }

    /// How the task of `sequence` has ended if the worker is dead and had
    /// begun it: by what we did, or else as `otherwise` says.
    pub(crate) fn end_of(&self, sequence: u64, otherwise: End) -> End {
        let (run, _) = self.requests().run();
        match &self.stopping {
            Some(stopping)
                if stopping.is_of(sequence) && (stopping.why == Why::Cancel || stopping.run.is(run)) =>
            {
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
        let (sequence, terms) = (handed.sequence, handed.task.terms);
        // Who sees that the task has begun sees what its worker runs.
        let begun = slot.requests().begun(sequence).is_some();
        debug_assert!(begun, "it cannot be taken back");
        let (run, since) = slot.requests().run();
        let known = slot.stopping.as_ref().is_some_and(|s| s.is_of(sequence) && s.why == Why::Cancel);
        if known {
            return Withdrawn::Running;
        }
        // A deadline that was being enforced has had its time from then on.
        let kill_at = slot.stopping.as_ref().filter(|s| s.is_of(sequence)).map(|s| s.kill_at);
        if run.sequence() != sequence || !slot.ask(run, since, Why::Cancel, terms, now) {
            return Withdrawn::Ended;
        }
        if let (Some(stopping), Some(kill_at)) = (slot.stopping.as_mut(), kill_at) {
            stopping.kill_at = stopping.kill_at.min(kill_at);
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
        }
    }
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
