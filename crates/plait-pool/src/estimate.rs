//! The estimate: how long a batch of calls would take on each engine, from
//! what one call costs and what this machine asks for handing calls out.
//!
//! Each engine is a set of resources that the calls of a batch share, and the
//! batch takes as long as the resource that is busy the longest:
//!
//! - the interpreter lock, which one thread at a time can have;
//! - the cores, less what other programs take of them;
//! - time itself: a call that waits takes as long as it takes, and so many
//!   calls at once make so many waves, the last of which may be partly empty;
//! - for processes, the one thread that pickles, hands out and takes back.
//!
//! To that come the calls' way there and back, and what is paid once: the
//! engine's start, and a function's slow first call in each place that is new
//! to it. Bounds of this kind are exact where one resource has all the work
//! and optimistic by less than two where two have the same (Lazowska et al.,
//! Quantitative System Performance, 1984, chapter 5); what one call costs is
//! known no better than that on a machine that does something else as well.

mod call;
mod engines;
mod machine;
mod sentences;

pub use call::Call;
pub use machine::{Crowd, Machine, Overheads};
pub use sentences::{Facts, sentence};

use crate::choice::Engine;

/// An engine must be estimated to be faster by more than this share to be
/// preferred to a cheaper one.
pub const MARGIN: f64 = 0.05;

/// No engine has more than this many plain calls under way at once: beyond
/// that waiting calls are cheaper as coroutines.
pub const WIDEST: u32 = 256;

/// What is to be run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch {
    /// How many calls.
    pub calls: u32,
    /// Whether they are calls of a coroutine function.
    pub coroutine: bool,
    /// The most threads that there may be.
    pub threads: u32,
    /// The most processes that there may be.
    pub processes: u32,
}

/// How one engine would do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The engine.
    pub engine: Engine,
    /// How many calls it should have under way at once.
    pub width: u32,
    /// How many calls it should hand out together.
    pub chunk: u32,
    /// Time of the whole batch in seconds: the engine started, and the
    /// function warm wherever it runs.
    pub seconds: f64,
    /// Seconds that it takes longer where the function is new.
    pub warm_up: f64,
    /// Seconds that starting the engine takes.
    pub start: f64,
    /// Bytes of memory that it takes beyond the program's own.
    pub memory: u64,
}

impl Estimate {
    /// The time in a program that has just begun: the engine not started, the
    /// function new.
    #[must_use]
    pub fn cold(&self) -> f64 {
        self.seconds + self.warm_up + self.start
    }
}

/// Estimates the batch on every engine that can run it, the cheapest engine
/// first.
#[must_use]
pub fn estimate(call: &Call, machine: &Machine, batch: &Batch) -> Vec<Estimate> {
    let call = call.clean();
    let batch = Batch { calls: batch.calls.max(1), ..*batch };
    if batch.coroutine {
        return vec![
            engines::one_after_another(&call, machine, &batch),
            engines::on_the_loop(&call, machine, &batch),
        ];
    }
    let mut found =
        vec![engines::one_after_another(&call, machine, &batch), engines::in_threads(&call, machine, &batch)];
    if call.carried {
        found.push(engines::in_processes(&call, machine, &batch));
    }
    found
}

/// The cheapest engine that is as fast as the fastest, but for a margin.
///
/// The times are what decides: estimates, or the runs that checked them.
/// `serial` if there are none.
#[must_use]
pub fn best(times: &[(Engine, f64)], margin: f64) -> Engine {
    let fastest = times.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min);
    Engine::ALL
        .into_iter()
        .find(|engine| times.iter().any(|(of, seconds)| of == engine && *seconds <= fastest * (1.0 + margin)))
        .unwrap_or(Engine::Serial)
}

#[cfg(test)]
mod tests;
