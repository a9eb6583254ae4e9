//! `plait.ProcessPoolExecutor`'s native half, and its workers'.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plait_pool::completion::Waited;
use plait_pool::process::{
    Activity, Admission, Call, Counts, End, Handle, Parcel, Pool, Program, Settings, Status, Terms, Ticket,
    Withdrawn,
};
use plait_sys::clock::Instant;
use plait_sys::{allocator, descriptor, pid};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::callees::Callee;
use crate::error::{Error, Result};
use crate::future::{Cancelled, Engine, Fate, Future, Outcome, let_go, new_future, notifier, wake};
use crate::hot::finalize;
use crate::image::{Image, needs};
use crate::packer::{Arena, Packer};
use crate::process_delivery::Delivery;
use crate::process_owner::Owner;
use crate::records::Records;

/// What the allocator keeps for the next result. With results of a megabyte,
/// one of which lives while the next is made, it gave the end of the heap back
/// and got it again for every second one: a fifth of what this process did.
const KEPT: usize = 2 << 20;

/// The exit code of a process whose own is not known.
const NOBODY_KNOWS: i32 = 255;

/// A future's place in the pool; empty when the future has been seen to.
struct Seat(Option<Place>);

struct Place {
    fate: Arc<Fate>,
    /// The function's name.
    name: Arc<str>,
    owner: Arc<Owner>,
}

impl Ticket for Seat {
    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|place| !place.fate.state().is_final())
    }

    fn cancel(mut self) {
        if let Some(place) = self.0.take() {
            place.fate.try_cancel().into_iter().for_each(wake);
            let_go(place.fate);
        }
    }

    fn finish(mut self, end: End, attempts: u32) {
        if let Some(place) = self.0.take() {
            place.finish(end, attempts);
        }
    }
}

impl Seat {
    /// The task was taken back, and whoever did so ends the future.
    fn leave(mut self) {
        drop(self.0.take());
    }
}

impl Place {
    fn finish(self, end: End, attempts: u32) {
        self.owner.look(&self.fate, &end);
        let pool = self.owner.pool();
        let delivery = Delivery { end, name: self.name, attempts };
        // Somebody else may have ended the future: then nobody wants this.
        if let Ok(wakers) = self.fate.finish_in(pool, Outcome::encoded(delivery)) {
            wake(wakers);
        }
        let_go(self.fate);
    }
}

impl Drop for Seat {
    /// A ticket that is lost is a bug; who waits for it must not pay by
    /// waiting for ever.
    fn drop(&mut self) {
        if let Some(place) = self.0.take()
            && place.owner.is_here()
        {
            if place.fate.state().is_final() {
                let_go(place.fate);
            } else {
                place.finish(End::Broken("the pool has lost this task (a bug in plait)".into()), 0);
            }
        }
    }
}

/// What a future asks about its task.
struct Tasks(Handle<Seat>);

impl Engine for Tasks {
    fn cancel(&self, task: u64) -> Result<Cancelled> {
        Ok(match self.0.stop(task)? {
            Withdrawn::TakenBack(seat) => {
                seat.leave();
                Cancelled::TakenBack
            }
            Withdrawn::Running => Cancelled::Stopping,
            Withdrawn::Ended => Cancelled::Refused,
        })
    }

    fn withdraw(&self, task: u64) -> Result<bool> {
        let withdrawn = self.0.withdraw(task)?;
        let taken_back = matches!(withdrawn, Withdrawn::TakenBack(_));
        if let Withdrawn::TakenBack(seat) = withdrawn {
            seat.leave();
        }
        Ok(taken_back)
    }

    fn has_begun(&self, task: u64) -> Result<bool> {
        Ok(self.0.has_begun(task)?)
    }

    fn help(&self, until: &dyn Fn() -> bool, look: Duration) -> Option<bool> {
        Some(self.0.help(until, look))
    }
}

impl ProcessPool {
    /// As `submit`, of a function that the workers know and plain arguments.
    pub(crate) fn call(&self, py: Python<'_>, callee: &Callee, parcel: Parcel) -> PyResult<Py<Future>> {
        let needs = Arc::clone(&callee.needs);
        let call = Call { image: callee.image, needs, parcel, terms: callee.terms };
        self.admit(py, call, &callee.name)
    }

