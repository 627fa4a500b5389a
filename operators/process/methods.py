"""The class of a processor, read when the graph is built: its methods, what they are given, what it keeps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import pyarrow as pa

from streamlib.contracts import Processor
from streamlib.errors import BuildError, UserFunctionError, nearest_names
from streamlib.operators.functions.annotations import plain, resolved
from streamlib.operators.functions.arrays import Misfit
from streamlib.operators.functions.callee import Callee
from streamlib.operators.functions.row_arguments import RowArguments, whole_row_arguments
from streamlib.operators.process.states import Bound, StateSpec, Turn, bound_class, state_specs

ROW, TIMER = "on_row", "on_timer"
FIRST = "row"
"""The name of the first input, as methods are named."""


@dataclass(frozen=True, eq=False)
class MethodCallee(Callee):
    """A method, which has the name that it is called by, whatever function it is.

    Attributes:
        called: that name, with its class.
    """

    called: str = ""

    @property
    def name(self) -> str:
        return self.called


@dataclass(frozen=True, eq=False)
class Method:
    """A method of the user's that takes rows, or timers.

    Attributes:
        name: as it is called.
        callee: the function, for messages.
        arguments: how rows are read; None for timers.
        make: makes the dataclass that is asked for of a row that is a dict.
    """

    name: str
    callee: Callee
    arguments: RowArguments | None
    make: Callable[[dict[str, Any]], Any] | None

    def failed(self, error: Exception) -> tuple[str, str | None, str, str | None]:
        """What went wrong in a call: the problem, what was expected, what came, and a hint."""
        said = self.callee.raised(error)
        if not isinstance(error, Misfit):
            return said, None, str(error) or type(error).__name__, None
        line = said.removeprefix(f"{self.callee.described} raised {type(error).__name__}")
        return (
            f"{self.callee.described} {error.problem}{line}",
            error.expected,
            error.got,
            error.hint,
        )


@dataclass(frozen=True, eq=False)
class ProcessorClass:
    """What the user handed to `process`.

    Attributes:
        given: the class, or `functools.partial` of it.
        owner: the class.
        methods: for each input, in their order, what takes its rows.
        on_timer: what takes timers; None where there is nothing.
        states: what is kept.
    """

    given: Any
    owner: type[Processor]
    methods: tuple[Method, ...]
    on_timer: Method | None
    states: tuple[StateSpec, ...]

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.owner.__name__

    def bind(self, turn: Turn) -> tuple[type, dict[str, Bound]]:
        """The class of one worker, and its states, bound to `turn`."""
        return bound_class(self.owner, self.states, turn)

    def make(self, bound: type) -> Any:
        """An object of the class that `bind` gave.

        Raises:
            UserFunctionError: it cannot be built.
        """
        positional: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        inner = self.given
        while isinstance(inner, functools.partial):
            positional, named, inner = (*inner.args, *positional), {**inner.keywords, **named}, inner.func
        try:
            return bound(*positional, **named)
        except Exception as error:
            raise UserFunctionError(
                f"{self.owner.__qualname__} raised {type(error).__name__} when it was built",
                got=str(error) or type(error).__name__,
            ) from error

    def close(self, made: Any) -> None:
        """Calls `close()` of an object that `make` has built, where it has one."""
        close = getattr(made, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception as error:
            raise UserFunctionError(
                f"close() of {self.owner.__qualname__} raised {type(error).__name__}",
                got=str(error) or type(error).__name__,
            ) from error


def processor_class(
    given: Any,
    inputs: Sequence[tuple[str, pa.Schema]],
    broadcasts: int,
    local: Mapping[str, Any],
) -> ProcessorClass:
    """Reads a class.

    Args:
        given: what the user handed over.
        inputs: the name and the columns of each input, the first one's `FIRST`.
        broadcasts: how many of them, the last ones, are broadcast.
        local: names that annotations may use; see `names_of_the_caller`.

    Raises:
        BuildError: it is no processor, or its methods do not fit the inputs.
    """
    owner = given
    while isinstance(owner, functools.partial):
        owner = owner.func
    if not isinstance(owner, type) or not issubclass(owner, Processor):
        raise BuildError(
            "process takes a class, a subclass of sl.Processor",
            expected="class Dispatch(sl.Processor), and .process(Dispatch, ...)",
            got=f"an object of {type(owner).__name__}" if isinstance(owner, Processor) else repr(owner),
            hint="each worker builds an object of its own; functools.partial gives it its arguments",
        )
    _refuse_arguments(given, owner)
    methods = tuple(_method(owner, f"on_{name}", schema, local) for name, schema in inputs)
    _refuse_others(owner, [name for name, _ in inputs])
    states = state_specs(owner, local)
    shared = [spec.name for spec in states if spec.shared]
    if shared and not broadcasts:
        raise BuildError(
            f"the state {shared[0]!r} of {owner.__name__} is shared, and nothing could change it",
            expected='a broadcast input, such as broadcast={"rules": rules}: its rows reach every worker',
            hint="a state without shared=True is kept for each key",
        )
    timer = _method(owner, TIMER, None, local) if hasattr(owner, TIMER) else None
    return ProcessorClass(given, owner, methods, timer, states)


def _refuse_arguments(given: Any, owner: type) -> None:
    try:
        inspect.signature(given).bind()
    except TypeError as error:
        raise BuildError(
            f"process cannot build {owner.__name__}: {error}",
            expected="a class that is built without arguments, once on each worker",
            hint=f"functools.partial({owner.__name__}, ...) gives it its arguments",
        ) from None


def _method(owner: type, name: str, schema: pa.Schema | None, local: Mapping[str, Any]) -> Method:
    function = inspect.unwrap(getattr(owner, name, None) or _missing(owner, name))
    described = f"{owner.__name__}.{name}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BuildError(f"{described} is an async function, and process waits for nothing", got=described)
    if inspect.isgeneratorfunction(function):
        raise BuildError(
            f"{described} yields, and nobody takes what it yields",
            expected="rows that are sent out by ctx.emit(row)",
            got=described,
        )
    parameters = list(inspect.signature(function).parameters.values())[1:]
    wants = "name, ctx" if schema is None else "row, ctx"
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if len([p for p in parameters if p.kind in by_place]) < 2 or any(
        p.default is Parameter.empty and p.kind in (*by_place, Parameter.KEYWORD_ONLY) for p in parameters[2:]
    ):
        raise BuildError(
            f"{described} cannot be called",
            expected=f"def {name}(self, {wants})",
            got=f"def {name}(self, {', '.join(map(str, parameters))})",
        )
    called = f"{owner.__qualname__}.{name}"
    callee = MethodCallee(function, False, function, tuple(parameters), called=called)
    if schema is None:
        return Method(name, callee, None, None)
    annotation = plain(resolved(parameters[0].annotation, function, local))
    arguments = whole_row_arguments(callee, annotation, schema, local)
    return Method(name, callee, RowArguments(arguments.columns, whole=True), arguments.make)


def _missing(owner: type, name: str) -> Any:
    known = [other for other in dir(owner) if other.startswith("on_")]
    near = nearest_names(name, known)
    what = "the first input" if name == ROW else f"the input {name.removeprefix('on_')!r}"
    raise BuildError(
        f"{owner.__name__} has no method {name}: nothing takes the rows of {what}",
        expected=f"def {name}(self, row, ctx)",
        got=", ".join(known) or "no method that begins with on_",
        hint=f"did you mean {near[0]!r}?" if near else None,
    )


def _refuse_others(owner: type, inputs: Sequence[str]) -> None:
    known = {TIMER, *(f"on_{name}" for name in inputs)}
    for name in dir(owner):
        if name.startswith("on_") and name not in known and callable(getattr(owner, name)):
            near = nearest_names(name, sorted(known))
            raise BuildError(
                f"nothing calls {owner.__name__}.{name}: there is no input {name.removeprefix('on_')!r}",
                expected=f"an input of this name, process({owner.__name__}, {name.removeprefix('on_')}=...), or "
                + ", ".join(sorted(known)),
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
