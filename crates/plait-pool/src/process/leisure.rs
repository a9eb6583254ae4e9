//! What an idle pool keeps in memory for its next large task, and gives back.
//!
//! Free pages of an arena stay, for a first touch costs more than the copy that
//! goes there (100 MB into an arena: 62 ms of processor time, 16 where the pages
//! are there): worth it between two tasks, not between two bursts of work. So when much has been carried and nothing
//! more for a while, the pages go: those of the requests by the supervisor,
//! those of its results by each worker. Then the pool is left alone again: what
//! is freed later goes at once, until there is work (`plait_shm::arena`).

use std::time::Duration;

use plait_sys::clock::Instant;

use super::Ticket;
use super::slot::Slot;
use super::state::State;
use super::wire;

/// So long a pool does nothing before its memory goes.
const IDLE: Duration = Duration::from_secs(2);
/// A pool that has carried less than this since has nothing worth a look.
const LOTS: u64 = 1 << 20;

#[derive(Default)]
pub(crate) struct Leisure {
    /// When to see whether the pool is idle.
    at: Option<Instant>,
    /// What it had carried when this was last decided, in bytes.
    carried: u64,
}

impl<T: Ticket> State<T> {
    fn carried(&self) -> u64 {
        self.tally.counts.sent + self.tally.counts.received
    }

    /// Whether memory may be kept that nobody watches over.
    pub(crate) fn hoards(&self) -> bool {
        self.leisure.at.is_none() && self.carried() - self.leisure.carried >= LOTS
    }

    /// When the supervisor, which is about to sleep, is to look.
    pub(crate) fn next_leisure(&mut self, now: Instant) -> Option<Instant> {
        if self.hoards() {
            self.leisure = Leisure { at: Some(now + IDLE), carried: self.carried() };
        }
        self.leisure.at
    }

    /// Has the workers give back what they keep, if it is time for that.
    pub(crate) fn is_at_leisure(&mut self, now: Instant) -> bool {
        if self.leisure.at.is_none_or(|at| at > now) {
            return false;
        }
        let carried = self.carried();
        if carried != self.leisure.carried || self.slots.values().any(Slot::is_busy) {
            self.leisure = Leisure { at: Some(now + IDLE), carried };
            return false;
        }
        self.leisure.at = None;
        for slot in self.slots.values_mut().filter(|slot| slot.listens()) {
            // What is free, the worker has to know first.
            slot.free();
            slot.order(wire::message(wire::TRIM, 0, 0, &[]));
            slot.pump();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{Mark, World};
    use super::*;

    #[test]
    fn a_pool_that_has_carried_little_is_left_alone() {
        let mut state = State::<Mark>::new(1, None);
        state.tally.counts.sent = LOTS - 1;
        assert!(!state.hoards() && state.next_leisure(Instant::now()).is_none());
    }

    #[test]
    fn what_was_carried_is_let_go_of_once_when_nothing_more_comes() {
        let (mut state, now) = (State::<Mark>::new(1, None), Instant::now());
        state.tally.counts.received = LOTS;
        assert!(state.hoards());
        assert_eq!(state.next_leisure(now), Some(now + IDLE));
        assert!(!state.hoards() && !state.is_at_leisure(now));
        // Something more comes: later, then.
        state.tally.counts.sent += 1;
        assert!(!state.is_at_leisure(now + IDLE));
        assert_eq!(state.next_leisure(now + IDLE), Some(now + 2 * IDLE));
        assert!(state.is_at_leisure(now + 2 * IDLE));
        assert!(!state.hoards() && state.next_leisure(now + 2 * IDLE).is_none());
        assert!(!state.is_at_leisure(now + 3 * IDLE));
    }

    #[test]
    fn who_is_stopped_gives_it_back_when_it_goes_on() {
        let mut world = World::new(2);
        let (other, stopped) = (world.hire(), world.hire());
        world.submit(1);
        let mut now = Instant::now();
        while world.state.slots[&stopped].serves() {
            world.feels(&mut now);
        }
        let task = world.begins(other);
        world.returns(other, task);
        world.state.tally.counts.received = LOTS;
        world.state.next_leisure(now);
        let sent = |world: &World| world.state.slots[&stopped].requests().progress().1;
        let before = sent(&world);
        assert!(world.state.is_at_leisure(now + IDLE));
        assert!(!world.state.slots[&stopped].serves() && sent(&world) > before);
    }
}
