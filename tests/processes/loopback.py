"""Worker processes as threads of this one: the same messages over the same sockets, without starting anything."""

import os
import signal
import socket
import subprocess
import threading

from streamlib.workers.attendant import Attendant
from streamlib.workers.child import WorkerProcess
from streamlib.workers.execution import ProcessExecution
from streamlib.workers.link import LeaveError, Link
from streamlib.workers.wire import Connection


class ThreadAsProcess(threading.Thread):
    """As much of `subprocess.Popen` as is used of a worker."""

    pid = 0
    returncode = 0

    def __init__(self, end: socket.socket) -> None:
        super().__init__(name="worker as a thread", daemon=True)
        self.process = WorkerProcess(Link(Connection(end, blocking=False)), alone=False)
        self.start()

    def run(self) -> None:
        try:
            self.process.work()
        except LeaveError as told:
            self.process.leave(told.abort)

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        if self.is_alive():
            raise subprocess.TimeoutExpired("a worker", timeout or 0)
        return 0

    def terminate(self) -> None:
        """A worker that has started takes no notice."""

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGABRT)  # a thread cannot be killed: the test cannot go on


class LoopbackExecution(ProcessExecution):
    """Workers as threads, each with a plan of its own. A wake that is lost is not made good by looking around."""

    look_seconds = 60.0

    def start_worker(self, index: int) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.attendants.append(Attendant(index, self, ThreadAsProcess(there), here))
