//! The tasks of one worker: what they call, and their answers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use plait_pool::process::{self, Answer, Body, Pieces, ToDo};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::together::{Ended, Started, Together};
use super::{SAID, Worker};
use crate::error::Error;
use crate::hot::plain;
use crate::packer::{self, Packer};

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 * 1024;

/// How a task ended; `plait._worker.protocol` has the same numbers.
const RETURNED: u8 = 0;
const RAISED_TO_RETRY: u8 = 2;
/// It has not: it has come to a coroutine, which runs beside others.
const GOES_ON: u8 = 3;

/// A function, and the exceptions upon which to try it again.
struct Known {
    function: Py<PyAny>,
    retry_on: Py<PyTuple>,
}

/// The tasks of one worker, and what they run.
pub(super) struct Service<'py> {
    pub(super) worker: &'py Worker,
    pub(super) inbound: &'py Bound<'py, PyAny>,
    /// The functions that are ready to be called. An image may change what a
    /// name leads to: then all are asked for anew.
    functions: BTreeMap<u64, Known>,
    /// Whether one has come that is to be loaded.
    told: bool,
    /// The answer: its head, then its body.
    message: Vec<u8>,
    /// Whether to look at its memory, and whether that was too much.
    is_bounded: bool,
    retires: bool,
    /// What the task that runs goes on with, if that is a coroutine.
    started: Option<(Bound<'py, PyAny>, Started<'py>)>,
    /// The coroutines, if several may run at once.
    pub(super) together: Option<Together<'py>>,
}

impl<'py> Service<'py> {
    pub(super) fn new(
        worker: &'py Worker,
        inbound: &'py Bound<'py, PyAny>,
        is_bounded: bool,
        together: Option<Together<'py>>,
    ) -> Self {
        Self {
            worker,
            inbound,
            functions: BTreeMap::new(),
            told: false,
            message: Vec::new(),
            is_bounded,
            retires: false,
            started: None,
            together,
        }
    }

    pub(super) fn py(&self) -> Python<'py> {
        self.inbound.py()
    }

    /// An image has come: what names lead to is to be asked for anew.
    pub(super) fn forget(&mut self) {
        self.functions.clear();
        self.told = true;
    }

    /// Loads what has come. Not to be stopped half-way: other tasks rely on it.
    pub(super) fn load_new(&mut self) -> PyResult<()> {
        if std::mem::take(&mut self.told) {
            self.inbound.call_method0(intern!(self.py(), "load_new"))?;
        }
        Ok(())
    }

    /// Whether there are coroutines under way.
    pub(super) fn goes_on(&self) -> bool {
        self.together.as_ref().is_some_and(|together| !together.is_empty())
    }

    /// What else to do while there are.
    pub(super) fn poll(&self) -> PyResult<Option<ToDo>> {
        if !self.retires {
            return Ok(self.worker.link().poll().map_err(Error::from)?);
        }
        // They end, and nothing begins.
        self.worker.link().look_for_stops().map_err(Error::from)?;
        Ok(None)
    }

    /// Turns the loop with the coroutines, and answers those that have ended.
    pub(super) fn turn(&mut self, may_sleep: bool) -> PyResult<()> {
        let py = self.py();
        let Some(together) = &mut self.together else { return Ok(()) };
        for ended in together.turn(py, self.worker, may_sleep, !self.retires)? {
            if let Some(started) = self.together.as_mut().and_then(|together| together.end(ended.task)) {
                self.end(ended, started)?;
            }
        }
        Ok(())
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
    pub(super) fn run(&mut self, task: u64, image: u64, body: &Body, pieces: Pieces) -> PyResult<()> {
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

    /// Answers a task that has come to `ran`, unless it goes on: then has it do so.
    pub(super) fn finish(
        &mut self,
        task: u64,
        said: u32,
        has_pieces: bool,
        ran: PyResult<()>,
    ) -> PyResult<()> {
        let py = self.py();
        if let Some((coroutine, started)) = self.started.take()
            && let Some(together) = &mut self.together
        {
            let started = Started { said, has_pieces, ..started };
            return together.start(py, self.worker, task, &coroutine, started);
        }
        self.send(task, said, has_pieces, ran)
    }

    /// Answers a task whose coroutine has ended.
    fn end(&mut self, ended: Ended<'py>, started: Started<'py>) -> PyResult<()> {
        let (py, worker, inbound) = (self.py(), self.worker, self.inbound);
        let Ended { task, well, value, output } = ended;
        let Started { retry_on, packer, said, has_pieces } = started;
        let ran = worker.interruptibly(py, task, || {
            let finished = (well, value, retry_on, packer);
            let answer = inbound.call_method1(intern!(py, "finished"), finished)?;
            self.answer(task, &answer)
        });
        if let Some(output) = output {
            worker.say_output(py, &output)?;
        }
        self.send(task, said, has_pieces, ran)
    }

    fn send(&mut self, task: u64, said: u32, has_pieces: bool, ran: PyResult<()>) -> PyResult<()> {
        let py = self.py();
        if self.worker.has_stopped(task) {
            // Whatever it has come to, or been interrupted in.
            self.worker.link().stop_answer(task, &mut self.message);
        } else {
            ran?;
        }
        if has_pieces {
            self.worker.link().amend(task, &mut self.message);
        }
        let last = SAID.load(Relaxed);
        if last != said {
            self.worker.send(py, &process::Worker::said(task, last))?;
        }
        self.worker.send(py, &self.message)?;
        if self.worker.several {
            self.worker.link().end(task);
        }
        self.retires |= self.is_bounded && self.worker.excess()?.is_some();
        // What is left of it would be taken for the answer to the next.
        self.message.clear();
        if self.message.capacity() > KEPT {
            self.message = Vec::new();
        }
        Ok(())
    }

    /// Asks to be let go if it has too much memory, once nothing runs any more.
    pub(super) fn retire(&mut self) -> PyResult<()> {
        if self.retires && !self.goes_on() {
            self.retires = false;
            let message = self.worker.link().retire();
            self.worker.send(self.py(), &message)?;
        }
        Ok(())
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

    fn answer(&mut self, task: u64, answer: &Bound<'py, PyAny>) -> PyResult<()> {
        let (how, data): (u8, Bound<'py, PyAny>) = answer.extract()?;
        let answer = match how {
            GOES_ON => {
                let (coroutine, retry_on, packer) = data.extract()?;
                self.started = Some((coroutine, Started { retry_on, packer, said: 0, has_pieces: false }));
                return Ok(());
            }
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
