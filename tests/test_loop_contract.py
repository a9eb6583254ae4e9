"""What plait's loop takes from `asyncio.BaseEventLoop` beyond its public face.

These hooks belong to asyncio. Should a new version change one, this file says
which, before a connection fails in somebody's program.
"""

import ast
import asyncio
import asyncio.base_events
import asyncio.base_subprocess
import asyncio.sslproto
import asyncio.streams
import inspect
import ssl
import sys
import textwrap
import weakref

import pytest

import plait
from plait._binding import native

BASE = asyncio.BaseEventLoop


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    "name",
    [
        "_asyncgen_finalizer_hook",
        "_asyncgen_firstiter_hook",
        "_check_callback",
        "_check_default_executor",
        "_check_running",
        "_check_thread",
        "_ensure_resolved",
        "_set_coroutine_origin_tracking",
    ],
)
def test_inherited_hooks_exist(name):
    assert callable(getattr(BASE, name))
    assert getattr(plait.EventLoop, name) is getattr(BASE, name)


@pytest.mark.parametrize(
    "name",
    [
        "_make_datagram_transport",
        "_make_socket_transport",
        "_make_ssl_transport",
        "_stop_serving",
    ],
)
def test_overridden_hooks_take_what_asyncio_passes(name):
    theirs = getattr(asyncio.SelectorEventLoop, name)
    ours = getattr(plait.EventLoop, name)
    assert ours is not theirs
    accepted = set(parameters(ours))
    assert set(parameters(theirs)) - {"call_connection_made", "context"} <= accepted


def test_files_are_sent_by_the_hooks_that_asyncio_calls():
    for name in ("_sendfile_native", "_sock_sendfile_native", "_sendfile_fallback"):
        assert parameters(getattr(plait.EventLoop, name))[2:] == ["file", "offset", "count"]
        assert parameters(getattr(BASE, name))[2:] == ["file", "offset", "count"]
    assert parameters(BASE._check_sendfile_params) == ["self", "sock", "file", "offset", "count"]
    assert plait.EventLoop._check_sendfile_params is BASE._check_sendfile_params
    assert plait.EventLoop.sendfile is BASE.sendfile
    assert plait.EventLoop.sock_sendfile is BASE.sock_sendfile
    assert asyncio.constants._SendfileMode.TRY_NATIVE


@pytest.mark.parametrize(
    "name",
    ["_make_read_pipe_transport", "_make_write_pipe_transport", "_make_subprocess_transport"],
)
def test_hooks_of_pipes_and_subprocesses_take_what_asyncio_passes(name):
    ours = getattr(plait.EventLoop, name)
    assert set(parameters(getattr(asyncio.SelectorEventLoop, name))) <= set(parameters(ours))


def test_subprocess_transport():
    theirs = asyncio.base_subprocess.BaseSubprocessTransport
    assert parameters(theirs._process_exited) == ["self", "returncode"]
    assert parameters(theirs._pipe_data_received) == ["self", "fd", "data"]
    assert parameters(theirs._wait) == ["self"]
    assert parameters(theirs._check_proc) == ["self"]
    assert {"args", "shell", "stdin", "stdout", "stderr", "bufsize"} <= set(
        parameters(theirs._start)
    )
    source = inspect.getsource(theirs)
    for name in ("_closed", "_exit_waiters", "_loop", "_pipes", "_proc", "_returncode"):
        assert f"self.{name} = " in source


def test_start_serving():
    theirs = parameters(asyncio.SelectorEventLoop._start_serving)
    assert set(theirs) - {"context"} <= set(parameters(plait.EventLoop._start_serving))


def test_borrowed_calls_use_nothing_of_asyncios_selector_loop():
    """Every attribute of the loop that they touch is one that plait's has."""
    for name in ("create_unix_connection", "create_unix_server"):
        function = inspect.getattr_static(plait.EventLoop, name)
        assert function is inspect.getattr_static(asyncio.SelectorEventLoop, name)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        assert used <= {"sock_connect", "_create_connection_transport", "_unix_server_sockets"}
        assert not any(isinstance(n, ast.Name) and n.id == "super" for n in ast.walk(tree))


def test_server_attaches_as_the_transport_expects():
    takes_transport = sys.version_info >= (3, 13)
    assert len(parameters(asyncio.Server._attach)) == 1 + takes_transport
    assert len(parameters(asyncio.Server._detach)) == 1 + takes_transport


def test_helpers():
    assert callable(asyncio.base_events._format_handle)
    assert callable(asyncio.format_helpers._format_callback_source)
    assert "server_hostname" in parameters(asyncio.sslproto.SSLProtocol.__init__)


