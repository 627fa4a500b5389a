"""``python -m streamlib.workers``: a worker process. It is begun by `sl.run(..., workers=sl.processes(n))` only."""

import atexit
import os
import sys

from streamlib.workers.child import main

if __name__ == "__main__":
    main(sys.argv[1:])
    atexit._run_exitfuncs()  # of libraries that functions of the user's have imported
    os._exit(0)  # to take the interpreter apart would cost more than most of a start
