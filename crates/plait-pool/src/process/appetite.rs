//! Workers that take more memory than they may.
//!
//! A worker looks at itself between tasks and leaves if it has more than the
//! limit. In mid-task it is looked at from outside, every now and then, and
//! ended if it has more than twice the limit.

use std::fmt;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::resident::Account;

use super::slot::Slot;

/// How often those who work are looked at. A process fills fresh memory at
/// about a gigabyte a second or two.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What a worker had, and what it may have, in bytes of private memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// What it had.
    pub had: u64,
    /// The pool's `max_memory`.
    pub limit: u64,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEGA: u64 = 1_000_000;
        let (had, limit) = (self.had.div_ceil(MEGA), self.limit.div_ceil(MEGA));
        write!(f, "{had} MB of private memory, more than twice max_memory ({limit} MB)")
    }
}

/// The eye of a supervisor.
#[derive(Debug)]
pub(crate) struct Appetite {
    limit: Option<u64>,
    look_at: Option<Instant>,
}

impl Appetite {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, look_at: None }
    }

    /// Whether somebody who begins to work would not be looked at.
    pub(crate) fn is_blind(&self) -> bool {
        self.limit.is_some() && self.look_at.is_none()
    }

    /// When to look; nobody has to be looked at while nobody works.
    pub(crate) fn look_at<'a, T: 'a>(
        &mut self,
        mut slots: impl Iterator<Item = &'a Slot<T>>,
    ) -> Option<Instant> {
        if self.limit.is_none() || !slots.any(Slot::is_busy) {
            self.look_at = None;
        } else {
            self.look_at.get_or_insert_with(|| Instant::now() + LOOK_EVERY);
        }
        self.look_at
    }

    /// Ends those who have too much.
    pub(crate) fn look<'a, T: 'a>(&mut self, slots: impl Iterator<Item = &'a mut Slot<T>>, now: Instant) {
        let Some(limit) = self.limit else { return };
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = None;
        for slot in slots.filter(|slot| slot.is_busy()) {
            // One that has ended has nothing.
            let account = slot.pid().and_then(|pid| Account::of(pid).ok());
            let had = account.and_then(|account| account.private().ok()).unwrap_or(0);
            if had > limit.saturating_mul(2) {
                slot.excess = Some(Excess { had, limit });
                slot.condemn(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_in_round_numbers() {
        let text = Excess { had: 2_345_678_901, limit: 1_000_000_000 }.to_string();
        assert_eq!(text, "2346 MB of private memory, more than twice max_memory (1000 MB)");
    }
}
