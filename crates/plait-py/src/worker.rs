//! A worker's end, in its process: one task after another.
//!
//! What most tasks are (a function that is known, on plain values, that
//! returns one) runs here, without a Python frame of ours. `plait._pickling`
//! does the rest: the `inbound` that `serve` is given.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Mutex;

use plait_pool::process::{self, Answer, Body, ToDo};
use plait_sys::{descriptor, pid};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Error, Result};
use crate::hot::plain;
use crate::sync::lock;

/// After so many tasks in a row other threads of the worker get the
/// interpreter: a function in C runs no bytecode that would let them.
const IN_A_ROW: u32 = 32;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 * 1024;

#[pyclass(frozen, module = "plait._native")]
struct Worker(Mutex<process::Worker>);

impl Worker {
    fn send(&self, py: Python<'_>, message: &[u8]) -> Result<()> {
        let mut done = 0;
        if lock(&self.0).push(message, &mut done)? {
            return Ok(());
        }
        py.detach(|| {
            // Half an answer must not stay: signals are acted upon afterwards.
            while !lock(&self.0).send(message, &mut done)? {}
            Ok(())
        })
    }

    /// What to do next; waits for it.
    fn next(&self, py: Python<'_>) -> PyResult<ToDo> {
        loop {
            // Only a wait that may block is worth letting go of the interpreter.
            if let Some(todo) = lock(&self.0).poll().map_err(Error::from)? {
                return Ok(todo);
            }
            match py.detach(|| lock(&self.0).receive()).map_err(Error::from)? {
                ToDo::Interrupted => py.check_signals()?,
                todo => return Ok(todo),
            }
        }
    }
}

/// The tasks of one worker, and what they run.
struct Service<'py> {
    worker: &'py Worker,
    inbound: &'py Bound<'py, PyAny>,
    /// The functions that are ready to be called. An image may change what a
    /// name leads to: then all are asked for anew.
    functions: HashMap<u64, Py<PyAny>>,
    /// The answer: its head, then its body.
    message: Vec<u8>,
}

impl<'py> Service<'py> {
    fn py(&self) -> Python<'py> {
        self.inbound.py()
    }

    /// The function of an image, if it can be called here.
    fn function(&mut self, image: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py();
        if let Some(function) = self.functions.get(&image) {
            return Ok(Some(function.bind(py).clone()));
        }
        let function = self.inbound.call_method1(intern!(py, "function"), (image,))?;
        if function.is_none() {
            return Ok(None);
        }
        self.functions.insert(image, function.clone().unbind());
        Ok(Some(function))
    }

    /// Runs a task and puts the answer into the message.
    fn run(&mut self, task: u64, image: u64, body: &Body) -> PyResult<()> {
        let py = self.py();
        if !plain::is_plain(body.as_ref()) {
            return self.run_elsewhere(task, image, body);
        }
        let loaded = self.function(image).and_then(|function| match function {
            Some(function) => Ok(Some((function, plain::read_call(py, body.as_ref())?))),
            None => Ok(None),
        });
        let answer = match loaded {
            Ok(Some((function, arguments))) => match arguments.call(&function) {
                Ok(value) => {
                    self.begin(task, true);
                    if plain::write_value(&value, &mut self.message) {
                        return Ok(());
                    }
                    drop(function);
                    self.inbound.call_method1(intern!(py, "returned"), (value,))?
                }
                Err(error) => self.inbound.call_method1(intern!(py, "raised"), (error.into_value(py),))?,
            },
            Ok(None) => return self.run_elsewhere(task, image, body),
            Err(error) => self.inbound.call_method1(intern!(py, "not_loaded"), (error.into_value(py),))?,
        };
        self.answer(task, &answer)
    }

    /// Has Python do it: the arguments are a pickle, or the function is one
    /// of a kind.
    fn run_elsewhere(&mut self, task: u64, image: u64, body: &Body) -> PyResult<()> {
        let py = self.py();
        let data = PyBytes::new(py, body.as_ref());
        let answer = self.inbound.call_method1(intern!(py, "run"), (image, data))?;
        self.answer(task, &answer)
    }

    fn begin(&mut self, task: u64, well: bool) {
        self.message.clear();
        lock(&self.worker.0).begin_answer(Answer::Task(task), well, &mut self.message);
    }

    fn answer(&mut self, task: u64, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        let (well, data): (bool, Bound<'_, PyBytes>) = answer.extract()?;
        self.begin(task, well);
        self.message.extend_from_slice(data.as_bytes());
        Ok(())
    }
}

#[pymethods]
impl Worker {
    #[new]
    fn new(memory: RawFd, bell: RawFd) -> Result<Self> {
        let worker = process::Worker::new(descriptor::duplicate(memory)?, descriptor::duplicate(bell)?)?;
        Ok(Self(Mutex::new(worker)))
    }

    /// Runs tasks until told to leave. Returns, too, in a child that a task
    /// forked: its parent answers.
    fn serve<'py>(&'py self, py: Python<'py>, inbound: &'py Bound<'py, PyAny>) -> PyResult<()> {
        let mut service = Service { worker: self, inbound, functions: HashMap::new(), message: Vec::new() };
        pid::prepare();
        let (home, mut in_a_row) = (pid::current(), 0);
        loop {
            match self.next(py)? {
                ToDo::Task { task, image, bytes } => {
                    service.run(task, image, &bytes)?;
                    drop(bytes);
                    if pid::current() != home {
                        return Ok(());
                    }
                    self.send(py, &service.message)?;
                    if service.message.capacity() > KEPT {
                        service.message = Vec::new();
                    }
                }
                ToDo::Image { id, bytes } => {
                    service.functions.clear();
                    let data = PyBytes::new(py, bytes.as_ref());
                    inbound.call_method1(intern!(py, "add_image"), (id, data))?;
                }
                ToDo::Begin { image, bytes } => {
                    let data = PyBytes::new(py, bytes.as_ref());
                    let failure: Option<Vec<u8>> =
                        inbound.call_method1(intern!(py, "initialize"), (image, data))?.extract()?;
                    if pid::current() != home {
                        return Ok(());
                    }
                    let mut message = Vec::new();
                    lock(&self.0).begin_answer(Answer::Begun, failure.is_none(), &mut message);
                    message.extend_from_slice(&failure.unwrap_or_default());
                    self.send(py, &message)?;
                }
                ToDo::Leave => return Ok(()),
                ToDo::Interrupted => {}
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
    module.add_class::<Worker>()
}
