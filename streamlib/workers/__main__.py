"""``python -m streamlib.workers``: a worker process. It is begun by `sl.run(..., workers=sl.processes(n))` only."""

import sys

from streamlib.workers.child import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