    fn admit(&self, py: Python<'_>, mut call: Call, name: &Arc<str>) -> PyResult<Py<Future>> {
        let (future, fate) = new_future(py)?;
        let mut ticket = Seat(Some(Place { fate, name: Arc::clone(name), owner: Arc::clone(&self.owner) }));
        let task = loop {
            match self.pool.submit(call, ticket) {
                Ok(Admission::Accepted(task)) => break task,
                Ok(Admission::Full(again, waiting)) => (call, ticket) = (again, waiting),
                Err(error) => {
                    // Its ticket has ended the future, which nobody gets.
                    future.get().fate().note_asked();
                    return Err(Error::from(error).into());
                }
            }
            self.wait_for_room(py)?;
        };
        future.get().work_for(Arc::clone(&self.tasks) as _, task);
        Ok(future)
    }

    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if !RUNNING.import(py, "asyncio.events", "_get_running_loop")?.call0()?.is_none() {
            return Err(Error::Full.into());
        }
        match py.detach(|| self.pool.wait_for_room()).map_err(Error::from)? {
            Waited::Interrupted => py.check_signals(),
            Waited::Done | Waited::TimedOut => Ok(()),
        }
    }
}

/// The timeout, the grace and the number of retries, as Python has them.
pub(crate) type GivenTerms = (Option<f64>, f64, u32);

pub(crate) fn terms(given: Option<GivenTerms>) -> Terms {
    // What no clock reaches is without end; nothing negative comes here.
    let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    given.map_or_else(Terms::default, |(timeout, grace, retries)| Terms {
        timeout: timeout.map(seconds),
        grace: seconds(grace),
        retries,
    })
}

