//! One scheduled call: `asyncio.Handle` and `asyncio.TimerHandle`, native.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use pyo3::basic::CompareOp;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::hot::context;
use crate::sync::lock;

/// What is called with what; gone once the handle is cancelled.
struct Call {
    callback: Py<PyAny>,
    args: Py<PyTuple>,
}

/// A callback that waits for its turn.
#[pyclass(frozen, subclass, weakref, module = "plait._native")]
pub(crate) struct Handle {
    call: Mutex<Option<Call>>,
    context: Mutex<Option<Py<PyAny>>>,
    cancelled: AtomicBool,
    /// Where it was scheduled, in debug mode.
    source_traceback: Option<Py<PyAny>>,
}

impl Handle {
    /// Makes a handle that runs in `context`, or in a copy of the current one.
    pub(crate) fn new(
        py: Python<'_>,
        callback: Py<PyAny>,
        args: Py<PyTuple>,
        context: Option<Py<PyAny>>,
        debug: bool,
    ) -> PyResult<Self> {
        let context = match context {
            Some(context) => context,
            None => context::copy_current(py)?,
        };
        let source_traceback = debug.then(|| extract_stack(py)).transpose()?;
        Ok(Self {
            call: Mutex::new(Some(Call { callback, args })),
            context: Mutex::new(Some(context)),
            cancelled: AtomicBool::new(false),
            source_traceback,
        })
    }

    /// Whether it must not run any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        // Relaxed, here and below: the interpreter lock orders all of it.
        self.cancelled.load(Relaxed)
    }

    fn parts(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<PyTuple>)> {
        lock(&self.call).as_ref().map(|call| (call.callback.clone_ref(py), call.args.clone_ref(py)))
    }

    /// Calls the callback in its context, unless cancelled.
    pub(crate) fn run(&self, py: Python<'_>) -> PyResult<()> {
        let Some((callback, args)) = self.parts(py) else { return Ok(()) };
        let Some(context) = lock(&self.context).as_ref().map(|context| context.clone_ref(py)) else {
            return Ok(());
        };
        context::enter(py, &context, || callback.call1(py, args)).map(drop)
    }

    /// The stack where it was scheduled, in debug mode.
    pub(crate) fn source_traceback(&self) -> Option<&Py<PyAny>> {
        self.source_traceback.as_ref()
    }

    /// `callback(args)` as a message shows it, with the place of definition.
    pub(crate) fn describe(&self, py: Python<'_>) -> PyResult<String> {
        static FORMAT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        match self.parts(py) {
            None => Ok("cancelled".to_owned()),
            Some(parts) => FORMAT
                .import(py, "asyncio.format_helpers", "_format_callback_source")?
                .call1(parts)?
                .extract(),
        }
    }
}

/// The Python stack of the caller, as asyncio keeps it in debug mode.
fn extract_stack(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static EXTRACT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    EXTRACT.import(py, "asyncio.format_helpers", "extract_stack")?.call0().map(Bound::unbind)
}

#[pymethods]
impl Handle {
    /// Keeps the callback from being called, if it has not been yet.
    fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        // Out of the lock first: a decref can run Python code.
        let call = lock(&self.call).take();
        drop(call);
    }

    /// Whether `cancel` was called.
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// The context that the callback runs in.
    fn get_context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.context).as_ref().map(|context| context.clone_ref(py))
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.source_traceback.as_ref().map(|stack| stack.clone_ref(py))
    }

    #[getter]
    fn _callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.parts(py).map(|(callback, _)| callback)
    }

    #[getter]
    fn _args(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.parts(py).map(|(_, args)| args)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let timer = slf.cast::<TimerHandle>().ok().map(|timer| format!(" when={}", timer.get().when));
        let this = slf.get();
        let mut text = format!("<{}{} ", slf.get_type().name()?, timer.unwrap_or_default());
        text += &this.describe(py)?;
        if let Some(stack) = &this.source_traceback {
            let frame = stack.bind(py).get_item(-1)?;
            let (file, line) = (frame.get_item(0)?, frame.get_item(1)?);
            text += &format!(" created at {file}:{line}");
        }
        text.push('>');
        Ok(text)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(call) = self.call.try_lock()
            && let Some(call) = &*call
        {
            visit.call(&call.callback)?;
            visit.call(&call.args)?;
        }
        if let Ok(context) = self.context.try_lock() {
            visit.call(&*context)?;
        }
        visit.call(&self.source_traceback)
    }

    fn __clear__(&self) {
        let call = lock(&self.call).take();
        let context = lock(&self.context).take();
        drop((call, context));
    }
}

/// A callback that waits for its time.
#[pyclass(frozen, extends = Handle, module = "plait._native")]
pub(crate) struct TimerHandle {
    when: f64,
    /// In the loop's heap: cancelling it leaves a dead entry there.
    scheduled: AtomicBool,
    /// How many dead entries the heap of this loop holds.
    dead: Arc<AtomicUsize>,
    /// The base class's flag, where the heap can see it without Python.
    cancelled: AtomicBool,
}

impl TimerHandle {
    /// Makes a handle that the caller puts into the heap at once.
    pub(crate) fn new(
        py: Python<'_>,
        when: f64,
        handle: Handle,
        dead: Arc<AtomicUsize>,
    ) -> PyResult<Py<Self>> {
        let timer = Self { when, scheduled: AtomicBool::new(true), dead, cancelled: AtomicBool::new(false) };
        Py::new(py, PyClassInitializer::from(handle).add_subclass(timer))
    }

    /// Whether it was cancelled.
    pub(crate) fn is_dead(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// It has left the heap.
    pub(crate) fn left_heap(&self) {
        if self.scheduled.swap(false, Relaxed) && self.is_dead() {
            self.dead.fetch_sub(1, Relaxed);
        }
    }

    fn compare(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> Option<bool> {
        let other = other.cast::<Self>().ok()?.get();
        Some(op.matches(self.when.total_cmp(&other.when)))
    }
}

#[pymethods]
impl TimerHandle {
    /// When the callback is due, on the scale of the loop's `time()`.
    fn when(&self) -> f64 {
        self.when
    }

    /// Keeps the callback from being called, if it has not been yet.
    fn cancel(slf: &Bound<'_, Self>) {
        let this = slf.get();
        if !this.cancelled.swap(true, Relaxed) && this.scheduled.load(Relaxed) {
            this.dead.fetch_add(1, Relaxed);
        }
        slf.as_super().get().cancel();
    }

    #[getter]
    fn _scheduled(&self) -> bool {
        self.scheduled.load(Relaxed)
    }

    #[getter]
    fn _when(&self) -> f64 {
        self.when
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        slf.get().when.into_pyobject(slf.py())?.hash()
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let answer = match op {
            CompareOp::Eq if other.cast::<Self>().is_ok() => Some(slf.is(other)),
            CompareOp::Ne if other.cast::<Self>().is_ok() => Some(!slf.is(other)),
            _ => slf.get().compare(other, op),
        };
        Ok(match answer {
            Some(answer) => answer.into_pyobject(py)?.to_owned().into_any().unbind(),
            None => py.NotImplemented(),
        })
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Handle", PyType::new::<Handle>(py))?;
    module.add("TimerHandle", PyType::new::<TimerHandle>(py))
}
