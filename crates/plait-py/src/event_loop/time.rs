//! The loop's clock, which a program may replace.
//!
//! asyncio asks `self.time()` for each `call_later`, and who gives a loop
//! another clock (to let time pass at once in a test) overrides that: in a
//! subclass, or on the instance. As long as nobody has, the clock is read
//! without the call, which costs twice as much.

use std::sync::atomic::Ordering::Relaxed;

use plait_sys::clock::Instant;
use pyo3::intern;
use pyo3::prelude::*;

use super::core::Loop;
use crate::hot::instance;

impl Loop {
    /// What `loop.time()` returns.
    pub(super) fn now(slf: &Bound<'_, Self>) -> PyResult<f64> {
        if Self::has_own_clock(slf)? {
            return Ok(Instant::now().as_secs_f64());
        }
        slf.call_method0(intern!(slf.py(), "time"))?.extract()
    }

    /// Notes how far the program's clock is ahead if timers wait for it.
    ///
    /// Between two looks both clocks go at the same speed, so a clock that
    /// stands still lets the timers fire that are due soon.
    pub(super) fn compare_clocks(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.core(slf.py()).timers.is_empty() {
            return Ok(());
        }
        let ahead = if Self::has_own_clock(slf)? {
            0.0
        } else {
            let time: f64 = slf.call_method0(intern!(slf.py(), "time"))?.extract()?;
            time - Instant::now().as_secs_f64()
        };
        // Relaxed: the interpreter lock orders it.
        this.clock_ahead.store(f64::to_bits(ahead), Relaxed);
        Ok(())
    }

    /// What timers are compared with.
    pub(super) fn timer_now(&self) -> Instant {
        match f64::from_bits(self.clock_ahead.load(Relaxed)) {
            0.0 => Instant::now(),
            ahead => Instant::from_secs_f64(Instant::now().as_secs_f64() + ahead),
        }
    }

    fn has_own_clock(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let class = slf.get_type();
        let version = instance::version(&class).map_or(0, u32::from);
        // Relaxed: the interpreter lock orders it.
        if version == 0 || version != this.clock_version.load(Relaxed) {
            let name = intern!(py, "time");
            let native = py.get_type::<Self>().getattr(name)?;
            if !instance::has_usual_lookup(&class) || !class.getattr(name)?.is(&native) {
                return Ok(false);
            }
            // The look-up gave the class a number if it had none.
            this.clock_version.store(instance::version(&class).map_or(0, u32::from), Relaxed);
        }
        instance::has_own(slf.as_any(), intern!(py, "time")).map(|replaced| !replaced)
    }
}
