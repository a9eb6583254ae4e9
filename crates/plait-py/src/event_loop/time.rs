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
