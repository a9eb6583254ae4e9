"""Uses the loop at random for a while, then counts what is left: `make soak`.

    SECONDS=600 SEED=7 python tests/soak/soak.py

Users come and go, each doing one thing at random: connections that are closed, aborted, reset or
cancelled at any point, with and without TLS, streams and protocols, timers, executor calls,
datagrams, Unix sockets and subprocesses. At the end, and at checkpoints between, everything is
stopped and counted: objects of the native module, tasks, descriptors, memory. The status is 1 if
anything was left or an error was reported that no user expected.
"""

import asyncio
import collections
import gc
import logging
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
import time
import warnings

import trustme

import plait

USERS = 40
# What the allocator and the interpreter keep for themselves may grow so much between the first
# checkpoint and the last, in MiB, whatever the length of the run.
SLACK = 24


class Soak:
    """One run: what users need, and what they did."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.done = collections.Counter()
        self.reported = []
        authority = trustme.CA()
        self.server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server_tls)
        self.client_tls = ssl.create_default_context()
        authority.configure_trust(self.client_tls)
        self.missing = set()

    # -- the servers -------------------------------------------------------

    async def serve(self, reader, writer):
        """Echo, and sometimes end the connection first."""
        try:
            while data := await reader.read(self.random.choice((100, 4096, 65536))):
                if self.random.random() < 0.02:
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass
        finally:
            writer.close()

    def protocol(self):
        """Echo by a protocol that pauses, and closes itself, at random."""
        soak = self

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                if soak.random.random() < 0.02:
                    transport.close()

            def data_received(self, data):
                self.transport.writelines((data[:10], data[10:]))
                chance = soak.random.random()
                if chance < 0.02:
                    self.transport.abort()
                elif chance < 0.04:
                    self.transport.close()

            def pause_writing(self):
                self.transport.pause_reading()

            def resume_writing(self):
                self.transport.resume_reading()

        return Echo()

    async def start(self):
        loop = asyncio.get_running_loop()
        self.servers = [
            await asyncio.start_server(self.serve, "127.0.0.1", 0),
            await loop.create_server(self.protocol, "127.0.0.1", 0),
        ]
        self.tls_server = await asyncio.start_server(
            self.serve, "127.0.0.1", 0, ssl=self.server_tls
        )

    async def stop(self):
        for server in (*self.servers, self.tls_server):
            server.close()
            await server.wait_closed()

    # -- the users ---------------------------------------------------------

    async def connection(self, tls=False):
        server = self.tls_server if tls else self.random.choice(self.servers)
        options = {"ssl": self.client_tls, "server_hostname": "localhost"} if tls else {}
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), **options)
        try:
            for _ in range(self.random.randrange(6)):
                size = self.random.choice((1, 1000, 100_000, 1_000_000))
                writer.write(self.random.randbytes(1) * size)
                if self.random.random() < 0.7:
                    received = 0
                    while received < size and (data := await reader.read(1 << 16)):
                        received += len(data)
            if self.random.random() < 0.2 and writer.can_write_eof():
                writer.write_eof()
                while await reader.read(1 << 16):
                    pass
        finally:
            end = self.random.random()
            if end < 0.2:
                writer.transport.abort()
            elif end < 0.4:
                sock = writer.get_extra_info("socket")
                if sock is not None and sock.fileno() != -1:
                    linger = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
        if self.random.random() < 0.5:
            await writer.wait_closed()

    async def tls_connection(self):
        await self.connection(tls=True)

    async def refused(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            await asyncio.open_connection(*unused.getsockname())

    async def raw_sockets(self):
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            b.setblocking(False)
            size = self.random.choice((1, 1000, 500_000))
            sender = asyncio.ensure_future(loop.sock_sendall(a, bytes(size)))
            try:
                while size:
                    size -= len(await loop.sock_recv(b, 1 << 16))
                await sender
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def timers(self):
        loop = asyncio.get_running_loop()
        handles = [loop.call_later(self.random.random() / 100, int) for _ in range(100)]
        for handle in self.random.sample(handles, 60):
            handle.cancel()
        await asyncio.sleep(self.random.random() / 50)

    async def executor(self):
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.001)

    async def timeouts(self):
        async with asyncio.timeout(self.random.random() / 100):
            await asyncio.Event().wait()

    async def threadsafe(self):
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        await loop.run_in_executor(
            None, lambda: [loop.call_soon_threadsafe(done.set) for _ in range(20)]
        )
        await done.wait()

    async def datagrams(self):
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                if not got.done():
                    got.set_result(data)

        receiver, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
        try:
            sender, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
            )
            try:
                sender.sendto(b"x" * self.random.randrange(1, 2000))
                await got
            finally:
                self.random.choice((sender.close, sender.abort))()
        finally:
            receiver.close()

    async def unix_sockets(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            # In two steps: a task that is cancelled while it starts to serve loses the server,
            # on asyncio's loop as well.
            server = await asyncio.start_unix_server(self.serve, path, start_serving=False)
            try:
                await server.start_serving()
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(b"x" * 1000)
                writer.close()
            finally:
                server.close()

    async def subprocesses(self):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
        try:
            if self.random.random() < 0.3:
                process.kill()
            await process.communicate(b"x" * self.random.choice((1, 200_000)))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()

    # OSError: write_eof on a connection that the peer has reset, as on asyncio's loop.
    EXPECTED = (OSError, TimeoutError, asyncio.CancelledError)

    async def user(self, until):
        kinds = [
            *[self.connection] * 6,
            *[self.tls_connection] * 2,
            *[self.raw_sockets] * 2,
            self.refused,
            self.timers,
            self.executor,
            self.timeouts,
            self.threadsafe,
            self.datagrams,
            self.unix_sockets,
            self.subprocesses,
        ]
        while time.monotonic() < until:
            kind = self.random.choice(kinds)
            if kind.__name__ in self.missing:
                continue
            task = asyncio.ensure_future(kind())
            # A cancel may come at any await, and often comes after the end.
            if self.random.random() < 0.3:
                delay = self.random.choice((0, 0.001, 0.01, 0.1))
                handle = asyncio.get_running_loop().call_later(delay, task.cancel)
            else:
                handle = None
            try:
                await asyncio.wait_for(task, 30)
                outcome = "done"
            except NotImplementedError:
                self.missing.add(kind.__name__)
                continue
            except self.EXPECTED as error:
                outcome = type(error).__name__
            finally:
                if handle is not None:
                    handle.cancel()
            self.done[kind.__name__, outcome] += 1
            if outcome == "TimeoutError" and kind.__name__ != "timeouts":
                self.reported.append(f"{kind.__name__} took more than 30 s")

    async def run(self, seconds):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.report)
        await self.start()
        until = time.monotonic() + seconds
        await asyncio.gather(*[self.user(until) for _ in range(USERS)])
        await self.stop()
        # Servers' sides of connections whose users have gone.
        mine = asyncio.current_task()
        for _ in range(200):
            left = asyncio.all_tasks() - {mine}
            if not left:
                break
            await asyncio.wait(left, timeout=0.1)
        await asyncio.sleep(0.2)
        return [repr(task) for task in asyncio.all_tasks() - {mine}]

    def report(self, loop, context):
        error = context.get("exception")
        if isinstance(error, OSError):
            return
        self.reported.append(f"{context['message']}: {error!r}")


def native_objects():
    for _ in range(3):
        gc.collect()
    return collections.Counter(
        type(each).__name__ for each in gc.get_objects() if type(each).__module__ == "plait._native"
    )


def descriptors():
    return len(os.listdir("/proc/self/fd")) - 1


def resident():
    """Return the private memory of this process in MiB."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell RssAnon")


