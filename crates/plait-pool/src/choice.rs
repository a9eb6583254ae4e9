//! The engines that there are to choose from, and [`plan`], how much of a batch
//! to run when a choice is to be checked. The choice itself is the
//! [`estimate`](crate::estimate)'s.

pub mod plan;

use std::fmt;
use std::str::FromStr;

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
