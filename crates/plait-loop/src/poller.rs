//! What a loop sleeps on: the seam between the loop and its back end.
//!
//! Above it nobody knows of epoll. What is asked for here is all that the turn,
//! the watches and the transports need:
//!
//! | who asks | what |
//! |---|---|
//! | watches, transports | [`watch`](Poller::watch), [`watch_once`](Poller::watch_once), [`remove`](Poller::remove): what to hear of a descriptor whose owner is in the table |
//! | the turn | [`wait`](Poller::wait) brings events, each with the token that the table made; [`rebuild`](Poller::rebuild) if one of them finds nobody |
//! | the turn, other threads | [`lie_down`](Poller::lie_down), [`get_up`](Poller::get_up), [`ring`](Poller::ring): the bell |
//! | a loop outside | [`fileno`](Poller::fileno): can be read while a turn has something to do |
//! | the child of a fork | [`part`](Poller::part): what the parent has is never touched again |
//!
//! # A new epoll in place of the old
//!
//! Needed where the kernel watches something that nobody can name any more: a
//! number that was closed while a duplicate lives, here or in another process.
//! Also for a process that was forked, which shares the epoll with its parent.
//! The new one takes over the number of the old.
//!
//! An epoll of somebody else's watches what a descriptor refers to, so it
//! would watch the old one still, or nothing. It is given another to watch,
//! the front, which stays, and has the new one put behind it.
//!
//! # A second back end
//!
//! `io_uring` is to join as one that is chosen when a loop is made, where the
//! kernel allows it (containers often do not), and is never required. It is
//! not here yet because readiness comes within 5 to 20 % of what it gave a
//! prototype. There is no trait for two with one to implement it: this file
//! is the list of what the second one has to answer.
//!
//! *Readiness first.* All of the above can be had of a ring: a poll request
//! for a descriptor (multishot and level-triggered, or one shot), its removal,
//! the bell's eventfd as one more of them, a ring's descriptor to be watched
//! from outside. That moves watchers, pipes, listeners and `sock_*` calls
//! over, and gains one system call a turn.
//!
//! *Completions for connections.* That is where the gain is, and it changes
//! what an event says. Today it is that a descriptor is ready, and the
//! transport reads and writes (`Ready::Io` and `Endpoint::on_ready` in the
//! binding). Of a ring comes what has been read or written:
//!
//! | today | by completions |
//! |---|---|
//! | `watch(fd, interest)`: reading is a state that can be left at once | a multishot receive that is under way; a pause cancels it, and what came in the meantime is kept by the transport until it resumes |
//! | `on_ready(readable)`, then `recv` into the loop's one buffer | `on_read(bytes)` out of a ring of provided buffers, each given back once its bytes are copied, or right after the protocol has seen them; none left ends the receive, which is started anew |
//! | `on_ready(writable)`, then `send` of what waits; a write that fits goes out in the call of `write` | `on_written(count)`: what is being sent must neither move nor be freed until its completion, whatever becomes of the transport, and one send is under way at a time or the bytes lose their order |
//! | `close` deletes the entry, and nothing comes any more | every request is cancelled and its completion awaited before the descriptor is closed: a request holds the file open, so the peer would not hear of the end, and its buffer |
//! | a token with a generation finds no new owner | the same token, as the request's data; a completion of an old generation gives its buffer back and is dropped |
//! | the child of a fork drops the epoll | the child must not enter the ring, nor look at its memory, which the parent goes on using: it is mapped so that no child has it, and the child starts with its own |
//! | events are a hint, and a turn may throw them away | a completion is told once: those that were fetched are queued before anything that can fail |

use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

use plait_sys::Result;
use plait_sys::epoll::{Epoll, Event, Interest};

use crate::bell::Bell;
use crate::fds::FdTable;

/// The token of the bell; no table entry has it, for it names the largest
/// possible descriptor.
const BELL: u64 = u64::MAX;

/// The token of the one thing that a front watches.
const INNER: u64 = 0;

/// What a loop sleeps on.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    bell: Bell,
    /// What another loop waits for, once it has asked: it watches `epoll`.
    front: OnceLock<Epoll>,
}

