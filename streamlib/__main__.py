"""`python -m streamlib` is the command `streamlib`."""

import sys

from streamlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
