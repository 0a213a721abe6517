"""Opening a source without waiting for it, and why that failed, in plain words."""

from __future__ import annotations

import errno
import io
import os
import stat

__all__ = ["kind_of", "open_regular", "reason_for"]

_REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a link to itself",
    errno.ENOENT: "vanished before it was read",
    errno.ENOTDIR: "vanished before it was read",
    errno.ENAMETOOLONG: "its path is too long",
    errno.EIO: "the disk cannot read it (input/output error)",
}


def open_regular(location: str) -> io.FileIO:
    """Return the regular file at `location`, open for reading, unbuffered; never waits for a pipe or a device.

    Raises:
        OSError: if it cannot be opened, or is not a regular file; `reason_for` says it plainly.
    """
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)  # not every system has every flag
    try:
        descriptor = os.open(location, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:  # links were resolved when the file was found
            raise OSError("has become a link") from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(kind_of(mode))
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def reason_for(error: OSError) -> str:
    """Return in plain words why the system could not read a file.

    >>> reason_for(PermissionError(13, "Permission denied"))
    'permission denied'
    """
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__).lower()


def kind_of(mode: int) -> str:
    """Return what a file of this mode is that is no regular one."""
    if stat.S_ISFIFO(mode):
        return "a named pipe, not a file"
    if stat.S_ISSOCK(mode):
        return "a socket, not a file"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device, not a file"
    return "a folder, not a file" if stat.S_ISDIR(mode) else "not a file"
