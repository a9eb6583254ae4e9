//! Processes, held by pidfd: a number can be used again, a descriptor cannot.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::error::{Error, Result};
use crate::pass::Packets;
use crate::stopping;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It left with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// Somebody else took the status away.
    Unknown,
}

/// What to do to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGTERM, marked as ours: what runs is to stop, the process is not.
    Stop,
    /// SIGTERM: it may clean up.
    Terminate,
    /// SIGKILL: it cannot refuse, not even when it is stopped.
    Kill,
}

/// A process of this or another parent. It becomes readable when the process
/// has ended.
#[derive(Debug)]
pub struct ProcessFd(OwnedFd);

impl ProcessFd {
    /// Opens the process `pid`, which the caller knows to be alive or not yet
    /// reaped.
    ///
    /// # Errors
    /// ESRCH; ENOSYS before Linux 5.3.
    pub fn open(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.ok_or(Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .map(Self)
            .map_err(|errno| Error::new("pidfd_open", errno))
    }

    /// Sends the signal; a process that has ended is fine.
    ///
    /// # Errors
    /// EPERM, for a process that changed its user.
    pub fn strike(&self, blow: Blow) -> Result<()> {
        let sent = match blow {
            Blow::Stop => stopping::ask(self.0.as_fd()),
            Blow::Terminate => self.signal(Signal::TERM),
            Blow::Kill => self.signal(Signal::KILL),
        };
        match sent {
            Err(error) if error.errno() == Errno::SRCH => Ok(()),
            sent => sent,
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.0, signal).map_err(|errno| Error::new("pidfd_send_signal", errno))
    }

    /// Reaps a child that has ended; `None` while it has not.
    ///
    /// # Errors
    /// What the kernel refuses. A child that somebody else has reaped is not
    /// an error, its status is [`Status::Unknown`].
    pub fn reap(&self) -> Result<Option<Status>> {
        match waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => Ok(None),
            Ok(Some(status)) => Ok(Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Exited(code),
                (None, Some(signal)) => Status::Killed(signal),
                (None, None) => Status::Unknown,
            })),
            Err(Errno::CHILD) => Ok(Some(Status::Unknown)),
            Err(errno) => Err(Error::new("waitid", errno)),
        }
    }
}

impl AsFd for ProcessFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for ProcessFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for ProcessFd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// Whether a signal has stopped the process `pid`, which is not reaped: it
/// runs no more until it is continued. False where /proc does not tell.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    // Behind the name, which may have any characters (proc_pid_stat(5)).
    let name = stat.iter().rposition(|&byte| byte == b')');
    name.is_some_and(|name| stat.get(name + 2) == Some(&b'T'))
}

/// A program to execute.
#[derive(Debug, Clone)]
pub struct Program {
    /// The path of the executable.
    pub path: PathBuf,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; `None`: the caller's.
    pub dir: Option<PathBuf>,
}

/// A child that was executed, and the way to talk to it.
#[derive(Debug)]
pub struct Child {
    /// Its number, ours to use until it is reaped.
    pub pid: u32,
    /// The process.
    pub fd: ProcessFd,
    /// Our end of the socket that is its standard input.
    pub control: Packets,
}

impl Program {
    /// Executes the program in a process group of its own, with no signal
    /// blocked, its standard input being a socket to us. The caller's process
    /// is never forked: std uses `posix_spawn` for this.
    ///
    /// # Errors
    /// ENOENT, EACCES and whatever else keeps the program from running.
    pub fn spawn(&self) -> Result<Child> {
        use std::os::unix::process::CommandExt;
        let (control, theirs) = Packets::pair()?;
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::from(theirs)).process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let child = command.spawn().map_err(|error| {
            // std makes errors without a number only for a path or an
            // argument that has a zero byte inside.
            let errno = error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error);
            Error::new("posix_spawn", errno)
        })?;
        let pid = child.id();
        match ProcessFd::open(pid) {
            Ok(fd) => Ok(Child { pid, fd, control }),
            Err(error) => {
                // Without the pidfd nobody could supervise it. It reads the
                // end of its input when `control` goes; its status is ours.
                drop(control);
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Interest};

    fn shell(script: &str) -> Child {
        let program = Program {
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".into(), "7".into())],
            dir: Some("/".into()),
        };
        program.spawn().unwrap()
    }

    fn end(child: &Child) -> Status {
        let (epoll, mut events) = (Epoll::new().unwrap(), Vec::new());
        epoll.set(child.fd.as_raw_fd(), 0, Interest::READ, false).unwrap();
        while events.is_empty() {
            epoll.wait(&mut events, None).unwrap();
        }
        child.fd.reap().unwrap().unwrap()
    }

    #[test]
    fn sees_the_environment_and_the_directory_that_were_given() {
        assert_eq!(end(&shell(r#"[ "$PWD" = / ] && exit $GREETING"#)), Status::Exited(7));
    }

    #[test]
    fn a_blow_ends_it() {
        for (blow, signal) in [(Blow::Terminate, 15), (Blow::Kill, 9)] {
            let child = shell("read forever");
            assert_eq!(child.fd.reap().unwrap(), None);
            child.fd.strike(blow).unwrap();
            assert_eq!(end(&child), Status::Killed(signal));
            child.fd.strike(blow).unwrap();
            assert_eq!(child.fd.reap().unwrap(), Some(Status::Unknown));
        }
    }

    #[test]
    fn a_stopped_process_is_told_from_others() {
        let child = shell("kill -STOP $$");
        while !is_stopped(child.pid) {
            std::thread::yield_now();
        }
        child.fd.strike(Blow::Kill).unwrap();
        assert_eq!(end(&child), Status::Killed(9));
        assert!(!is_stopped(child.pid) && !is_stopped(std::process::id()));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let program = Program { path: "/no/such".into(), args: vec![], env: vec![], dir: None };
        assert_eq!(program.spawn().unwrap_err().errno(), Errno::NOENT);
    }
}
