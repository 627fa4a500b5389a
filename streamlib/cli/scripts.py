"""Running a user's script in this process, as `python script.py` would."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence


def run_script(path: str, arguments: Sequence[str], show_traceback: bool) -> int:
    """Runs a script as ``__main__`` with its own arguments and folder, and returns an exit code.

    An error of streamlib is printed as its message alone; any other with its traceback, from the
    script on.

    Args:
        path: of the script.
        arguments: what it finds in ``sys.argv[1:]``.
        show_traceback: print tracebacks of streamlib's errors too.

    Raises:
        SystemExit: the script called ``sys.exit``.
        KeyboardInterrupt: Ctrl-C.
    """
    if not os.path.isfile(path):
        print(f"streamlib: there is no script {path!r}", file=sys.stderr)
        return 2
    argv, folders = sys.argv, list(sys.path)
    sys.argv = [path, *arguments]
    sys.path[:] = [os.path.dirname(os.path.abspath(path)), *folders]
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception as error:
        _show(error, path, show_traceback)
        return 1
    finally:
        sys.argv = argv
        sys.path[:] = folders
    return 0


def _show(error: Exception, path: str, show_traceback: bool) -> None:
    from streamlib.errors import StreamlibError

    if isinstance(error, StreamlibError) and not show_traceback:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        print("  (--traceback before the script shows where it was raised)", file=sys.stderr)
        return
    trace = error.__traceback__
    start = trace
    while start is not None and os.path.abspath(start.tb_frame.f_code.co_filename) != os.path.abspath(path):
        start = start.tb_next
    traceback.print_exception(type(error), error, start or trace)
