//! The process pool: tasks as bytes, workers as processes, one supervisor.
#![doc = include_str!("README.md")]

mod aftermath;
mod answers;
mod appetite;
mod borrowing;
mod child;
mod closing;
mod deal;
mod death;
mod handle;
mod hearing;
mod image;
mod leisure;
mod lending;
mod outbox;
mod pace;
mod packer;
mod parcel;
mod piece;
mod pool;
mod pulse;
mod queue;
mod room;
mod several;
mod sizes;
mod slot;
mod staffing;
mod state;
mod statistics;
mod stderr;
mod stops;
mod supervisor;
mod task;
mod template;
mod terms;
mod voices;
mod watch;
mod wire;
#[cfg(test)]
mod world;

use std::sync::Arc;
use std::time::Duration;

pub use appetite::Excess;
pub use borrowing::same;
pub use child::{Answer, ArenaFds, ToDo, Worker};
pub use deal::Withdrawn;
pub use death::Death;
pub use handle::Handle;
pub use image::Image;
pub use packer::{NoMemory, Packer, Parcel};
pub use piece::{Piece, Pieces};
pub use plait_shm::{Runs, Stop};
pub use plait_sys::process::{Program, Status};
pub use pool::{Admission, Call, Pool, Settings};
pub use sizes::Sizes;
pub use statistics::{Activity, Counts, Statistics, WorkerStatistics};
pub use terms::Terms;
pub use voices::{Listener, Said};
pub use wire::{Body, Reply};

/// What goes wrong with a pool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing more is accepted.
    #[error("cannot schedule new futures after shutdown")]
    Shutdown,
    /// Nothing works any more, for this reason.
    #[error("{0}")]
    Broken(Arc<str>),
    /// The pool was inherited by a fork.
    #[error(
        "this pool belongs to process {0}, from which this process was forked: make a pool of its own here"
    )]
    Forked(u32),
    /// The shared memory of a worker does not work.
    #[error(transparent)]
    Link(#[from] plait_shm::Error),
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] plait_sys::Error),
}

impl From<plait_shm::Corrupt> for Error {
    fn from(corrupt: plait_shm::Corrupt) -> Self {
        Self::Link(corrupt.into())
    }
}

/// The result of a call to a pool.
pub type Result<T> = std::result::Result<T, Error>;

/// Whoever waits for a task.
///
/// What is handed to a worker may still be taken back, so nothing is said when
/// a task begins: [`Handle::has_begun`] tells.
pub trait Ticket: Send + 'static {
    /// Whether anybody waits: false if somebody else has ended the task. Asked
    /// when it is to be handed out; it hears of it no more then.
    fn is_wanted(&self) -> bool;

    /// The pool gives up a task that has not begun, because it was asked to.
    fn cancel(self);

    /// The task has ended, after so many attempts. Called once, by a thread
    /// that holds no lock.
    fn finish(self, end: End, attempts: u32);
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The worker answered.
    Reply(Reply),
    /// The worker died while it was at it.
    Died(Death),
    /// It ran into its timeout, and was stopped.
    TimedOut(Stopped),
    /// Somebody cancelled it while it ran, and it was stopped.
    Killed(Stopped),
    /// The pool does not work any more.
    Broken(Arc<str>),
}

/// How a task was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The process that ran it, as far as it is known.
    pub pid: Option<u32>,
    /// How long it might run; zero if there was no such limit.
    pub timeout: Duration,
    /// How long it had to end by itself.
    pub grace: Duration,
    /// How long it had run when it was asked to stop.
    pub ran: Duration,
    /// Whether it did not, and the process was killed.
    pub killed: bool,
    /// Which item of the task it was.
    pub item: u64,
    /// Where it was stopped, as the worker says.
    pub place: Option<Body>,
    /// What it has written, if that was to be kept; nothing if it was killed.
    pub output: Option<Body>,
}
