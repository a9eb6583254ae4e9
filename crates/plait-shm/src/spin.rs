//! When it pays to wait awake.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use plait_sys::clock::Instant;

/// How long a waiter looks before it sleeps. Waking a sleeping core costs 50
/// to 80 µs on virtual machines, so a longer look would cost more than it saves.
pub const LOOK: Duration = Duration::from_micros(20);
/// The last wait was short: it took no longer than a core's waking and a bit.
const SHORT: Duration = Duration::from_micros(200);
/// How long somebody may take to wake up, while it counts for no delay.
pub const WAKING: Duration = Duration::from_micros(150);
/// Looks between two looks at the clock.
const BURST: usize = 32;

/// What a waiter sees when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// What it waits for.
    There,
    /// Nothing yet: whoever is to bring it is still being woken. That time
    /// does not count. Waking takes longer than a look, so two who wait for
    /// each other in turns would else never meet awake: each look would end
    /// just before the other had woken up, and each would then be woken itself.
    Coming,
    /// Nothing yet.
    Nothing,
}

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
const WHILE_VAIN: u32 = 10;

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

/// Whether there is more than one core, so that somebody may work while
/// another looks. Found out by who asks first: it takes a look at the files of
/// the control group, and every thread that waits has a [`Spin`].
#[must_use]
pub fn looking_pays() -> bool {
    const UNKNOWN: u8 = 2;
    // No once cell: a process that is forked while a thread fills one waits for
    // that thread for ever. Two who ask at once find out the same.
    static PAYS: AtomicU8 = AtomicU8::new(UNKNOWN);
    // Relaxed: nothing else hangs on it.
    let known = PAYS.load(Relaxed);
    if known != UNKNOWN {
        return known != 0;
    }
    let pays = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    PAYS.store(u8::from(pays), Relaxed);
    pays
}

/// One waiter: it looks for about 20 µs before it sleeps, but only if its last
/// wait was short and looks pay, and never where only one core is.
#[derive(Debug)]
pub struct Spin {
    pays: bool,
    last_was_short: bool,
    /// It looked before the sleep that is under way.
    looked: bool,
    habit: Habit,
}

impl Spin {
    /// A waiter that has not waited yet.
    #[must_use]
    pub fn new() -> Self {
        Self { pays: looking_pays(), last_was_short: false, looked: false, habit: Habit::default() }
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
        if self.look(|| if ready() { Sight::There } else { Sight::Nothing }) {
            return Ok(R::default());
        }
        let slept = sleep();
        self.slept(start);
        slept
    }

    /// Whether a look may pay: the last wait was short.
    #[must_use]
    pub fn may_pay(&self) -> bool {
        self.pays && self.last_was_short
    }

    /// The part of a wait that is spent awake, if that may pay. Whether what
    /// is waited for is there; if not, the waiter sleeps.
    pub fn look(&mut self, mut see: impl FnMut() -> Sight) -> bool {
        self.looked = false;
        if !self.may_pay() {
            return false;
        }
        if see() == Sight::There {
            // It does not say that looks pay: on the waiter's own core whoever
            // brings it may run first.
            return true;
        }
        self.looked = self.habit.looks();
        if !self.looked {
            return false;
        }
        let start = Instant::now();
        let mut since = start;
        loop {
            let mut coming = false;
            for _ in 0..BURST {
                match see() {
                    Sight::There => {
                        self.looked = false;
                        self.habit.looked(Look::Found);
                        return true;
                    }
                    Sight::Coming => coming = true,
                    Sight::Nothing => {}
                }
                std::hint::spin_loop();
            }
            let now = Instant::now();
            if coming {
                since = now;
            }
            if now.saturating_since(since) > LOOK || now.saturating_since(start) > LOOK + WAKING {
                return false;
            }
        }
    }

    /// The sleep of a wait that began at `start` is over.
    pub fn slept(&mut self, start: Instant) {
        self.last_was_short = Instant::now().saturating_since(start) < SHORT;
        if std::mem::take(&mut self.looked) {
            self.habit.looked(if self.last_was_short { Look::Vain } else { Look::Long });
        }
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
        let mut spin = Spin { pays: true, ..Spin::new() };
        assert_eq!(wait(&mut spin, true), (0, 1));
        spin.last_was_short = true;
        assert_eq!(wait(&mut spin, true), (1, 0));
        let (looks, sleeps) = wait(&mut spin, false);
        assert!(looks >= BURST as u32 && sleeps == 1);
    }

    #[test]
    fn who_is_being_woken_is_waited_for_longer() {
        let length = |sight| {
            let mut spin = Spin { pays: true, last_was_short: true, ..Spin::new() };
            let start = Instant::now();
            assert!(!spin.look(|| sight));
            Instant::now().saturating_since(start)
        };
        assert!(length(Sight::Nothing) > LOOK);
        assert!(length(Sight::Coming) > WAKING);
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
        let vain = [(); 13].map(|()| left_out(&mut habit, Look::Vain));
        assert_eq!(vain, [0, 0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023]);
        assert_eq!(left_out(&mut habit, Look::Long), 1023);
        assert_eq!(left_out(&mut habit, Look::Found), 1023);
        let long = [(); 8].map(|()| left_out(&mut habit, Look::Long));
        assert_eq!(long, [0, 0, 1, 3, 7, 15, 15, 15]);
    }

    #[test]
    fn never_looks_on_one_core() {
        let mut spin = Spin { pays: false, last_was_short: true, ..Spin::new() };
        assert_eq!(wait(&mut spin, true), (0, 1));
    }
}
