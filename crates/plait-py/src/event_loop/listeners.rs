//! Who listens to a descriptor that somebody else owns: for each direction one
//! callback (`add_reader`, `add_writer`) or one future of a `sock_*` call that
//! waits for it, and any number of watchers (`io_watcher`) beside them.
//!
//! A future is woken once, so the kernel is asked for one event. Its entry and
//! an empty `Watch` stay behind: the next wait on the same socket is one system
//! call, and a silent entry wakes nobody, whatever becomes of the number.

use std::os::fd::RawFd;

use plait_loop::fds::FdTable;
use plait_loop::poller::Poller;
use plait_sys::epoll::{Event, Interest};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::core::{Core, Owner, Ready};
use super::io_watcher::IoWatcher;
use super::poll::Polled;
use crate::error::Error;
use crate::hot::handle::Handle;

/// Who hears that a descriptor is ready.
pub(super) enum Listener {
    /// A callback, each time.
    Handle {
        handle: Handle,
        /// The object that has the descriptor, if it was not given by its
        /// number: it can be named still when it is closed.
        object: Option<Py<PyAny>>,
    },
    /// A future, once.
    Waiter(Py<PyAny>),
}

/// The listeners of one descriptor.
#[derive(Default)]
pub(super) struct Watch {
    reader: Option<Listener>,
    writer: Option<Listener>,
    /// The started ones, and what each wants to hear of.
    watchers: Vec<(Py<IoWatcher>, Interest)>,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Reader,
    Writer,
}

impl Watch {
    fn side(&mut self, side: Side) -> &mut Option<Listener> {
        match side {
            Side::Reader => &mut self.reader,
            Side::Writer => &mut self.writer,
        }
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest { read: self.reader.is_some(), write: self.writer.is_some() };
        for (_, wanted) in &self.watchers {
            interest.read |= wanted.read;
            interest.write |= wanted.write;
        }
        interest
    }

    /// Whether only futures listen.
    fn once(&self) -> bool {
        self.watchers.is_empty()
            && ![&self.reader, &self.writer].iter().any(|side| matches!(side, Some(Listener::Handle { .. })))
    }

    /// Whether `object` was given for the descriptor.
    pub(super) fn names(&self, object: &Bound<'_, PyAny>) -> bool {
        [&self.reader, &self.writer].into_iter().flatten().any(
            |listener| matches!(listener, Listener::Handle { object: Some(named), .. } if named.is(object)),
        )
    }

    /// Whether anybody but watchers listens.
    pub(super) fn has_listener(&self) -> bool {
        self.reader.is_some() || self.writer.is_some()
    }

    /// Tells those who listened that they do so no more. They have left the
    /// table, and its lock is free.
    pub(super) fn dismiss(self, py: Python<'_>) {
        for (watcher, _) in self.watchers {
            watcher.get().retire(py);
        }
        cancel(py, self.reader);
        cancel(py, self.writer);
    }

    /// Those whom `event` is for. Futures leave, and callbacks that were
    /// cancelled by their handle: the event would come again and again.
    fn woken(&mut self, py: Python<'_>, event: &Event) -> [Option<Listener>; 2] {
        let pick = |ready: bool, side: &mut Option<Listener>| match side {
            Some(Listener::Handle { handle, .. }) if ready && !handle.is_cancelled(py) => {
                Some(Listener::Handle { handle: handle.clone_ref(py), object: None })
            }
            Some(_) if ready => side.take(),
            _ => None,
        };
        [pick(event.readable, &mut self.reader), pick(event.writable, &mut self.writer)]
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for side in [&self.reader, &self.writer].into_iter().flatten() {
            match side {
                Listener::Handle { handle, object } => {
                    handle.traverse(visit)?;
                    visit.call(object)?;
                }
                Listener::Waiter(future) => visit.call(future)?,
            }
        }
        self.watchers.iter().try_for_each(|(watcher, _)| visit.call(watcher))
    }
}

