"""Benchmarks: figures for the promises about speed and memory, each with a hash of its result.

`python -m benchmarks.all` runs all of them; `python -m benchmarks.bars --rows 1000000` runs one, smaller.
Cases that are compared run in one process in turns (A B A B), and count only when their answers agree.
Files named `test_*.py` measure single kernels and operators with pytest-benchmark.
"""
