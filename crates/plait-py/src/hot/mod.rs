//! The only raw C-API code of the binding: what runs for every callback and
//! costs visibly less than through the safe interface.

// DESIGN.md: unsafe by address. Each block argues its case.
#![allow(unsafe_code)]
// The fields of a raw object are each a dereference: one argument covers all
// that a function does with one object.
#![allow(clippy::multiple_unsafe_ops_per_block)]

pub(crate) mod block;
pub(crate) mod buffer;
pub(crate) mod bytearray;
pub(crate) mod call;
pub(crate) mod cell;
pub(crate) mod checksum;
pub(crate) mod collected;
pub(crate) mod context;
pub(crate) mod finalize;
mod frames;
pub(crate) mod handle;
mod handle_context;
pub(crate) mod handle_text;
pub(crate) mod handle_type;
pub(crate) mod instance;
pub(crate) mod interpreter_lock;
pub(crate) mod interrupt;
pub(crate) mod large;
mod layout;
pub(crate) mod method;
pub(crate) mod module;
mod newborn;
mod object;
pub(crate) mod plain;
pub(crate) mod schedule;
pub(crate) mod site;
pub(crate) mod snapshot;
pub(crate) mod socket;
pub(crate) mod spare;
pub(crate) mod submit;
pub(crate) mod task_sites;
mod tasks;
pub(crate) mod watched;
pub(crate) mod write;
