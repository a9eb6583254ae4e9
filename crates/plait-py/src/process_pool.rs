//! `plait.ProcessPoolExecutor`'s native half, and its workers'.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plait_pool::completion::Waited;
use plait_pool::process::{self, End, Handle, Pool, Program, Request, Settings, Ticket, Withdrawn};
use plait_sys::pid;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use crate::callees::Callee;
use crate::error::{Error, Result};
use crate::future::{Decoded, Encoded, Engine, Fate, Future, Outcome, new_future, notifier, wake};
use crate::hot::plain;
use crate::records::Records;

/// Bytes that a worker is told once.
#[pyclass(frozen, module = "plait._native")]
struct Image(Arc<process::Image>);

#[pymethods]
impl Image {
    #[new]
    fn new(data: &[u8]) -> Self {
        Self(process::Image::new(data))
    }

    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn data(&self) -> &[u8] {
        self.0.bytes()
    }
}

pub(crate) fn needs(images: &Bound<'_, PyTuple>) -> PyResult<Arc<[Arc<process::Image>]>> {
    images.iter().map(|image| Ok(Arc::clone(&image.cast::<Image>()?.get().0))).collect()
}

/// A future's place in the pool.
struct Seat {
    fate: Arc<Fate>,
    /// The function's name.
    name: Arc<str>,
}

impl Ticket for Seat {
    fn is_wanted(&self) -> bool {
        !self.fate.state().is_final()
    }

    fn cancel(self) {
        if let Some(wakers) = self.fate.try_cancel() {
            wake(wakers);
        }
    }

    fn finish(self, end: End) {
        // Somebody else may have ended the future: then nobody wants this.
        if let Ok(wakers) = self.fate.finish(Outcome::encoded(Delivery { end, name: self.name })) {
            wake(wakers);
        }
    }
}

/// What a future asks about its task.
struct Tasks(Handle<Seat>);

impl Engine for Tasks {
    fn withdraw(&self, task: u64) -> Result<bool> {
        // The ticket goes: who asks ends the future.
        Ok(matches!(self.0.withdraw(task)?, Withdrawn::TakenBack(_)))
    }

    fn has_begun(&self, task: u64) -> Result<bool> {
        Ok(self.0.has_begun(task)?)
    }
}

/// How a task ended, to be made into Python objects by who asks.
struct Delivery {
    end: End,
    name: Arc<str>,
}

impl Encoded for Delivery {
    fn is_error(&self) -> bool {
        !matches!(&self.end, End::Reply(reply) if !reply.raised)
    }

    fn decode(&self, py: Python<'_>) -> PyResult<Decoded> {
        static VALUE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static FAILURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static DEATH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static BROKEN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let decoded = match &self.end {
            End::Reply(reply) if reply.raised => {
                let decode = FAILURE.import(py, "plait._pickling.results", "decode_failure")?;
                decode.call1((PyBytes::new(py, reply.body.as_ref()), &*self.name)).map(Err)
            }
            End::Reply(reply) if plain::is_plain(reply.body.as_ref()) => {
                return Ok(match plain::read_value(py, reply.body.as_ref()) {
                    Ok(value) => Ok(value.unbind()),
                    Err(error) => Err(error.into_value(py).into_any()),
                });
            }
            End::Reply(reply) => {
                let decode = VALUE.import(py, "plait._pickling.results", "decode_value")?;
                decode.call1((PyBytes::new(py, reply.body.as_ref()), &*self.name)).map(Ok)
            }
            End::Died(death) => {
                let class = DEATH.import(py, "plait._errors", "WorkerDied")?;
                let (pid, name, lines) = (death.pid, &self.name, death.last_lines());
                let error =
                    class.call1((format!("worker process {pid} {death} while it ran {name}{lines}"),))?;
                error.setattr("stderr", &*death.stderr)?;
                Ok(Err(error))
            }
            End::Broken(reason) => {
                let class = BROKEN.import(py, "concurrent.futures.process", "BrokenProcessPool")?;
                class.call1((&**reason,)).map(Err)
            }
        };
        match decoded {
            Ok(Ok(value)) => Ok(Ok(value.unbind())),
            Ok(Err(exception)) => Ok(Err(exception.unbind())),
            // What cannot be decoded is the outcome; an interrupt is not.
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(Err(error.into_value(py).into_any())),
            Err(error) => Err(error),
        }
    }
}

