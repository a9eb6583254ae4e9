//! Who reads what the workers say.
//!
//! The supervisor does, if nobody else is there. A thread that waits for a
//! task may help: it looks for a while before it sleeps, and whatever it finds
//! it reads for all. A thread that submits reads too, if there is something.
//! Where many answers come, the supervisor does not have each ring for it, but
//! naps: it sleeps by the clock and looks again. The races are in README.md.

use std::time::Duration;

use plait_shm::{CLAIMS, Habit, Look};
use plait_sys::clock::Instant;

use super::Ticket;
use super::aftermath::Aftermath;
use super::slot::Slot;
use super::state::State;

/// How long the supervisor naps; less than what is handed ahead.
const NAP: Duration = Duration::from_micros(100);
/// So many answers since its last nap make it nap again: waking it for each of
/// them would take more of a core than looking for them now and then.
const MANY: u32 = 8;
/// So many messages of a worker are read before it is another's turn: each of
/// its tasks may say something beside its answer.
const AT_A_TIME: usize = 4 * CLAIMS;
/// With so many workers or fewer a submitter looks at all of them.
const FEW: u32 = 4;

/// Who is awake.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Threads that help at this moment.
    helpers: usize,
    /// Whether it pays to help.
    habit: Habit,
    supervisor: Supervisor,
    /// The count of answers when the supervisor last went to sleep.
    answers: u32,
    submits: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Supervisor {
    #[default]
    Awake,
    /// It looks again by itself.
    Napping,
    /// It has to be rung for.
    Asleep,
}

impl<T: Ticket> State<T> {
    /// Whether some worker has said something, or has room for what is to be
    /// sent to it.
    pub(crate) fn stirs(&mut self) -> bool {
        self.slots.values_mut().any(Slot::stirs)
    }

    /// Reads whatever the workers have said, and sends on.
    pub(crate) fn attend(&mut self, after: &mut Aftermath<T>) {
        let mut next = 0;
        let stirring = |(&worker, slot): (&u64, &mut Slot<T>)| slot.stirs().then_some(worker);
        while let Some(worker) = self.slots.range_mut(next..).find_map(stirring) {
            self.read(worker, after);
            next = worker + 1;
        }
        if next > 0 {
            self.dispatch(after);
        }
    }

    /// Reads what `worker` has said, and sends on to it; to be followed by a
    /// [`dispatch`](Self::dispatch). One that says more than what it was asked
    /// is not listened to for longer than others.
    pub(crate) fn read(&mut self, worker: u64, after: &mut Aftermath<T>) {
        for _ in 0..AT_A_TIME {
            let Some(slot) = self.slots.get_mut(&worker) else { return };
            let Some(responses) = &mut slot.responses else { return };
            match responses.receive() {
                Ok(Some(message)) => self.heard(worker, message, after),
                Ok(None) => {
                    // It may have rung, and would not do so again.
                    slot.heard();
                    return slot.pump();
                }
                Err(_) => {
                    // Nothing more of it can be understood.
                    slot.responses = None;
                    return self.distrust(worker, after);
                }
            }
        }
        // There may be more, and somebody comes for it: it stirs.
        if let Some(slot) = self.slots.get_mut(&worker) {
            slot.heard();
            slot.pump();
        }
    }

    /// Reads all that `worker` said before it died.
    pub(crate) fn hear_out(&mut self, worker: u64, after: &mut Aftermath<T>) {
        while self.slots.get(&worker).is_some_and(Slot::has_said) {
            self.read(worker, after);
        }
    }

    /// Reads before a task is added, so that it finds a worker that has ended
    /// its last and is still awake.
    pub(crate) fn attend_in_passing(&mut self, after: &mut Aftermath<T>) {
        let workers = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.watch.submits = self.watch.submits.wrapping_add(1);
        if self.watch.submits.is_multiple_of(1 + workers.saturating_sub(1) / FEW) {
            self.attend(after);
        }
    }

    /// Whether some worker has been handed tasks and has not begun the first:
    /// it is waking up, or about to begin.
    pub(crate) fn wakes_somebody(&self) -> bool {
        self.slots.values().any(Slot::is_waking)
    }

    // ---- helpers

    /// A thread begins to look. The workers need not ring meanwhile. False: it
    /// should rather sleep.
    #[must_use]
    pub(crate) fn begin_to_help(&mut self) -> bool {
        if !self.watch.habit.looks() {
            return false;
        }
        self.watch.helpers += 1;
        if self.watch.helpers == 1 && self.watch.supervisor == Supervisor::Asleep {
            self.slots.values_mut().for_each(Slot::retract);
        }
        true
    }

    /// A thread looks no more. True: the supervisor has to be rung for.
    #[must_use]
    pub(crate) fn end_to_help(&mut self, look: Look, after: &mut Aftermath<T>) -> bool {
        self.watch.helpers -= 1;
        self.watch.habit.looked(look);
        if self.watch.helpers > 0 || self.watch.supervisor != Supervisor::Asleep {
            return false;
        }
        // Announced first, then looked at again.
        self.slots.values_mut().for_each(Slot::announce);
        if self.stirs() {
            self.attend(after);
            self.slots.values_mut().for_each(Slot::announce);
            return self.stirs();
        }
        false
    }

    // ---- the supervisor

    /// Whether many answers have come since it went to sleep: it naps.
    pub(crate) fn is_busy(&self) -> bool {
        self.answers.wrapping_sub(self.watch.answers) >= MANY
    }

    /// It is about to sleep until `deadline`, if there is one. For how long.
    pub(crate) fn fall_asleep(&mut self, deadline: Option<Instant>) -> Option<Duration> {
        let busy = self.is_busy();
        self.watch.answers = self.answers;
        let left = deadline.map(|at| at.saturating_since(Instant::now()));
        if busy {
            self.watch.supervisor = Supervisor::Napping;
            return Some(left.map_or(NAP, |left| left.min(NAP)));
        }
        self.watch.supervisor = Supervisor::Asleep;
        if self.watch.helpers == 0 {
            self.slots.values_mut().for_each(Slot::announce);
        }
        // Announced first, then looked at again.
        if self.stirs() { Some(Duration::ZERO) } else { left }
    }

    /// It is awake again.
    pub(crate) fn wake_up(&mut self) {
        if self.watch.supervisor == Supervisor::Asleep {
            self.slots.values_mut().for_each(Slot::retract);
        }
        self.watch.supervisor = Supervisor::Awake;
    }

    /// Whether somebody helps, so that the supervisor need not look.
    pub(crate) fn is_helped(&self) -> bool {
        self.watch.helpers > 0
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
