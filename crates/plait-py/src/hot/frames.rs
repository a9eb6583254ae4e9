//! The frames of this thread's Python code, without an object for each.
//!
//! A frame object is made when somebody asks for one, and asking from every
//! `submit` cost a plain call to a thread a fifth of its time (115 ns of 590).
//! What is wanted is in the interpreter's own frames, whose layout does not
//! change within a version of CPython but differs from one to the next: the
//! fields are looked for once, in frames that are known. Where they are not
//! found, frame objects are made.

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Of a thread state, and of a frame, so many words are looked at: no version
/// has less.
const THREAD_STATE: usize = 36;
const FRAME: usize = 8;
/// The word of a frame object that points to the interpreter's frame, behind
/// the header and the frame object before it.
const OF_OBJECT: usize = 3;

static LAYOUT: PyOnceLock<Option<Layout>> = PyOnceLock::new();

/// Places of words.
#[derive(Clone, Copy)]
struct Layout {
    /// The frame that runs, from the thread state on.
    current: [Option<usize>; 2],
    code: usize,
    previous: usize,
    instruction: usize,
}

/// Looks at what Python code this thread runs, innermost first, until `pick`
/// takes one: then its code object and the offset of its instruction.
pub(super) fn find(
    py: Python<'_>,
    mut pick: impl FnMut(Borrowed<'_, '_, PyAny>, bool) -> bool,
) -> Option<(Py<PyAny>, c_int)> {
    let Some(&Some(layout)) = LAYOUT.get(py) else { return by_objects(py, pick) };
    let mut frame = layout.current();
    while !frame.is_null() {
        // SAFETY: a frame of this thread, which is attached and so does not
        // leave it; the fields were found in frames. What runs is a code
        // object, or something else in the frames between C and Python; the
        // lowest bits are not part of the address.
        let (code, previous, instruction) = unsafe {
            (
                ptr::read(frame.add(layout.code)) & !3,
                ptr::read(frame.add(layout.previous)) as *const usize,
                ptr::read(frame.add(layout.instruction)),
            )
        };
        // SAFETY: the frame holds it.
        let code = unsafe { Borrowed::from_ptr_or_opt(py, code as *mut ffi::PyObject) };
        if let Some(code) = code
            && is_code(code)
            && pick(code, previous.is_null())
        {
            let offset = instruction.wrapping_sub(first_instruction(code));
            return Some((code.to_owned().unbind(), c_int::try_from(offset).unwrap_or(-1)));
        }
        frame = previous;
    }
    None
}

/// As `find`, of the first frame whose code is not `passing`, if that one's is
/// `wanted`. Most are found in this way, in a few instructions for each frame.
#[inline]
pub(super) fn find_known(
    py: Python<'_>,
    passing: *mut ffi::PyObject,
    wanted: *mut ffi::PyObject,
) -> Option<(Py<PyAny>, c_int)> {
    let Some(&Some(layout)) = LAYOUT.get(py) else { return None };
    let mut frame = layout.current();
    while !frame.is_null() {
        // SAFETY: as in `find`.
        let code = unsafe { ptr::read(frame.add(layout.code)) & !3 } as *mut ffi::PyObject;
        if code == wanted && !code.is_null() {
            // SAFETY: as in `find`; the frame holds its code.
            let (code, instruction) = unsafe {
                (Borrowed::from_ptr(py, code).to_owned(), ptr::read(frame.add(layout.instruction)))
            };
            let offset = instruction.wrapping_sub(first_instruction(code.as_borrowed()));
            return Some((code.unbind(), c_int::try_from(offset).unwrap_or(-1)));
        }
        if code != passing {
            return None;
        }
        // SAFETY: as in `find`.
        frame = unsafe { ptr::read(frame.add(layout.previous)) } as *const usize;
    }
    None
}

/// As `find`, with an object for each frame.
fn by_objects(
    py: Python<'_>,
    mut pick: impl FnMut(Borrowed<'_, '_, PyAny>, bool) -> bool,
) -> Option<(Py<PyAny>, c_int)> {
    let mut frame = current_object(py)?;
    loop {
        let (code, back) = (code_of(&frame), back_of(&frame));
        if pick(code.as_borrowed(), back.is_none()) {
            return Some((code.unbind(), offset_of(&frame)));
        }
        frame = back?;
    }
}

/// Looks for the fields. To be called by a function that a function calls.
pub(super) fn prepare(py: Python<'_>) {
    LAYOUT.get_or_init(py, || Layout::find(py));
}

