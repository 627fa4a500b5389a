"""What holds for the pytest-benchmark files of this folder: they run only when benchmarks are asked for.

`make test` does not come here. `pytest benchmarks` without `--benchmark-enable` or `--benchmark-only`
runs each once, unmeasured, and leaves out those that take minutes.
"""

from __future__ import annotations

import pytest


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> bool:
    """Whether figures are wanted."""
    config = request.config
    return bool(
        config.getoption("benchmark_enable", False) or config.getoption("benchmark_only", False)
    ) or not config.getoption("benchmark_disable", True)
