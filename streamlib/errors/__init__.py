"""The error tree. Every message names the step, the user's line, what was expected and what came.

::

    StreamlibError
    |-- BuildError             the graph cannot work: raised while the script builds it
    |   |-- ColumnNotFoundError
    |   `-- TypeMismatchError
    |-- DataError              bad rows: a malformed line, a null event time, a failed cast
    |-- SourceError            an input that is missing, unreadable, damaged or of another schema
    |-- SinkError              an output that cannot be written: exists already, disk full
    |-- UserFunctionError      a function handed to map_batches raised or returned the wrong thing
    `-- WorkerError            a worker process that was killed, or could not be started
"""

from streamlib.errors.location import Location, user_location
from streamlib.errors.names import nearest_names
from streamlib.errors.policy import FAIL, ErrorPolicy, OnError, Retry
from streamlib.errors.tree import (
    BuildError,
    ColumnNotFoundError,
    DataError,
    SinkError,
    SourceError,
    StreamlibError,
    TypeMismatchError,
    UserFunctionError,
    WorkerError,
)

__all__ = [
    "FAIL",
    "BuildError",
    "ColumnNotFoundError",
    "DataError",
    "ErrorPolicy",
    "Location",
    "OnError",
    "Retry",
    "SinkError",
    "SourceError",
    "StreamlibError",
    "TypeMismatchError",
    "UserFunctionError",
    "WorkerError",
    "nearest_names",
    "user_location",
]
