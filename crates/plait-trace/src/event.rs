//! One span of work.

use std::str::FromStr;

use plait_sys::clock::Instant;

use crate::Error;

/// What a span shows: the engine that ran it, or why nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One after another, in the thread that asked.
    Serial,
    /// In a thread of a pool.
    Thread,
    /// In a process of a pool.
    Process,
    /// On an event loop.
    Loop,
    /// Nothing ran: waiting for a lock, or for its turn.
    Waiting,
    /// Nothing could run: something blocked the loop.
    Stalled,
}

impl Kind {
    /// Every kind, in the order of a legend.
    pub const ALL: [Self; 6] =
        [Self::Serial, Self::Thread, Self::Process, Self::Loop, Self::Waiting, Self::Stalled];

    /// The word of the project's vocabulary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Loop => "loop",
            Self::Waiting => "waiting",
            Self::Stalled => "stalled",
        }
    }

    /// What a legend says.
    #[must_use]
    pub const fn legend(self) -> &'static str {
        match self {
            Self::Serial => "one after another",
            Self::Thread => "in threads",
            Self::Process => "in processes",
            Self::Loop => "on the loop",
            Self::Waiting => "waiting, not running",
            Self::Stalled => "blocking the loop",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
        known.ok_or_else(|| Error::UnknownKind(word.to_owned()))
    }
}

/// The point `seconds` after the clock's origin.
///
/// # Errors
/// [`Error::NotATime`] for what is negative or not finite.
pub fn instant(seconds: f64) -> Result<Instant, Error> {
    if seconds.is_finite() && seconds >= 0.0 {
        Ok(Instant::from_secs_f64(seconds))
    } else {
        Err(Error::NotATime(seconds))
    }
}

/// Something that went on from `start` to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

impl Span {
    /// A span; it may be empty, but not run backwards.
    ///
    /// # Errors
    /// [`Error::Backwards`] if `end` is before `start`.
    pub fn new(label: impl Into<String>, kind: Kind, start: Instant, end: Instant) -> Result<Self, Error> {
        let label = label.into();
        if end < start {
            return Err(Error::Backwards { what: label, start: start.as_secs_f64(), end: end.as_secs_f64() });
        }
        Ok(Self { label, kind, start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert_eq!("green".parse::<Kind>(), Err(Error::UnknownKind("green".into())));
    }

    #[test]
    fn only_points_of_the_clock_are_times() {
        assert_eq!(instant(1.5), Ok(Instant::from_nanos(1_500_000_000)));
        assert_eq!(instant(-1.0), Err(Error::NotATime(-1.0)));
        assert_eq!(instant(f64::INFINITY), Err(Error::NotATime(f64::INFINITY)));
        assert!(matches!(instant(f64::NAN), Err(Error::NotATime(_))));
    }

    #[test]
    fn a_span_may_be_empty_but_not_backwards() {
        let at = Instant::from_nanos;
        assert!(Span::new("x", Kind::Loop, at(5), at(5)).is_ok());
        assert!(matches!(Span::new("x", Kind::Loop, at(5), at(4)), Err(Error::Backwards { .. })));
    }
}
