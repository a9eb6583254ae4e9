//! The measured choice: from evidence about a function to an engine and a
//! reason. How the evidence is gathered is the caller's business; how much of
//! it to gather is in [`plan`].

pub mod plan;
mod reason;

use std::fmt;
use std::str::FromStr;

/// An engine must be faster by more than this share to be preferred to a
/// cheaper one: what lies within is noise.
pub const NOISE: f64 = 0.10;

/// Where work runs, from the cheapest to the dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// Where it is, one call after another.
    Serial,
    /// On an event loop, all calls at once.
    Loop,
    /// In a pool of threads.
    Thread,
    /// In a pool of processes.
    Process,
}

impl Engine {
    /// Every engine, the cheapest first.
    pub const ALL: [Self; 4] = [Self::Serial, Self::Loop, Self::Thread, Self::Process];

    /// The word of the project's vocabulary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Loop => "loop",
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an engine: serial, loop, thread or process")]
pub struct UnknownEngine(pub String);

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(word: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|engine| engine.word() == word).ok_or_else(|| UnknownEngine(word.into()))
    }
}

/// What was found out about an engine other than the serial one.
#[derive(Debug, Clone, PartialEq)]
pub enum Trial {
    /// It ran the batch.
    Ran {
        /// Time of the whole batch, in seconds.
        seconds: f64,
        /// How many calls it can have under way at once.
        width: u32,
        /// What handing out one call that does nothing costs, in seconds.
        handout: f64,
    },
    /// The budget left no time for it.
    NoTime,
    /// It cannot run it; the clause says why ("its result cannot be pickled").
    Unfit(String),
}

/// What was found out about one call, made where the caller is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// Wall time in seconds.
    pub wall: f64,
    /// The part of it in which it neither computed nor queued for a core.
    pub waited: f64,
}

/// What carrying one call to another process and back takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Carriage {
    /// Size of the pickled arguments and result.
    pub bytes: u64,
    /// Time to pickle and unpickle them, in seconds.
    pub seconds: f64,
}

/// All that was found out about a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Whether it is a coroutine function.
    pub coroutine: bool,
    /// How many cores the program may use.
    pub cores: u32,
    /// How many calls `serial` and the trials are about.
    pub batch: u32,
    /// One call.
    pub call: Call,
    /// Time of the batch one after another, in seconds.
    pub serial: f64,
    /// The other engines that were considered, each once.
    pub trials: Vec<(Engine, Trial)>,
    /// `None` if it cannot be carried, or need not be.
    pub carriage: Option<Carriage>,
}

impl Evidence {
    /// The batch's time on `engine`, if it ran there.
    #[must_use]
    pub fn seconds(&self, engine: Engine) -> Option<f64> {
        if engine == Engine::Serial {
            return Some(self.serial);
        }
        match self.trial(engine)? {
            Trial::Ran { seconds, .. } => Some(*seconds),
            Trial::NoTime | Trial::Unfit(_) => None,
        }
    }

    fn trial(&self, engine: Engine) -> Option<&Trial> {
        self.trials.iter().find(|(tried, _)| *tried == engine).map(|(_, trial)| trial)
    }
}

/// The engine to use, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The engine.
    pub best: Engine,
    /// One sentence.
    pub reason: String,
}

/// The cheapest engine that is as fast as the fastest, noise aside: serial
/// wins ties, and threads win them against processes.
#[must_use]
pub fn choose(evidence: &Evidence) -> Choice {
    let timed = || Engine::ALL.into_iter().filter_map(|engine| Some((engine, evidence.seconds(engine)?)));
    let fastest = timed().map(|(_, seconds)| seconds).fold(f64::INFINITY, f64::min);
    let best = timed().find(|(_, seconds)| *seconds <= fastest * (1.0 + NOISE));
    let best = best.map_or(Engine::Serial, |(engine, _)| engine);
    Choice { best, reason: reason::reason(evidence, best) }
}

#[cfg(test)]
mod tests;
