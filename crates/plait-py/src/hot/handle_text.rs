//! How a handle shows itself, in `repr` and in messages: in asyncio's words.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::handle::Handle;

/// The call that a handle stands for, and where the callback is defined; None
/// once it is cancelled.
fn call(py: Python<'_>, handle: &Handle) -> PyResult<Option<String>> {
    static FORMAT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(call) = handle.call(py)? else { return Ok(None) };
    let format = FORMAT.import(py, "asyncio.format_helpers", "_format_callback_source")?;
    if format.getattr("__kwdefaults__")?.is_none() {
        return format.call1(call)?.extract().map(Some);
    }
    // From 3.13 on it shows arguments in debug mode alone: they may be secret.
    let options = PyDict::new(py);
    options.set_item("debug", handle.is_debug(py))?;
    format.call(call, Some(&options))?.extract().map(Some)
}

/// What a message says of a handle's call.
pub(crate) fn describe(py: Python<'_>, handle: &Handle) -> PyResult<String> {
    Ok(call(py, handle)?.unwrap_or_else(|| "cancelled".to_owned()))
}

/// What `repr` says of a handle that is cancelled or not.
pub(super) fn text(py: Python<'_>, handle: &Handle, cancelled: bool) -> PyResult<String> {
    let mut text = format!("<{}", handle.bind(py).get_type().name()?);
    if cancelled {
        text += " cancelled";
    }
    if handle.is_timer(py) {
        text += &format!(" when={}", handle.when(py).into_pyobject(py)?.repr()?);
    }
    if let Some(call) = call(py, handle)? {
        text += &format!(" {call}");
    }
    if let Some(stack) = handle.source_traceback(py) {
        let frame = stack.bind(py).get_item(-1)?;
        let (file, line) = (frame.get_item(0)?, frame.get_item(1)?);
        text += &format!(" created at {file}:{line}");
    }
    text.push('>');
    Ok(text)
}

/// Cancels a handle. In debug mode it goes on showing what it was, as in
/// asyncio: one may be cancelled by its own call, and be reported as slow.
pub(super) fn cancel(py: Python<'_>, handle: &Handle) -> PyResult<()> {
    if handle.is_cancelled(py) {
        return Ok(());
    }
    if !handle.is_debug(py) {
        handle.cancel(py);
        return Ok(());
    }
    let text = text(py, handle, true).and_then(|text| Ok(text.into_pyobject(py)?));
    handle.cancel(py);
    handle.keep_text(text?);
    Ok(())
}
