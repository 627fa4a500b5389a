"""The same pipeline over other sources: nodes are frozen, so a graph is copied from its sources down."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from streamlib.contracts import Block, Source
from streamlib.elements import times_ns
from streamlib.errors import BuildError
from streamlib.graph import Node, SourceNode
from streamlib.graph.plan import topological
from streamlib.kernels.marks import advance
from streamlib.operators.event_time import EventTimeNode
from streamlib.testing.list_source import Item, ListSource


def rebuild(nodes: Sequence[Node], change: Callable[[SourceNode], Source]) -> list[Node]:
    """Copies the graph that leads to `nodes`; each source becomes `change(its node)`.

    Steps that stay the same step stay one: a window and its late rows have one copy between them.
    """
    made: dict[int, Node] = {}
    for node in topological(nodes):
        inputs = tuple(made[id(n)] for n in node.inputs)
        if isinstance(node, SourceNode):
            made[id(node)] = replace(node, source=change(node))
        else:
            made[id(node)] = replace(node, inputs=inputs)
    return [made[id(node)] for node in nodes]


def as_list_source(source: Source, lenient: bool = False) -> ListSource:
    """Any bounded source as a list source, with its splits; one that is a list source stays what it is.

    Args:
        source: it.
        lenient: leave out the records that it refuses.

    Raises:
        BuildError: the source does not end.
    """
    if isinstance(source, ListSource):
        return source
    if not source.bounded:
        raise BuildError("check() needs a source that ends", got=source.describe())
    splits: dict[str, list[Item]] = {}
    for split in source.splits():
        reader = source.open(split)
        items: list[Item] = []
        try:
            while (block := reader.read()) is not None:
                if isinstance(block, Block):
                    items.extend(reader.decode_leniently(block, []) if lenient else reader.decode(block))
        finally:
            reader.close()
        splits[split.name] = items
    return ListSource(splits, source.schema())


def max_delays(node: SourceNode, sinks: Sequence[Node]) -> list[EventTimeNode]:
    """The `event_time` steps that read `node`'s own rows, through no other step than further sources."""
    return [
        step
        for step in topological(sinks)
        if isinstance(step, EventTimeNode) and any(n is node for n in step.inputs)
    ]


def shuffled(source: ListSource, step: EventTimeNode, dice: random.Random) -> ListSource:
    """The rows of each split in another order of arrival, with no row later than `max_delay`.

    Each time is put off by up to `max_delay`, equal times by the same, so that ties keep their order. A
    split that has rows behind their mark, or marks between its rows, stays as it is.
    """
    if step.per or step.max_jump is not None:
        return source
    splits: dict[str, Sequence[Item]] = {}
    for name, items in source.items.items():
        batches = [item for item in items if isinstance(item, pa.RecordBatch)]
        if len(batches) < len(items) or not batches:
            splits[name] = items
            continue
        rows = pa.Table.from_batches(batches).combine_chunks()
        column = rows.column(step.column).combine_chunks()
        if column.null_count:
            splits[name] = items
            continue
        times = times_ns(column, step.column)
        delay = 2**62 if step.max_delay is None else step.max_delay
        if advance(times, -(2**63), -(2**63), delay).behind:
            splits[name] = items
            continue
        off = {time: dice.randint(0, delay) for time in dict.fromkeys(times.tolist())}
        arrival = sorted(range(len(times)), key=lambda row: int(times[row]) + off[int(times[row])])
        splits[name] = rows.take(pa.array(arrival)).combine_chunks().to_batches()
    return source.rebuilt(splits, source.seed, source.block_rows)
