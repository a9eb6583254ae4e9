//! The writer. It borrows everything and allocates no Python object, so no
//! Python code runs and nothing changes under its hands.

use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{
    BYTES, CALL, COMPLEX, DEPTH, DICT, FALSE, FLOAT, INT_1, INT_4, INT_8, LIST, MEMO, NONE, NUMBERED, Object,
    REFERENCE, STR_1, STR_2, STR_4, TRUE, TUPLE, VALUE,
};

/// A text or bytes longer than this is not plain: large ones travel by the
/// arena, and are not copied twice.
const LONGEST: usize = 16 * 1024;
/// Neither is a message longer than this.
const LARGEST: usize = 256 * 1024;

/// Adds `value` to `out`. False if it is not plain: `out` is as it was.
pub(crate) fn write_value(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut writer = Writer::new(out);
    writer.out.push(VALUE);
    // SAFETY: a live object, and the interpreter lock is held.
    let plain = unsafe { writer.item(value.as_ptr(), 0) };
    if !plain {
        out.truncate(start);
    }
    plain
}

/// Adds the arguments of a call to `out`, as vectorcall passes them: `names`
/// are those of the last. False if they are not plain: `out` is as it was.
///
/// # Safety
/// `args` are alive, and held by somebody else while this runs.
pub(crate) unsafe fn write_call(
    args: &[Object],
    names: Option<Borrowed<'_, '_, PyTuple>>,
    _py: Python<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    let mut writer = Writer::new(out);
    // SAFETY: the caller's, and the interpreter lock is held.
    let plain = unsafe { writer.call(args, names.map_or(ptr::null_mut(), |names| names.as_ptr())) };
    if !plain {
        out.truncate(start);
    }
    plain
}

pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Who has which number: the first `numbered` are.
    numbers: [MaybeUninit<Object>; NUMBERED],
    numbered: usize,
    /// The tuples that are being written: one that is in itself is pickle's.
    open: [MaybeUninit<Object>; DEPTH as usize + 1],
    opened: usize,
    /// Where the message ends at the latest.
    end: usize,
    /// Whether an object with one reference occurs once. From Python 3.14 on
    /// the interpreter passes arguments that it has borrowed from variables.
    counts: bool,
}

/// Whether some argument is passed twice, or there are too many to compare.
fn has_twice(args: &[Object]) -> bool {
    const FEW: usize = 8;
    args.len() > FEW || args.iter().enumerate().any(|(index, arg)| args[..index].contains(arg))
}

