"""What lies where in the int64 blocks that Python and the kernels share: indices of 8-byte words.

Plain constants, so that a kernel and the Python around it name the same thing.
"""

from __future__ import annotations

# A pane's descriptor in the directory: two cache lines, the first holds what every row reads.
PANE_WORDS = 16
PANE_START = 0
PANE_TABLE = 1  # address; 0: free place, -1: a pane was here
PANE_MASK = 2
PANE_RECORDS = 3
PANE_COUNT = 4
PANE_LIMIT = 5  # records and table have room for so many slots
PANE_NULL_SLOT = 6  # slot of the null key + 1 (EXACT keys), 0: none yet
PANE_NUMBER = 7  # which pane, in notes
PANE_ARENA = 8
PANE_ARENA_USED = 9
PANE_ARENA_SIZE = 10

# A record: the key's word, then the plan's state words. The word of a key whose bytes lie in the arena is
# `LONG_TAG` and where they lie.
RECORD_KEY = 0
RECORD_STATE = 1

# An entry of a pane's table: `half_hash` of the key's word, and slot + 1; 0 is free.

# The call block: what one call of a fused kernel works on.
CALL_TIME = 0
CALL_ORDER = 1
CALL_STARTS = 2  # 0: tumbling by size and offset
CALL_SIZE = 3
CALL_OFFSET = 4
CALL_KEY_VALUES = 5
CALL_KEY_OFFSETS = 6
CALL_KEY_DATA = 7
CALL_KEY_END = 8
CALL_KEY_VALIDITY = 9
CALL_KEY_BIT = 10
CALL_DIRECTORY = 11
CALL_DIRECTORY_MASK = 12
CALL_TEMPLATE = 13
CALL_SCRATCH = 14  # four arrays of CHUNK words: starts, key words, addresses of records and of panes
CALL_NOTES = 15  # pairs (pane number, row) of new slots; 0: not wanted
CALL_REPORT = 16
CALL_SOURCE = 17  # merge: address of the state words of row 0
CALL_PREFETCH = 18  # 1: some pane is larger than the cache
CALL_ORDER_STEP = 19  # 1, or 0 where the order of row i is the first one + i
CALL_FOUND = 20  # where the record address of each row is wanted; 0: nowhere
CALL_SPARES = 21  # address of the words of spare panes
CALL_INPUTS = 22  # for each input: values, validity, bit, and the values it is multiplied by
INPUT_WORDS = 4
KEPT_WORDS = 3  # after the inputs, for each accumulator whose values lie beside the records:
KEPT_RANKS = 0  # address of the rows' ranks
KEPT_NOTES = 1  # address of pairs (record, window start) of records with a new winner
KEPT_NOTED = 2  # how many there are

# Panes that a kernel may open by itself.
SPARE_WORDS = 8
SPARE_LEFT = 0
SPARE_NEXT = 1  # which one
SPARE_TABLES = 2  # address of addresses: their tables
SPARE_RECORDS = 3  # and their records
SPARE_MASK = 4
SPARE_LIMIT = 5
SPARE_NUMBER = 6  # that of the first one
SPARE_LOG = 7  # address of addresses: the places of those opened

# The report of a call that stopped before its last row.
REPORT_WORDS = 4
REPORT_REASON = 0
REPORT_START = 1  # the pane
REPORT_NOTES = 2  # new slots noted so far
REPORT_NEED = 3  # bytes the arena lacks room for

NO_PANE = 1
PANE_FULL = 2
ARENA_FULL = 3

CHUNK = 1024
"""Rows per turn of the fused loop: its scratch arrays stay in the first-level cache."""
