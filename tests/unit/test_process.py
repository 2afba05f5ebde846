"""What the process asks of its operating system, tried in a process of its own."""

import resource
import subprocess
import sys

import pytest


def in_a_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_descriptors_are_raised_to_the_hard_limit() -> None:
    code = (
        "import resource as r; from worker.process import descriptor_limit, raise_descriptor_limit;"
        "r.setrlimit(r.RLIMIT_NOFILE, (100, 300)); raise_descriptor_limit();"
        "print(*r.getrlimit(r.RLIMIT_NOFILE), descriptor_limit())"
    )
    assert in_a_process(code) == "300 300 300"


def test_no_image_of_the_process_is_ever_written() -> None:
    code = (
        "import ctypes, resource as r, sys; from worker.process import forbid_core_dumps;"
        "forbid_core_dumps();"
        "print(*r.getrlimit(r.RLIMIT_CORE), ctypes.CDLL(None).prctl(3) if sys.platform == 'linux' else 0)"
    )
    assert in_a_process(code) == "0 0 0"


@pytest.mark.skipif(sys.platform != "linux", reason="the order of the two is Linux's")
def test_a_limit_that_is_high_already_is_left_alone() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({hard}, {hard}));"
        "from worker.process import raise_descriptor_limit; raise_descriptor_limit();"
        "print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    assert in_a_process(code) == f"{hard} {hard}"
