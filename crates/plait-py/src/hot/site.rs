//! Where in the user's program something is submitted: a code object and an
//! offset in it. The line is worked out when somebody wants to know.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::frames;

/// The beginnings of the names of files that only pass a call on: plait's and
/// the standard library's.
static PASSING: PyOnceLock<Vec<String>> = PyOnceLock::new();
/// The last code objects that were found to pass a call on, and not to: most
/// programs submit from few places. References, which nobody else lets go of.
static KNOWN: [AtomicPtr<ffi::PyObject>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// A place in a program.
pub(crate) struct Site {
    code: Py<PyAny>,
    offset: c_int,
}

impl Site {
    /// Where the user's code is at this moment; `None` if this thread runs no
    /// Python code.
    pub(crate) fn here(py: Python<'_>) -> Option<Self> {
        // Relaxed: under the interpreter lock.
        let [passing, wanted] = [KNOWN[0].load(Relaxed), KNOWN[1].load(Relaxed)];
        frames::find_known(py, passing, wanted)
            .or_else(|| frames::find(py, |code, outermost| outermost || !passes_on(code)))
            .map(|(code, offset)| Self { code, offset })
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { code: self.code.clone_ref(py), offset: self.offset }
    }

    /// File and line.
    pub(crate) fn place<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, c_int)> {
        let code = self.code.bind(py);
        // SAFETY: a code object; any offset is allowed.
        let line = unsafe { ffi::PyCode_Addr2Line(code.as_ptr().cast(), self.offset) };
        Ok((code.getattr(intern!(py, "co_filename"))?, line))
    }
}

fn passes_on(code: Borrowed<'_, '_, PyAny>) -> bool {
    // Relaxed: under the interpreter lock.
    if KNOWN[0].load(Relaxed) == code.as_ptr() {
        return true;
    }
    KNOWN[1].load(Relaxed) != code.as_ptr() && learn(code)
}

fn passes_by_name(py: Python<'_>, file: &str) -> bool {
    // Code that nobody wrote: between C and Python in 3.12, and below an
    // `__init__` that the interpreter calls by itself from 3.13 on.
    matches!(file, "<shim>" | "__init__")
        || PASSING.get(py).is_some_and(|passing| passing.iter().any(|start| file.starts_with(start.as_str())))
}

#[cold]
fn learn(code: Borrowed<'_, '_, PyAny>) -> bool {
    let py = code.py();
    let name = code.getattr(intern!(py, "co_filename"));
    let passes = name
        .ok()
        .and_then(|name| name.cast_into::<PyString>().ok())
        .is_some_and(|name| passes_by_name(py, &name.to_string_lossy()));
    let before = KNOWN[usize::from(!passes)].swap(code.to_owned().into_ptr(), Relaxed);
    // SAFETY: a reference that was put in here, or null; nobody has it now.
    drop(unsafe { Bound::from_owned_ptr_or_opt(py, before) });
    passes
}

/// Says which files only pass a call on, by the beginnings of their names. To
/// be called by a function that a function calls.
#[pyfunction]
fn site_passes_through(py: Python<'_>, beginnings: Vec<String>) {
    // The first call counts.
    let _ = PASSING.set(py, beginnings);
    frames::prepare(py);
}

/// File and line where the user's code is that has called this.
#[pyfunction]
fn current_site(py: Python<'_>) -> PyResult<Option<(Bound<'_, PyAny>, c_int)>> {
    Site::here(py).map(|site| site.place(py)).transpose()
}

/// Whether a file only passes a call on.
#[pyfunction]
fn site_passes(py: Python<'_>, file: &str) -> bool {
    passes_by_name(py, file)
}

/// Whether frames are looked at without an object for each.
#[pyfunction]
fn site_is_cheap(py: Python<'_>) -> bool {
    frames::are_known(py)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(site_is_cheap, module)?)?;
    module.add_function(wrap_pyfunction!(current_site, module)?)?;
    module.add_function(wrap_pyfunction!(site_passes, module)?)?;
    module.add_function(wrap_pyfunction!(site_passes_through, module)?)
}
