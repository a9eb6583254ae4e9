//! Addresses of datagrams, between Python's form and the kernel's.
//!
//! What the kernel can be given at once is turned here; names to look up,
//! and whatever is wrong, are the socket module's, which says what.

use std::ffi::OsStr;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use plait_sys::datagram::{Address, Family, ip_text, ipv4, ipv6, is_unix_name};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

/// `address` as the socket module writes it.
pub(in super::super) fn to_python(py: Python<'_>, address: &Address) -> PyResult<Py<PyAny>> {
    match address {
        Address::Inet(SocketAddr::V4(v4)) => (ip_text((*v4.ip()).into()), v4.port()).into_py_any(py),
        Address::Inet(SocketAddr::V6(v6)) => {
            (ip_text((*v6.ip()).into()), v6.port(), v6.flowinfo(), v6.scope_id()).into_py_any(py)
        }
        Address::Unix(name) if name.first() == Some(&0) => PyBytes::new(py, name).into_py_any(py),
        Address::Unix(path) => OsStr::from_bytes(path).into_py_any(py),
    }
}

/// The address that `address` is for a socket of that family, if no look-up
/// is needed.
pub(in super::super) fn from_python(family: Family, address: &Bound<'_, PyAny>) -> Option<Address> {
    match family {
        Family::Inet => inet(address.cast_exact::<PyTuple>().ok()?),
        Family::Inet6 => inet6(address.cast_exact::<PyTuple>().ok()?),
        Family::Unix => unix(address),
        Family::Other => None,
    }
}

fn host<T>(tuple: &Bound<'_, PyTuple>, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    parse(tuple.get_item(0).ok()?.cast_exact::<PyString>().ok()?.to_str().ok()?)
}

fn number<T: for<'a, 'py> FromPyObject<'a, 'py>>(tuple: &Bound<'_, PyTuple>, index: usize) -> Option<T> {
    tuple.get_item(index).ok()?.cast_exact::<PyInt>().ok()?.as_any().extract().ok()
}

fn inet(tuple: &Bound<'_, PyTuple>) -> Option<Address> {
    if tuple.len() != 2 {
        return None;
    }
    Some(Address::Inet(SocketAddrV4::new(host(tuple, ipv4)?, number(tuple, 1)?).into()))
}

fn inet6(tuple: &Bound<'_, PyTuple>) -> Option<Address> {
    /// The bits of an address's flow label and class.
    const MAX_FLOW: u32 = 0xf_ffff;
    if !(2..=4).contains(&tuple.len()) {
        return None;
    }
    let optional = |index| if index < tuple.len() { number(tuple, index) } else { Some(0) };
    let (flow, scope) = (optional(2)?, optional(3)?);
    if flow > MAX_FLOW {
        return None;
    }
    Some(Address::Inet(SocketAddrV6::new(host(tuple, ipv6)?, number(tuple, 1)?, flow, scope).into()))
}

fn unix(address: &Bound<'_, PyAny>) -> Option<Address> {
    let name = if let Ok(text) = address.cast_exact::<PyString>() {
        // Others are encoded as the file system's names are.
        text.to_str().ok().filter(|text| text.is_ascii())?.as_bytes().to_vec()
    } else {
        address.cast_exact::<PyBytes>().ok()?.as_bytes().to_vec()
    };
    is_unix_name(&name).then_some(Address::Unix(name))
}

/// The peers heard of last, with their addresses as Python has them: most
/// servers answer whom they just heard, and clients hear one server.
#[derive(Default)]
pub(super) struct Peers([Option<(Address, Py<PyAny>)>; 16]);

impl Peers {
    fn slot(address: &Address) -> usize {
        let mixed = match address {
            Address::Inet(SocketAddr::V4(v4)) => v4.ip().to_bits() ^ u32::from(v4.port()),
            Address::Inet(SocketAddr::V6(v6)) => {
                let [.., high, low] = v6.ip().segments();
                u32::from(high ^ low ^ v6.port())
            }
            Address::Unix(name) => {
                name.iter().fold(0, |sum: u32, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            }
        };
        ((mixed ^ mixed >> 8) % 16) as usize
    }

    /// What Python was given for `address`.
    pub(super) fn object(&self, py: Python<'_>, address: &Address) -> Option<Py<PyAny>> {
        match &self.0[Self::slot(address)] {
            Some((known, object)) if known == address => Some(object.clone_ref(py)),
            _ => None,
        }
    }

    /// The address that was given to Python as this very object.
    pub(super) fn address(&self, object: &Bound<'_, PyAny>) -> Option<&Address> {
        self.0.iter().flatten().find(|(_, known)| known.is(object)).map(|(address, _)| address)
    }

    /// Keeps a pair; returns what made room, to be dropped outside the lock.
    pub(super) fn keep(&mut self, address: Address, object: Py<PyAny>) -> Option<Py<PyAny>> {
        let slot = Self::slot(&address);
        self.0[slot].replace((address, object)).map(|(_, object)| object)
    }
}
