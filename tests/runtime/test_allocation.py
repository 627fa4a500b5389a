"""Memory that a batch leaves is used for the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from streamlib.runtime.allocation import keep_freed_memory

told = keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    return [np.ones(1 << 19) for _ in range(2)]  # 4 MB each

batch()
before = faults()
for _ in range(20):
    batch()
print(told, faults() - before)
"""

glibc = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="another C library's malloc"
)


def faults_of_batches(**environment: str) -> tuple[str, int]:
    """Whether malloc was told, and the page faults of twenty batches of 2,048 pages, in a new process."""
    clean = {
        name: value for name, value in os.environ.items() if "MALLOC" not in name and "TUNABLES" not in name
    }
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=clean | environment
    )
    told, faults = done.stdout.split()
    return told, int(faults)


@glibc
def test_the_pages_of_a_batch_are_taken_once() -> None:
    told, faults = faults_of_batches()
    assert told == "True"
    assert faults < 2 * 2048


@glibc
def test_what_the_environment_says_of_malloc_stands() -> None:
    told, faults = faults_of_batches(MALLOC_MMAP_THRESHOLD_="131072")
    assert told == "False"
    assert faults > 4 * 2048
