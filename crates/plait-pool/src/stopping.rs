//! Which of the calls that run in threads of this process are to be stopped,
//! and when: at their deadline, or because somebody wants it.
//!
//! A thread cannot be killed. It can be *interrupted*, by an exception that is
//! raised in the Python code it runs; where that does not end the call within
//! its grace (the thread is stuck in C, or swallows the exception) the call is
//! *abandoned*: its future ends, another thread takes the place of this one,
//! and it is interrupted again and again until it ends.
//!
//! What is decided here is done by the binding, in two steps: Python code may
//! run between them, and the call end. So [`Calls::due`] says what to look at,
//! and the binding asks again ([`Calls::is_stopping`], [`Calls::abandon`]) and
//! acts without letting go of the interpreter lock.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use plait_sys::clock::Instant;

use crate::alarms::Alarms;

/// An abandoned call is interrupted again after that time, and then each time
/// after twice as long...
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// ...up to that.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For each attempt, from the moment when it begins.
    pub timeout: Option<Duration>,
    /// To clean up once it is to stop.
    pub grace: Duration,
}

/// Why a call is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its timeout is over.
    Deadline,
    /// Somebody cancelled it.
    Cancel,
}

/// A stop that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The reason.
    pub why: Why,
    /// How long the attempt had run.
    pub ran: Duration,
    /// How long it had to clean up.
    pub grace: Duration,
    /// Whether it did not stop within its grace.
    pub abandoned: bool,
}

/// What is to be done with the thread of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Raise an exception in it.
    Interrupt,
    /// Do that, and [abandon](Calls::abandon) the call, which does not stop.
    Abandon,
}

struct Call<T> {
    subject: T,
    limits: Limits,
    begun: Instant,
    stop: Option<Stop>,
    abandon_at: Instant,
    pause: Duration,
    /// Between two attempts: nothing of the call runs.
    rests: bool,
    /// It could not be interrupted yet.
    owed: bool,
}

impl<T> Call<T> {
    fn ask(&mut self, why: Why, now: Instant) {
        let (ran, grace) = (now.saturating_since(self.begun), self.limits.grace);
        self.stop = Some(Stop { why, ran, grace, abandoned: false });
        self.abandon_at = now + grace;
    }
}

/// The calls that run and may have to be stopped, each with what the caller
/// knows it by.
pub struct Calls<T> {
    running: HashMap<u64, Call<T>>,
    alarms: Alarms,
    last: u64,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { running: HashMap::new(), alarms: Alarms::default(), last: 0 }
    }
}

impl<T> Calls<T> {
    /// A call begins. Returns the number that it has from now on, never 0.
    pub fn begin(&mut self, subject: T, limits: Limits, now: Instant) -> u64 {
        self.last += 1;
        let call = Call {
            subject,
            limits,
            begun: now,
            stop: None,
            abandon_at: now,
            pause: FIRST_PAUSE,
            rests: false,
            owed: false,
        };
        self.running.insert(self.last, call);
        self.set_deadline(self.last, limits, now);
        self.last
    }

    /// Another attempt of the call begins. False if it is not to: somebody has
    /// cancelled it, or it was abandoned.
    pub fn begin_again(&mut self, id: u64, now: Instant) -> bool {
        let Some(call) = self.running.get_mut(&id) else { return false };
        if call.stop.is_some_and(|stop| stop.abandoned || stop.why == Why::Cancel) {
            return false;
        }
        (call.begun, call.stop, call.rests, call.owed) = (now, None, false, false);
        let limits = call.limits;
        self.alarms.clear(id);
        self.set_deadline(id, limits, now);
        true
    }

    fn set_deadline(&mut self, id: u64, limits: Limits, now: Instant) {
        if let Some(timeout) = limits.timeout {
            self.alarms.set(id, now + timeout);
        }
    }

