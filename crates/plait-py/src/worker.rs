//! A worker's end, in its process: one task after another.
//!
//! What most tasks are (a function that is known, on plain values, that
//! returns one) runs here, without a Python frame of ours. `plait._pickling`
//! does the rest: the `inbound` that `serve` is given.

mod service;
mod together;

use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard};

use plait_pool::process::{self, Answer, ArenaFds, Excess, Pieces, Runs, Stop, ToDo};
use plait_sys::clock::Instant;
use plait_sys::{descriptor, pid};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::error::{Error, Result};
use crate::hot::interrupt;
use crate::packer;
use crate::sync::lock;
use service::Service;
use together::Together;

/// After so many tasks in a row other threads of the worker get the
/// interpreter: a function in C runs no bytecode that would let them.
const IN_A_ROW: u32 = 32;

/// The number of the last log record that this process has sent; 0 if it has
/// sent none.
static SAID: AtomicU32 = AtomicU32::new(0);

#[pyfunction]
fn worker_said(number: u32) {
    SAID.store(number, Relaxed);
}

#[pyclass(frozen, module = "plait._native")]
struct Worker {
    link: Mutex<process::Worker>,
    runs: Runs,
    /// Whether a task's code may be interrupted.
    armed: AtomicBool,
    /// Whether it runs several tasks at once. Then the following count: whose
    /// code it is that may be interrupted, whether it has been, and whether
    /// there is an event loop whose steps may be as well.
    several: bool,
    current: AtomicU64,
    told: AtomicBool,
    loops: AtomicBool,
}

impl Worker {
    fn link(&self) -> MutexGuard<'_, process::Worker> {
        lock(&self.link)
    }

    /// Calls `body`, which is of `task`: code that a stop interrupts. One that
    /// came before it is not lost: then it is not called.
    fn interruptibly<T>(&self, py: Python<'_>, task: u64, body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
        self.current.store(task, Relaxed);
        self.told.store(false, Relaxed);
        self.armed.store(true, Relaxed);
        let result = self.raise_stop(py).and_then(|()| body());
        self.armed.store(false, Relaxed);
        result
    }

    fn raise_stop(&self, py: Python<'_>) -> PyResult<()> {
        let stops = if self.several {
            self.link().is_asked(self.current.load(Relaxed)) && !self.told.swap(true, Relaxed)
        } else {
            self.runs.take_stop()
        };
        if stops { Err(stopped(py)) } else { Ok(()) }
    }

    /// As `raise_stop` in the handler of a signal, where several tasks run.
    fn raise_one_stop(&self, py: Python<'_>, frame: Bound<'_, PyAny>) -> PyResult<()> {
        self.link().look_for_stops().map_err(Error::from)?;
        if imports(frame)? {
            return Ok(());
        }
        if self.loops.load(Relaxed) {
            let task = together::stepping(py)?;
            if task != 0 {
                let stops = self.link().is_asked(task);
                return if stops && together::tell(py, task)? { Err(stopped(py)) } else { Ok(()) };
            }
        }
        if self.armed.load(Relaxed) { self.raise_stop(py) } else { Ok(()) }
    }

    /// Whether `task`, which has ended, was asked to stop: no stop comes after this.
    fn has_stopped(&self, task: u64) -> bool {
        if self.several { self.link().is_asked(task) } else { self.runs.end().is_some() }
    }

    fn send(&self, py: Python<'_>, message: &[u8]) -> Result<()> {
        let mut done = 0;
        if self.link().push(message, &mut done)? {
            return Ok(());
        }
        py.detach(|| {
            // Half an answer must not stay: signals are acted upon afterwards.
            while !self.link().send(message, &mut done)? {}
            Ok(())
        })
    }

    fn excess(&self) -> Result<Option<Excess>> {
        Ok(self.link().excess()?)
    }

    /// What to do next; waits for it.
    fn next(&self, py: Python<'_>) -> PyResult<ToDo> {
        loop {
            // Only a wait that may block is worth letting go of the interpreter.
            if let Some(todo) = self.link().poll().map_err(Error::from)? {
                return Ok(todo);
            }
            match py.detach(|| self.link().receive()).map_err(Error::from)? {
                ToDo::Interrupted => py.check_signals()?,
                todo => return Ok(todo),
            }
        }
    }
}

/// The class of what is raised. Imported when stops are heeded: the handler of a
/// signal cannot, where it interrupts a frame without builtins (that of a named
/// tuple).
fn stop_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "plait._worker.stopping", "Stopped")
}