impl Poller {
    /// Makes one for a loop that is awake.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Self> {
        let bell = Bell::new()?;
        Ok(Self { epoll: epoll_with(&bell)?, bell, front: OnceLock::new() })
    }

    /// Has `fd`, which has an owner in the table, watched for `interest`; for
    /// nothing means not at all.
    ///
    /// # Errors
    /// ENOENT: the number is another descriptor's than the one that is
    /// watched. Nothing is any more, and no event of either reaches the
    /// owner. EPERM for what cannot be watched (a regular file), EBADF,
    /// ENOMEM, ENOSPC; the old interest stays.
    pub fn watch<O>(&self, fds: &mut FdTable<O>, fd: RawFd, interest: Interest) -> Result<()> {
        fds.watch(&self.epoll, fd, interest)
    }

    /// As [`Poller::watch`], until the first event, of which the owner tells
    /// the table ([`FdTable::fired`]). To watch again takes one system call
    /// then and not two.
    ///
    /// # Errors
    /// As of [`Poller::watch`].
    pub fn watch_once<O>(&self, fds: &mut FdTable<O>, fd: RawFd, interest: Interest) -> Result<()> {
        fds.watch_once(&self.epoll, fd, interest)
    }

    /// Has the table forget the owner of `fd`, stops watching it, and returns
    /// the owner.
    ///
    /// # Errors
    /// What the kernel refuses of a descriptor that it watches; the owner is
    /// forgotten all the same.
    pub fn remove<O>(&self, fds: &mut FdTable<O>, fd: RawFd) -> Result<Option<O>> {
        fds.remove(&self.epoll, fd)
    }

    /// Waits until something is ready and appends it to `events`: for at most
    /// `timeout`, without end if that is `None`. A signal ends the wait too.
    ///
    /// # Errors
    /// EBADF, EINVAL: the descriptor was closed under our hands.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        self.epoll.wait(events, timeout)
    }

    /// Whether `event` says that the bell was rung: [`Poller::silence`] is to
    /// be called, and the table knows nothing of it.
    #[must_use]
    pub fn is_bell(event: &Event) -> bool {
        event.token == BELL
    }

    /// Makes the bell silent again.
    ///
    /// # Errors
    /// EBADF: the descriptor was closed under our hands.
    pub fn silence(&self) -> Result<()> {
        self.bell.drain()
    }

    /// The loop will sleep. It must look for work once more after this.
    pub fn lie_down(&self) {
        self.bell.lie_down();
    }

    /// The loop is awake, whoever woke it.
    pub fn get_up(&self) {
        self.bell.get_up();
    }

    /// Wakes the loop if it sleeps, from any thread.
    ///
    /// # Errors
    /// EBADF: the descriptor was closed under our hands.
    pub fn ring(&self) -> Result<()> {
        self.bell.ring()
    }

    /// What a loop outside can watch for input as long as this one lives.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM, ENOSPC.
    pub fn fileno(&self) -> Result<RawFd> {
        let front = match self.front.get() {
            Some(front) => front,
            None => {
                let front = self.fresh_front()?;
                self.front.get_or_init(|| front)
            }
        };
        Ok(front.as_raw_fd())
    }

    /// Has the kernel watch what the table knows of and nothing else. Owners
    /// whose numbers were closed behind our back go to `gone`.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM, ENOSPC; all is as before then.
    pub fn rebuild<O>(&self, fds: &mut FdTable<O>, gone: &mut Vec<O>) -> Result<()> {
        let fresh = epoll_with(&self.bell)?;
        for fd in fds.carry_over(&self.epoll, &fresh)? {
            gone.extend(fds.remove(&self.epoll, fd)?);
        }
        let Some(front) = self.front.get() else { return self.epoll.replace(&fresh) };
        // By its number, while that refers to it: a forked process may keep
        // the old one alive, with the events that nobody takes.
        front.delete(self.epoll.as_raw_fd())?;
        let replaced = self.epoll.replace(&fresh);
        front.set(self.epoll.as_raw_fd(), INNER, Interest::READ, false)?;
        replaced
    }

    /// Parts from the process that this one was forked from: only the bell is
    /// watched then. The table is to start over, and the loop is awake.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM; it can be called again.
    pub fn part(&self) -> Result<()> {
        // The bell first: it is watched by its number.
        self.bell.renew()?;
        self.epoll.replace(&epoll_with(&self.bell)?)?;
        match self.front.get() {
            Some(front) => front.replace(&self.fresh_front()?),
            None => Ok(()),
        }
    }

    /// A front of what `epoll` refers to now.
    fn fresh_front(&self) -> Result<Epoll> {
        let front = Epoll::new()?;
        front.set(self.epoll.as_raw_fd(), INNER, Interest::READ, false)?;
        Ok(front)
    }
}

/// An epoll that watches the bell alone.
fn epoll_with(bell: &Bell) -> Result<Epoll> {
    let epoll = Epoll::new()?;
    epoll.set(bell.as_raw_fd(), BELL, Interest::READ, false)?;
    Ok(epoll)
}

#[cfg(test)]
mod tests;
