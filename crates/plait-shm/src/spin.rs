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

/// The habit of one waiter: it looks for about 20 µs before it sleeps, but
/// only if its last wait was short, and never where only one core is.
#[derive(Debug)]
pub struct Spin {
    pays: bool,
    last_was_short: bool,
}

impl Spin {
    /// A waiter that has not waited yet.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { pays: cores > 1, last_was_short: false }
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
        if self.pays && self.last_was_short {
            loop {
                for _ in 0..BURST {
                    if ready() {
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
        let mut spin = Spin { pays: true, last_was_short: false };
        assert_eq!(wait(&mut spin, true), (0, 1));
        spin.last_was_short = true;
        assert_eq!(wait(&mut spin, true), (1, 0));
        let (looks, sleeps) = wait(&mut spin, false);
        assert!(looks >= BURST as u32 && sleeps == 1);
    }

    #[test]
    fn never_looks_on_one_core() {
        let mut spin = Spin { pays: false, last_was_short: true };
        assert_eq!(wait(&mut spin, true), (0, 1));
    }
}
