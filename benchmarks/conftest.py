"""What holds for the pytest-benchmark files of this folder: they run only when benchmarks are asked for.

`make test` does not come here. `pytest benchmarks` runs each once, unmeasured and small; `make bench`, which
is `pytest benchmarks --benchmark-enable`, measures.
"""

from __future__ import annotations

import pytest


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> bool:
    """Whether figures are wanted."""
    return bool(request.config.getoption("benchmark_enable"))
