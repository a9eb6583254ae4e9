//! The life of a transport: what connections, datagram sockets and the ends of
//! pipes have and do in the same way.
//!
//! The states that each passes, in this order:
//!
//! | state | set by | then |
//! |---|---|---|
//! | made | `new` | `begin` is queued |
//! | open | `begin` tells the protocol | reads unless paused |
//! | closing | `close`, the peer's end | no more reads; what was written goes out |
//! | lost | `abort`, an error, the last byte sent | nothing goes out; `end` is queued |
//! | ended | `end` tells the protocol, closes the file | nothing happens any more |
//!
//! What the protocol's methods raise never stops the loop, `SystemExit` and
//! `KeyboardInterrupt` excepted: it is reported. Whether it also ends the
//! transport is said where each is called; it is as in asyncio.

mod interface;
mod life;
mod names;
mod output;
mod receiver;
mod unclosed;
mod writes;

use std::cell::RefMut;
use std::os::fd::RawFd;

use plait_sys::epoll::Interest;
use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyClass, intern};

pub(super) use self::interface::{reading_interface, transport_interface, writing_interface};
pub(super) use self::life::{Base, Gone, Life, word};
pub(super) use self::output::{Output, SendsBytes};
pub(super) use self::receiver::{Receiver, Receives};
pub(super) use self::unclosed::Unclosed;
pub(super) use self::writes::{Mark, Writes};
use super::core::{Core, Loop, Owner, Ready, is_fatal};
use super::endpoint::Endpoint;
use super::inherited::stayed_with_parent;
use super::waiter;
use crate::error::Error;
use crate::hot::context;

/// A native transport, with what all of them do in the same way.
pub(super) trait Transport: PyClass {
    /// What to do with a descriptor that the kernel refuses to watch. A pipe
    /// stays, as in asyncio, never ready, and that is reported: epoll refuses
    /// some devices. A socket is lost, and who waits for it gets the error: it
    /// is so only if the kernel is at a limit.
    const MAY_BE_SILENT: bool = false;

    fn base<'a>(slf: &'a Bound<'_, Self>) -> &'a Base;

    fn life<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Life>;

    fn endpoint(slf: Py<Self>) -> Endpoint;

