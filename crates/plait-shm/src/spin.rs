//! When it pays to wait awake.

use std::time::Duration;

use plait_sys::clock::Instant;

/// How long a waiter looks before it sleeps. Waking a sleeping core costs 50
/// to 80 µs on virtual machines, so a longer look would cost more than it saves.
const LOOK: Duration = Duration::from_micros(20);
/// The last wait was short: it took no longer than a core's waking and a bit.
const SHORT: Duration = Duration::from_micros(200);
/// Looks between two looks at the clock.
const BURST: usize = 32;

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What was waited for.
    Found,
    /// Nothing, for that took long.
    Long,
    /// Nothing, though it came soon after: who was to bring it could not run.
    Vain,
}

/// So many looks in a row may fail before some are left out.
const PATIENCE: u32 = 2;
/// The logarithm of how many waits there are to a look at least, while what is
/// waited for takes long, and while looks are in vain.
const WHILE_LONG: u32 = 4;
const WHILE_VAIN: u32 = 7;

/// Whether looks have paid: if several in a row have failed, it leaves out ever
/// more. Who waits for somebody on the same core, since the others are taken,
/// only keeps him from going on: a round trip in which both sides look each
/// time took 55 µs there, and takes 13 with this.
#[derive(Debug, Default)]
pub struct Habit {
    failed: u32,
    left_out: u32,
}

impl Habit {
    /// Whether to look this time.
    pub fn looks(&mut self) -> bool {
        if self.left_out + 1 < 1 << self.failed.saturating_sub(PATIENCE - 1) {
            self.left_out += 1;
            return false;
        }
        self.left_out = 0;
        true
    }

    /// A look has ended.
    pub fn looked(&mut self, look: Look) {
        let most = match look {
            Look::Found => 0,
            Look::Long => (PATIENCE - 1 + WHILE_LONG).max(self.failed),
            Look::Vain => PATIENCE - 1 + WHILE_VAIN,
        };
        self.failed = (self.failed + 1).min(most);
    }
}

/// One waiter: it looks for about 20 µs before it sleeps, but only if its last
/// wait was short and looks pay, and never where only one core is.
#[derive(Debug)]
pub struct Spin {
    pays: bool,
    last_was_short: bool,
    habit: Habit,
}

impl Spin {
    /// A waiter that has not waited yet.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { pays: cores > 1, last_was_short: false, habit: Habit::default() }
    }

    /// Waits until `ready` says so: awake for a while if that may pay, then by
    /// `sleep`, which returns when it was woken or for no reason. The caller
    /// looks again either way.
    ///
    /// # Errors
    /// Those of `sleep`.
    pub fn wait<R: Default, E>(
        &mut self,
        mut ready: impl FnMut() -> bool,
        sleep: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let start = Instant::now();
        let looks = self.pays && self.last_was_short && self.habit.looks();
        if looks {
            loop {
                for _ in 0..BURST {
                    if ready() {
                        self.habit.looked(Look::Found);
                        return Ok(R::default());
                    }
                    std::hint::spin_loop();
                }
                if Instant::now().saturating_since(start) > LOOK {
                    break;
                }
            }
        }
        let slept = sleep();
        self.last_was_short = Instant::now().saturating_since(start) < SHORT;
        if looks {
            self.habit.looked(if self.last_was_short { Look::Vain } else { Look::Long });
        }
        slept
    }
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(spin: &mut Spin, ready: bool) -> (u32, u32) {
        let (mut looks, mut sleeps) = (0, 0);
        let end: Result<(), ()> = spin.wait(
            || {
                looks += 1;
                ready
            },
            || {
                sleeps += 1;
                Ok(())
            },
        );
        end.unwrap();
        (looks, sleeps)
    }

    #[test]
    fn looks_only_after_a_short_wait() {
        let mut spin = Spin { pays: true, last_was_short: false, habit: Habit::default() };
        assert_eq!(wait(&mut spin, true), (0, 1));
        spin.last_was_short = true;
        assert_eq!(wait(&mut spin, true), (1, 0));
        let (looks, sleeps) = wait(&mut spin, false);
        assert!(looks >= BURST as u32 && sleeps == 1);
    }

    fn left_out(habit: &mut Habit, look: Look) -> u32 {
        let mut count = 0;
        while !habit.looks() {
            count += 1;
        }
        habit.looked(look);
        count
    }

    #[test]
    fn looks_that_fail_become_rare_until_one_does_not() {
        let mut habit = Habit::default();
        let vain = [(); 10].map(|()| left_out(&mut habit, Look::Vain));
        assert_eq!(vain, [0, 0, 1, 3, 7, 15, 31, 63, 127, 127]);
        assert_eq!(left_out(&mut habit, Look::Long), 127);
        assert_eq!(left_out(&mut habit, Look::Found), 127);
        let long = [(); 8].map(|()| left_out(&mut habit, Look::Long));
        assert_eq!(long, [0, 0, 1, 3, 7, 15, 15, 15]);
    }

    #[test]
    fn never_looks_on_one_core() {
        let mut spin = Spin { pays: false, last_was_short: true, habit: Habit::default() };
        assert_eq!(wait(&mut spin, true), (0, 1));
    }
}
