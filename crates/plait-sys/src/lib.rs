//! The only crate of plait that talks to the kernel.
//!
//! One file, one facility. Everything here is small, safe to call and knows
//! nothing of tasks, loops or Python; the layers above are written against
//! these types and can be tested without the kernel's timing.

#[cfg(not(target_os = "linux"))]
compile_error!("plait runs on Linux only, for now: its engines are built on epoll, futex, memfd and pidfd");

pub mod accounts;
pub mod alarm;
pub mod allocator;
pub mod aside;
pub mod clock;
pub mod connection;
pub mod datagram;
pub mod descriptor;
pub mod epoll;
mod error;
pub mod eventfd;
pub mod exiting;
pub mod futex;
pub mod kin;
pub mod lifeline;
pub mod limits;
pub mod mapping;
pub mod memory;
pub mod open;
pub mod pagemap;
pub mod pass;
mod peek;
pub mod pid;
pub mod pipe;
pub mod process;
mod raw;
pub mod remains;
pub mod resident;
pub mod runnable;
pub mod slack;
pub mod sparse;
pub mod stopping;
pub mod stream;
pub mod symbol;
pub mod waiting;

pub use error::{Error, Result};
