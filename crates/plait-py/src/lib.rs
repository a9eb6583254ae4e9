//! The PyO3 binding of plait: classes and conversions, no algorithms.

mod callees;
mod choice;
mod error;
mod estimate;
mod event_loop;
mod executor;
mod exiting;
mod fork;
mod future;
mod handover;
mod hot;
mod image;
mod lock_sampler;
mod packer;
mod probe;
mod process_delivery;
mod process_owner;
mod process_pool;
mod processes;
mod records;
mod running;
mod sync;
mod thread_call;
mod thread_counts;
mod thread_queue;
mod trace;
mod worker;

use pyo3::prelude::*;

/// The native module; `plait._binding` alone imports it.
///
/// It needs the interpreter lock: free-threaded builds are not tested yet.
#[pymodule(gil_used = true)]
mod _native {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("DEBUG_BUILD", cfg!(debug_assertions))?;
        event_loop::register(module)?;
        executor::register(module)?;
        exiting::register(module)?;
        fork::register(module)?;
        future::register(module)?;
        #[cfg(debug_assertions)]
        hot::plain::probe::register(module)?;
        callees::register(module)?;
        image::register(module)?;
        lock_sampler::register(module)?;
        packer::register(module)?;
        process_pool::register(module)?;
        probe::register(module)?;
        processes::register(module)?;
        worker::register(module)?;
        running::register(module)?;
        thread_call::register(module)?;
        thread_queue::register(module)?;
        choice::register(module)?;
        estimate::register(module)?;
        trace::register(module)?;
        Ok(())
    }
}
