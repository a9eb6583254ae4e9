//! A worker's end, in its process: one task after another.
//!
//! What most tasks are (a function that is known, on plain values, that
//! returns one) runs here, without a Python frame of ours. `plait._pickling`
//! does the rest: the `inbound` that `serve` is given.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, MutexGuard};

use plait_pool::process::{self, Answer, ArenaFds, Body, Excess, Pieces, Runs, Stop, ToDo};
use plait_sys::clock::Instant;
use plait_sys::{descriptor, pid};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple, PyType};

use crate::error::{Error, Result};
use crate::hot::{interrupt, plain};
use crate::packer::{self, Packer};
use crate::sync::lock;

/// After so many tasks in a row other threads of the worker get the
/// interpreter: a function in C runs no bytecode that would let them.
const IN_A_ROW: u32 = 32;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 * 1024;

/// How a task ended; `plait._worker.protocol` has the same numbers.
const RETURNED: u8 = 0;
const RAISED_TO_RETRY: u8 = 2;

/// The number of the last log record that this process has sent, if it has
/// sent any since its last answer.
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
}

impl Worker {
    fn link(&self) -> MutexGuard<'_, process::Worker> {
        lock(&self.link)
    }

    /// Calls `body`, the only code that a stop interrupts. One that came
    /// before it is not lost: then it is not called.
    fn interruptibly<T>(&self, py: Python<'_>, body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
        self.armed.store(true, Relaxed);
        let result = self.raise_stop(py).and_then(|()| body());
        self.armed.store(false, Relaxed);
        result
    }

    fn raise_stop(&self, py: Python<'_>) -> PyResult<()> {
        if self.runs.take_stop() { Err(stopped(py)) } else { Ok(()) }
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

fn stopped(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "plait._worker.stopping", "Stopped") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// Whether a module is being imported in this frame or one that led to it.
fn imports(frame: Bound<'_, PyAny>) -> PyResult<bool> {
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

/// A function, and the exceptions upon which to try it again.
struct Known {
    function: Py<PyAny>,
    retry_on: Py<PyTuple>,
}

/// The tasks of one worker, and what they run.
struct Service<'py> {
    worker: &'py Worker,
    inbound: &'py Bound<'py, PyAny>,
    /// The functions that are ready to be called. An image may change what a
    /// name leads to: then all are asked for anew.
    functions: BTreeMap<u64, Known>,
    /// Whether one has come that is to be loaded.
    told: bool,
    /// The answer: its head, then its body.
    message: Vec<u8>,
}

impl<'py> Service<'py> {
    fn py(&self) -> Python<'py> {
        self.inbound.py()
    }

    /// The function of an image, if it can be called here.
    fn function(&mut self, image: u64) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = self.py();
        if let Some(Known { function, retry_on }) = self.functions.get(&image) {
            return Ok((function.bind(py).clone(), retry_on.bind(py).clone()));
        }
        let found = self.inbound.call_method1(intern!(py, "function"), (image,))?;
        let (function, retry_on): (Bound<'py, PyAny>, Bound<'py, PyTuple>) = found.extract()?;
        let known = Known { function: function.clone().unbind(), retry_on: retry_on.clone().unbind() };
        self.functions.insert(image, known);
        Ok((function, retry_on))
    }

    /// Runs a task and puts the answer into the message.
    fn run(&mut self, task: u64, image: u64, body: &Body, pieces: Pieces) -> PyResult<()> {
        let py = self.py();
        if !plain::is_plain(body.as_ref()) {
            return self.run_elsewhere(task, image, body, pieces);
        }
        let loaded = self
            .function(image)
            .and_then(|(function, retry_on)| Ok((function, retry_on, plain::read_call(py, body.as_ref())?)));
        let answer = match loaded {
            Ok((function, retry_on, arguments)) => match arguments.call(&function) {
                Ok(value) => {
                    self.begin(Answer::Returned(task));
                    if plain::write_value(&value, &mut self.message) {
                        return Ok(());
                    }
                    drop(function);
                    let packer = self.packer(task)?;
                    self.inbound.call_method1(intern!(py, "returned"), (value, retry_on, packer))?
                }
                Err(error) => {
                    let error = error.into_value(py);
                    self.inbound.call_method1(intern!(py, "raised"), (error, retry_on))?
                }
            },
            Err(error) => self.inbound.call_method1(intern!(py, "not_loaded"), (error.into_value(py),))?,
        };
        self.answer(task, &answer)
    }

    /// Has Python do it: the arguments are a pickle, or the function is one
    /// of a kind.
    fn run_elsewhere(&mut self, task: u64, image: u64, body: &Body, pieces: Pieces) -> PyResult<()> {
        let py = self.py();
        let packer = self.packer(task)?;
        // What cannot be had for want of memory is the task's failure.
        let read = packer::stream(py, body.as_ref(), &pieces)
            .and_then(|data| Ok((data, packer::buffers(py, &pieces)?)));
        drop(pieces);
        let answer = match read {
            Ok((data, buffers)) => {
                self.inbound.call_method1(intern!(py, "run"), (image, data, buffers, packer))?
            }
            Err(error) => self.inbound.call_method1(intern!(py, "not_loaded"), (error.into_value(py),))?,
        };
        self.answer(task, &answer)
    }

    fn packer(&self, task: u64) -> PyResult<Bound<'py, Packer>> {
        let packer = self.worker.link().packer();
        Bound::new(self.py(), Packer::new_for(packer, task))
    }

    fn begin(&mut self, answer: Answer) {
        self.message.clear();
        self.worker.link().begin_answer(answer, &mut self.message);
    }

    fn answer(&mut self, task: u64, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        let (how, data): (u8, Bound<'_, PyAny>) = answer.extract()?;
        let answer = match how {
            RETURNED => Answer::Returned(task),
            how => Answer::Raised { task, again: how == RAISED_TO_RETRY },
        };
        if let Ok(packer) = data.cast::<Packer>() {
            let packer = packer.get().take()?;
            self.message = self.worker.link().answer(answer, packer);
            return Ok(());
        }
        self.begin(answer);
        self.message.extend_from_slice(data.cast::<PyBytes>()?.as_bytes());
        Ok(())
    }
}

