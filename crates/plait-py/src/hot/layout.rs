//! Where the interpreter keeps the current context, and a context its
//! variables.
//!
//! Both can be asked for only by copying, which costs more than all the rest
//! of scheduling a callback. The fields are in structs whose layout does not
//! change within a version of CPython but differs from one to the next, so
//! they are looked for once, with contexts that are known: a word that follows
//! two contexts in and out is the field. Where none is found, nothing is
//! shared, and all goes on as without it.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::context;

/// So many bytes of a thread state are looked at: the whole of the smallest
/// one (3.12's; 360 bytes on 3.11, 304 on 3.13).
const THREAD_STATE: usize = 288;

const WORD: usize = size_of::<usize>();

/// Offsets in bytes.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    current: usize,
    variables: usize,
}

impl Layout {
    /// The context that this thread is in, borrowed; null before its first.
    pub(super) fn current(self, _py: Python<'_>) -> *mut ffi::PyObject {
        // SAFETY: attached, so there is a thread state; the field was found
        // in its first `THREAD_STATE` bytes.
        unsafe { ptr::read(ffi::PyThreadState_Get().byte_add(self.current).cast()) }
    }

    /// What tells a context's variables from all others, for as long as a
    /// context has them: the tree that holds them never changes.
    ///
    /// # Safety
    /// `context` is a live `Context`.
    pub(super) unsafe fn variables(self, context: *mut ffi::PyObject) -> *mut c_void {
        // SAFETY: the caller's; the field was found within the object.
        unsafe { ptr::read(context.byte_add(self.variables).cast()) }
    }

    /// Looks for the two fields.
    pub(super) fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        // SAFETY: attached; new references, or null with an exception set.
        let owned = |object| unsafe { Bound::from_owned_ptr_or_err(py, object) };
        let outside = words_of_thread();
        let mut current: Vec<usize> = (0..THREAD_STATE / WORD).collect();
        let mut variables: Option<Vec<usize>> = None;
        for _ in 0..2 {
            // SAFETY: attached; a name that lives for as long as the call.
            let (context, variable) = unsafe {
                let variable = ffi::PyContextVar_New(c"plait".as_ptr(), ptr::null_mut());
                (owned(ffi::PyContext_New())?, owned(variable)?)
            };
            let inside = context::enter(py, context.as_unbound(), || {
                // SAFETY: a context variable, and a live object.
                owned(unsafe { ffi::PyContextVar_Set(variable.as_ptr(), context.as_ptr()) })?;
                Ok(words_of_thread())
            })?;
            let address = context.as_ptr() as usize;
            current.retain(|&word| inside[word] == address && outside[word] != address);
            let found = words_of(&context, tree(&context));
            variables = Some(match variables {
                None => found,
                Some(before) => before.into_iter().filter(|word| found.contains(word)).collect(),
            });
        }
        // The variable is set to its context: a cycle, which the collector ends.
        Ok(match (&current[..], variables.as_deref()) {
            (&[current], Some(&[variables])) => {
                Some(Self { current: current * WORD, variables: variables * WORD })
            }
            _ => None,
        })
    }
}

fn words_of_thread() -> [usize; THREAD_STATE / WORD] {
    // SAFETY: attached, so there is a thread state, which is at least so
    // large; any word of it can be looked at as a number.
    unsafe { ptr::read(ffi::PyThreadState_Get().cast()) }
}

/// The words of an object, behind its header, that are `value`.
fn words_of(object: &Bound<'_, PyAny>, value: usize) -> Vec<usize> {
    // SAFETY: a live object without items is as large as its type says.
    let words = unsafe {
        let size = (*ffi::Py_TYPE(object.as_ptr())).tp_basicsize.cast_unsigned();
        std::slice::from_raw_parts(object.as_ptr().cast::<usize>(), size / WORD)
    };
    let header = size_of::<ffi::PyObject>() / WORD;
    (header..words.len()).filter(|&word| words[word] == value).collect()
}

/// What a context refers to beside other contexts.
fn tree(context: &Bound<'_, PyAny>) -> usize {
    unsafe extern "C" fn note(object: *mut ffi::PyObject, found: *mut c_void) -> c_int {
        // SAFETY: called by the traversal below, with its argument.
        unsafe { found.cast::<Vec<*mut ffi::PyObject>>().as_mut() }.map_or(1, |found| {
            found.push(object);
            0
        })
    }
    let mut found: Vec<*mut ffi::PyObject> = Vec::new();
    // SAFETY: a live object of a type that takes part in garbage collection;
    // visitors may do anything but change the object.
    unsafe {
        if let Some(traverse) = (*ffi::Py_TYPE(context.as_ptr())).tp_traverse {
            traverse(context.as_ptr(), note, (&raw mut found).cast());
        }
        found.retain(|&object| ffi::Py_TYPE(object) != ffi::Py_TYPE(context.as_ptr()));
    }
    match found[..] {
        [tree] => tree as usize,
        _ => 0,
    }
}
