"""Sets limits of this process: more file descriptors, and no core dumps."""

import contextlib
import ctypes
import resource
import sys

_MOST_DESCRIPTORS = 65_536
"""Where the hard limit is none at all."""

_PR_SET_DUMPABLE = 4


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the hard limit does: shells and services begin with fewer."""
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

    Linux hands a core to a program (systemd-coredump) whatever the limit on its size is, unless the process
    says that it must not be dumped.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
