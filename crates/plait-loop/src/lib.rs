//! The parts of an event loop that need no Python: when, what is ready, who
//! is woken, and what waits to be sent.
//!
//! Nothing here runs a callback or drops what it was given behind the
//! caller's back: whatever leaves a structure is handed out. The binding
//! needs that, because dropping a Python object can run Python code, and no
//! lock may be held then.

pub mod bell;
pub mod fds;
pub mod flow;
pub mod outbox;
pub mod poller;
pub mod timers;
