//! What a thread of this process waits on, seen from outside.
//!
//! `/proc/self/task/TID/syscall` (proc(5)) says `running` of a thread that
//! runs or could run, and of one that sleeps in the kernel the number and the
//! arguments of its system call. Threads of one process may always read it of
//! each other. It is missing where the kernel was built without it, and in some
//! sandboxes. The descriptors in the arguments are the process's own: `fstat`
//! tells what they are. By then the thread may have gone on, and the number
//! may be another file's: each answer is one sample, not a fact.

mod calls;
mod descriptors;

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::pread;
use rustix::thread::{gettid, sched_getcpu};

use crate::error::{Error, Result};
use calls::Call;

/// What a thread was found at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it runs, or would if it had a core.
    Running,
    /// Data or room on a socket, or a new connection.
    Socket,
    /// Time.
    Sleep,
    /// A file or a directory.
    File,
    /// Data or room in a pipe.
    Pipe,
    /// A lock of any kind; where its word lies, 0 if it has none.
    Lock(usize),
    /// The end of another process.
    Process,
    /// Something else.
    Other,
}

/// What is read at most: a number and eight words, in hexadecimal.
const LINE: usize = 256;

/// The kernel's number of the calling thread.
#[must_use]
pub fn own_number() -> u32 {
    gettid().as_raw_nonzero().get().cast_unsigned()
}

/// The core that the calling thread is on: by the next line, perhaps another.
#[must_use]
pub fn own_core() -> usize {
    sched_getcpu()
}

/// One thread of this process.
#[derive(Debug)]
pub struct Thread {
    file: OwnedFd,
    /// The last answer, word for word, and what it meant: a thread that still
    /// waits is not looked into again.
    line: [u8; LINE],
    length: usize,
    meant: Waiting,
}

impl Thread {
    /// The thread with the kernel's number `tid`.
    ///
    /// # Errors
    /// ENOENT where there is no such thread or no such file; EMFILE.
    pub fn open(tid: u32) -> Result<Self> {
        let path = format!("/proc/self/task/{tid}/syscall");
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::new("open(syscall)", errno))?;
        Ok(Self { file, line: [0; LINE], length: 0, meant: Waiting::Running })
    }

    /// What it waits on now.
    ///
    /// # Errors
    /// ESRCH once the thread has ended.
    pub fn waiting(&mut self) -> Result<Waiting> {
        let mut line = [0; LINE];
        let length = pread(&self.file, &mut line, 0).map_err(|errno| Error::new("pread(syscall)", errno))?;
        if line[..length] != self.line[..self.length] {
            (self.line, self.length) = (line, length);
            self.meant = meaning(&line[..length]);
        }
        Ok(self.meant)
    }
}

/// What a line says. One without a system call is of a thread that waits for
/// a page.
fn meaning(line: &[u8]) -> Waiting {
    let line = std::str::from_utf8(line).unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    match words.next() {
        None | Some("running") => Waiting::Running,
        Some(number) => {
            let arguments: Vec<usize> = words
                .filter_map(|word| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok())
                .take(6)
                .collect();
            match (number.parse(), <[usize; 6]>::try_from(arguments)) {
                (Ok(number), Ok(arguments)) => descriptors::resolve(Call::of(number, &arguments)),
                _ => Waiting::Other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::thread::nanosleep;
    use rustix::time::Timespec;

    use crate::futex;

    /// Looks at a thread that does `work` until it is found at `expected`: in
    /// between it can be found in the allocator, or in the channel.
    fn comes_to(expected: Waiting, work: impl FnOnce() + Send + 'static) {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            tell.send(own_number()).unwrap();
            work();
        });
        let tid = told.recv().unwrap();
        let mut thread = Thread::open(tid).unwrap();
        while thread.waiting().unwrap() != expected {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_sleeps() {
        comes_to(Waiting::Sleep, || {
            let _ = nanosleep(&Timespec { tv_sec: 30, tv_nsec: 0 });
        });
    }

    #[test]
    fn a_thread_that_reads_a_socket() {
        let (mut here, there) = UnixStream::pair().unwrap();
        comes_to(Waiting::Socket, move || {
            let _ = here.read(&mut [0]);
        });
        drop(there);
    }

    #[test]
    fn a_thread_that_reads_a_pipe() {
        let (reader, writer) = std::io::pipe().unwrap();
        comes_to(Waiting::Pipe, move || {
            let _ = (&reader).read(&mut [0]);
        });
        drop(writer);
    }

    #[test]
    fn a_thread_that_polls_a_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        comes_to(Waiting::Socket, move || {
            let mut fds = [rustix::event::PollFd::new(&here, rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, None);
        });
        drop(there);
    }

    #[test]
    fn a_thread_that_selects_a_pipe() {
        let (reader, writer) = std::io::pipe().unwrap();
        comes_to(Waiting::Pipe, move || {
            let fd = reader.as_raw_fd();
            // SAFETY: a set of descriptors on this stack, one of which is open.
            unsafe {
                let mut set: libc::fd_set = std::mem::zeroed();
                libc::FD_SET(fd, &raw mut set);
                let none = std::ptr::null_mut();
                libc::select(fd + 1, &raw mut set, none, none, std::ptr::null_mut());
            }
        });
        drop(writer);
    }

    #[test]
    fn a_thread_that_waits_for_sockets_by_epoll() {
        use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create, wait};
        let (here, there) = UnixStream::pair().unwrap();
        let (also, other) = UnixStream::pair().unwrap();
        comes_to(Waiting::Socket, move || {
            let epoll = create(CreateFlags::CLOEXEC).unwrap();
            for socket in [&here, &also] {
                add(&epoll, socket, EventData::new_u64(0), EventFlags::IN).unwrap();
            }
            let mut events = [std::mem::MaybeUninit::uninit(); 1];
            let _ = wait(&epoll, &mut events[..], None);
        });
        drop((there, other));
    }

    #[test]
    fn a_thread_that_sleeps_on_a_word() {
        static WORD: AtomicU32 = AtomicU32::new(0);
        comes_to(Waiting::Lock((&raw const WORD) as usize), || {
            let _ = futex::wait(&WORD, 0, Some(Duration::from_secs(30)), futex::Scope::Process);
        });
    }

    #[test]
    fn a_thread_that_waits_for_a_child() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        comes_to(Waiting::Process, move || {
            let _ = child.wait();
        });
        drop(input);
    }

    #[test]
    fn a_thread_that_runs() {
        static DONE: AtomicU32 = AtomicU32::new(0);
        comes_to(Waiting::Running, || {
            while DONE.load(Relaxed) == 0 {
                std::hint::spin_loop();
            }
        });
        DONE.store(1, Relaxed);
    }

    #[test]
    fn a_thread_that_has_ended() {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(own_number()).unwrap();
            let _ = stopped.recv();
        });
        let tid = told.recv().unwrap();
        let mut seen = Thread::open(tid).unwrap();
        drop(stop);
        thread.join().unwrap();
        // The kernel lets go of a thread after it has told its joiner.
        while seen.waiting().is_ok() {
            std::thread::yield_now();
        }
        assert!(Thread::open(tid).is_err());
    }

    #[test]
    fn lines_that_say_nothing() {
        assert_eq!(meaning(b""), Waiting::Running);
        assert_eq!(meaning(b"running\n"), Waiting::Running);
        assert_eq!(meaning(b"-1 0x7ffc0 0x7f00\n"), Waiting::Other);
        assert_eq!(meaning(b"0 0x0\n"), Waiting::Other);
        assert_eq!(meaning(b"\xff\n"), Waiting::Running);
    }
}
