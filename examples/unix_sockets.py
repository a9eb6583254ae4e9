"""Two programs of one machine talk over a Unix socket, and the server knows who calls.

The calls are those for TCP with a path in place of host and port. A path that begins with a zero
byte is a name in the kernel (Linux): no file, and gone with the server.
"""

import asyncio
import os
import socket
import struct
import tempfile

import plait


def caller(writer: asyncio.StreamWriter) -> tuple[int, int, int]:
    """Return the process, user and group at the other end, as the kernel knows them."""
    sock = writer.get_extra_info("socket")
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, group = struct.unpack("3i", data)
    return process, user, group


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one line."""
    name = (await reader.readline()).decode().strip()
    _, user, _ = caller(writer)
    me = "me" if user == os.getuid() else "somebody else"
    writer.write(f"hello {name}, you run as {me}\n".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(path: str, name: str) -> str:
    """Send a name, return the answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"{name}\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().strip()


async def main(folder: str) -> None:
    """Serve under a file and under a name, and ask both."""
    for path in (f"{folder}/greeter", f"\0plait-greeter-{os.getpid()}"):
        server = await asyncio.start_unix_server(greet, path)
        async with server:
            for answer in await asyncio.gather(ask(path, "Ada"), ask(path, "Grace")):
                print(answer)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        plait.run(main(folder))
