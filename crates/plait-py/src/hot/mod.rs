//! The only raw C-API code of the binding: what runs for every callback and
//! costs visibly less than through the safe interface.

// DESIGN.md: unsafe by address. Each block argues its case.
#![allow(unsafe_code)]

pub(crate) mod buffer;
pub(crate) mod cell;
pub(crate) mod context;