impl ProcessPool {
    /// As `submit`, of a function that the workers know and plain arguments.
    pub(crate) fn call(&self, py: Python<'_>, callee: &Callee, request: Request) -> PyResult<Py<Future>> {
        let (future, fate) = new_future(py)?;
        let ticket = Seat { fate, name: Arc::clone(&callee.name) };
        let needs = Arc::clone(&callee.needs);
        let task = self.pool.submit(callee.image, needs, request, ticket).map_err(Error::from)?;
        future.get().work_for(Arc::clone(&self.tasks) as _, task);
        Ok(future)
    }
}

/// The pool itself.
#[pyclass(frozen, weakref, module = "plait._native")]
pub(crate) struct ProcessPool {
    pool: Pool<Seat>,
    tasks: Arc<Tasks>,
    records: Records,
}

#[pymethods]
impl ProcessPool {
    #[new]
    #[pyo3(signature = (*, executable, arguments, environment, directory, template, limit, images, initializer, initargs))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        executable: PathBuf,
        arguments: Vec<OsString>,
        environment: Vec<(Vec<u8>, Vec<u8>)>,
        directory: Option<PathBuf>,
        template: Vec<u8>,
        limit: usize,
        images: &Bound<'_, PyTuple>,
        initializer: u64,
        initargs: Vec<u8>,
    ) -> PyResult<Self> {
        let env = environment.into_iter();
        let env = env.map(|(key, value)| (OsString::from_vec(key), OsString::from_vec(value))).collect();
        let settings = Settings {
            program: Program { path: executable, args: arguments, env, dir: directory },
            template,
            limit,
            needs: needs(images)?,
            initializer,
            arguments: initargs,
        };
        pid::prepare();
        let records = Records::default();
        let listener = Arc::new(records.clone());
        let pool = py.detach(|| Pool::start(settings, listener)).map_err(Error::from)?;
        let tasks = Arc::new(Tasks(pool.handle()));
        Ok(Self { pool, tasks, records })
    }

    fn check_open(&self) -> Result<()> {
        Ok(self.pool.check_open()?)
    }

    fn submit(
        &self,
        py: Python<'_>,
        image: u64,
        images: &Bound<'_, PyTuple>,
        data: &[u8],
        name: &str,
    ) -> PyResult<Py<Future>> {
        self.check_open()?;
        let (future, fate) = new_future(py)?;
        let ticket = Seat { fate, name: name.into() };
        let task = self.pool.submit(image, needs(images)?, Request::of(data), ticket).map_err(Error::from)?;
        future.get().work_for(Arc::clone(&self.tasks) as _, task);
        Ok(future)
    }

    fn close(&self, cancel: bool) -> Result<()> {
        Ok(self.pool.close(cancel)?)
    }

    fn terminate(&self, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        Ok(self.pool.terminate(grace).map_err(Error::from)?)
    }

    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        while py.detach(|| self.pool.wait(None)).map_err(Error::from)? == Waited::Interrupted {
            py.check_signals()?;
        }
        // What workers have logged is handled by then.
        if self.records.are_waiting() { notifier::flush(py) } else { Ok(()) }
    }

    #[getter]
    fn ended(&self) -> PyResult<bool> {
        let past = plait_sys::clock::Instant::from_nanos(0);
        Ok(self.pool.wait(Some(past)).map_err(Error::from)? == Waited::Done)
    }

    fn pids(&self) -> Result<Vec<u32>> {
        Ok(self.pool.pids()?)
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Image>()?;
    module.add_class::<ProcessPool>()
}