#[pymethods]
impl Worker {
    /// `arenas`: the descriptors of the parent's arena and of the worker's own.
    #[new]
    fn new(memory: RawFd, bell: RawFd, arenas: Option<(RawFd, RawFd)>) -> Result<Self> {
        let arenas = arenas.map(|(requests, results)| {
            let (requests, results) = (descriptor::duplicate(requests)?, descriptor::duplicate(results)?);
            Result::Ok(ArenaFds { requests, results })
        });
        let (memory, bell) = (descriptor::duplicate(memory)?, descriptor::duplicate(bell)?);
        let link = process::Worker::new(memory, bell, arenas.transpose()?)?;
        let runs = link.runs();
        Ok(Self { link: Mutex::new(link), runs, armed: AtomicBool::new(false) })
    }

    /// Has the pool's request to stop a task interrupt this process; the
    /// handler of SIGTERM that Python has is called then.
    fn heed_stops(&self) -> Result<()> {
        Ok(self.runs.heed(interrupt::python()).map_err(process::Error::from)?)
    }

    /// The handler of SIGTERM: raises `Stopped` if a task is to be stopped. Not
    /// in the middle of an import, which would leave half a module behind, for
    /// other tasks to trip over: the signal is repeated.
    fn on_terminate(&self, py: Python<'_>, _signal: i32, frame: Bound<'_, PyAny>) -> PyResult<()> {
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
    #[pyo3(signature = (inbound, max_memory=None))]
    fn serve<'py>(
        &'py self,
        py: Python<'py>,
        inbound: &'py Bound<'py, PyAny>,
        max_memory: Option<u64>,
    ) -> PyResult<()> {
        if let Some(limit) = max_memory {
            self.link().limit_memory(limit).map_err(Error::from)?;
        }
        let (functions, message) = (BTreeMap::new(), Vec::new());
        let mut service = Service { worker: self, inbound, functions, told: false, message };
        pid::prepare();
        let (home, mut in_a_row) = (pid::current(), 0);
        loop {
            match self.next(py)? {
                ToDo::Task { task, image, bytes, pieces } => {
                    let has_pieces = pieces != Pieces::default();
                    if std::mem::take(&mut service.told) {
                        // Not to be stopped half-way: other tasks rely on it.
                        inbound.call_method0(intern!(py, "load_new"))?;
                    }
                    let ran = self.interruptibly(py, || service.run(task, image, &bytes, pieces));
                    drop(bytes);
                    if pid::current() != home {
                        return Ok(());
                    }
                    if self.runs.end().is_some() {
                        // Whatever it has come to, or been interrupted in.
                        self.link().stop_answer(task, &mut service.message);
                    } else {
                        ran?;
                    }
                    if has_pieces {
                        self.link().amend(task, &mut service.message);
                    }
                    // Relaxed: what says something in the task's own thread comes before.
                    let said = SAID.swap(0, Relaxed);
                    if said != 0 {
                        self.send(py, &process::Worker::said(task, said))?;
                    }
                    self.send(py, &service.message)?;
                    if max_memory.is_some() && self.excess()?.is_some() {
                        let message = self.link().retire();
                        self.send(py, &message)?;
                    }
                    if service.message.capacity() > KEPT {
                        service.message = Vec::new();
                    }
                }
                ToDo::Image { id, shared, bytes, pieces } => {
                    service.functions.clear();
                    service.told = true;
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
            let done = self.link().done();
            if let Some(done) = done {
                self.send(py, &done)?;
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
