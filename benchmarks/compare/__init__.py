"""streamlib and its peers: the same jobs, on the same file, in one run, with answers that must agree.

`python -m benchmarks.compare` runs all of it; docs/benchmarks.md says what it measures. A job is one file of
`jobs`: its input, and how each engine is asked for it. An engine is one file of `engines`: how it is run.
Each engine runs in a process of its own, those with clashing requirements in an environment of their own.

The process of an engine may have nothing installed but that engine. So modules of this package import
nothing but the standard library, and functions import what they need.
"""
