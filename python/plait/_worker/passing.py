"""Messages that come with descriptors."""

import array
import socket

__all__ = ["receive_fds"]


def receive_fds(
    sock: socket.socket, size: int, most: int, flags: int = 0
) -> tuple[bytes, list[int], bool]:
    """Receive a message and the descriptors that come along, closed in executed programs.

    Up to Python 3.14 `socket.recv_fds` does not heed its flags.

    Args:
        sock: a Unix socket.
        size: of the message, in bytes.
        most: how many descriptors are expected.
        flags: as of recvmsg(2).

    Returns:
        The message, empty at the end; the descriptors; whether all of them came.

    """
    fds = array.array("i")
    space = socket.CMSG_SPACE(most * fds.itemsize)
    message, parts, told, _ = sock.recvmsg(size, space, flags | socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in parts:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return message, list(fds), not told & socket.MSG_CTRUNC