def assigned(function):
    """The attributes of `self` that a function sets."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


TLS = asyncio.sslproto.SSLProtocol


def test_the_tls_protocol_keeps_its_state_where_the_native_half_looks():
    native_state = {
        name for name, member in vars(native.Tls).items() if inspect.isgetsetdescriptor(member)
    }
    made = assigned(TLS.__init__) | assigned(TLS._set_app_protocol)
    assert native_state <= made | assigned(TLS._set_read_buffer_limits) | assigned(
        TLS._set_write_buffer_limits
    )
    assert {"_sslobj", "_incoming", "_outgoing", "_write_backlog", "_ssl_buffer"} <= made
    assert {"_ssl_buffer_view", "_app_transport", "_app_transport_created", "_loop"} <= made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_call_eof_received", ["self"]),
        ("_control_app_writing", ["self"]),
        ("_control_ssl_reading", ["self"]),
        ("_do_read", ["self"]),
        ("_do_shutdown", ["self"]),
        ("_do_write", ["self"]),
        ("_fatal_error", ["self", "exc", "message"]),
        ("_get_app_transport", ["self"]),
        ("_process_outgoing", ["self"]),
        ("_start_shutdown", ["self"]),
        ("_write_appdata", ["self", "list_of_data"]),
        ("buffer_updated", ["self", "nbytes"]),
    ],
)
def test_the_tls_protocol_has_what_the_native_half_calls_and_overrides(name, expected):
    assert parameters(getattr(TLS, name)) == expected


def test_the_states_and_errors_of_tls():
    states = asyncio.sslproto.SSLProtocolState
    assert {state.name for state in states} == {
        "UNWRAPPED",
        "DO_HANDSHAKE",
        "WRAPPED",
        "FLUSHING",
        "SHUTDOWN",
    }
    assert asyncio.sslproto.SSLAgainErrors == (ssl.SSLWantReadError, ssl.SSLSyscallError)
    assert parameters(asyncio.sslproto._SSLProtocolTransport.__init__) == [
        "self",
        "loop",
        "ssl_protocol",
    ]


def test_the_standard_tls_object_only_passes_on():
    """So what lies beneath it can be called in its place."""
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    assert type(tls) is ssl.SSLObject
    for name in ("read", "write"):
        assert callable(getattr(tls._sslobj, name))
        assert set(getattr(ssl.SSLObject, name).__code__.co_names) == {"_sslobj", name}


def test_start_tls():
    assert parameters(BASE.start_tls) == parameters(plait.EventLoop.start_tls)


def test_the_runner_counts_interrupts():
    """`ProcessPoolExecutor.__exit__` asks whether a cancellation was Ctrl-C."""
    runner = asyncio.Runner()
    assert runner._interrupt_count == 0
    assert "main_task" in parameters(runner._on_sigint)
    runner.close()


def test_the_native_half_wins():
    for name in ("call_soon", "call_soon_threadsafe", "call_later", "call_at", "time", "_run_once"):
        assert getattr(plait.EventLoop, name) is not getattr(BASE, name), name


def test_every_public_method_of_asyncios_loop_is_there():
    for name in dir(asyncio.AbstractEventLoop):
        assert hasattr(plait.EventLoop, name), name


def test_the_check_that_plait_replaces_is_asked_the_same_way():
    assert parameters(BASE._check_closed) == ["self"]
    assert "_check_closed()" in inspect.getsource(BASE.run_until_complete)
    assert "_check_closed()" in inspect.getsource(BASE.create_task)


def test_the_reader_that_is_fed_natively():
    """`transport/reader.rs` does the work of these methods, on these attributes."""
    streams = asyncio.streams
    for owner, name in [
        (streams.StreamReaderProtocol, "data_received"),
        (streams.StreamReader, "feed_data"),
        (streams.StreamReader, "_wakeup_waiter"),
    ]:
        function = getattr(owner, name)
        assert function.__code__.co_qualname == f"{owner.__name__}.{name}"
        assert function.__globals__ is vars(streams)
    assert streams.StreamReaderProtocol._stream_reader.fget.__globals__ is vars(streams)
    assert streams.StreamReaderProtocol.data_received.__code__.co_names == (
        "_stream_reader",
        "feed_data",
    )
    fed = streams.StreamReader.feed_data.__code__.co_names
    assert set(fed) == {
        "_eof",
        "_buffer",
        "extend",
        "_wakeup_waiter",
        "_transport",
        "_paused",
        "len",
        "_limit",
        "pause_reading",
        "NotImplementedError",
    }
    assert set(streams.StreamReader._wakeup_waiter.__code__.co_names) == {
        "_waiter",
        "cancelled",
        "set_result",
    }


def test_the_attributes_of_a_reader_and_its_protocol():
    loop = plait.new_event_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    assert type(reader._buffer) is bytearray
    assert reader._eof is False
    assert reader._paused is False
    assert reader._waiter is None
    assert reader._transport is None
    assert reader._limit == 2**16
    assert type(protocol._stream_reader_wr) is weakref.ref
    assert protocol._stream_reader_wr() is reader
    assert not {"feed_data", "_wakeup_waiter"} & set(vars(reader))
    assert "data_received" not in vars(protocol)
    loop.close()


def test_a_loops_own_attributes_need_no_dictionary():
    # One that is missing in `Attributes` costs every call of a method a look into it.
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0, bool)
        await asyncio.sleep(0)
        seen.append(dict(vars(loop)))

    plait.run(main())
    loop = plait.new_event_loop()
    seen.append(dict(vars(loop)))
    loop.close()
    assert seen == [{}, {}]
    loop.anything = 1
    assert vars(loop) == {"anything": 1}
