//! What workers say beside their answers: standard error, and log records.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::epoll::{Epoll, Interest};
use plait_sys::{Result, aside};

use super::stderr::Outlet;
use super::voices::{Listener, Voices};

/// In the tokens of outlets; the rest of them is the worker's number.
const OUTLET: u64 = 1 << 63;
/// The token of the voices.
pub(crate) const VOICES: u64 = 3;
/// When to look again whether there is room for what could not be passed on.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a pool that is over waits for a standard error that is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ears of a supervisor.
pub(crate) struct Hearing {
    /// By worker; also of workers that are gone, as long as something that
    /// they have started holds the other end.
    outlets: BTreeMap<u64, (Outlet, Watch)>,
    /// Whether there is a standard error to show them on.
    shown: bool,
    voices: Voices,
    voices_watch: Watch,
    listener: Arc<dyn Listener>,
    look_at: Option<Instant>,
    /// When a pool that is over stops waiting.
    leave_at: Option<Instant>,
}

/// Shows something on the standard error of this process, if it has one.
fn show(shown: bool) -> impl FnMut(&[u8]) -> Result<Option<usize>> {
    move |data| if shown { aside::write(2, data) } else { Ok(Some(data.len())) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    On,
    Off,
}

impl Hearing {
    /// `shown`: whether what workers write to standard error is to be written
    /// to that of this process.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new(epoll: &Epoll, listener: Arc<dyn Listener>, shown: bool) -> Result<Self> {
        let voices = Voices::new()?;
        epoll.set(voices.number(), VOICES, Interest::READ, false)?;
        Ok(Self {
            outlets: BTreeMap::new(),
            shown,
            voices,
            voices_watch: Watch::On,
            listener,
            look_at: None,
            leave_at: None,
        })
    }

    /// Where workers write their records.
    pub(crate) fn mouth(&self) -> BorrowedFd<'_> {
        self.voices.mouth()
    }

    /// Listens to the standard error of `worker`.
    ///
    /// # Errors
    /// There is no room left for what is watched.
    pub(crate) fn listen(&mut self, epoll: &Epoll, worker: u64, outlet: Outlet) -> Result<()> {
        epoll.set(outlet.number(), OUTLET | worker, Interest::READ, false)?;
        self.outlets.insert(worker, (outlet, Watch::On));
        Ok(())
    }

    /// Whether an event with this token is for [`hear`](Self::hear).
    pub(crate) fn is_meant(token: u64) -> bool {
        token == VOICES || token & OUTLET != 0
    }

    /// Hears out whoever has something to say.
    ///
    /// # Errors
    /// The kernel refuses a change of what is watched.
    pub(crate) fn hear(&mut self, epoll: &Epoll, token: u64) -> Result<()> {
        if token == VOICES {
            return self.hear_voices(epoll);
        }
        let worker = token & !OUTLET;
        if let Some((outlet, _)) = self.outlets.get_mut(&worker) {
            outlet.carry(&mut show(self.shown));
        }
        self.settle(epoll, worker)
    }

    fn hear_voices(&mut self, epoll: &Epoll) -> Result<()> {
        let Self { voices, listener, .. } = self;
        if !listener.is_behind() {
            voices.read(&mut |said| listener.hear(said));
        }
        if let Some(noise) = voices.noise() {
            listener.mishear(noise);
        }
        let watch = if listener.is_behind() { Watch::Off } else { Watch::On };
        self.rewatch_voices(epoll, watch)
    }

    fn rewatch_voices(&mut self, epoll: &Epoll, watch: Watch) -> Result<()> {
        if watch == Watch::Off {
            self.look_again();
        }
        if watch != self.voices_watch {
            match watch {
                Watch::On => epoll.set(self.voices.number(), VOICES, Interest::READ, false)?,
                Watch::Off => epoll.delete(self.voices.number())?,
            }
            self.voices_watch = watch;
        }
        Ok(())
    }

    /// Watches the outlet of `worker` as long as it may be read; forgets it
    /// when there will be no more.
    fn settle(&mut self, epoll: &Epoll, worker: u64) -> Result<()> {
        let Some((outlet, watch)) = self.outlets.get_mut(&worker) else { return Ok(()) };
        let wanted = if outlet.may_read() { Watch::On } else { Watch::Off };
        if wanted != *watch {
            match wanted {
                Watch::On => epoll.set(outlet.number(), OUTLET | worker, Interest::READ, false)?,
                Watch::Off => epoll.delete(outlet.number())?,
            }
            *watch = wanted;
        }
        if !outlet.is_shown() {
            self.look_again();
        }
        Ok(())
    }

    fn look_again(&mut self) {
        self.look_at.get_or_insert(Instant::now() + LOOK_AGAIN);
    }

    /// When [`look`](Self::look) has something to do.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Passes on what could not be passed on before.
    ///
    /// # Errors
    /// The kernel refuses a change of what is watched.
    pub(crate) fn look(&mut self, epoll: &Epoll, now: Instant) -> Result<()> {
        if self.look_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.look_at = None;
        if self.voices_watch == Watch::Off {
            self.hear_voices(epoll)?;
        }
        let held: Vec<u64> =
            self.outlets.iter().filter(|(_, (outlet, _))| !outlet.is_shown()).map(|(&id, _)| id).collect();
        for worker in held {
            if let Some((outlet, _)) = self.outlets.get_mut(&worker) {
                outlet.empty(&mut show(self.shown));
            }
            self.settle(epoll, worker)?;
        }
        self.outlets.retain(|_, (outlet, _)| !outlet.is_finished());
        Ok(())
    }

    /// `worker` was not forked.
    ///
    /// # Errors
    /// The kernel refuses a change of what is watched.
    pub(crate) fn forget(&mut self, epoll: &Epoll, worker: u64) -> Result<()> {
        match self.outlets.remove(&worker) {
            Some((outlet, Watch::On)) => epoll.delete(outlet.number()),
            _ => Ok(()),
        }
    }

    /// `worker` is gone, which was process `pid` if that was told: its last words.
    ///
    /// # Errors
    /// The kernel refuses a change of what is watched.
    pub(crate) fn last_words(&mut self, epoll: &Epoll, worker: u64, pid: Option<u32>) -> Result<String> {
        // Its records are in the pipe already.
        let Self { voices, listener, .. } = self;
        if !listener.is_behind() {
            voices.empty(&mut |said| listener.hear(said));
        }
        if let Some(pid) = pid {
            voices.forget(pid);
        }
        let Some((outlet, _)) = self.outlets.get_mut(&worker) else { return Ok(String::new()) };
        let words = outlet.last_words(&mut show(self.shown));
        self.settle(epoll, worker)?;
        self.outlets.retain(|_, (outlet, _)| !outlet.is_finished());
        Ok(words)
    }

    /// The pool is over: whether all has been heard and shown, or there is no
    /// hope of it.
    pub(crate) fn may_leave(&mut self, now: Instant) -> bool {
        let Self { voices, listener, .. } = self;
        // Also if the listener is behind: it is no more than what fits into the
        // pipe, though what tasks have started may go on writing.
        voices.empty(&mut |said| listener.hear(said));
        let leave_at = *self.leave_at.get_or_insert(now + PATIENCE);
        now >= leave_at || self.outlets.values().all(|(outlet, _)| outlet.is_shown())
    }
}