    /// An attempt of the call has ended, and another may begin. Until then
    /// nothing is raised. The stop that ended the attempt, if one did.
    pub fn pause(&mut self, id: u64) -> Option<Stop> {
        self.alarms.clear(id);
        let call = self.running.get_mut(&id)?;
        call.rests = true;
        call.stop
    }

    /// The call has ended: it is known no longer. The stop that was under way,
    /// if one was.
    pub fn end(&mut self, id: u64) -> Option<(T, Option<Stop>)> {
        self.alarms.clear(id);
        self.running.remove(&id).map(|call| (call.subject, call.stop))
    }

    /// What the caller knows it by.
    #[must_use]
    pub fn subject(&self, id: u64) -> Option<&T> {
        self.running.get(&id).map(|call| &call.subject)
    }

    /// It could not be interrupted at this moment, and is to be after `pause`
    /// unless its grace is over before.
    pub fn postpone(&mut self, id: u64, now: Instant, pause: Duration) {
        let Some(call) = self.running.get_mut(&id) else { return };
        let again = now + pause;
        if again < call.abandon_at {
            call.owed = true;
            self.alarms.set(id, again);
        }
    }

    /// Somebody wants the call to stop. `None` if it has ended or was
    /// abandoned.
    ///
    /// One that is being stopped at its deadline is not interrupted once more
    /// (it cleans up), and keeps the time that it has; but no other attempt
    /// follows.
    pub fn cancel(&mut self, id: u64, now: Instant) -> Option<Cancel> {
        let call = self.running.get_mut(&id)?;
        match &mut call.stop {
            Some(stop) if stop.abandoned => None,
            Some(stop) => {
                stop.why = Why::Cancel;
                Some(Cancel::UnderWay)
            }
            None if call.rests => {
                call.ask(Why::Cancel, now);
                Some(Cancel::UnderWay)
            }
            None => {
                call.ask(Why::Cancel, now);
                let at = call.abandon_at;
                self.alarms.clear(id);
                self.alarms.set(id, at);
                Some(Cancel::Interrupt)
            }
        }
    }

    /// The next time at which something may be due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// Takes out what is due by `now`: the number of a call and what to do.
    pub fn due(&mut self, now: Instant) -> Option<(u64, Act)> {
        while let Some(id) = self.alarms.due(now) {
            let Some(call) = self.running.get_mut(&id) else { continue };
            let (act, next) = match &mut call.stop {
                None => {
                    call.ask(Why::Deadline, now);
                    (Act::Interrupt, call.abandon_at)
                }
                Some(_) if call.owed => {
                    call.owed = false;
                    (Act::Interrupt, call.abandon_at)
                }
                // Again after the pause, should the caller not come to it.
                Some(stop) if !stop.abandoned => (Act::Abandon, now + call.pause),
                Some(_) => {
                    call.pause = (call.pause * 2).min(LONGEST_PAUSE);
                    (Act::Interrupt, now + call.pause)
                }
            };
            self.alarms.set(id, next);
            return Some((id, act));
        }
        None
    }

    /// Whether the call runs and is to stop.
    #[must_use]
    pub fn is_stopping(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|call| call.stop.is_some() && !call.rests)
    }

    /// Abandons the call, if it still runs although its grace is over.
    pub fn abandon(&mut self, id: u64, now: Instant) -> Option<Stop> {
        let call = self.running.get_mut(&id)?;
        let stop = call.stop.as_mut()?;
        if stop.abandoned || call.rests || now < call.abandon_at {
            return None;
        }
        stop.abandoned = true;
        Some(*stop)
    }

    /// Forgets all calls, without dropping anything of them: in a child process
    /// they do not exist. Numbers are not given again.
    pub fn forget(&mut self) {
        mem::forget(mem::take(&mut self.running));
        self.alarms = Alarms::default();
    }
}

/// What a wish to cancel a call that runs asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Interrupt it.
    Interrupt,
    /// Nothing: it has been interrupted at its deadline, or rests between two
    /// attempts.
    UnderWay,
}

#[cfg(test)]
mod tests;
