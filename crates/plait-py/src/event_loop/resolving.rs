//! Look-ups of addresses that are numbers, answered without the C library.
//!
//! Only where its answer is known for certain: a strict number as the host
//! and the port, a stream or a datagram socket, no flag that changes what
//! comes out. Whatever else is the socket module's to answer or to refuse.

use plait_sys::datagram::{ip_text, ipv4, ipv6};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyList, PyString};
use pyo3::{IntoPyObjectExt, intern};

use super::core::Loop;

/// What the socket module has for the numbers of the C library.
struct Names {
    inet: (i64, Py<PyAny>),
    inet6: (i64, Py<PyAny>),
    /// Each kind with its one protocol.
    stream: (i64, Py<PyAny>, i64),
    datagram: (i64, Py<PyAny>, i64),
    passive: i64,
}

impl Names {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static NAMES: PyOnceLock<Names> = PyOnceLock::new();
        NAMES.get_or_try_init(py, || {
            let module = py.import("socket")?;
            let named = |name| {
                let object = module.getattr(name)?;
                PyResult::Ok((object.extract::<i64>()?, object.unbind()))
            };
            let kind = |name, protocol| {
                let (number, object) = named(name)?;
                PyResult::Ok((number, object, named(protocol)?.0))
            };
            Ok(Self {
                inet: named("AF_INET")?,
                inet6: named("AF_INET6")?,
                stream: kind("SOCK_STREAM", "IPPROTO_TCP")?,
                datagram: kind("SOCK_DGRAM", "IPPROTO_UDP")?,
                passive: named("AI_PASSIVE")?.0,
            })
        })
    }
}

/// The port that `port` is: a number, or one in decimal.
fn port_number(port: &Bound<'_, PyAny>) -> Option<u16> {
    if let Ok(port) = port.cast_exact::<PyInt>() {
        return port.extract().ok();
    }
    let text = port.cast_exact::<PyString>().ok()?.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn numbers<const N: usize>(objects: [&Bound<'_, PyAny>; N]) -> PyResult<[i64; N]> {
    let mut numbers = [0; N];
    for (number, object) in numbers.iter_mut().zip(objects) {
        *number = object.extract()?;
    }
    Ok(numbers)
}

#[pymethods]
impl Loop {
    /// What `socket.getaddrinfo` returns for an address that is a number, or
    /// None if the socket module must be asked.
    fn _numeric_address<'py>(
        &self,
        host: &Bound<'py, PyAny>,
        port: &Bound<'py, PyAny>,
        family: &Bound<'py, PyAny>,
        kind: &Bound<'py, PyAny>,
        proto: &Bound<'py, PyAny>,
        flags: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = host.py();
        let names = Names::get(py)?;
        let (Ok(text), Some(port)) = (host.cast_exact::<PyString>(), port_number(port)) else {
            return Ok(None);
        };
        let Ok([family, kind, proto, flags]) = numbers([family, kind, proto, flags]) else {
            return Ok(None);
        };
        let known = [&names.stream, &names.datagram].into_iter().find(|(number, ..)| *number == kind);
        let Some((_, kind, protocol)) = known else { return Ok(None) };
        if self.debug() || (proto != 0 && proto != *protocol) || (flags != 0 && flags != names.passive) {
            return Ok(None);
        }
        let wanted = |number: i64| family == 0 || family == number;
        let text = text.to_str()?;
        let (family, address) = if let (Some(_), true) = (ipv4(text), wanted(names.inet.0)) {
            // A strict number is written as it was given.
            (&names.inet.1, (host, port).into_bound_py_any(py)?)
        } else if let (Some(v6), true) = (ipv6(text), wanted(names.inet6.0)) {
            (&names.inet6.1, (ip_text(v6.into()), port, 0, 0).into_bound_py_any(py)?)
        } else {
            return Ok(None);
        };
        let entry = (family.bind(py), kind.bind(py), *protocol, intern!(py, ""), address);
        PyList::new(py, [entry]).map(Some)
    }
}
