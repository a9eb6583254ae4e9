//! Workers, their supervision, scheduling and the measured choice.

mod alarms;
pub mod checksum;
pub mod choice;
pub mod completion;
pub mod estimate;
pub mod process;
pub mod queue;
pub mod sampling;
pub mod stopping;
