//! Bytes on their way out, in the order of the writes.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;

use plait_loop::flow::Flow;
use plait_loop::outbox::Outbox;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::super::inherited::stayed_with_parent;
use super::{Transport, Writes, logger};
use crate::error::Error;

/// What waits to be sent, and the marks of flow control.
#[derive(Default)]
pub(in super::super) struct Output {
    outbox: Outbox<Py<PyBytes>>,
    pub(in super::super) flow: Flow,
}

impl Output {
    /// How many bytes wait.
    pub(in super::super) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Takes out what waits, to be dropped outside the lock.
    pub(in super::super) fn clear(&mut self) -> VecDeque<Py<PyBytes>> {
        self.outbox.clear()
    }

    fn keep(&mut self, data: Bound<'_, PyBytes>, sent: usize) {
        let size = data.as_bytes().len();
        self.outbox.push(data.unbind(), size, sent);
    }
}

/// A transport that sends bytes, without bounds between them.
pub(in super::super) trait SendsBytes: Transport {
    /// What is logged of writes that come too late, as asyncio has it.
    const TOO_LATE: &'static str;

    fn output<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Output>;

    /// The system call for one piece.
    fn put(fd: RawFd, data: &[u8]) -> plait_sys::Result<Option<usize>>;

    /// The system call for several.
    fn put_all(fd: RawFd, data: &[IoSlice<'_>]) -> plait_sys::Result<Option<usize>>;

    /// Whether a write comes too late.
    fn is_late(slf: &Bound<'_, Self>) -> bool;

    /// Where a write can go at once: it is not too late, and nothing waits.
    fn way(slf: &Bound<'_, Self>) -> Option<RawFd>;

    /// A write failed: the end of the transport.
    fn on_write_error(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()>;

    /// Everything has gone out, of a transport that goes on.
    fn on_drained(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }

    /// Sends `data`, at once if nothing else waits, and keeps what does not
    /// go out now.
    fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let bytes = data.as_bytes();
        Self::send_by(slf, bytes.len(), |fd| Self::put(fd, bytes), |_| Ok(data.clone()))
    }

    /// Sends so many bytes, at once by `attempt` if nothing else waits, and
    /// keeps what `keep` makes of them should some not go out now: of all, or
    /// of those that its argument, how many went out, leaves. It runs no
    /// Python code, the collector's included, which could write in between.
    fn send_by<'py>(
        slf: &Bound<'py, Self>,
        size: usize,
        attempt: impl FnOnce(RawFd) -> plait_sys::Result<Option<usize>>,
        keep: impl FnOnce(usize) -> PyResult<Bound<'py, PyBytes>>,
    ) -> PyResult<()> {
        if size == 0 {
            return Ok(());
        }
        let Some(fd) = Self::way(slf) else {
            if Self::is_late(slf) {
                return note_lateness(slf);
            }
            let data = keep(0)?;
            Self::output(slf).keep(data, 0);
            return Self::pause_if_full(slf);
        };
        let sent = match attempt(fd) {
            Ok(Some(count)) if count == size => return Ok(()),
            Ok(count) => count.unwrap_or(0),
            Err(error) => return Self::on_write_error(slf, Error::from(error).into()),
        };
        let data = keep(sent)?;
        let before = sent.saturating_sub(size - data.as_bytes().len());
        Self::output(slf).keep(data, before);
        Self::watch_or_fail(slf)?;
        Self::pause_if_full(slf)
    }

    /// Sends all of `data` in that order, as `send` does, in one system call
    /// where there is room.
    fn send_all(slf: &Bound<'_, Self>, data: &[Bound<'_, PyBytes>]) -> PyResult<()> {
        let data: Vec<_> = data.iter().filter(|data| !data.as_bytes().is_empty()).collect();
        if let &[one] = data.as_slice() {
            return Self::send(slf, one);
        }
        if data.is_empty() {
            return Ok(());
        }
        if Self::is_late(slf) {
            return note_lateness(slf);
        }
        let waited = {
            let mut output = Self::output(slf);
            let waited = !output.is_empty();
            data.into_iter().for_each(|data| output.keep(data.clone(), 0));
            waited
        };
        if !waited {
            Self::flush(slf)?;
        }
        Self::pause_if_full(slf)
    }

    /// Sends what waits, as far as there is room.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let fd = Self::life(slf).number(slf.py());
        let mut done = Vec::new();
        let sent = {
            let outbox = &mut Self::output(slf).outbox;
            let sent = Self::put_all(fd, &outbox.slices(|chunk| chunk.as_bytes(py)));
            if let Ok(Some(count)) = sent {
                outbox.advance(count, |chunk| chunk.as_bytes(py).len(), &mut done);
            }
            sent
        };
        drop(done);
        if let Err(error) = sent {
            return Self::on_write_error(slf, Error::from(error).into());
        }
        // May write more.
        Self::resume_if_free(slf)?;
        Self::watch_or_fail(slf)?;
        if Self::waiting(slf) > 0 || Self::life(slf).lost {
            return Ok(());
        }
        let last = Self::life(slf).sent_last();
        if last { Self::end(slf) } else { Self::on_drained(slf) }
    }
}

impl<T: SendsBytes> Writes for T {
    fn flow<R>(slf: &Bound<'_, Self>, f: impl FnOnce(&mut Flow, usize) -> R) -> R {
        let output = &mut *Self::output(slf);
        f(&mut output.flow, output.outbox.len())
    }
}

fn note_lateness<T: SendsBytes>(slf: &Bound<'_, T>) -> PyResult<()> {
    if T::life(slf).inherited {
        // Nobody in a forked process is to believe that it was written.
        return T::base(slf).event_loop.get()._check_inherited(slf.py()).and(Err(stayed_with_parent()));
    }
    if T::life(slf).counts_late() {
        logger(slf.py())?.call_method1("warning", (T::TOO_LATE,))?;
    }
    Ok(())
}
