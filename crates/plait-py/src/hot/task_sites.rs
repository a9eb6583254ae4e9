//! Where the tasks of our loops were created, for what is said of one that
//! fails and that nobody asks.
//!
//! A task has no room for it but a dictionary, which would cost it a tenth of
//! its time. This table costs a hundredth: one place for each of the last few
//! thousand tasks, by address. A task whose place another has taken has none,
//! and what an ended task has left is overwritten by the next at its address.

use pyo3::prelude::*;

use super::cell::GilCell;
use super::site::Site;

/// A power of two.
const PLACES: usize = 4096;

struct Entry {
    task: usize,
    site: Site,
}

static TABLE: GilCell<Vec<Option<Entry>>> = GilCell::new(Vec::new());

/// Notes where `task` is created: here.
pub(super) fn note(task: &Bound<'_, PyAny>) {
    let py = task.py();
    let Some(site) = Site::here(py) else { return };
    let task = task.as_ptr() as usize;
    let mut table = TABLE.borrow(py);
    if table.is_empty() {
        table.resize_with(PLACES, || None);
    }
    let before = table[place(task)].replace(Entry { task, site });
    drop(table);
    // Outside the borrow: it lets go of a code object.
    drop(before);
}

/// File and line where `task` was created, if that is known.
#[pyfunction]
fn task_site<'py>(task: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, i32)>> {
    let py = task.py();
    let address = task.as_ptr() as usize;
    let site = match TABLE.borrow(py).get(place(address)) {
        Some(Some(entry)) if entry.task == address => Some(entry.site.clone_ref(py)),
        _ => None,
    };
    site.map(|site| site.place(py)).transpose()
}

/// Addresses are multiples of 16, and of tasks that live together far apart by
/// few different steps: multiplied, all their bits count.
fn place(address: usize) -> usize {
    const GOLDEN: usize = 0x9e37_79b9_7f4a_7c15;
    (address >> 4).wrapping_mul(GOLDEN) >> (usize::BITS - PLACES.trailing_zeros())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(task_site, module)?)
}