/// What the look for an object that may have been written already found.
enum Seen {
    /// It was: the reference is written.
    Before,
    /// It was not, and has a number from its end on if `MEMO`, none if 0.
    First(u8),
    /// There are too many to look among.
    Tangled,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        let end = out.len() + LARGEST;
        Self {
            out,
            numbers: [const { MaybeUninit::uninit() }; NUMBERED],
            numbered: 0,
            open: [const { MaybeUninit::uninit() }; DEPTH as usize + 1],
            opened: 0,
            end,
            counts: true,
        }
    }

    /// Writes the arguments of a call.
    ///
    /// # Safety
    /// `args` are alive, `names` is null or a tuple of the names of the last
    /// of them; the caller holds all, and the interpreter lock.
    unsafe fn call(&mut self, args: &[Object], names: Object) -> bool {
        // SAFETY: a tuple, if there is one.
        let keywords = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(names) } };
        let (positional, named) = args.split_at(args.len() - keywords.unsigned_abs());
        let (Ok(count), Ok(keywords)) = (u8::try_from(positional.len()), u8::try_from(keywords)) else {
            return false;
        };
        self.out.extend_from_slice(&[CALL, count, keywords]);
        self.counts = !has_twice(args);
        // SAFETY: the caller's; a tuple holds its items, below its size.
        unsafe {
            positional.iter().all(|&arg| self.item(arg, 1))
                && named.iter().zip(0..).all(|(&arg, index)| {
                    self.item(ffi::PyTuple_GET_ITEM(names, index), 1) && self.item(arg, 1)
                })
        }
    }

    /// Writes one object, if it is plain.
    ///
    /// # Safety
    /// `object` is alive, and held by somebody else while this runs; the
    /// interpreter lock is held.
    unsafe fn item(&mut self, object: Object, depth: u32) -> bool {
        if self.out.len() > self.end {
            return false;
        }
        // SAFETY: a live object; the statics are the interpreter's classes. A
        // class that is compared equal says what the object is.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if class == &raw mut ffi::PyLong_Type {
                self.int(object)
            } else if class == &raw mut ffi::PyUnicode_Type {
                self.text(object)
            } else if class == &raw mut ffi::PyFloat_Type {
                self.out.push(FLOAT);
                self.out.extend_from_slice(&ffi::PyFloat_AS_DOUBLE(object).to_ne_bytes());
                true
            } else if object == ffi::Py_None() {
                self.out.push(NONE);
                true
            } else if class == &raw mut ffi::PyBool_Type {
                self.out.push(if object == ffi::Py_True() { TRUE } else { FALSE });
                true
            } else if class == &raw mut ffi::PyTuple_Type {
                self.tuple(object, depth)
            } else if class == &raw mut ffi::PyList_Type {
                self.list(object, depth)
            } else if class == &raw mut ffi::PyDict_Type {
                self.dict(object, depth)
            } else if class == &raw mut ffi::PyBytes_Type {
                self.bytes(object)
            } else if class == &raw mut ffi::PyComplex_Type {
                self.complex(object)
            } else {
                false
            }
        }
    }

    unsafe fn int(&mut self, object: Object) -> bool {
        let mut overflow = 0;
        // SAFETY: an int, alive: this neither fails nor runs anything.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow) };
        if overflow != 0 {
            return false;
        }
        if let Ok(short) = i8::try_from(value) {
            self.out.extend_from_slice(&[INT_1, short.cast_unsigned()]);
        } else if let Ok(word) = i32::try_from(value) {
            let [a, b, c, d] = word.to_ne_bytes();
            self.out.extend_from_slice(&[INT_4, a, b, c, d]);
        } else {
            self.out.push(INT_8);
            self.out.extend_from_slice(&value.to_ne_bytes());
        }
        true
    }

    /// Pickle makes one object of one that occurs twice, unlike of a float.
    unsafe fn complex(&mut self, object: Object) -> bool {
        let memo = match self.seen(object) {
            Seen::Before => return true,
            Seen::First(memo) => memo,
            Seen::Tangled => return false,
        };
        // SAFETY: a complex number, alive: this neither fails nor runs anything.
        let value = unsafe { ffi::PyComplex_AsCComplex(object) };
        self.out.push(COMPLEX | memo);
        self.out.extend_from_slice(&value.real.to_ne_bytes());
        self.out.extend_from_slice(&value.imag.to_ne_bytes());
        self.number(object, memo);
        true
    }

    unsafe fn text(&mut self, object: Object) -> bool {
        // SAFETY: a string, alive; its characters are looked at only if they
        // have their final form (Python 3.11 still has others).
        let (kind, length, bytes) = unsafe {
            if ffi::PyUnicode_IS_READY(object) == 0 {
                return false;
            }
            let (kind, length) = (ffi::PyUnicode_KIND(object) as usize, ffi::PyUnicode_GET_LENGTH(object));
            let size = length.unsigned_abs() * kind;
            (
                kind,
                length.unsigned_abs(),
                slice::from_raw_parts(ffi::PyUnicode_DATA(object).cast::<u8>(), size),
            )
        };
        let tag = match kind {
            1 => STR_1,
            2 => STR_2,
            4 => STR_4,
            _ => return false,
        };
        self.block(object, tag, length, bytes)
    }

    unsafe fn bytes(&mut self, object: Object) -> bool {
        // SAFETY: a bytes object, alive, which never changes.
        let bytes = unsafe {
            let length = ffi::Py_SIZE(object).unsigned_abs();
            slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast::<u8>(), length)
        };
        self.block(object, BYTES, bytes.len(), bytes)
    }

    /// Writes what has its contents in a row.
    fn block(&mut self, object: Object, tag: u8, length: usize, bytes: &[u8]) -> bool {
        if bytes.len() > LONGEST {
            return false;
        }
        let memo = match self.seen(object) {
            Seen::Before => return true,
            Seen::First(memo) => memo,
            Seen::Tangled => return false,
        };
        self.out.push(tag | memo);
        self.size(length);
        self.out.extend_from_slice(bytes);
        self.number(object, memo);
        true
    }

    unsafe fn tuple(&mut self, object: Object, depth: u32) -> bool {
        let memo = match self.seen(object) {
            Seen::Before => return true,
            Seen::First(memo) => memo,
            Seen::Tangled => return false,
        };
        if depth == DEPTH || self.is_open(object) {
            return false;
        }
        self.open[self.opened].write(object);
        self.opened += 1;
        // SAFETY: a tuple, alive; it holds its items, below its size.
        let all = unsafe {
            let length = ffi::PyTuple_GET_SIZE(object);
            self.out.push(TUPLE | memo);
            self.size(length.unsigned_abs());
            (0..length).all(|index| self.item(ffi::PyTuple_GET_ITEM(object, index), depth + 1))
        };
        self.opened -= 1;
        self.number(object, memo);
        all
    }

    unsafe fn list(&mut self, object: Object, depth: u32) -> bool {
        let memo = match self.seen(object) {
            Seen::Before => return true,
            Seen::First(memo) => memo,
            Seen::Tangled => return false,
        };
        if depth == DEPTH {
            return false;
        }
        self.number(object, memo);
        // SAFETY: a list, alive, and nobody changes it meanwhile; it holds its
        // items, below its size.
        unsafe {
            let length = ffi::PyList_GET_SIZE(object);
            self.out.push(LIST | memo);
            self.size(length.unsigned_abs());
            (0..length).all(|index| self.item(ffi::PyList_GET_ITEM(object, index), depth + 1))
        }
    }

    unsafe fn dict(&mut self, object: Object, depth: u32) -> bool {
        let memo = match self.seen(object) {
            Seen::Before => return true,
            Seen::First(memo) => memo,
            Seen::Tangled => return false,
        };
        if depth == DEPTH {
            return false;
        }
        self.number(object, memo);
        self.out.push(DICT | memo);
        // SAFETY: a dict, alive.
        unsafe {
            self.size(ffi::PyDict_Size(object).unsigned_abs());
            self.pairs(object, depth + 1)
        }
    }

    unsafe fn pairs(&mut self, dict: Object, depth: u32) -> bool {
        let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: a dict, alive, and nobody changes it meanwhile: it holds
        // the keys and values that it tells.
        unsafe {
            while ffi::PyDict_Next(dict, &raw mut place, &raw mut key, &raw mut value) != 0 {
                if !self.item(key, depth) || !self.item(value, depth) {
                    return false;
                }
            }
        }
        true
    }

    fn seen(&mut self, object: Object) -> Seen {
        // SAFETY: alive, by the contract of `item`.
        if self.counts && unsafe { ffi::Py_REFCNT(object) } == 1 {
            return Seen::First(0);
        }
        // SAFETY: those below `numbered` were written.
        let found =
            self.numbers[..self.numbered].iter().position(|known| unsafe { known.assume_init() } == object);
        match found {
            Some(number) => {
                // At most NUMBERED, which is less than 256.
                self.out.extend_from_slice(&[REFERENCE, number as u8]);
                Seen::Before
            }
            None if self.numbered == NUMBERED => Seen::Tangled,
            None => Seen::First(MEMO),
        }
    }

    fn number(&mut self, object: Object, memo: u8) {
        // What it contains may have taken the last number: `seen` will then
        // have room for nobody, and nobody refers to this one.
        if memo != 0 && self.numbered < NUMBERED {
            self.numbers[self.numbered].write(object);
            self.numbered += 1;
        }
    }

    fn is_open(&self, object: Object) -> bool {
        // SAFETY: those below `opened` were written.
        self.open[..self.opened].iter().any(|open| unsafe { open.assume_init() } == object)
    }

    /// Writes a size: in one byte if it is below 255.
    pub(super) fn size(&mut self, size: usize) {
        match u8::try_from(size) {
            Ok(short) if short < u8::MAX => self.out.push(short),
            _ => {
                self.out.push(u8::MAX);
                self.out.extend_from_slice(&size.to_ne_bytes());
            }
        }
    }
}
