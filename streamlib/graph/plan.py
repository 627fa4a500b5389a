"""From the logical graph to steps: which run in one stack, and where queues stand between workers.

Every worker runs all steps on its own share. A *stage* is a set of steps joined by local edges:
one stack drives it, and only the edges between stages are channels. A step whose inputs come from
different stages begins a new one, so that a barrier is aligned in one place: at a stage's channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from streamlib.contracts import Operator
from streamlib.errors import FAIL, BuildError, OnError
from streamlib.graph.dead_letters import TAG as DEAD_LETTERS
from streamlib.graph.node import BuildContext, Node, SideNode, SinkNode, SourceNode
from streamlib.graph.rejoined import rejoined


@dataclass(frozen=True, slots=True)
class Edge:
    """What a step sends where.

    Attributes:
        target: the receiving step.
        side: the input of the target's node that it feeds.
        tag: the side output it carries; None for the main one.
        channel: whether it goes through a channel (else it is a call in the same stack).
        keys: the columns that choose the worker; None where rows stay on their worker.
        everywhere: whether every worker is sent all rows; then `keys` is empty.
    """

    target: int
    side: int
    tag: str | None = None
    channel: bool = False
    keys: tuple[str, ...] | None = None
    everywhere: bool = False


@dataclass(slots=True)
class Step:
    """One step of the plan; each worker has an operator for it.

    Attributes:
        build: makes the operator of one worker.
        edges: where its output goes.
        sides: for each input side, the steps that feed it.
        stage: the stage it belongs to; larger is nearer to the sinks.
        needs_order: whether it reads the hidden order of rows.
        wanted: the columns of its result that are read; None for all.
        late_read: whether its late rows are read.
        sides_read: the side outputs that are read, by tag.
        dead_letters_read: whether its dead letters are read.
        on_error: what becomes of rows that it cannot work on.
    """

    index: int
    node: Node
    name: str
    build: Callable[[BuildContext], Operator]
    edges: list[Edge] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    stage: int = 0
    needs_order: bool = False
    wanted: frozenset[str] | None = None
    late_read: bool = False
    sides_read: frozenset[str] = frozenset()
    dead_letters_read: bool = False
    on_error: OnError = FAIL

    @property
    def is_source(self) -> bool:
        """Whether it reads a source."""
        return isinstance(self.node, SourceNode)


@dataclass(slots=True)
class Plan:
    """The steps in topological order."""

    steps: list[Step]
    workers: int
    sinks: list[SinkNode]

    def upstream(self, step: int) -> set[int]:
        """The steps from which rows can reach `step`, itself included."""
        found, todo = {step}, [step]
        while todo:
            for source in self.steps[todo.pop()].sides:
                if source not in found:
                    found.add(source)
                    todo.append(source)
        return found

    def downstream(self, step: int) -> set[int]:
        """The steps that rows of `step` can reach, itself included."""
        found, todo = {step}, [step]
        while todo:
            for edge in self.steps[todo.pop()].edges:
                if edge.target not in found:
                    found.add(edge.target)
                    todo.append(edge.target)
        return found


def is_endless(node: Node) -> bool:
    """Whether rows of an input without an end can reach a node."""
    return any(isinstance(n, SourceNode) and not n.source.bounded for n in topological([node]))


def topological(sinks: Iterable[Node]) -> list[Node]:
    """All nodes that lead to `sinks`, inputs before their readers, in a fixed order."""
    order: list[Node] = []
    seen: set[int] = set()
    for sink in sinks:
        _visit(sink, order, seen)
    return order


def _visit(node: Node, order: list[Node], seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    for source in node.inputs:
        _visit(source, order, seen)
    order.append(node)


def plan_graph(
    sinks: Sequence[SinkNode],
    workers: int = 1,
    several_splits: bool = True,
    on_error: OnError = FAIL,
) -> Plan:
    """Lowers the graph that leads to `sinks`.

    Args:
        sinks: what to run.
        workers: on how many workers.
        several_splits: whether rows can come from more than one split, so that ties need an order.
        on_error: the policy of steps that have none of their own.

    Raises:
        BuildError: there is nothing to run, two steps have one name, or dead letters are read of a step
            that sends none.
    """
    if not sinks:
        raise BuildError(
            "there is nothing to run",
            expected="at least one sink",
            hint="end a stream with .write_files(...)",
        )
    nodes = topological(sinks)
    narrowed, wanted = _narrow_sources(nodes)
    names = step_names(nodes)
    steps: list[Step] = []
    made: dict[int, int] = {}  # id(node) -> step with its main output
    sided: dict[tuple[int, str], int] = {}  # (id(node), tag) -> step with that side output
    ordered = several_splits or workers > 1 or any(node.interleaves for node in nodes)

    def add(node: Node, build: Callable[[BuildContext], Operator], name: str) -> Step:
        step = Step(len(steps), node, name, build)
        step.needs_order = ordered and node.reads_order
        steps.append(step)
        return step

    def connect(source: Node, target: Step, side: int, keys: tuple[str, ...] | None, channel: bool) -> None:
        tag = None
        if isinstance(source, SideNode):
            tag = source.tag
            feeder = steps[sided[id(source.inputs[0]), tag]]
        else:
            feeder = steps[made[id(source)]]
        everywhere = keys is not None and target.node.broadcasts(side)
        feeder.edges.append(Edge(target.index, side, tag, channel, () if everywhere else keys, everywhere))
        target.sides.append(feeder.index)

    for original in nodes:
        if isinstance(original, SideNode):
            continue
        node = narrowed.get(id(original), original)
        name = names[id(original)]
        exchange = node.exchange_by and workers > 1
        if exchange and node.combines:
            first = add(node, node.build_combiner, f"{name} (combine)")
            for side, source in enumerate(node.inputs):
                connect(source, first, side, None, False)
            last = add(node, node.build_merger, name)
            first.edges.append(Edge(last.index, 0, None, True, node.keys))
            last.sides.append(first.index)
        else:
            first = last = add(node, node.build, name)
            for side, source in enumerate(node.inputs):
                connect(source, first, side, node.exchange_keys(side) if exchange else None, exchange)
        first.wanted = last.wanted = wanted.get(id(original))
        made[id(original)] = last.index
        if node.refuses != "never":
            first.on_error = node.on_error or on_error
        for tag in _tags(nodes, original):
            sided[id(original), tag] = first.index
            first.sides_read |= {tag}
            first.late_read = first.late_read or tag == "late" or tag.startswith("late_")
            if tag == DEAD_LETTERS:
                first.dead_letters_read = True
                _check_dead_letters(first)
    plan = Plan(steps, workers, list(sinks))
    exact = rejoined(nodes)
    for step in steps:
        if step.node.gives_order or id(step.node) in exact:
            step.needs_order = any(steps[below].needs_order for below in plan.downstream(step.index))
    _set_stages(plan)
    return plan


def _check_dead_letters(step: Step) -> None:
    if step.on_error.policy != "dead_letter":
        raise BuildError(
            "its dead letters are read, but it sends none",
            step=step.name,
            at=step.node.at,
            expected='.on_error("dead_letter") on the step, or on_error="dead_letter" for the run',
            got=f"on_error={step.on_error.policy!r}",
        )


def _tags(nodes: Sequence[Node], owner: Node) -> list[str]:
    return [n.tag for n in nodes if isinstance(n, SideNode) and n.inputs[0] is owner]


def step_names(nodes: Sequence[Node]) -> dict[int, str]:
    """The name of each step, by the id of its node: as given, or of its kind, numbered where it repeats."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for node in nodes:
        if node.name is not None:
            if node.name in taken:
                raise BuildError(
                    f"two steps are named {node.name!r}",
                    at=node.at,
                    hint="names identify a step: give each its own",
                )
            taken.add(node.name)
            names[id(node)] = node.name
    for node in nodes:
        if node.name is None:
            name, count = node.label, 2
            while name in taken:
                name, count = f"{node.label} {count}", count + 1
            taken.add(name)
            names[id(node)] = name
    return names


