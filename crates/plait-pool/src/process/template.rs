//! The clean process that forks the workers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use plait_sys::eventfd::EventFd;
use plait_sys::lifeline::Lifeline;
use plait_sys::memory::file_of;
use plait_sys::pass::{MAX_FDS, Received};
use plait_sys::process::{Child, Program};

use super::Result;
use super::wire::{self, Report};

/// A template that was executed.
pub(crate) struct Template {
    pub(crate) child: Child,
    /// Whether it has got as far as to serve.
    pub(crate) serving: bool,
    _lifeline: Lifeline,
}

impl Template {
    /// Executes `program` and gives it its settings. What it is asked from
    /// now on waits in the socket until it serves.
    pub(crate) fn start(
        program: &Program,
        settings: &[u8],
        bell: &EventFd,
        records: BorrowedFd<'_>,
        handed: &[OwnedFd],
    ) -> Result<Self> {
        let settings = file_of("plait-settings", settings)?;
        let (lifeline, theirs) = Lifeline::new()?;
        let child = program.spawn()?;
        // The first message on a new socket: there is room for it. If the
        // child is already gone, its pidfd tells.
        let more = i64::try_from(handed.len()).unwrap_or(i64::MAX);
        let message = wire::control(wire::SERVE, [i64::from(std::process::id()), more, 0]);
        let sent = child.control.send(&message, &[settings.as_fd(), bell.as_fd(), theirs.as_fd(), records]);
        debug_assert!(!matches!(sent, Ok(false)), "a new socket has room");
        for handed in handed.chunks(MAX_FDS) {
            let handed: Vec<_> = handed.iter().map(AsFd::as_fd).collect();
            let sent = child.control.send(&wire::control(wire::HAND, [0; 3]), &handed);
            debug_assert!(!matches!(sent, Ok(false)), "room for ten messages");
        }
        Ok(Self { child, serving: false, _lifeline: lifeline })
    }

    /// Asks for a worker, which gets these descriptors. False: not now, it has
    /// too much to read; or it is gone, which its pidfd tells.
    pub(crate) fn fork(&self, worker: u64, fds: &[BorrowedFd<'_>]) -> bool {
        let Ok(worker) = i64::try_from(worker) else { return false };
        self.child.control.send(&wire::control(wire::FORK, [worker, 0, 0]), fds).unwrap_or(false)
    }

    /// The next report, with the descriptor that came along; `None` if there
    /// is none now.
    pub(crate) fn report(&mut self) -> Option<(Report, Option<std::os::fd::OwnedFd>)> {
        loop {
            // Errors and the end: the pidfd tells of them too.
            let Ok(Received::Message(message, fds)) = self.child.control.receive() else { return None };
            match wire::report(&message) {
                Some(Report::Serving) => self.serving = true,
                Some(report) => return Some((report, fds.into_iter().next())),
                None => debug_assert!(false, "no template of ours says {message:?}"),
            }
        }
    }
}