    /// What the kernel is to be asked for.
    fn interest(slf: &Bound<'_, Self>) -> Interest;

    /// Reads and writes what the kernel said can be read and written, if that
    /// is still wanted: it may have been said before a pause or a close.
    fn on_ready(slf: &Bound<'_, Self>, readable: bool, writable: bool) -> PyResult<()>;

    /// How many bytes wait to go out.
    fn waiting(_slf: &Bound<'_, Self>) -> usize {
        0
    }

    /// Drops what waits to go out.
    fn discard(_slf: &Bound<'_, Self>) {}

    /// Drops every object that the transport holds and can do without.
    fn release(slf: &Bound<'_, Self>);

    /// Before the descriptor is taken over.
    fn before_start(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    /// After that, and before the protocol is told.
    fn on_started(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    /// Before everything else of the end; an error puts that off until the
    /// loop is run again.
    fn before_end(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    /// Once the file is closed because nobody refers to the transport.
    fn on_collected(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    /// Once the file is closed.
    fn on_closed(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    fn protocol(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        Self::life(slf).protocol.as_ref().map(|protocol| protocol.clone_ref(slf.py()))
    }

    fn queue(slf: &Bound<'_, Self>, item: impl FnOnce(Endpoint) -> Ready) -> PyResult<()> {
        let endpoint = Self::endpoint(slf.clone().unbind());
        Self::base(slf).event_loop.get().core(slf.py()).push(item(endpoint))
    }

    /// Takes the descriptor over and has the protocol told of the transport in
    /// the next turn.
    fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::before_start(slf)?;
        let fd = Self::life(slf).fd;
        let owner = Owner::Transport(Self::endpoint(slf.clone().unbind()));
        let before =
            Self::base(slf).event_loop.get().core(slf.py()).fds.insert(fd, owner).map_err(Error::from)?;
        if let Some(owner) = before {
            owner.dismiss(slf.py());
        }
        Self::on_started(slf)?;
        Self::queue(slf, Ready::Begin)
    }

    /// Whether the descriptor is still this transport's: the file may have
    /// been closed behind our back, and its number be another's by now.
    fn owns(slf: &Bound<'_, Self>, core: &Core, fd: RawFd) -> bool {
        matches!(core.fds.get(fd), Some(Owner::Transport(owner)) if owner.is(slf.as_any()))
    }

    /// Tells the kernel what this transport waits for now.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let fd = Self::life(slf).fd;
        let interest = Self::interest(slf);
        let mut core = Self::base(slf).event_loop.get().core(slf.py());
        let core = &mut *core;
        // A closed loop watches nothing any more.
        if let Some(poller) = core.poller.clone()
            && Self::owns(slf, core, fd)
            && core.fds.interest(fd) != interest
        {
            poller.watch(&mut core.fds, fd, interest).map_err(Error::from)?;
        }
        Ok(())
    }

    /// As `watch`. A descriptor that the kernel refuses to watch is the end of
    /// the transport: nothing would ever go on with it.
    fn watch_or_fail(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::watch(slf)
            .or_else(|error| Self::fail(slf, error, "Fatal error: the descriptor cannot be watched"))
    }

    /// Gives the descriptor back.
    fn unwatch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let fd = Self::life(slf).fd;
        let owner = {
            let mut core = Self::base(slf).event_loop.get().core(slf.py());
            let core = &mut *core;
            match core.poller.clone() {
                Some(poller) if Self::owns(slf, core, fd) => {
                    poller.remove(&mut core.fds, fd).map_err(Error::from)?
                }
                _ => None,
            }
        };
        drop(owner);
        Ok(())
    }

    /// Calls the protocol's `method`; what it raises is reported.
    fn tell<'py>(
        slf: &Bound<'py, Self>,
        method: &Bound<'py, PyString>,
        args: impl PyCallArgs<'py>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Some(protocol) = Self::protocol(slf) else { return Ok(()) };
        let told = context::enter(py, &Self::base(slf).context, || {
            protocol.bind(py).call_method1(method, args).map(drop)
        });
        match told {
            Ok(()) => Ok(()),
            Err(error) => {
                let message = format!("Exception in callback {method}() of the protocol");
                Self::report_callback(slf, error, &message)
            }
        }
    }

    /// Tells the exception handler, in the context that is current.
    fn report(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let protocol = Self::protocol(slf);
        Loop::report(Self::base(slf).event_loop.bind(slf.py()), error, |context| {
            context.set_item("message", message)?;
            context.set_item("transport", slf)?;
            context.set_item("protocol", protocol)
        })
    }

    /// As `report`, in the context of the protocol.
    fn report_inside(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        context::enter_unless_entered(slf.py(), &Self::base(slf).context, || {
            Self::report(slf, error, message)
        })
    }

    /// As `report`, of what asyncio lets out of a callback of the loop: from
    /// Python 3.12 on that is told in the context of the callback.
    fn report_callback(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        if slf.py().version_info() >= (3, 12) {
            Self::report_inside(slf, error, message)
        } else {
            Self::report(slf, error, message)
        }
    }

    /// Notes in asyncio's log, in debug mode, what happens to the transport.
    fn note(slf: &Bound<'_, Self>, level: &str, what: &str) -> PyResult<()> {
        if Self::base(slf).event_loop.get().debug() {
            logger(slf.py())?.call_method1(level, (format!("%r {what}"), slf))?;
        }
        Ok(())
    }

    /// Tells the protocol of the transport, then starts.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        // Whatever the protocol raises, the transport is there.
        let told = Self::tell(slf, intern!(py, "connection_made"), (slf,));
        let waiter = {
            let mut life = Self::life(slf);
            life.open = true;
            life.waiter.take()
        };
        let refused = Self::watch(slf).err();
        let (reported, refused) = match refused {
            Some(error) if Self::MAY_BE_SILENT => {
                let message = "Exception in callback: the descriptor cannot be watched";
                (Self::report_callback(slf, error, message), None)
            }
            Some(error) => {
                let value = error.value(py).clone().into_any().unbind();
                (Self::lose(slf, Some(value)), Some(error))
            }
            None => (Ok(()), None),
        };
        if let Some(waiter) = waiter {
            let waiter = waiter.bind(py);
            match refused {
                None => waiter::wake_unless_done(waiter)?,
                Some(error) => waiter::fail_unless_done(waiter, error.into_value(py).into_any())?,
            }
        }
        told.and(reported)
    }

    /// Pauses or resumes reading.
    fn set_paused(slf: &Bound<'_, Self>, paused: bool) -> PyResult<()> {
        {
            let mut life = Self::life(slf);
            if life.closing || life.paused == paused {
                return Ok(());
            }
            life.paused = paused;
        }
        if Self::MAY_BE_SILENT { Self::watch(slf) } else { Self::watch_or_fail(slf) }?;
        Self::note(slf, "debug", if paused { "pauses reading" } else { "resumes reading" })
    }

    /// Closes the transport once what waits has gone out.
    fn shut(slf: &Bound<'_, Self>) -> PyResult<()> {
        let nothing_waits = Self::waiting(slf) == 0;
        {
            let mut life = Self::life(slf);
            if life.closing {
                return Ok(());
            }
            life.closing = true;
            life.lost = nothing_waits;
        }
        if nothing_waits {
            let watched = Self::watch(slf);
            return Self::queue(slf, Ready::End).and(watched);
        }
        Self::watch_or_fail(slf)
    }

    /// Gives the transport up: what was not sent is lost.
    fn lose(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let before = {
            let mut life = Self::life(slf);
            if life.lost || life.file.is_none() {
                return Ok(());
            }
            life.closing = true;
            life.lost = true;
            std::mem::replace(&mut life.error, error)
        };
        drop(before);
        Self::discard(slf);
        let watched = Self::watch(slf);
        Self::queue(slf, Ready::End).and(watched)
    }

    /// Neither reads nor writes any more: the file is the parent's, and this
    /// is a process forked from it. Says whether nobody has queued its end.
    fn abandon(slf: &Bound<'_, Self>) -> bool {
        let was_open = {
            let mut life = Self::life(slf);
            life.closing = true;
            life.inherited = true;
            !std::mem::replace(&mut life.lost, true)
        };
        Self::discard(slf);
        was_open
    }

    /// Has the protocol told of that, where the loop goes on.
    fn end_as_inherited(slf: &Bound<'_, Self>) -> PyResult<()> {
        let error = stayed_with_parent().into_value(slf.py()).into_any();
        let before = Self::life(slf).error.replace(error);
        drop(before);
        Self::queue(slf, Ready::End)
    }

    /// An error that ends the transport. Those of the system are the
    /// protocol's to hear of (in `connection_lost`); others are also reported.
    fn fail(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let expected = error.is_instance_of::<PyOSError>(slf.py());
        Self::fail_as(slf, error, message, expected)
    }

    /// As `fail`, with the word on whether only the protocol hears of it.
    ///
    /// What ends the loop's run ends no transport: it goes on should the loop
    /// be run again, which cancels and cleans up then.
    fn fail_as(slf: &Bound<'_, Self>, error: PyErr, message: &str, expected: bool) -> PyResult<()> {
        let py = slf.py();
        if is_fatal(py, &error) {
            return Err(error);
        }
        let value = error.value(py).clone().into_any();
        let reported = if !expected {
            Self::report_inside(slf, error, message)
        } else if Self::base(slf).event_loop.get().debug() {
            let keywords = PyDict::new(py);
            keywords.set_item("exc_info", &value)?;
            let args = ("%r: %s", slf, message);
            logger(py)?.call_method("debug", args, Some(&keywords)).map(drop)
        } else {
            Ok(())
        };
        Self::lose(slf, Some(value.unbind())).and(reported)
    }

    /// Lets go of the descriptor, tells the protocol, closes the file.
    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if let Err(fatal) = Self::before_end(slf) {
            Self::queue(slf, Ready::End)?;
            return Err(fatal);
        }
        let error = {
            let mut life = Self::life(slf);
            life.open = false;
            life.error.as_ref().map(|error| error.clone_ref(py))
        };
        let unwatched = Self::unwatch(slf);
        let told = Self::tell(slf, intern!(py, "connection_lost"), (error,));
        let (file, own) = {
            let mut life = Self::life(slf);
            (life.file.take(), life.own.take())
        };
        drop(own);
        let closed = match file {
            Some(file) => file.call_method0(py, intern!(py, "close")).map(drop),
            None => Ok(()),
        };
        let known = Self::on_closed(slf);
        Self::release(slf);
        told.and(unwatched).and(closed).and(known)
    }
}

/// A logger of asyncio, for what it logs in the same place.
pub(super) fn logger(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOGGER.import(py, "asyncio.log", "logger")
}
