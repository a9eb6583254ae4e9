//! Memory that processes share, without a name.
//!
//! A memfd is reached only through its descriptor, so nothing is left when
//! the last process that holds it is gone, however it went. What the code
//! relies on, each checkable in memfd_create(2) and fcntl(2):
//!
//! - `F_SEAL_SHRINK` and `F_SEAL_GROW` fix the size: a peer cannot cut the
//!   file under our mapping, which would turn an access into SIGBUS.
//!   `F_SEAL_SEAL` fixes the seals.
//! - `MFD_NOEXEC_SEAL` (Linux 6.3) says that it never becomes a program; an
//!   older kernel refuses the flag with EINVAL, and then nobody asks for it.
//! - Pages are zero until they are written.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::io::{Errno, pread, pwrite};

use crate::error::{Error, Result};
use crate::mapping::{Access, Mapping};

/// A memfd of a fixed size, mapped for reading and writing.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    mapping: Mapping,
}

/// Makes a memfd of `len` zero bytes that no executed program inherits and
/// whose size is fixed.
pub(crate) fn sealed(name: &str, len: usize) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }
    .map_err(|errno| Error::new("memfd_create", errno))?;
    ftruncate(&fd, len as u64).map_err(|errno| Error::new("ftruncate(memfd)", errno))?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|errno| Error::new("fcntl(F_ADD_SEALS)", errno))?;
    Ok(fd)
}

/// The size of what another process has made by [`sealed`].
///
/// # Errors
/// EINVAL for a descriptor that is not such a memfd.
pub(crate) fn sealed_len(fd: &OwnedFd) -> Result<usize> {
    let seals = fcntl_get_seals(fd).map_err(|errno| Error::new("fcntl(F_GET_SEALS)", errno))?;
    let stat = fstat(fd).map_err(|errno| Error::new("fstat(memfd)", errno))?;
    match usize::try_from(stat.st_size) {
        Ok(len) if seals.contains(SealFlags::SHRINK | SealFlags::GROW) => Ok(len),
        _ => Err(Error::new("map(memfd)", Errno::INVAL)),
    }
}

impl SharedMemory {
    /// Makes `len` zero bytes that no executed program inherits. `name` is
    /// for people who read `/proc/PID/maps`.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM; EINVAL for a length of 0.
    pub fn create(name: &str, len: usize) -> Result<Self> {
        let fd = sealed(name, len)?;
        Self::map_sealed(fd, len)
    }

    /// Maps what another process has made by [`create`](Self::create).
    ///
    /// # Errors
    /// EINVAL for a descriptor that is not a memfd of exactly `len` bytes,
    /// sealed against another size; ENOMEM.
    pub fn map(fd: OwnedFd, len: usize) -> Result<Self> {
        if sealed_len(&fd)? != len {
            return Err(Error::new("map(memfd)", Errno::INVAL));
        }
        Self::map_sealed(fd, len)
    }

    fn map_sealed(fd: OwnedFd, len: usize) -> Result<Self> {
        let mapping = Mapping::new(&fd, 0, len, Access::Shared)?;
        Ok(Self { fd, mapping })
    }

    /// The first byte: aligned to a page, valid for [`len`](Self::len) bytes
    /// as long as this value lives. Other processes may change any of them at
    /// any time.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    /// How many bytes there are; never 0.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a nameless file of these bytes, for a process that is to read them.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn file_of(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC).map_err(|errno| Error::new("memfd_create", errno))?;
    let mut done = 0;
    while done < bytes.len() {
        // `pwrite` leaves the position at the start, for the reader.
        done +=
            pwrite(&fd, &bytes[done..], done as u64).map_err(|errno| Error::new("pwrite(memfd)", errno))?;
    }
    Ok(fd)
}

/// The text of a nameless file that another process has made, up to `most`
/// bytes of it.
///
/// # Errors
/// EBADF, EIO.
pub fn text_of(file: &OwnedFd, most: usize) -> Result<String> {
    let (mut text, mut done) = (vec![0; most], 0);
    while done < most {
        match pread(file, &mut text[done..], done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(errno) => return Err(Error::new("pread(memfd)", errno)),
        }
    }
    Ok(String::from_utf8_lossy(&text[..done]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_are_one_memory() {
        let first = SharedMemory::create("plait-test", 4096).unwrap();
        let second = SharedMemory::map(first.as_fd().try_clone_to_owned().unwrap(), 4096).unwrap();
        // SAFETY: both mappings are alive and 4096 bytes long, and nobody else
        // uses them.
        unsafe { first.base().add(4095).write_volatile(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { second.base().add(4095).read_volatile() }, 7);
    }

    #[test]
    fn a_file_is_read_from_its_start() {
        let mut text = String::new();
        let mut file = std::fs::File::from(file_of("plait-test", b"settings").unwrap());
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert_eq!(text, "settings");
    }

    #[test]
    fn a_text_is_read_up_to_a_bound() {
        let file = file_of("plait-test", b"the reason").unwrap();
        assert_eq!(text_of(&file, 100).unwrap(), "the reason");
        assert_eq!(text_of(&file, 3).unwrap(), "the");
    }

    #[test]
    fn the_size_is_fixed() {
        let memory = SharedMemory::create("plait-test", 4096).unwrap();
        assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&memory, 8192), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
    }

    #[test]
    fn refuses_what_could_change_its_size_or_has_another() {
        let plain = memfd_create("plait-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&plain, 4096).unwrap();
        assert_eq!(SharedMemory::map(plain, 4096).unwrap_err().errno(), Errno::INVAL);
        let sealed = SharedMemory::create("plait-test", 4096).unwrap();
        let fd = sealed.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(SharedMemory::map(fd, 8192).unwrap_err().errno(), Errno::INVAL);
        let pipe = rustix::pipe::pipe().unwrap().0;
        assert!(SharedMemory::map(pipe, 4096).is_err());
    }
}
