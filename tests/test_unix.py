"""Unix stream sockets, on plait's loop and, as the model, on asyncio's."""

import asyncio
import os
import socket
import ssl
import sys

import pytest

import plait

cleans_up = pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio cleans up from 3.13 on")


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(path, data=b"hello", **options):
    reader, writer = await asyncio.open_unix_connection(path, **options)
    writer.write(data)
    answer = await reader.readexactly(len(data))
    writer.close()
    await writer.wait_closed()
    return answer


def abstract(name):
    return f"\0plait-test-{os.getpid()}-{name}"


def test_streams(run, tmp_path):
    async def main():
        path = tmp_path / "socket"  # a path object
        async with await asyncio.start_unix_server(echo, path):
            big = os.urandom(1 << 20)
            assert await ask(str(path)) == b"hello"
            assert await ask(path, b"again") == b"again"
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(big)
            assert await reader.readexactly(len(big)) == big
            assert writer.get_extra_info("peername") == str(path)
            assert writer.get_extra_info("sockname") == ""
            assert writer.get_extra_info("socket").family == socket.AF_UNIX
            writer.close()
            await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("as_bytes", [False, True])
def test_abstract_names(run, as_bytes):
    async def main():
        path = abstract("name")
        if as_bytes:
            path = path.encode()
        async with await asyncio.start_unix_server(echo, path) as server:
            assert server.sockets[0].getsockname() == (path if as_bytes else path.encode())
            assert await ask(path) == b"hello"

    run(main())


def test_what_a_server_sees(run, tmp_path):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                seen.set_result(transport)

        loop = asyncio.get_running_loop()
        path = str(tmp_path / "s")
        async with await loop.create_unix_server(Protocol, path):
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
            accepted = await seen
            assert accepted.get_extra_info("sockname") == path
            assert accepted.get_extra_info("peername") == ""
            transport.close()
            accepted.abort()

    run(main())


def test_given_sockets(run, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        async with await asyncio.start_unix_server(echo, sock=listener):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            await loop.sock_connect(sock, str(tmp_path / "s"))
            assert await ask(None, sock=sock) == b"hello"

    run(main())


def test_start_serving_later(run, tmp_path):
    async def main():
        path = tmp_path / "s"
        server = await asyncio.start_unix_server(echo, path, start_serving=False)
        with pytest.raises(ConnectionRefusedError):
            await ask(path)
        await server.start_serving()
        assert await ask(path) == b"hello"
        server.close()
        await server.wait_closed()

    run(main())


def test_tls(run, tmp_path, contexts):
    server_context, context = contexts

    async def main():
        path = tmp_path / "s"
        async with await asyncio.start_unix_server(echo, path, ssl=server_context):
            answer = await ask(path, ssl=context, server_hostname="localhost")
            assert answer == b"hello"
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(path, ssl=context, server_hostname="another.test")

    run(main())


def test_a_stale_file_is_replaced(run, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)

    async def main():
        async with await asyncio.start_unix_server(echo, path):
            assert await ask(path) == b"hello"

    run(main())


def test_a_file_in_the_way(run, tmp_path):
    path = tmp_path / "s"
    path.write_text("mine")

    async def main():
        with pytest.raises(OSError, match="is already in use"):
            await asyncio.start_unix_server(echo, path)

    run(main())
    assert path.read_text() == "mine"


@cleans_up
def test_the_file_goes_with_the_server(run, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        path = tmp_path / "s"
        server = await asyncio.start_unix_server(echo, path)
        assert path.exists()
        server.close()
        assert not path.exists()
        await server.wait_closed()
        assert not loop._unix_server_sockets

    run(main())


@cleans_up
def test_what_is_not_removed(run, tmp_path, caplog):
    async def main():
        kept = tmp_path / "kept"
        server = await asyncio.start_unix_server(echo, kept, cleanup_socket=False)
        server.close()
        assert kept.exists()

        # Another server took the name over.
        taken = tmp_path / "taken"
        server = await asyncio.start_unix_server(echo, taken)
        taken.rename(tmp_path / "moved")  # so that its inode is not reused
        taken.write_text("")
        server.close()
        assert taken.exists()

        # Somebody removed it first.
        gone = tmp_path / "gone"
        server = await asyncio.start_unix_server(echo, gone)
        gone.unlink()
        server.close()

        server = await asyncio.start_unix_server(echo, abstract("cleanup"))
        server.close()

    run(main())
    assert not caplog.records


def test_a_full_queue_is_waited_for(tmp_path):
    # asyncio's loop takes the socket for connected here.
    async def main():
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as listener:
            path = str(tmp_path / "s")
            listener.bind(path)
            listener.listen(0)
            with socket.socket(socket.AF_UNIX) as first:
                first.connect(path)
                connecting = asyncio.create_task(
                    loop.create_unix_connection(asyncio.Protocol, path)
                )
                done, _ = await asyncio.wait([connecting], timeout=0.02)
                assert not done
                with listener.accept()[0]:
                    transport, _ = await connecting
                    assert transport.get_extra_info("peername") == path
                    transport.abort()

    plait.run(asyncio.wait_for(main(), 30))


def unix_socket(kind=socket.SOCK_STREAM, family=socket.AF_UNIX):
    return socket.socket(family, kind)


async def refused(method, options, error, message):
    """Call a method of the loop with what it must refuse."""
    given = dict(options)
    if "sock" in given:
        given["sock"] = given["sock"]()
    try:
        with pytest.raises(error, match=message):
            await getattr(asyncio.get_running_loop(), method)(asyncio.Protocol, **given)
    finally:
        if "sock" in given:
            given["sock"].close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no path and sock"),
        ({"path": "/x", "sock": unix_socket}, "can not be specified at the same time"),
        ({"path": "/x", "ssl": True}, "server_hostname"),
        ({"path": "/x", "server_hostname": "x"}, "only meaningful with ssl"),
        ({"path": "/x", "ssl_handshake_timeout": 1}, "only meaningful with ssl"),
        ({"path": "/x", "ssl_shutdown_timeout": 1}, "only meaningful with ssl"),
        ({"sock": lambda: unix_socket(socket.SOCK_DGRAM)}, "Stream Socket was expected"),
        ({"sock": lambda: unix_socket(family=socket.AF_INET)}, "Stream Socket was expected"),
    ],
)
def test_bad_arguments_to_connect(run, options, message):
    run(refused("create_unix_connection", options, ValueError, message))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "path was not specified"),
        ({"path": "/x", "sock": unix_socket}, ValueError, "at the same time"),
        ({"path": "/x", "ssl": True}, TypeError, "SSLContext or None"),
        ({"path": "/x", "ssl_handshake_timeout": 1}, ValueError, "only meaningful with ssl"),
        ({"path": "/x", "ssl_shutdown_timeout": 1}, ValueError, "only meaningful with ssl"),
        ({"sock": lambda: unix_socket(socket.SOCK_DGRAM)}, ValueError, "was expected"),
        ({"path": "/no/such/folder/s"}, FileNotFoundError, "No such file"),
    ],
)
def test_bad_arguments_to_serve(run, options, error, message):
    run(refused("create_unix_server", options, error, message))


def test_nobody_listens(run, tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError):
            await ask(tmp_path / "nobody")

    run(main())
