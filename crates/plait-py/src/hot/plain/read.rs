//! The reader. It checks what it reads: a worker that went mad must not take
//! its parent along.

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

use super::{
    BYTES, CALL, COMPLEX, DEPTH, DICT, FALSE, FLOAT, INT_1, INT_4, INT_8, LIST, MEMO, NONE, Object,
    REFERENCE, STR_1, STR_2, STR_4, TRUE, TUPLE, VALUE,
};

/// Makes the value again that `write_value` wrote.
pub(crate) fn read_value<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { py, bytes, memo: Vec::new() };
    let value = if reader.byte() == Some(VALUE) { reader.item(0) } else { None };
    value.filter(|_| reader.bytes.is_empty()).ok_or_else(|| garbage(py))
}

/// So many arguments are kept without another allocation.
const FEW: usize = 6;

/// The arguments of a call.
pub(crate) struct Arguments<'py> {
    few: [MaybeUninit<Object>; FEW + 1],
    /// In place of `few`, if they are more.
    many: Vec<Object>,
    count: usize,
    names: Option<Bound<'py, PyTuple>>,
}

impl<'py> Arguments<'py> {
    fn items(&mut self) -> *mut Object {
        if self.many.is_empty() { self.few.as_mut_ptr().cast() } else { self.many.as_mut_ptr() }
    }

    fn push(&mut self, argument: Bound<'py, PyAny>) {
        self.count += 1;
        let place = self.count;
        // SAFETY: there is room for all that were announced, and one before.
        unsafe { self.items().add(place).write(argument.into_ptr()) };
    }

    /// Calls `function` with them.
    pub(crate) fn call(mut self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let names = self.names.as_ref().map_or(0, |names| names.len());
        let positional = (self.count - names) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let kwnames = self.names.as_ref().map_or(ptr::null_mut(), Bound::as_ptr);
        // SAFETY: so many live objects, which we hold until the call is over;
        // the place before them is free for the callee to use. The answer is
        // a new reference, or null with an exception set.
        unsafe {
            let start = self.items().add(1);
            let answer = ffi::PyObject_Vectorcall(function.as_ptr(), start, positional, kwnames);
            Bound::from_owned_ptr_or_err(function.py(), answer)
        }
    }
}

impl Drop for Arguments<'_> {
    fn drop(&mut self) {
        let (count, items) = (self.count, self.items());
        for place in 1..=count {
            // SAFETY: written by `push`, and ours; the interpreter lock is
            // held, for who made this has the token.
            unsafe { ffi::Py_DECREF(items.add(place).read()) };
        }
    }
}

/// Reads the arguments that `write_call` wrote.
pub(crate) fn read_call<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Arguments<'py>> {
    let mut reader = Reader { py, bytes, memo: Vec::new() };
    reader.call().filter(|_| reader.bytes.is_empty()).ok_or_else(|| garbage(py))
}

/// The exception that is set, or the one for bytes that no writer of ours
/// wrote.
fn garbage(py: Python<'_>) -> PyErr {
    PyErr::take(py)
        .unwrap_or_else(|| PyValueError::new_err("the other process wrote garbage in place of a plain value"))
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    /// What is left.
    bytes: &'a [u8],
    /// What has a number. Held: what garbage makes of them may let go of one.
    memo: Vec<Bound<'py, PyAny>>,
}

