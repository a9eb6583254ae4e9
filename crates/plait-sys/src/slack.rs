//! How late the kernel may wake this thread from a timed sleep.
//!
//! By default 50 µs are added to gather wake-ups. The setting belongs to the
//! thread and is inherited by those that it makes, so it is put back.

use std::num::NonZeroU64;

use rustix::thread::{current_timer_slack, set_current_timer_slack};

/// While it lives, timed sleeps of the thread that made it end on time.
#[derive(Debug)]
pub struct PreciseSleep {
    before: Option<NonZeroU64>,
}

impl PreciseSleep {
    /// Asks for the finest timers. Where the kernel refuses, sleeps end as
    /// late as they always did.
    #[must_use]
    pub fn new() -> Self {
        let before = current_timer_slack().ok().and_then(NonZeroU64::new);
        if before.is_some() {
            let _ = set_current_timer_slack(NonZeroU64::new(1));
        }
        Self { before }
    }
}

impl Default for PreciseSleep {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PreciseSleep {
    fn drop(&mut self) {
        if self.before.is_some() {
            let _ = set_current_timer_slack(self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_put_back() {
        let before = current_timer_slack().unwrap();
        {
            let _precise = PreciseSleep::new();
            assert_eq!(current_timer_slack().unwrap(), 1);
        }
        assert_eq!(current_timer_slack().unwrap(), before);
    }
}
