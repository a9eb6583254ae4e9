//! The methods that Python finds in every kind of transport.
//!
//! Macros, for a native class has its methods in itself: a native base class
//! would be one more step for each call, and each of these is one line.

/// What asyncio's `BaseTransport` has; `$abc`, of `$module`, is the class that
/// `isinstance` takes `$class` for.
macro_rules! transport_interface {
    ($class:ident, $module:literal, $abc:literal) => {
        #[pymethods]
        impl $class {
            /// Takes the descriptor over and has the protocol told of the
            /// transport in the next turn.
            fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as Transport>::start(slf)
            }

            /// Closes the transport once what was sent has gone out.
            fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as Transport>::shut(slf)
            }

            /// Closes the transport now; what waits is lost.
            fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as Transport>::lose(slf, None)
            }

            /// As `abort`; the protocol's `connection_lost` gets `error`.
            fn _force_close(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
                <Self as Transport>::lose(slf, error)
            }

            fn is_closing(slf: &Bound<'_, Self>) -> bool {
                <Self as Transport>::life(slf).closing
            }

            fn set_protocol(slf: &Bound<'_, Self>, protocol: Py<PyAny>) {
                <Self as $crate::event_loop::base::Receives>::set_protocol(slf, protocol);
            }

            fn get_protocol(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
                <Self as Transport>::protocol(slf)
            }

            #[pyo3(signature = (name, default=None))]
            fn get_extra_info(
                slf: &Bound<'_, Self>,
                name: &Bound<'_, PyAny>,
                default: Option<Py<PyAny>>,
            ) -> PyResult<Option<Py<PyAny>>> {
                let known = <Self as Transport>::base(slf).info(name)?;
                Ok(known.map(Bound::unbind).or(default))
            }

            /// What `isinstance` goes by: the class is native, and what users
            /// test for is asyncio's, whose memory layout cannot be a base of
            /// this one.
            #[getter]
            fn __class__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                static TRANSPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                TRANSPORT.import(slf.py(), $module, $abc).cloned()
            }

            /// Warns of a transport that nobody has closed, and closes its file.
            fn __del__(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as $crate::event_loop::base::Unclosed>::collect(slf)
            }

            #[getter]
            fn _loop(slf: &Bound<'_, Self>) -> Py<Loop> {
                <Self as Transport>::base(slf).event_loop.clone_ref(slf.py())
            }
        }

        impl $crate::hot::collected::Collected for $class {
            fn is_left(&self, py: Python<'_>) -> bool {
                self.state(py).life.is_left()
            }

            fn deallocator() -> &'static std::sync::OnceLock<pyo3::ffi::destructor> {
                static DEALLOCATOR: std::sync::OnceLock<pyo3::ffi::destructor> = std::sync::OnceLock::new();
                &DEALLOCATOR
            }
        }
    };
}

/// What asyncio's `ReadTransport` has besides.
macro_rules! reading_interface {
    ($class:ident) => {
        #[pymethods]
        impl $class {
            fn is_reading(slf: &Bound<'_, Self>) -> bool {
                let life = <Self as Transport>::life(slf);
                !life.closing && !life.paused
            }

            /// asyncio's has it, uvloop's too, and tests look at it.
            #[getter]
            fn _paused(slf: &Bound<'_, Self>) -> bool {
                <Self as Transport>::life(slf).paused
            }

            fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as Transport>::set_paused(slf, true)
            }

            fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
                <Self as Transport>::set_paused(slf, false)
            }
        }
    };
}

/// What asyncio's `WriteTransport` has for flow control.
macro_rules! writing_interface {
    ($class:ident) => {
        #[pymethods]
        impl $class {
            /// Sets the marks, in bytes that wait, at which the protocol is
            /// told to stop and to go on.
            #[pyo3(signature = (high=None, low=None))]
            fn set_write_buffer_limits(
                slf: &Bound<'_, Self>,
                high: Option<$crate::event_loop::base::Mark>,
                low: Option<$crate::event_loop::base::Mark>,
            ) -> PyResult<()> {
                <Self as Writes>::set_marks(slf, high, low)
            }

            /// The marks, low and high.
            fn get_write_buffer_limits(slf: &Bound<'_, Self>) -> (usize, usize) {
                <Self as Writes>::flow(slf, |flow, _| flow.marks())
            }

            /// How many bytes wait to be sent.
            fn get_write_buffer_size(slf: &Bound<'_, Self>) -> usize {
                <Self as Transport>::waiting(slf)
            }
        }
    };
}

pub(in super::super) use {reading_interface, transport_interface, writing_interface};
