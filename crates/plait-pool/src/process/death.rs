//! What is known of a worker that died.

use std::fmt;
use std::sync::Arc;

use plait_sys::process::Status;

use super::appetite::Excess;

/// A worker's end, while it was at a task or starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The process that it was, if the template lived to tell it.
    pub pid: Option<u32>,
    /// How it went.
    pub status: Status,
    /// Whether we killed it because it wrote garbage into shared memory.
    pub corrupt: bool,
    /// Whether we killed it because it had too much memory.
    pub excess: Option<Excess>,
    /// Whether we killed it because something that it ran did not stop.
    pub unstoppable: bool,
    /// The last of what it wrote to standard error.
    pub stderr: Arc<str>,
}

/// So many lines of standard error go into a message.
const LINES: usize = 12;

impl Death {
    /// What messages call the worker.
    #[must_use]
    pub fn who(&self) -> String {
        self.pid.map_or("a worker process".into(), |pid| format!("worker process {pid}"))
    }

    /// What goes behind "the last", of workers that could not start.
    pub(crate) fn of_a_start(&self) -> String {
        let who = self.pid.map_or(String::new(), |pid| format!("(process {pid}) "));
        format!("{who}{self}{}", self.last_lines())
    }

    /// The end of a message: the last lines of standard error, if there are
    /// any.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let mut lines: Vec<&str> = self.stderr.lines().rev().take(LINES).collect();
        if lines.is_empty() {
            return String::new();
        }
        lines.push("\nThe last lines of its standard error:");
        lines.reverse();
        lines.join("\n  ")
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.corrupt {
            return f.write_str("was killed by the pool because it wrote garbage into shared memory");
        }
        if let Some(excess) = &self.excess {
            return write!(f, "was killed by the pool because it had {excess}");
        }
        if self.unstoppable {
            return f.write_str("was killed by the pool because another coroutine, which it ran beside, did not stop when it was to");
        }
        match self.status {
            Status::Exited(code) => write!(f, "exited with code {code}"),
            Status::Killed(number) => match signal_name(number) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {number}"),
            },
            Status::Unknown => f.write_str("died, how is unknown (the process that reaps it died too)"),
        }
    }
}

/// The numbers of x86-64 and aarch64.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_last_lines() {
        let told = |stderr: &str| {
            let death = Death {
                pid: Some(1),
                status: Status::Killed(9),
                corrupt: false,
                excess: None,
                unstoppable: false,
                stderr: stderr.into(),
            };
            death.last_lines()
        };
        assert_eq!(told(""), "");
        assert_eq!(told("one\ntwo"), "\nThe last lines of its standard error:\n  one\n  two");
        let many: String = (0..100).map(|number| format!("line {number}\n")).collect();
        assert!(!told(&many).contains("line 87\n") && told(&many).contains("  line 88\n"));
    }

    #[test]
    fn says_how_it_went() {
        let death = |status, corrupt| {
            Death { pid: Some(1), status, corrupt, excess: None, unstoppable: false, stderr: "".into() }
                .to_string()
        };
        assert_eq!(death(Status::Killed(9), false), "was killed by SIGKILL");
        assert_eq!(death(Status::Killed(11), false), "was killed by SIGSEGV");
        assert_eq!(death(Status::Killed(31), false), "was killed by SIGSYS");
        assert_eq!(death(Status::Killed(40), false), "was killed by signal 40");
        assert_eq!(death(Status::Exited(3), false), "exited with code 3");
        assert!(death(Status::Killed(9), true).contains("garbage"));
    }
}
