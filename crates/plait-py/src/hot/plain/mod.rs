//! Plain values as bytes: what most calls carry, at a tenth of what a pickle
//! costs.
//!
//! Plain are objects of exactly these classes: `None`, `bool`, `int` of 64
//! bits, `float`, `complex`, `str`, `bytes`, and `tuple`, `list` and `dict` of
//! plain ones. What comes out is what pickle would give: classes, order, and
//! who is whom (an object that occurs twice is one object again, also in a
//! cycle). Everything else, and what is deep, large or tangled, is left to
//! pickle: the writer says no, having changed nothing.
//!
//! The bytes tell themselves apart from a pickle by the first one. They are
//! for the same interpreter on the same machine, so numbers are in its byte
//! order.
//!
//! ```text
//! value    VALUE item
//! call     CALL positional:u8 keywords:u8 item... (name:item item)...
//! item     tag [MEMO] contents
//! ```
//!
//! An item with `MEMO` has the next number, which `REFERENCE` names: a list or
//! dict from its beginning, anything else from its end. The writer gives a
//! number only to what has more than one reference, for nothing else can
//! occur twice.
//!
//! Marshal, the other way to do this in C, is no match for it: it takes any
//! buffer for bytes, interns strings in the receiver, keeps identities only
//! by a hash table per call, and makes a bytes object that is copied again.

#[cfg(debug_assertions)]
pub(crate) mod probe;
mod read;
mod write;

use pyo3::ffi;

pub(crate) use read::{read_call, read_value};
pub(crate) use write::{write_call, write_value};

/// The first byte of a value. A pickle begins with 0x80.
const VALUE: u8 = 1;
/// The first byte of a call.
const CALL: u8 = 2;

/// Whether a writer of ours made these bytes.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(VALUE | CALL)))
}

/// In a tag: the item has a number.
const MEMO: u8 = 0x80;

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
/// An integer in 1, 4 and 8 bytes.
const INT_1: u8 = 3;
const INT_4: u8 = 4;
const INT_8: u8 = 5;
const FLOAT: u8 = 6;
const COMPLEX: u8 = 7;
/// Text in 1, 2 and 4 bytes a character; the length, in characters, is a
/// [size](write::Writer::size).
const STR_1: u8 = 8;
const STR_2: u8 = 9;
const STR_4: u8 = 10;
const BYTES: u8 = 11;
const TUPLE: u8 = 12;
const LIST: u8 = 13;
const DICT: u8 = 14;
const REFERENCE: u8 = 15;

/// Containers in containers, at most: pickle has no limit to speak of.
const DEPTH: u32 = 32;
/// Objects with a number in one message, at most: each is looked for among
/// all those before it.
const NUMBERED: usize = 64;

type Object = *mut ffi::PyObject;
