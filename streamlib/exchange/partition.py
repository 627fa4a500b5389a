"""Cuts a batch by key: one counting sort, one take, and a slice without copying for each worker."""

from __future__ import annotations

from itertools import pairwise

from streamlib.elements import Batch
from streamlib.kernels.keys import KeyEncoder, exchange_order, partition


class Partitioner:
    """Sends each row to the worker of its key; without keys all go to worker 0.

    Args:
        keys: the key columns.
        workers: how many there are.
        everywhere: every worker is sent all rows instead.
    """

    def __init__(self, keys: tuple[str, ...], workers: int, everywhere: bool = False) -> None:
        self.keys = list(keys)
        self.workers = workers
        self.everywhere = everywhere
        self._encoder: KeyEncoder | None = None

    def parts(self, batch: Batch) -> list[tuple[int, Batch]]:
        """The parts that are not empty, with their workers; rows keep their order."""
        if self.everywhere:
            return [(worker, batch) for worker in range(self.workers)]
        if not self.keys:
            return [(0, batch)]
        columns = [batch.rows.column(name) for name in self.keys]
        if self._encoder is None:
            self._encoder = KeyEncoder([column.type for column in columns])
        hashes = self._encoder.hashes(self._encoder.encode(columns, len(batch)))
        order, offsets = exchange_order(partition(hashes, self.workers), self.workers)
        sorted_rows = batch.take(order)
        return [
            (worker, sorted_rows.slice(int(begin), int(end - begin)))
            for worker, (begin, end) in enumerate(pairwise(offsets))
            if end > begin
        ]
