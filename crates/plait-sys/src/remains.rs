//! How a process has ended whose parent has not told, and is gone: its status
//! went, or goes, to whoever reaps orphans.
//!
//! Until then `/proc` has it (`exit_code` in proc_pid_stat(5)); from Linux 6.15
//! on a pidfd that was opened before has it afterwards (`PIDFD_GET_INFO`).
//! `/proc` says 0 also where it does not tell, so 0 counts as nothing.

use std::os::fd::{AsFd, AsRawFd};

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use crate::process::{ProcessFd, Status};

/// `struct pidfd_info`, of its first version.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    control_group: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const GET_INFO: Opcode = opcode::read_write::<Info>(0xff, 11);
/// In the mask: the exit code is asked for, and there.
const EXIT: u64 = 1 << 3;
/// Where `exit_code` stands in `/proc/.../stat`, counted from behind the name.
const EXIT_CODE: usize = 49;

/// How `process`, which was `pid`, has ended, if that can still be known.
#[must_use]
pub fn status(process: &ProcessFd, pid: u32) -> Status {
    let code = match zombie(pid) {
        // As long as it is not reaped, nobody else has its number.
        Some(code) if is_there(process) => Some(code),
        _ => reaped(process),
    };
    code.map_or(Status::Unknown, |code| match code & 0x7f {
        0 => Status::Exited(code >> 8 & 0xff),
        signal => Status::Killed(signal),
    })
}

/// The exit code of a process that has ended and is not reaped.
fn zombie(pid: u32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may have any characters.
    let name = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    if fields.next() != Some("Z") {
        return None;
    }
    fields.nth(EXIT_CODE - 1)?.parse().ok().filter(|&code| code != 0)
}

/// Whether it is not reaped.
fn is_there(process: &ProcessFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()));
    let is_there = |line: &str| line.strip_prefix("Pid:").is_some_and(|pid| pid.trim() != "-1");
    info.is_ok_and(|info| info.lines().any(is_there))
}

/// The exit code of a process that is reaped, where the kernel keeps it.
fn reaped(process: &ProcessFd) -> Option<i32> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request is for a structure of this size, which the kernel
    // reads and writes; any values of its fields are valid. Kernels and
    // descriptors without it refuse it.
    let told = unsafe { ioctl(process.as_fd(), Updater::<GET_INFO, Info>::new(&mut info)) };
    (told.is_ok() && info.mask & EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A child that ends as `script` says, and has.
    fn ended(script: &str) -> (std::process::Child, ProcessFd) {
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let fd = ProcessFd::open(child.id()).unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)], None)
            .unwrap();
        (child, fd)
    }

    #[test]
    fn tells_of_who_is_not_reaped() {
        for (script, status) in
            [("exit 7", Status::Exited(7)), ("kill -KILL $$", Status::Killed(9)), ("exit 0", Status::Unknown)]
        {
            let (mut child, fd) = ended(script);
            assert_eq!(super::status(&fd, child.id()), status);
            child.wait().unwrap();
        }
    }

    #[test]
    fn tells_of_who_is_reaped_where_the_kernel_does() {
        let (mut child, fd) = ended("exit 0");
        let pid = child.id();
        child.wait().unwrap();
        let keeps = super::status(&fd, pid) != Status::Unknown;
        for (script, status) in [
            ("exit 7", Status::Exited(7)),
            ("kill -TERM $$", Status::Killed(15)),
            ("exit 0", Status::Exited(0)),
        ] {
            let (mut child, fd) = ended(script);
            let pid = child.id();
            child.wait().unwrap();
            assert_eq!(super::status(&fd, pid), if keeps { status } else { Status::Unknown });
        }
    }

    #[test]
    fn has_nothing_to_tell_of_who_lives() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let fd = ProcessFd::open(child.id()).unwrap();
        assert_eq!(super::status(&fd, child.id()), Status::Unknown);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
