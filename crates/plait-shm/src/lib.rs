//! Rings and arenas in shared memory between a process and its workers.
#![doc = include_str!("../README.md")]

#[cfg(not(loom))]
pub mod arena;
mod bell;
mod claims;
#[cfg(not(loom))]
mod link;
mod prim;
mod ring;
mod run;
#[cfg(not(loom))]
mod runs;
#[cfg(not(loom))]
mod spin;

#[cfg(not(loom))]
pub use link::{CLAIMS, Heard, Requests, Responses, WorkerLink, link, link_of_several};
pub use ring::Corrupt;
pub use run::{Run, Stage, Stop};
#[cfg(not(loom))]
pub use runs::Runs;
#[cfg(not(loom))]
pub use spin::{Habit, LOOK, Look, Sight, Spin, WAKING, looking_pays};

/// What goes wrong on a link.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The other side wrote what no writer of ours writes.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] plait_sys::Error),
}

/// The result of a use of a link.
pub type Result<T> = std::result::Result<T, Error>;