/// Whether the fields were found.
pub(super) fn are_known(py: Python<'_>) -> bool {
    LAYOUT.get(py).is_some_and(Option::is_some)
}

impl Layout {
    fn find(py: Python<'_>) -> Option<Self> {
        let object = current_object(py)?;
        let (code, caller) = (code_of(&object), back_of(&object)?);
        let (frame, caller) = (inner(&object), inner(&caller));
        let instruction = first_instruction(code.as_borrowed()) + usize::try_from(offset_of(&object)).ok()?;
        // SAFETY: a live frame, which is at least so large; any word of it can
        // be looked at as a number.
        let words: [usize; FRAME] = unsafe { ptr::read(frame as *const _) };
        let only = |wanted: &dyn Fn(usize) -> bool| {
            let mut places = (0..FRAME).filter(|&place| wanted(words[place]));
            places.next().filter(|_| places.next().is_none())
        };
        let layout = Self {
            current: current_place(py, frame)?,
            code: only(&|word| word & !3 == code.as_ptr() as usize)?,
            previous: only(&|word| word == caller)?,
            instruction: only(&|word| word == instruction)?,
        };
        (layout.current() as usize == frame).then_some(layout)
    }

    /// The frame that runs; null if there is none.
    fn current(self) -> *const usize {
        // SAFETY: attached, so there is a thread state; the words lead from it
        // to the frame.
        unsafe {
            let mut place = ffi::PyThreadState_Get().cast::<usize>().cast_const();
            for step in self.current.into_iter().flatten() {
                place = ptr::read(place.add(step)) as *const usize;
            }
            place
        }
    }
}

/// The way from a thread state to the frame that runs.
fn current_place(py: Python<'_>, frame: usize) -> Option<[Option<usize>; 2]> {
    let version = py.version_info();
    if version >= (3, 13) {
        // SAFETY: attached, so there is a thread state, which is at least so
        // large; any word of it can be looked at as a number.
        let words: [usize; THREAD_STATE] = unsafe { ptr::read(ffi::PyThreadState_Get().cast()) };
        let mut places = (0..THREAD_STATE).filter(|&place| words[place] == frame);
        let place = places.next().filter(|_| places.next().is_none())?;
        return Some([Some(place), None]);
    }
    // A struct on the C stack is in between, see `struct _ts` and `_PyCFrame`
    // in `cpython/pystate.h`: the same in all releases of a version.
    Some([Some(7), Some(usize::from(version < (3, 12)))])
}

fn is_code(object: Borrowed<'_, '_, PyAny>) -> bool {
    // SAFETY: a live object; the type of code objects lives for ever.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyCode_Type }
}

/// Where the instructions of a code object begin.
fn first_instruction(code: Borrowed<'_, '_, PyAny>) -> usize {
    // SAFETY: the type lives for ever. Instructions are a code object's items,
    // and lie behind its fields.
    let size = unsafe { ffi::PyCode_Type.tp_basicsize };
    code.as_ptr() as usize + size.cast_unsigned()
}

/// The frame of the interpreter that an object stands for.
fn inner(frame: &Bound<'_, PyAny>) -> usize {
    // SAFETY: a frame object, which has this word in all versions.
    unsafe { ptr::read(frame.as_ptr().cast::<usize>().add(OF_OBJECT)) }
}

fn current_object(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: attached, so there is a thread state; a new reference or null,
    // without an exception.
    unsafe {
        let frame = ffi::PyThreadState_GetFrame(ffi::PyThreadState_Get());
        Bound::from_owned_ptr_or_opt(py, frame.cast())
    }
}

fn code_of<'py>(frame: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    // SAFETY: a frame object; a new reference, never null.
    unsafe { Bound::from_owned_ptr(frame.py(), ffi::PyFrame_GetCode(frame.as_ptr().cast()).cast()) }
}

fn back_of<'py>(frame: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: a frame object; a new reference, or null at the outermost,
    // without an exception.
    unsafe {
        let back = ffi::PyFrame_GetBack(frame.as_ptr().cast());
        Bound::from_owned_ptr_or_opt(frame.py(), back.cast())
    }
}

fn offset_of(frame: &Bound<'_, PyAny>) -> c_int {
    // SAFETY: a frame object.
    unsafe { ffi::PyFrame_GetLasti(frame.as_ptr().cast()) }
}
