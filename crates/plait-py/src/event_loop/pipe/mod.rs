//! One direction of bytes over a descriptor that a Python object owns: a
//! pipe, a terminal, a socket used as a pipe.
//!
//! A connection (`transport`) has two directions that end at different times;
//! here the end of the one is the end of all, and what the protocol raises is
//! reported without ending it, as in asyncio.

mod reader;
mod writer;

use std::os::fd::AsRawFd;

use plait_sys::descriptor::duplicate;
use pyo3::prelude::*;

pub(super) use self::reader::ReadPipeTransport;
pub(super) use self::writer::WritePipeTransport;
use super::base::Transport;
use super::core::Owner;
use crate::error::Error;

/// Both directions of a terminal can be given to transports, by one number:
/// the second then watches a number of its own.
fn own_number<T: Transport>(slf: &Bound<'_, T>) -> PyResult<()> {
    let fd = T::life(slf).fd;
    let taken = {
        let core = T::base(slf).event_loop.get().core(slf.py());
        matches!(core.fds.get(fd), Some(Owner::Transport(_)))
    };
    if taken {
        let own = duplicate(fd).map_err(Error::from)?;
        let mut life = T::life(slf);
        life.fd = own.as_raw_fd();
        life.own = Some(own);
    }
    Ok(())
}
