//! Workers that do not get on: stopped by a signal or a debugger, they neither
//! begin what they were handed nor die.
//!
//! While something is handed over, or a worker starts or leaves that others
//! wait for, the supervisor looks every [`BEAT`]. A worker that has not begun
//! its first task, nor read on, from one look to the next is stalled: what it
//! was handed goes to others, and it gets nothing more until it has read all
//! that it was sent. Nothing is lost by that if it was merely slow. It is ended
//! if a task with a timeout waits, or waited with it, and that time has passed;
//! or if the pool only waits for it.

use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::process::is_stopped;

use super::Ticket;
use super::aftermath::Aftermath;
use super::slot::{Fate, Slot, Stage};
use super::state::State;

/// Between two looks: longer than a busy machine lets a process wait, and short
/// for whoever waits for it.
const BEAT: Duration = Duration::from_millis(100);
/// So much longer than the timeout one may stall that nobody has stopped: a
/// thread may keep the interpreter to itself.
const UNEXPLAINED: Duration = Duration::from_secs(5);
/// How long a pool that is over waits for a worker that is stopped.
const LEAVE_LONGEST: Duration = Duration::from_secs(2);

/// What a worker waits at: how much it had read, and which task was to begin.
type Place = (u64, u64);

/// How a worker got on when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    stuck: Option<(Place, Instant)>,
    stalled: bool,
    /// The shortest timeout of what it was handed.
    timeout: Option<Duration>,
}

impl Pulse {
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }
}

/// When all are looked at.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Whether something has been handed over since the last.
    stirred: bool,
    next: Option<Instant>,
}

impl Rounds {
    /// Somebody was handed something.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
    }
}

impl<T> Slot<T> {
    /// Whether it may have stalled; `awaited`: whether somebody waits for those
    /// who start.
    fn may_stall(&self, awaited: bool) -> bool {
        !self.is_ended()
            && match self.stage {
                Stage::Asked => false,
                Stage::Starting => awaited,
                Stage::Serving => self.pulse.stalled || !self.handed.is_empty() && !self.has_begun_first(),
                Stage::Leaving => true,
            }
    }

    /// Where it waits, if it does.
    fn place(&self, awaited: bool) -> Option<Place> {
        if !self.may_stall(awaited) {
            return None;
        }
        match (self.stage, self.handed.front()) {
            (Stage::Serving, Some(first)) => Some((self.requests().progress().0, first.sequence)),
            (Stage::Serving, None) => {
                let (read, sent) = self.requests().progress();
                (read != sent || self.has_unsent()).then_some((read, 0))
            }
            // What it does may take as long as it likes.
            _ => self.pid().is_some_and(is_stopped).then_some((0, 0)),
        }
    }

    /// How long it has stuck to where it waits, if it did so at the look before.
    fn stuck(&mut self, awaited: bool, now: Instant) -> Option<Duration> {
        let place = self.place(awaited);
        let before = self.pulse.stuck.filter(|&(before, _)| Some(before) == place);
        self.pulse.stuck = place.map(|place| (place, before.map_or(now, |(_, since)| since)));
        before.map(|(_, since)| now.saturating_since(since))
    }
}

impl<T: Ticket> State<T> {
    fn awaits_starts(&self) -> bool {
        self.is_closing() || !self.queue.is_empty()
    }

    /// Whether something was handed over while the supervisor sleeps and does
    /// not mean to look by itself.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.rounds.stirred && self.rounds.next.is_none() && self.asleep_until.is_some()
    }

    /// When to [look](Self::feel_pulses) next, if there may be anything to see.
    pub(crate) fn next_round(&mut self) -> Option<Instant> {
        let awaited = self.awaits_starts();
        if self.rounds.next.is_none()
            && (self.rounds.stirred || self.slots.values().any(|slot| slot.may_stall(awaited)))
        {
            self.rounds = Rounds { stirred: false, next: Some(Instant::now() + BEAT) };
        }
        self.rounds.next
    }

    /// Looks whether the workers get on, if it is time.
    pub(crate) fn feel_pulses(&mut self, now: Instant, after: &mut Aftermath<T>) {
        if self.rounds.next.is_none_or(|at| at > now) {
            return;
        }
        self.rounds.next = None;
        let awaited = self.awaits_starts();
        let workers: Vec<u64> = self.slots.keys().copied().collect();
        for worker in workers {
            self.feel(worker, awaited, now, after);
        }
    }

    fn feel(&mut self, worker: u64, awaited: bool, now: Instant, after: &mut Aftermath<T>) {
        let waits = self.queue.front().and_then(|task| task.terms.timeout);
        let closing = self.is_closing();
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        let Some(stuck) = slot.stuck(awaited, now) else {
            if slot.pulse.stalled && slot.pulse.stuck.is_none() {
                // It gets on again.
                slot.pulse = Pulse::default();
                self.relieved(worker);
                self.dispatch(after);
            }
            return;
        };
        match slot.stage {
            Stage::Serving if !slot.pulse.stalled => {
                self.stall(worker);
                self.dispatch(after);
            }
            Stage::Serving => {
                let timeout = slot.pulse.timeout.into_iter().chain(waits).min();
                let over = timeout.is_some_and(|timeout| {
                    stuck >= timeout && (stuck >= timeout + UNEXPLAINED || slot.pid().is_some_and(is_stopped))
                });
                if over {
                    slot.condemn(false);
                    self.abandon(worker, after);
                }
            }
            stage => {
                let timeout = if stage == Stage::Starting { waits } else { None };
                let leave = (closing || stage == Stage::Leaving).then_some(LEAVE_LONGEST);
                if timeout.into_iter().chain(leave).min().is_some_and(|most| stuck >= most) {
                    // That is no failed start.
                    slot.stage = Stage::Leaving;
                    slot.condemn(false);
                    self.abandon(worker, after);
                }
            }
        }
    }

    /// Takes back what `worker` was handed and does not begin.
    fn stall(&mut self, worker: u64) {
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        let timeout = slot.handed.iter().filter_map(|handed| handed.task.terms.timeout).min();
        slot.pulse.timeout = timeout;
        slot.pulse.stalled = true;
        self.idle.retain(|&other| other != worker);
        for task in self.recall(worker, Fate::Another) {
            self.queue.put(task);
        }
        if let Some(slot) = self.slots.get_mut(&worker)
            && !slot.handed.is_empty()
        {
            // It has begun at this moment.
            slot.pulse = Pulse::default();
        }
    }
}

#[cfg(test)]
#[path = "pulse_tests.rs"]
mod tests;
