//! A future of a loop of ours that stands for one of an engine: what
//! `asyncio.wrap_future` makes, without a thread in between.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::class::Future;
use super::waker::Waker;
use crate::event_loop::{Expected, Letter, Loop, set_unless_done};

impl Future {
    /// Gives `target`, a future of the loop of this thread, the outcome of
    /// `source`, which has ended.
    pub(crate) fn copy_outcome(source: &Bound<'_, Self>, target: &Bound<'_, PyAny>) -> PyResult<()> {
        static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = source.py();
        if let Some(Ok(value)) = source.get().fate().outcome().map(|outcome| outcome.get(py)).transpose()? {
            return set_unless_done(target, value.bind(py));
        }
        if target.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        if source.get().fate().outcome().is_some() {
            // From here on the loop's future is to be asked.
            target.setattr(intern!(py, "_plait_origin"), source.get()._origin(py)?)?;
        }
        // Which exceptions change their class on the way is asyncio's to say.
        COPY.import(py, "asyncio.futures", "_copy_future_state")?.call1((source, target)).map(drop)
    }
}

#[pymethods]
impl Future {
    /// As `asyncio.wrap_future(self, loop=event_loop)`, in the thread of that
    /// loop.
    fn _wrapped<'py>(slf: &Bound<'py, Self>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static WRAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        let this = slf.get();
        this.check_home()?;
        let ours = event_loop.cast::<Loop>().ok();
        let Some(letterbox) = ours.and_then(|event_loop| event_loop.get().letterbox(py)) else {
            let wrap = WRAP.import(py, "plait._future", "_wrap")?;
            return wrap.call1((slf, event_loop));
        };
        let target = event_loop.call_method0(intern!(py, "create_future"))?;
        let letter = Letter::Copy { source: slf.clone().unbind(), target: target.clone().unbind() };
        let expected = Expected::new(letterbox, letter, this.awaited());
        match this.fate().subscribe(Waker::Letter(expected)) {
            Ok(()) => {
                let release = slf.getattr(intern!(py, "_release"))?;
                target.call_method1(intern!(py, "add_done_callback"), (release,))?;
            }
            Err(waker) => {
                drop(waker);
                Self::copy_outcome(slf, &target)?;
            }
        }
        Ok(target)
    }

    /// What `_wrapped` made is done: if somebody has cancelled it, so is this.
    fn _release(slf: &Bound<'_, Self>, target: &Bound<'_, PyAny>) -> PyResult<()> {
        if target.call_method0(intern!(slf.py(), "cancelled"))?.is_truthy()? {
            slf.get()._unsubscribe(target);
            slf.call_method0(intern!(slf.py(), "cancel"))?;
        }
        Ok(())
    }
}