impl<'a, 'py> Reader<'a, 'py> {
    /// The next object; `None` for garbage, or with an exception set.
    fn item(&mut self, depth: u32) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let tag = self.byte()?;
        let memo = tag & MEMO != 0;
        let made = match tag & !MEMO {
            // SAFETY: makes a new reference of numbers, or of bytes that are
            // there; null with an exception set.
            INT_1 => unsafe { ffi::PyLong_FromLong(self.byte()?.cast_signed().into()) },
            // SAFETY: as above.
            INT_4 => unsafe { ffi::PyLong_FromLong(i32::from_ne_bytes(self.array()?).into()) },
            // SAFETY: as above.
            INT_8 => unsafe { ffi::PyLong_FromLongLong(i64::from_ne_bytes(self.array()?)) },
            // SAFETY: as above.
            FLOAT => unsafe { ffi::PyFloat_FromDouble(f64::from_ne_bytes(self.array()?)) },
            NONE => return Some(py.None().into_bound(py)),
            FALSE => return Some(PyBool::new(py, false).to_owned().into_any()),
            TRUE => return Some(PyBool::new(py, true).to_owned().into_any()),
            STR_1 => self.text(1)?,
            STR_2 => self.text(2)?,
            STR_4 => self.text(4)?,
            BYTES => {
                let size = self.size()?;
                let bytes = self.take(size)?;
                // SAFETY: as above.
                unsafe { ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len().cast_signed()) }
            }
            COMPLEX => {
                let (real, imag) = (f64::from_ne_bytes(self.array()?), f64::from_ne_bytes(self.array()?));
                // SAFETY: as above.
                unsafe { ffi::PyComplex_FromCComplex(ffi::Py_complex { real, imag }) }
            }
            TUPLE => return self.tuple(memo, depth),
            LIST => return self.list(memo, depth),
            DICT => return self.dict(memo, depth),
            REFERENCE => {
                let number = usize::from(self.byte()?);
                return self.memo.get(number).cloned();
            }
            _ => return None,
        };
        // SAFETY: a new reference, or null.
        let made = unsafe { Bound::from_owned_ptr_or_opt(py, made) }?;
        self.remember(memo, &made);
        Some(made)
    }

    fn text(&mut self, kind: usize) -> Option<Object> {
        let length = self.size()?;
        let bytes = self.take(length.checked_mul(kind)?)?;
        // The characters need not lie where their size asks for; then they
        // are moved to where they do.
        let mut moved = Vec::<u32>::new();
        let data = if kind == 1 || bytes.as_ptr().addr().is_multiple_of(kind) {
            bytes.as_ptr()
        } else {
            moved.resize(bytes.len().div_ceil(4), 0);
            // SAFETY: as many bytes as there are, into memory of at least
            // that size, which is ours alone.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), moved.as_mut_ptr().cast(), bytes.len()) };
            moved.as_ptr().cast()
        };
        if kind == 4 {
            // SAFETY: aligned, and `length` of them.
            let points = unsafe { std::slice::from_raw_parts(data.cast::<u32>(), length) };
            // The interpreter does not check.
            if points.iter().any(|&point| point > 0x0010_FFFF) {
                return None;
            }
        }
        // SAFETY: so many characters of this size, aligned to it.
        Some(unsafe { ffi::PyUnicode_FromKindAndData(kind as _, data.cast(), length.cast_signed()) })
    }

    fn tuple(&mut self, memo: bool, depth: u32) -> Option<Bound<'py, PyAny>> {
        let length = self.length(depth, 1)?;
        // SAFETY: a new reference, or null with an exception set.
        let tuple = unsafe { Bound::from_owned_ptr_or_opt(self.py, ffi::PyTuple_New(length.cast_signed())) }?;
        for index in 0..length {
            let item = self.item(depth + 1)?;
            // SAFETY: a tuple that only we fill, below its size; it takes the
            // reference over.
            unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item.into_ptr()) };
        }
        self.remember(memo, &tuple);
        Some(tuple)
    }

    fn list(&mut self, memo: bool, depth: u32) -> Option<Bound<'py, PyAny>> {
        let length = self.length(depth, 1)?;
        if memo {
            // Others may refer to it before it is full: it grows.
            // SAFETY: a new reference, or null with an exception set.
            let list = unsafe { Bound::from_owned_ptr_or_opt(self.py, ffi::PyList_New(0)) }?;
            self.remember(true, &list);
            for _ in 0..length {
                let item = self.item(depth + 1)?;
                // SAFETY: a list and an object, both alive.
                if unsafe { ffi::PyList_Append(list.as_ptr(), item.as_ptr()) } != 0 {
                    return None;
                }
            }
            return Some(list);
        }
        // SAFETY: a new reference, or null with an exception set.
        let list = unsafe { Bound::from_owned_ptr_or_opt(self.py, ffi::PyList_New(length.cast_signed())) }?;
        for index in 0..length {
            let item = self.item(depth + 1)?;
            // SAFETY: a list that only we fill, below its size; it takes the
            // reference over.
            unsafe { ffi::PyList_SET_ITEM(list.as_ptr(), index.cast_signed(), item.into_ptr()) };
        }
        Some(list)
    }

    fn dict(&mut self, memo: bool, depth: u32) -> Option<Bound<'py, PyAny>> {
        let length = self.length(depth, 2)?;
        // SAFETY: a new reference, or null with an exception set.
        let dict = unsafe { Bound::from_owned_ptr_or_opt(self.py, ffi::PyDict_New()) }?;
        self.remember(memo, &dict);
        for _ in 0..length {
            let (key, value) = (self.item(depth + 1)?, self.item(depth + 1)?);
            // SAFETY: a dict and two objects, all alive. Garbage can be a key
            // without a hash: an exception is set.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } != 0 {
                return None;
            }
        }
        Some(dict)
    }

    fn call(&mut self) -> Option<Arguments<'py>> {
        let [kind, positional, keywords] = self.array()?;
        if kind != CALL {
            return None;
        }
        let (positional, keywords) = (usize::from(positional), usize::from(keywords));
        let count = positional + keywords;
        let mut arguments = Arguments {
            few: [const { MaybeUninit::uninit() }; FEW + 1],
            many: if count > FEW { vec![ptr::null_mut(); count + 1] } else { Vec::new() },
            count: 0,
            names: None,
        };
        for _ in 0..positional {
            arguments.push(self.item(1)?);
        }
        if keywords > 0 {
            let mut names = Vec::with_capacity(keywords);
            for _ in 0..keywords {
                let name = self.item(1)?;
                // A callee relies on it.
                // SAFETY: a live object.
                if unsafe { ffi::Py_TYPE(name.as_ptr()) } != &raw mut ffi::PyUnicode_Type {
                    return None;
                }
                names.push(name);
                arguments.push(self.item(1)?);
            }
            arguments.names = Some(PyTuple::new(self.py, names).ok()?);
        }
        Some(arguments)
    }

    fn remember(&mut self, memo: bool, object: &Bound<'py, PyAny>) {
        if memo {
            self.memo.push(object.clone());
        }
    }

    /// How many items a container has: no more than there are bytes for, so
    /// that garbage takes no memory.
    fn length(&mut self, depth: u32, least: usize) -> Option<usize> {
        let length = self.size()?;
        (depth <= DEPTH && length <= self.bytes.len() / least).then_some(length)
    }

    fn size(&mut self) -> Option<usize> {
        match self.byte()? {
            u8::MAX => Some(usize::from_ne_bytes(self.array()?)),
            short => Some(short.into()),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (&first, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(first)
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.bytes.split_at_checked(size)?;
        self.bytes = rest;
        Some(first)
    }
}
