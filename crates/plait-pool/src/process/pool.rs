//! The handle of a pool.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use plait_shm::arena::Arena;
use plait_sys::clock::Instant;
use plait_sys::eventfd::EventFd;
use plait_sys::open;
use plait_sys::pid;
use plait_sys::process::{Program, Status};

use super::aftermath::Aftermath;
use super::appetite::Appetite;
use super::handle::Handle;
use super::image::{Departed, Image};
use super::packer::Parcel;
use super::state::State;
use super::statistics::Statistics;
use super::supervisor::Supervisor;
use super::terms::Terms;
use super::{Error, Listener, Result, Ticket};
use crate::completion::{Completion, Waited};

/// What a pool is made of.
#[derive(Debug)]
pub struct Settings {
    /// How to execute the template process.
    pub program: Program,
    /// What it is told first; its own business.
    pub template: Vec<u8>,
    /// How many workers at most.
    pub limit: usize,
    /// How many tasks at most may wait beyond those that the workers run;
    /// `None`: any number.
    pub max_pending: Option<usize>,
    /// What the initializer needs.
    pub needs: Arc<[Arc<Image>]>,
    /// The image of the initializer, 0 if its arguments say it.
    pub initializer: u64,
    /// Its arguments; empty if there is no initializer.
    pub arguments: Parcel,
    /// What large requests go through.
    pub arena: Option<Arc<Arena>>,
    /// So many bytes of private memory a worker may have when a task ends,
    /// and twice as many while it runs one.
    pub max_memory: Option<u64>,
    /// Descriptors that the arguments are made of, at most 512: every worker
    /// has them.
    pub handed: Arc<[OwnedFd]>,
    /// How many tasks a worker runs at once.
    pub concurrency: NonZeroUsize,
    /// After so many tasks a worker leaves, and another takes its place.
    pub tasks_per_worker: Option<NonZeroUsize>,
    /// Whether there are always `limit` workers, also when nothing is to do.
    pub eager: bool,
}

/// A task as it is submitted.
#[derive(Debug)]
pub struct Call {
    /// The image of the function, one of `needs`; 0 if the parcel says it.
    pub image: u64,
    /// What a worker has to be told before.
    pub needs: Arc<[Arc<Image>]>,
    /// The arguments.
    pub parcel: Parcel,
    /// How it is to be run.
    pub terms: Terms,
}

/// What came of a submission.
#[derive(Debug)]
pub enum Admission<T> {
    /// The task was accepted; [`Handle`] knows it by this number.
    Accepted(u64),
    /// As much waits as may wait: see [`Pool::wait_for_room`].
    Full(Call, T),
}

pub(crate) struct Shared<T> {
    /// The process that the pool belongs to.
    owner: u32,
    state: Mutex<State<T>>,
    /// Wakes the supervisor; gone when that is.
    bell: Mutex<Option<Arc<EventFd>>>,
    pub(crate) departed: Arc<Departed>,
    ended: Completion<(), ()>,
}

impl<T> Shared<T> {
    pub(crate) fn new(state: State<T>, bell: Arc<EventFd>) -> Self {
        Self {
            owner: pid::current(),
            state: Mutex::new(state),
            departed: Departed::new(&bell),
            bell: Mutex::new(Some(bell)),
            ended: Completion::new(),
        }
    }