fn stopped(py: Python<'_>) -> PyErr {
    match stop_class(py) {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// Whether a module is being imported in this frame or one that led to it.
pub(crate) fn imports(frame: Bound<'_, PyAny>) -> PyResult<bool> {
    let py = frame.py();
    let mut next = frame;
    while !next.is_none() {
        let file = next.getattr(intern!(py, "f_code"))?.getattr(intern!(py, "co_filename"))?;
        if file.extract::<&str>().is_ok_and(|file| file.starts_with("<frozen importlib._bootstrap")) {
            return Ok(true);
        }
        next = next.getattr(intern!(py, "f_back"))?;
    }
    Ok(false)
}

#[pymethods]
impl Worker {
    /// `arenas`: the descriptors of the parent's arena and of the worker's own.
    /// `several`: whether it runs several tasks at once.
    #[new]
    fn new(memory: RawFd, bell: RawFd, arenas: Option<(RawFd, RawFd)>, several: bool) -> Result<Self> {
        let arenas = arenas.map(|(requests, results)| {
            let (requests, results) = (descriptor::duplicate(requests)?, descriptor::duplicate(results)?);
            Result::Ok(ArenaFds { requests, results })
        });
        let (memory, bell) = (descriptor::duplicate(memory)?, descriptor::duplicate(bell)?);
        let mut link = process::Worker::new(memory, bell, arenas.transpose()?)?;
        if several {
            link.run_several();
        }
        let (runs, no) = (link.runs(), AtomicBool::default);
        let (link, current) = (Mutex::new(link), AtomicU64::new(0));
        Ok(Self { link, runs, armed: no(), several, current, told: no(), loops: no() })
    }

    /// Has the pool's request to stop a task interrupt this process; the
    /// handler of SIGTERM that Python has is called then.
    fn heed_stops(&self, py: Python<'_>) -> PyResult<()> {
        stop_class(py)?;
        let interrupt = interrupt::python();
        let heeded = if self.several { self.runs.heed_always(interrupt) } else { self.runs.heed(interrupt) };
        Ok(heeded.map_err(process::Error::from).map_err(Error::from)?)
    }

    /// The handler of SIGTERM: raises `Stopped` if a task is to be stopped. Not
    /// in the middle of an import, which would leave half a module behind, for
    /// other tasks to trip over: the signal is repeated.
    fn on_terminate(&self, py: Python<'_>, _signal: i32, frame: Bound<'_, PyAny>) -> PyResult<()> {
        if self.several {
            return self.raise_one_stop(py, frame);
        }
        if self.armed.load(Relaxed) && self.runs.asked().is_some() && !imports(frame)? {
            return self.raise_stop(py);
        }
        Ok(())
    }

    /// The next item of the task that runs begins, with a deadline of its own.
    /// Returns whether the one before was stopped at its own; raises `Stopped`
    /// where the task is to stop.
    fn next_item(&self, py: Python<'_>) -> PyResult<bool> {
        match self.runs.next_item(Instant::now()) {
            None => Ok(false),
            Some(Stop::Item) => Ok(true),
            Some(Stop::Task) => Err(stopped(py)),
        }
    }

    /// Tells what the task that runs has written, before its answer.
    fn say_output(&self, py: Python<'_>, data: &[u8]) -> Result<()> {
        self.send(py, &process::Worker::output(data))
    }

    /// Runs tasks until told to leave. Returns, too, in a child that a task
    /// forked: its parent answers.
    ///
    /// `doorbell`: a descriptor that becomes readable when there is something
    /// to do, where several tasks run at once.
    #[pyo3(signature = (inbound, max_memory=None, doorbell=None))]
    fn serve<'py>(
        &'py self,
        py: Python<'py>,
        inbound: &'py Bound<'py, PyAny>,
        max_memory: Option<u64>,
        doorbell: Option<RawFd>,
    ) -> PyResult<()> {
        if let Some(limit) = max_memory {
            self.link().limit_memory(limit).map_err(Error::from)?;
        }
        let together = doorbell.map(Together::new);
        let mut service = Service::new(self, inbound, max_memory.is_some(), together);
        pid::prepare();
        let (home, mut in_a_row) = (pid::current(), 0);
        loop {
            let todo = if service.goes_on() { service.poll()? } else { Some(self.next(py)?) };
            let may_sleep = todo.is_none();
            match todo.unwrap_or(ToDo::Interrupted) {
                ToDo::Task { task, image, bytes, pieces } => {
                    let has_pieces = pieces != Pieces::default();
                    service.load_new()?;
                    // Relaxed: what says something in the task's own thread comes before its end.
                    let said = SAID.load(Relaxed);
                    let ran = self.interruptibly(py, task, || service.run(task, image, &bytes, pieces));
                    drop(bytes);
                    if pid::current() != home {
                        return Ok(());
                    }
                    service.finish(task, said, has_pieces, ran)?;
                }
                ToDo::Image { id, shared, bytes, pieces } => {
                    service.forget();
                    let data = packer::stream(py, bytes.as_ref(), &pieces)?;
                    let buffers = match shared {
                        true => packer::buffers_to_read(py, &pieces)?,
                        false => packer::buffers(py, &pieces)?,
                    };
                    inbound.call_method1(intern!(py, "add_image"), (id, data, buffers))?;
                }
                ToDo::Begin { image, bytes, pieces } => {
                    let data = packer::stream(py, bytes.as_ref(), &pieces)?;
                    let buffers = packer::buffers(py, &pieces)?;
                    drop(pieces);
                    let mut failure: Option<Vec<u8>> =
                        inbound.call_method1(intern!(py, "initialize"), (image, data, buffers))?.extract()?;
                    if failure.is_none()
                        && let Some(excess) = self.excess()?
                    {
                        let (had, limit) = (excess.had, excess.limit);
                        failure = Some(
                            format!("it leaves the worker with {had} bytes of private memory, which is more than max_memory={limit}")
                                .into_bytes(),
                        );
                    }
                    if pid::current() != home {
                        return Ok(());
                    }
                    let mut message = Vec::new();
                    let answer = if failure.is_none() { Answer::Ready } else { Answer::Unfit };
                    self.link().begin_answer(answer, &mut message);
                    message.extend_from_slice(&failure.unwrap_or_default());
                    self.send(py, &message)?;
                }
                ToDo::Leave => return Ok(()),
                ToDo::Interrupted => {}
            }
            if service.goes_on() {
                service.turn(may_sleep)?;
                if pid::current() != home {
                    return Ok(());
                }
            }
            service.retire()?;
            let mut link = self.link();
            let (done, began) = (link.done(), link.began());
            drop(link);
            for message in done.into_iter().chain(began) {
                self.send(py, &message)?;
            }
            // A function in C runs no bytecode: nobody else looks.
            py.check_signals()?;
            in_a_row = (in_a_row + 1) % IN_A_ROW;
            if in_a_row == 0 {
                py.detach(|| {});
            }
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(worker_said, module)?)?;
    module.add_class::<Worker>()
}