def _narrow_sources(
    nodes: Sequence[Node],
) -> tuple[dict[int, Node], dict[int, frozenset[str] | None]]:
    """Pushes the columns that are read into the sources. Predicates are never pushed.

    Returns:
        What takes the place of nodes, and the columns that are read of each, both by the node's id.
    """
    wanted: dict[int, frozenset[str] | None] = {}

    def want(node: Node, columns: frozenset[str] | None) -> None:
        if id(node) in wanted:
            before = wanted[id(node)]
            columns = None if columns is None or before is None else columns | before
        wanted[id(node)] = columns

    narrowed: dict[int, Node] = {}
    for node in reversed(nodes):
        columns = wanted.get(id(node))
        if isinstance(node, SourceNode):
            if columns is not None:
                kept = [name for name in node.schema.names if name in columns] or node.schema.names[:1]
                if kept != node.schema.names:
                    source = node.source.with_columns(kept)
                    narrowed[id(node)] = SourceNode(
                        source=source, at=node.at, name=node.name, on_error=node.on_error
                    )
            continue
        if isinstance(node, SideNode):
            want(node.inputs[0], None)
            for feeder in node.inputs[0].inputs:
                want(feeder, None)
            continue
        for feeder, needed in zip(node.inputs, node.needs(columns), strict=True):
            want(feeder, needed)
    return narrowed, wanted


def _set_stages(plan: Plan) -> None:
    """Numbers the stages, and turns local edges between different stages into channels."""
    stages = 1
    for step in plan.steps:
        incoming = [(s, e) for s in plan.steps for e in s.edges if e.target == step.index]
        if not incoming:
            continue
        reached = {s.stage for s, _ in incoming}
        if any(e.channel for _, e in incoming) or len(reached) > 1:
            step.stage, stages = stages, stages + 1
            for feeder, edge in incoming:
                if not edge.channel:
                    at = feeder.edges.index(edge)
                    feeder.edges[at] = Edge(edge.target, edge.side, edge.tag, True, None)
        else:
            step.stage = reached.pop()
