"""Running: `run` and `start` take sinks and run what leads to them, `collect` returns a stream's rows."""

from streamlib.job.job import Job
from streamlib.job.launch import collect, explain, run, start

__all__ = ["Job", "collect", "explain", "run", "start"]