/// Queued, running, done, failed, killed, timed out, sent, received.
type Row = (usize, usize, u64, u64, u64, u64, u64, u64);
/// With: cancelled, restarts.
type PoolRow = (Row, u64, u64);
/// With: pid, activity.
type WorkerRow = (Row, Option<u32>, &'static str);

/// The pool itself.
#[pyclass(frozen, weakref, module = "plait._native")]
pub(crate) struct ProcessPool {
    pool: Pool<Seat>,
    tasks: Arc<Tasks>,
    owner: Arc<Owner>,
    records: Records,
}

#[pymethods]
impl ProcessPool {
    #[new]
    #[pyo3(signature = (*, executable, arguments, environment, directory, template, limit, max_pending, images, initializer, initargs, arena, handed, max_memory=None, tasks_per_worker=None, concurrency=NonZeroUsize::MIN, eager=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        executable: PathBuf,
        arguments: Vec<OsString>,
        environment: Vec<(Vec<u8>, Vec<u8>)>,
        directory: Option<PathBuf>,
        template: Vec<u8>,
        limit: usize,
        max_pending: Option<usize>,
        images: &Bound<'_, PyTuple>,
        initializer: u64,
        initargs: &Bound<'_, Packer>,
        arena: &Bound<'_, Arena>,
        handed: Vec<RawFd>,
        max_memory: Option<u64>,
        tasks_per_worker: Option<NonZeroUsize>,
        concurrency: NonZeroUsize,
        eager: bool,
    ) -> PyResult<Self> {
        let handed: plait_sys::Result<Arc<[_]>> = handed.into_iter().map(descriptor::duplicate).collect();
        let env = environment.into_iter();
        let env = env.map(|(key, value)| (OsString::from_vec(key), OsString::from_vec(value))).collect();
        let settings = Settings {
            program: Program { path: executable, args: arguments, env, dir: directory },
            template,
            limit,
            max_pending,
            needs: needs(images)?,
            initializer,
            arguments: initargs.get().finish()?,
            arena: arena.get().hand_over(),
            max_memory,
            handed: handed.map_err(Error::from)?,
            tasks_per_worker,
            concurrency,
            eager,
        };
        pid::prepare();
        allocator::keep_blocks(KEPT);
        let records = Records::default();
        let listener = Arc::new(records.clone());
        let pool = py.detach(|| Pool::start(settings, listener)).map_err(Error::from)?;
        let tasks = Arc::new(Tasks(pool.handle()));
        let owner = Arc::new(Owner::new());
        Ok(Self { pool, tasks, owner, records })
    }

    fn check_open(&self) -> Result<()> {
        Ok(self.pool.check_open()?)
    }

    #[allow(clippy::too_many_arguments)]
    fn submit(
        &self,
        py: Python<'_>,
        image: u64,
        images: &Bound<'_, PyTuple>,
        packer: &Bound<'_, Packer>,
        name: &str,
        given: Option<GivenTerms>,
    ) -> PyResult<Py<Future>> {
        let (needs, parcel) = (needs(images)?, packer.get().finish()?);
        self.admit(py, Call { image, needs, parcel, terms: terms(given) }, &name.into())
    }

    /// Places an object, as `plait._pickling.sharing` packs it, for whatever
    /// tasks name the image. `images` is what it relies on.
    fn share(&self, packer: &Bound<'_, Packer>, images: &Bound<'_, PyTuple>) -> PyResult<Image> {
        let (parcel, needs) = (packer.get().finish()?, needs(images)?);
        Ok(Image::from(self.pool.share(parcel, needs).map_err(Error::from)?))
    }

    fn close(&self, cancel: bool) -> Result<()> {
        Ok(self.pool.close(cancel)?)
    }

    fn terminate(&self, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        self.owner.note_terminated();
        Ok(self.pool.terminate(grace).map_err(Error::from)?)
    }

    /// Whether it has ended, within `timeout` seconds if that is given.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // What no clock reaches is without end.
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            match py.detach(|| self.pool.wait(deadline)).map_err(Error::from)? {
                Waited::Interrupted => py.check_signals()?,
                Waited::Done => break,
                Waited::TimedOut => return Ok(false),
            }
        }
        // What workers have logged is handled by then, and what nobody can ask
        // for any more is reported.
        if self.records.are_waiting() || finalize::is_armed() {
            notifier::flush(py)?;
        }
        Ok(true)
    }

    /// Which pool it is.
    #[getter]
    fn number(&self) -> u64 {
        self.owner.pool().get()
    }

    #[getter]
    fn ended(&self) -> PyResult<bool> {
        let past = Instant::from_nanos(0);
        Ok(self.pool.wait(Some(past)).map_err(Error::from)? == Waited::Done)
    }

    /// `(pool, workers)`, each as the fields of `plait._statistics` in order.
    fn statistics(&self) -> Result<(PoolRow, Vec<WorkerRow>)> {
        let found = self.pool.statistics()?;
        let row = |queued, running, counts: Counts| {
            (
                queued,
                running,
                counts.done,
                counts.failed,
                counts.killed,
                counts.timed_out,
                counts.sent,
                counts.received,
            )
        };
        let workers = found.workers.iter().map(|worker| {
            let activity = match worker.activity {
                Activity::Starting => "starting",
                Activity::Idle => "idle",
                Activity::Busy => "busy",
                Activity::Leaving => "leaving",
                Activity::Dead => "dead",
            };
            (row(worker.queued, worker.running, worker.counts), worker.pid, activity)
        });
        let pool = (row(found.queued, found.running, found.counts), found.cancelled, found.restarts);
        Ok((pool, workers.collect()))
    }

    fn pids(&self) -> Result<Vec<u32>> {
        Ok(self.processes()?.into_iter().map(|(pid, _)| pid).collect())
    }

    /// The process id of each worker, and its number.
    fn processes(&self) -> Result<Vec<(u32, u64)>> {
        Ok(self.pool.processes()?)
    }

    /// How a worker has ended, as `multiprocessing` has it; None if it has not.
    fn exit_code(&self, worker: u64) -> Result<Option<i32>> {
        Ok(self.pool.exit(worker)?.map(|status| match status {
            Status::Exited(code) => code,
            Status::Killed(signal) => -signal,
            Status::Unknown => NOBODY_KNOWS,
        }))
    }

    /// How many workers there are, with those that are being started.
    fn workers(&self) -> Result<usize> {
        Ok(self.pool.workers()?)
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProcessPool>()
}