def main():
    seconds = float(os.environ.get("SECONDS", "600"))
    seed = int(os.environ.get("SEED", str(random.randrange(1 << 32))))
    warnings.simplefilter("error")
    # Writes to lost connections are said there, and are wanted here.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    unraisable = []
    sys.unraisablehook = lambda args: unraisable.append(f"{args.object!r}: {args.exc_value!r}")
    soak = Soak(seed)
    print(f"soak: {seconds:.0f} s, SEED={seed}", flush=True)
    failures = []
    # The first part warms caches and pools up; what grows after it is a leak.
    marks = []
    for part in range(4):
        left = plait.run(soak.run(seconds / 4))
        marks.append((native_objects(), descriptors(), resident()))
        objects, files, memory = marks[-1]
        operations = sum(soak.done.values())
        print(
            f"part {part + 1}: {operations} operations, objects {dict(objects)}, "
            f"descriptors {files}, memory {memory:.1f} MiB, tasks left {len(left)}",
            flush=True,
        )
        failures += left
    objects = marks[-1][0] - marks[0][0]
    transports = {name: n for name, n in marks[-1][0].items() if name != "Future"}
    if objects:
        failures.append(f"objects grew: {dict(objects)}")
    if any(name.endswith(("Transport", "Handle", "Loop")) for name in transports):
        failures.append(f"objects of the loop are left: {transports}")
    if marks[-1][1] > marks[0][1]:
        failures.append(f"descriptors grew from {marks[0][1]} to {marks[-1][1]}")
    if marks[-1][2] > marks[0][2] + SLACK:
        failures.append(f"memory grew from {marks[0][2]:.1f} to {marks[-1][2]:.1f} MiB")
    failures += soak.reported + unraisable
    for (kind, outcome), count in sorted(soak.done.items()):
        print(f"  {kind} {outcome}: {count}")
    if soak.missing:
        print(f"  not there yet: {', '.join(sorted(soak.missing))}")
    for failure in failures[:30]:
        print(f"LEFT OR WRONG: {failure}")
    print(f"soak: {len(failures)} failures, SEED={seed}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