/// Queues the callbacks that `event` of a watched descriptor is for; adds the
/// futures to those that `told` has to wake.
pub(super) fn on_event(
    py: Python<'_>,
    core: &mut Core,
    poller: &Poller,
    event: &Event,
    told: &mut Polled,
) -> Result<(), Error> {
    let fd = FdTable::<Owner>::fd(event.token);
    let spent = core.fds.fired(event.token);
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(()) };
    let before = watch.interest();
    for (watcher, wanted) in &watch.watchers {
        let news = Interest { read: event.readable && wanted.read, write: event.writable && wanted.write };
        if !news.is_none() && watcher.get().tell(py, news) {
            core.ready.push_back(Ready::Watcher(watcher.clone_ref(py)));
        }
    }
    for listener in watch.woken(py, event).into_iter().flatten() {
        match listener {
            // To be dropped where no lock is held.
            Listener::Handle { ref handle, .. } if handle.is_cancelled(py) => {
                told.gone.push(Owner::Watch(Watch { reader: Some(listener), ..Watch::default() }));
            }
            Listener::Handle { handle, .. } => core.ready.push_back(Ready::Call(handle)),
            Listener::Waiter(future) => told.woken.push(future),
        }
    }
    let interest = watch.interest();
    // What one event leaves of two directions is watched on; what a callback
    // shared with a future is the callback's alone now.
    if (spent && !interest.is_none()) || (!spent && interest != before) {
        match tell(core, poller, fd) {
            Err(error) if is_lost(&error) => {
                told.gone.extend(poller.remove(&mut core.fds, fd)?);
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Tells the kernel what the listeners of `fd` wait for.
fn tell(core: &mut Core, poller: &Poller, fd: RawFd) -> Result<(), Error> {
    let Some(Owner::Watch(watch)) = core.fds.get(fd) else { return Ok(()) };
    let (interest, once) = (watch.interest(), watch.once());
    if once && !interest.is_none() {
        poller.watch_once(&mut core.fds, fd, interest)?;
    } else {
        poller.watch(&mut core.fds, fd, interest)?;
    }
    Ok(())
}

/// Has a fresh epoll watch what the owner of `fd` listens to; says whether
/// there is anything.
pub(super) fn watch_anew(core: &mut Core, poller: &Poller, fd: RawFd) -> Result<bool, Error> {
    let Some(Owner::Watch(watch)) = core.fds.get(fd) else { return Ok(false) };
    if watch.interest().is_none() {
        return Ok(false);
    }
    match tell(core, poller, fd) {
        Err(error) if is_lost(&error) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Those who lost their place, for the caller to dismiss once the lock is free.
#[derive(Default)]
pub(super) struct Displaced {
    /// In the place that was asked for.
    pub(super) before: Option<Listener>,
    /// All of a number that was closed, and is another descriptor's by now.
    others: Vec<Owner>,
}

impl Displaced {
    pub(super) fn dismiss(self, py: Python<'_>) {
        cancel(py, self.before);
        for owner in self.others {
            owner.dismiss(py);
        }
    }
}

/// The number is another descriptor than the one that was listened to.
fn is_reused(error: &Error) -> bool {
    matches!(error, Error::Sys(error) if error.is_absent())
}

/// The same, or no descriptor at all.
fn is_lost(error: &Error) -> bool {
    is_reused(error) || matches!(error, Error::Sys(error) if error.is_closed())
}

/// Gives `fd`, another descriptor than the one that was listened to, to `fresh`.
fn evict(
    core: &mut Core,
    poller: &Poller,
    fd: RawFd,
    fresh: Watch,
    others: &mut Vec<Owner>,
) -> Result<(), Error> {
    others.extend(poller.remove(&mut core.fds, fd)?);
    if fresh.interest().is_none() {
        return Ok(());
    }
    core.fds.insert(fd, Owner::Watch(fresh))?;
    let told = tell(core, poller, fd);
    if told.is_err() {
        others.extend(poller.remove(&mut core.fds, fd)?);
    }
    told
}

/// Makes room for listeners to `fd`.
fn admit(core: &mut Core, fd: RawFd) -> PyResult<()> {
    if core.fds.get(fd).is_none() {
        core.fds.insert(fd, Owner::Watch(Watch::default())).map_err(Error::from)?;
    }
    Ok(())
}

/// Forgets `fd` if nobody listens to it.
fn forget_unused(core: &mut Core, poller: &Poller, fd: RawFd, others: &mut Vec<Owner>) -> Result<(), Error> {
    if matches!(core.fds.get(fd), Some(Owner::Watch(watch)) if watch.interest().is_none()) {
        others.extend(poller.remove(&mut core.fds, fd)?);
    }
    Ok(())
}

/// Puts `listener` in, or takes what is there out, and tells the kernel.
/// Whoever has to go is in `displaced`, also after an error.
pub(super) fn exchange(
    core: &mut Core,
    fd: RawFd,
    side: Side,
    listener: Option<Listener>,
    displaced: &mut Displaced,
) -> PyResult<()> {
    let poller = core.poller.clone().ok_or_else(|| core.gone())?;
    if listener.is_some() {
        admit(core, fd)?;
    }
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(()) };
    let leaves = listener.is_none();
    let before = std::mem::replace(watch.side(side), listener);
    match tell(core, &poller, fd) {
        Ok(()) => displaced.before = before,
        Err(error) => {
            let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Err(error.into()) };
            if !(is_reused(&error) || leaves && is_lost(&error)) {
                // As if nothing had been asked; the new listener is the caller's too.
                *watch.side(side) = before;
                forget_unused(core, &poller, fd, &mut displaced.others)?;
                return Err(error.into());
            }
            displaced.before = before;
            let mut fresh = Watch::default();
            *fresh.side(side) = watch.side(side).take();
            evict(core, &poller, fd, fresh, &mut displaced.others)?;
        }
    }
    Ok(forget_unused(core, &poller, fd, &mut displaced.others)?)
}

/// Has `watcher` hear of `fd`.
pub(super) fn enlist(
    core: &mut Core,
    fd: RawFd,
    watcher: &Bound<'_, IoWatcher>,
    interest: Interest,
    displaced: &mut Displaced,
) -> PyResult<()> {
    let poller = core.poller.clone().ok_or_else(|| core.gone())?;
    admit(core, fd)?;
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(()) };
    // Started anew, it is asked for anew: the number may be another's.
    let at = watch.watchers.iter().position(|(other, _)| other.is(watcher));
    let entry = at.map(|at| watch.watchers.remove(at));
    watch.watchers.push(entry.unwrap_or_else(|| (watcher.clone().unbind(), interest)));
    let Err(error) = tell(core, &poller, fd) else { return Ok(()) };
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Err(error.into()) };
    let mut fresh = Watch::default();
    fresh.watchers.extend(watch.watchers.pop());
    if is_reused(&error) {
        return Ok(evict(core, &poller, fd, fresh, &mut displaced.others)?);
    }
    displaced.others.push(Owner::Watch(fresh));
    forget_unused(core, &poller, fd, &mut displaced.others)?;
    Err(error.into())
}

/// Has `watcher` hear of `fd` no more.
pub(super) fn delist(
    core: &mut Core,
    fd: RawFd,
    watcher: &Bound<'_, IoWatcher>,
    displaced: &mut Displaced,
) -> PyResult<()> {
    let Some(poller) = core.poller.clone() else {
        // Of a process forked from ours: without a word to the kernel.
        let entry = core.inherited_watch(fd).and_then(|watch| {
            let at = watch.watchers.iter().position(|(other, _)| other.is(watcher))?;
            Some(watch.watchers.remove(at))
        });
        let watchers = Vec::from_iter(entry);
        displaced.others.push(Owner::Watch(Watch { watchers, ..Watch::default() }));
        return Ok(());
    };
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(()) };
    let Some(at) = watch.watchers.iter().position(|(other, _)| other.is(watcher)) else { return Ok(()) };
    let before = watch.interest();
    let entry = watch.watchers.remove(at);
    displaced.others.push(Owner::Watch(Watch { watchers: vec![entry], ..Watch::default() }));
    if watch.interest() != before || watch.once() {
        match tell(core, &poller, fd) {
            Err(error) if is_lost(&error) => {
                evict(core, &poller, fd, Watch::default(), &mut displaced.others)?;
            }
            told => told?,
        }
    }
    Ok(forget_unused(core, &poller, fd, &mut displaced.others)?)
}

/// Whether it is `future` that listens.
pub(super) fn awaits(core: &mut Core, fd: RawFd, side: Side, future: &Bound<'_, PyAny>) -> bool {
    match core.fds.get_mut(fd) {
        Some(Owner::Watch(watch)) => {
            matches!(watch.side(side), Some(Listener::Waiter(waiter)) if waiter.is(future))
        }
        _ => false,
    }
}

/// An event for it may be in the queue already. A future that lost its place
/// waits on, as in asyncio.
fn cancel(py: Python<'_>, listener: Option<Listener>) {
    if let Some(Listener::Handle { handle, .. }) = listener {
        handle.cancel(py);
    }
}
