//! The event loop's native half.
//!
//! | part | what it is |
//! |---|---|
//! | `core` | the state and what schedules (`hot` has the handles and the Python methods) |
//! | `turn`, `poll` | one turn; what it begins with |
//! | `phases`, `outside`, `inherited` | callbacks between the steps of a turn; for who turns it; after a fork |
//! | `letterbox` | who is to be woken by threads without the interpreter |
//! | `listeners` | who listens to a descriptor that is no transport's |
//! | `watch`, `io_watcher` | `add_reader` and its family; what any number may have of one descriptor |
//! | `sockets`, `connecting`, `resolving` | the `sock_*` calls; what makes connections; numeric addresses |
//! | `base` | what all transports share |
//! | `transport`, `datagram`, `pipe` | a connection; a datagram socket; one direction of a connection |
//!
//! The kernel tells of descriptors through `plait_loop::poller`, which says what
//! a back end has to supply.
//!
//! The Python half (`plait._loop`) is what happens once in a while: addresses,
//! servers, signals, the start and the end.
//!
//! One lock guards the loop's structures. It is never held while Python code
//! runs, and neither while an object is dropped: whatever a structure gives
//! up is carried out of the lock first.

mod base;
mod connecting;
mod core;
mod datagram;
mod endpoint;
mod inherited;
mod io_watcher;
mod letterbox;
mod listeners;
mod outside;
mod phases;
mod pipe;
mod poll;
mod reading;
mod resolving;
mod scheduling;
mod sockets;
mod time;
mod transport;
mod turn;
mod waiter;
mod watch;

use pyo3::prelude::*;
use pyo3::types::PyType;

pub(crate) use self::core::Loop;
pub(crate) use self::letterbox::{Expected, Letter};
pub(crate) use self::transport::SocketTransport;
pub(crate) use self::waiter::{is_native_future, set_unless_done};
use crate::hot::collected::{self, Collected};
use crate::hot::{handle_type, schedule, write};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let event_loop = PyType::new::<Loop>(py);
    schedule::install(&event_loop)?;
    module.add("Loop", event_loop)?;
    module.add("IoWatcher", PyType::new::<io_watcher::IoWatcher>(py))?;
    add_transport::<SocketTransport>(module, "SocketTransport")?;
    write::install(&PyType::new::<SocketTransport>(py))?;
    add_transport::<datagram::DatagramTransport>(module, "DatagramTransport")?;
    add_transport::<pipe::ReadPipeTransport>(module, "ReadPipeTransport")?;
    add_transport::<pipe::WritePipeTransport>(module, "WritePipeTransport")?;
    module.add("Tls", PyType::new::<transport::Tls>(py))?;
    module.add("Handle", handle_type::handle(py)?)?;
    module.add("TimerHandle", handle_type::timer(py)?)
}

fn add_transport<T: Collected>(module: &Bound<'_, PyModule>, name: &str) -> PyResult<()> {
    let class = PyType::new::<T>(module.py());
    collected::install::<T>(&class)?;
    module.add(name, class)
}
