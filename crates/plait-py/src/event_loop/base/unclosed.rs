//! A transport that nobody has closed, and nobody refers to any more.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::super::core::keep_first;
use super::Transport;
use crate::hot::collected;

/// What all transports do in the same way when they are collected.
pub(in super::super) trait Unclosed: Transport {
    /// Nobody refers to it any more, and no loop watches it: says so if it was
    /// not closed, as asyncio does, and closes the file.
    fn collect(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if !Self::life(slf).is_left() {
            return Ok(());
        }
        let warned = slf.as_any().repr().and_then(|text| {
            collected::warn(
                slf.as_any(),
                &PyString::new(py, &format!("unclosed transport {}", text.to_str()?)),
            )
        });
        let file = {
            let mut life = Self::life(slf);
            (life.closing, life.lost, life.open) = (true, true, false);
            life.file.take()
        };
        let closed = file.map_or(Ok(()), |file| file.call_method0(py, intern!(py, "close")).map(drop));
        keep_first(py, warned, closed.and(Self::on_collected(slf)))
    }
}

impl<T: Transport> Unclosed for T {}
