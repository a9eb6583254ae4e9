//! Workers, their supervision, scheduling and the measured choice.

pub mod choice;
pub mod completion;
pub mod process;
pub mod queue;