    pub(crate) fn check_owner(&self) -> Result<()> {
        if pid::current() == self.owner { Ok(()) } else { Err(Error::Forked(self.owner)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if nobody has it at this moment.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State<T>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn bell(&self) -> MutexGuard<'_, Option<Arc<EventFd>>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the supervisor, if it is still there.
    pub(crate) fn ring(&self) -> Result<()> {
        match &*self.bell() {
            Some(bell) => Ok(bell.ring()?),
            None => Ok(()),
        }
    }
}

/// A pool of worker processes. Dropping it lets what was accepted finish.
pub struct Pool<T: Ticket> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Ticket> Pool<T> {
    /// Starts the supervisor, which executes the template.
    ///
    /// # Errors
    /// There are no descriptors or threads left.
    pub fn start(settings: Settings, listener: Arc<dyn Listener>) -> Result<Self> {
        // Before anything of ours gets the number of one that is closed.
        let shown = open::check(2).is_ok();
        let bell = Arc::new(EventFd::new()?);
        let mut state = State::new(settings.limit, settings.max_pending);
        state.appetite = Appetite::new(settings.max_memory);
        state.tasks_per_worker = settings.tasks_per_worker.map_or(usize::MAX, NonZeroUsize::get);
        state.eager = settings.eager;
        state.width = settings.concurrency.get();
        let shared = Arc::new(Shared::new(state, Arc::clone(&bell)));
        let mut supervisor = Supervisor::new(Arc::clone(&shared), bell, settings, listener, shown)?;
        let told = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("plait-supervise".into()).spawn(move || {
            let reason = match catch_unwind(AssertUnwindSafe(|| supervisor.run())) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("the pool cannot supervise its workers: {error}")),
                Err(_) => Some("the pool's supervisor panicked (a bug in plait)".to_owned()),
            };
            if let Some(reason) = reason {
                supervisor.give_up(reason);
            }
            drop(supervisor);
            // A pool that has ended holds nothing, however long its handle is kept.
            drop(told.bell().take());
            let ended = told.ended.finish(());
            debug_assert!(ended.is_ok(), "only this thread ends");
        });
        let thread = thread.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or_default();
            plait_sys::Error::from_raw_os_error("clone", errno)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    fn check_owner(&self) -> Result<()> {
        self.shared.check_owner()
    }

    /// What tasks are asked after by, as long as anybody likes.
    #[must_use]
    pub fn handle(&self) -> Handle<T> {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Whether [`submit`](Self::submit) would accept a task now.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check_open(&self) -> Result<()> {
        self.check_owner()?;
        self.shared.lock().check_open()
    }

    /// Accepts a task, unless the pool is full.
    ///
    /// # Errors
    /// The pool is shut, broken, or of another process. Then `ticket` is
    /// dropped and hears nothing.
    pub fn submit(&self, call: Call, ticket: T) -> Result<Admission<T>> {
        self.check_owner()?;
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        state.check_open()?;
        state.attend_in_passing(&mut after);
        if state.is_full() {
            drop(state);
            after.run();
            return Ok(Admission::Full(call, ticket));
        }
        let task = state.submit(call, ticket, &mut after);
        let calls = state.calls();
        drop(state);
        after.run();
        if calls {
            // It is accepted, come what may.
            let rung = self.shared.ring();
            debug_assert!(rung.is_ok(), "an eventfd of ours: {rung:?}");
        }
        Ok(Admission::Accepted(task))
    }

    /// Places an object that tasks may need. Workers that have been told of it
    /// forget it when nobody here has it any more.
    ///
    /// # Errors
    /// The pool is shut, broken, or of another process.
    pub fn share(&self, parcel: Parcel, needs: Arc<[Arc<Image>]>) -> Result<Arc<Image>> {
        self.check_owner()?;
        let mut state = self.shared.lock();
        state.check_open()?;
        state.count_shared(&parcel);
        drop(state);
        Ok(Image::shared(parcel, needs, &self.shared.departed))
    }

    /// Sleeps until a pool that was full may be so no more, or a signal has
    /// arrived at this thread.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn wait_for_room(&self) -> Result<Waited> {
        self.check_owner()?;
        let room = Arc::clone(&self.shared.lock().room);
        Ok(room.wait(|| {
            let state = self.shared.lock();
            !state.is_full() || state.check_open().is_err()
        })?)
    }

    /// Accepts no more tasks. What was accepted is finished, or cancelled
    /// where it has not begun and `cancel` is set.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn close(&self, cancel: bool) -> Result<()> {
        self.check_owner()?;
        let mut after = Aftermath::new();
        self.shared.lock().close(cancel, &mut after);
        after.run();
        self.shared.ring()
    }

    /// Accepts no more tasks, cancels what has not begun, and ends what has:
    /// by SIGTERM, and after `grace` by SIGKILL.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn terminate(&self, grace: Duration) -> Result<()> {
        self.check_owner()?;
        let mut after = Aftermath::new();
        self.shared.lock().terminate(grace, &mut after);
        after.run();
        self.shared.ring()
    }

    /// Waits until every process of a closed pool is reaped and the
    /// supervisor has ended.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Waited> {
        self.check_owner()?;
        let waited = self.shared.ended.wait(deadline)?;
        if waited == Waited::Done
            && let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // It catches its own panics; only the last instructions are left.
            let _ = thread.join();
        }
        Ok(waited)
    }

    /// How it is doing.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn statistics(&self) -> Result<Statistics> {
        self.check_owner()?;
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        // What the workers have said counts.
        state.attend(&mut after);
        let statistics = state.statistics();
        drop(state);
        after.run();
        Ok(statistics)
    }

    /// The process ids of the workers that run at this moment, and the numbers
    /// that they are named by.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn processes(&self) -> Result<Vec<(u32, u64)>> {
        self.check_owner()?;
        Ok(self.shared.lock().processes())
    }

    /// How a worker that there has been has ended, by its number; `None` if it
    /// has not.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn exit(&self, worker: u64) -> Result<Option<Status>> {
        self.check_owner()?;
        Ok(self.shared.lock().exit(worker))
    }

    /// How many workers there are, with those that are being started or are
    /// about to be.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn workers(&self) -> Result<usize> {
        self.check_owner()?;
        let state = self.shared.lock();
        Ok(state.slots.len() + state.wanted())
    }
}

impl<T: Ticket> Drop for Pool<T> {
    fn drop(&mut self) {
        if self.close(false).is_err() {
            // In a forked child: the thread is not here, and must not be
            // detached either.
            std::mem::forget(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
