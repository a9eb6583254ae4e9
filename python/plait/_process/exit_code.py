"""How a process ended whose parent is gone."""

import errno
import fcntl
import os
import struct

__all__ = ["exit_code_of"]

# `struct pidfd_info` of linux/pidfd.h, as of Linux 6.15: its mask, the id of its control group,
# eleven ids, and the status as waitpid(2) gives it.
_INFO = struct.Struct("=QQ11Ii")
_EXIT = 1 << 3
_GET_INFO = 0xC000FF0B | _INFO.size << 16


def exit_code_of(pidfd: int) -> int | None:
    """Ask the kernel for the exit code of a process that nobody here is the parent of.

    Returns:
        The code, negative for a signal; None if it is not known: before Linux 6.15, or if the
        process has not been reaped.

    """
    info = bytearray(_INFO.pack(_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        raise
    mask, *_, status = _INFO.unpack(info)
    return os.waitstatus_to_exitcode(status) if mask & _EXIT else None
