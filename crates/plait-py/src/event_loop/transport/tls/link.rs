//! The TLS object and its BIOs, and how they are asked.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PySlice, PyType};

/// The most plaintext in one TLS record.
const RECORD: usize = 16 * 1024;

/// How the TLS object is asked.
pub(super) enum Calls {
    /// By the methods beneath the standard class, which only pass on.
    Direct { read: Py<PyAny>, write: Py<PyAny> },
    /// By name: a class of the user's (`sslobject_class`) may do more.
    ByName(Py<PyAny>),
}

impl Calls {
    pub(super) fn of(sslobj: &Bound<'_, PyAny>) -> PyResult<Self> {
        static STANDARD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let standard = STANDARD.import(sslobj.py(), "ssl", "SSLObject")?;
        if sslobj.get_type().is(standard)
            && let Some(inner) = sslobj.getattr_opt("_sslobj")?
        {
            let (read, write) = (inner.getattr("read")?, inner.getattr("write")?);
            return Ok(Self::Direct { read: read.unbind(), write: write.unbind() });
        }
        Ok(Self::ByName(sslobj.clone().unbind()))
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Direct { read, write } => {
                Self::Direct { read: read.clone_ref(py), write: write.clone_ref(py) }
            }
            Self::ByName(sslobj) => Self::ByName(sslobj.clone_ref(py)),
        }
    }

    /// Takes at most `size` bytes.
    pub(super) fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Direct { read, .. } => read.bind(py).call1((size,)),
            Self::ByName(sslobj) => sslobj.bind(py).call_method1(intern!(py, "read"), (size,)),
        }
    }

    /// Takes at most `size` bytes into `target`.
    pub(super) fn read_into(&self, target: &Bound<'_, PyAny>, size: usize) -> PyResult<usize> {
        let py = target.py();
        match self {
            Self::Direct { read, .. } => read.bind(py).call1((size, target))?.extract(),
            Self::ByName(sslobj) => {
                sslobj.bind(py).call_method1(intern!(py, "read"), (size, target))?.extract()
            }
        }
    }

    pub(super) fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = data.py();
        match self {
            Self::Direct { write, .. } => write.bind(py).call1((data,))?.extract(),
            Self::ByName(sslobj) => sslobj.bind(py).call_method1(intern!(py, "write"), (data,))?.extract(),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Direct { read, write } => {
                visit.call(read)?;
                visit.call(write)
            }
            Self::ByName(sslobj) => visit.call(sslobj),
        }
    }
}

/// What the path of the data works with, from `_bind` on.
pub(super) struct Link {
    pub(super) calls: Calls,
    pub(super) incoming: Py<PyAny>,
    pub(super) outgoing: Py<PyAny>,
    /// asyncio's deque of what the TLS object did not take.
    pub(super) backlog: Py<PyAny>,
}

impl Link {
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            calls: self.calls.clone_ref(py),
            incoming: self.incoming.clone_ref(py),
            outgoing: self.outgoing.clone_ref(py),
            backlog: self.backlog.clone_ref(py),
        }
    }

    /// How much ciphertext waits in a BIO.
    pub(super) fn pending(py: Python<'_>, bio: &Py<PyAny>) -> PyResult<usize> {
        bio.bind(py).getattr(intern!(py, "pending"))?.extract()
    }

    pub(super) fn has_backlog(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.backlog.bind(py).len()? > 0)
    }

    /// How much to ask for: what is in the BIO decrypts to less. (The rest of
    /// a record of which OpenSSL holds the first part may decrypt to more:
    /// the read is full then, and another one follows.)
    pub(super) fn ask(&self, py: Python<'_>) -> PyResult<usize> {
        match Self::pending(py, &self.incoming)? {
            0 => Ok(RECORD),
            pending => Ok(pending.min(RECORD)),
        }
    }

    /// Whether a read that got `got` of `asked` was the last for now.
    pub(super) fn is_drained(&self, py: Python<'_>, got: usize, asked: usize) -> PyResult<bool> {
        Ok(got < asked && Self::pending(py, &self.incoming)? == 0)
    }
}

/// Whether asyncio takes it for "later": `SSLAgainErrors`.
pub(super) fn is_again(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static AGAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let again = AGAIN.get_or_try_init(py, || {
        PyResult::Ok(py.import("asyncio.sslproto")?.getattr("SSLAgainErrors")?.unbind())
    })?;
    Ok(error.matches(py, again)?)
}

pub(super) fn slice<'py>(object: &Bound<'py, PyAny>, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
    object.get_item(PySlice::new(object.py(), isize::try_from(from)?, isize::try_from(to)?, 1))
}

pub(super) fn join<'py>(
    first: &Bound<'py, PyBytes>,
    more: &[Bound<'py, PyBytes>],
) -> PyResult<Bound<'py, PyBytes>> {
    let pieces = || std::iter::once(first).chain(more).map(|piece| piece.as_bytes());
    PyBytes::new_with(first.py(), pieces().map(<[u8]>::len).sum(), |mut rest| {
        for piece in pieces() {
            let (place, after) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = after;
        }
        Ok(())
    })
}
