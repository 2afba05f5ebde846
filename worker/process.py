"""Sets limits of this process: more file descriptors, and no core dumps."""

import contextlib
import ctypes
import resource
import sys

_MOST_DESCRIPTORS = 65_536
"""The limit to set where the hard limit is unlimited."""

_PR_SET_DUMPABLE = 4


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the hard limit does: shells and services start with fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses more than the kernel's own limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def descriptor_limit() -> int:
    """How many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def forbid_core_dumps() -> None:
    """Never write this process's memory to a disk: it holds documents, texts and keys.

    A size limit of 0 is not enough on Linux: systemd-coredump receives the core anyway. So the process is
    marked as not dumpable as well.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
