"""Workers that are processes: `sl.run(..., workers=sl.processes(4))`.

A worker process gets the plan by cloudpickle, rows by shared memory and everything else as small typed
messages. It runs `runtime.worker.Worker` as a thread does; the process that runs the job keeps splits,
clocks and barriers, and commits.
"""

from streamlib.workers.spec import Processes, processes

__all__ = ["Processes", "processes"]
