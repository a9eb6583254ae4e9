//! Writing to a descriptor that other programs share, standard error say,
//! without ever waiting for those who read it.
//!
//! The mode of an open file description is everybody's who shares it, so ours
//! cannot be "do not block". What is done instead depends on what it is:
//!
//! - a socket takes the wish with the call (`MSG_DONTWAIT`);
//! - a pipe or a terminal is opened anew by way of `/proc/self/fd`, for one
//!   write: another description of the same pipe, whose mode is ours alone.
//!   Where that is refused (`su` leaves one the terminal of another user) the
//!   kernel is asked for room first, and no more is written than fits: another
//!   writer can still be faster, and then we wait with it;
//! - a file never makes anybody wait, and has to be written by way of the
//!   shared description, whose position says where.

use std::os::fd::RawFd;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::write as sys_write;

use crate::error::{Error, Result};
use crate::pipe;
use crate::raw::borrow;
use crate::stream::{self, attempt};

/// Writes as much of `data` as there is room for; `None` if there is none.
///
/// # Errors
/// EPIPE if nobody reads it any more, EBADF if it is closed, and their like.
/// The signal that comes with EPIPE is ignored by Python unless the program
/// changed that.
pub fn write(fd: RawFd, data: &[u8]) -> Result<Option<usize>> {
    let stat = borrow(fd).and_then(fstat).map_err(|errno| Error::new("fstat", errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => stream::send(fd, data),
        FileType::Fifo | FileType::CharacterDevice => {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            match open(format!("/proc/self/fd/{fd}"), flags, Mode::empty()) {
                Ok(own) => attempt("write", || sys_write(&own, data)),
                Err(_) => pipe::write(fd, data),
            }
        }
        _ => attempt("write", || sys_write(borrow(fd)?, data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn fill(fd: RawFd) -> usize {
        let (chunk, mut sent) = (vec![7; 100_000], 0);
        while let Some(count) = write(fd, &chunk).unwrap() {
            sent += count;
        }
        sent
    }

    #[test]
    fn a_pipe_that_blocks_does_not_block_here_and_blocks_still() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        assert!(fill(writer.as_raw_fd()) >= 4096);
        assert!(crate::descriptor::blocks(writer.as_raw_fd()).unwrap());
        let mut file = std::fs::File::from(reader);
        let mut buffer = [0; 8192];
        file.read_exact(&mut buffer).unwrap();
        assert!(buffer.iter().all(|&byte| byte == 7));
        assert!(write(writer.as_raw_fd(), b"x").unwrap().is_some());
    }

    #[test]
    fn a_socket_does_not_block() {
        let (one, mut other) = UnixStream::pair().unwrap();
        assert!(fill(one.as_raw_fd()) > 0);
        let mut buffer = [0; 10];
        other.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, [7; 10]);
    }

    #[test]
    fn a_file_is_written_where_the_others_are() {
        let path = std::env::temp_dir().join(format!("plait-aside-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        let shared = file.try_clone().unwrap();
        assert_eq!(write(file.as_raw_fd(), b"one ").unwrap(), Some(4));
        assert_eq!(write(shared.as_raw_fd(), b"two").unwrap(), Some(3));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_that_nobody_reads_is_an_error() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reader);
        assert_eq!(write(writer.as_raw_fd(), b"x").unwrap_err().errno(), Errno::PIPE);
        assert_eq!(write(-1, b"x").unwrap_err().errno(), Errno::BADF);
    }
}
