"""A function of the user's: its name and line, its parameters, and the class that is built once per worker."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

from streamlib.errors import BuildError, Location, UserFunctionError
from streamlib.operators.functions.annotations import plain, resolved


@dataclass(frozen=True, eq=False)
class Callee:
    """What the user handed over.

    Attributes:
        given: a function, a callable object, a class, or `functools.partial` of one of them.
        is_built: whether it is a class whose instances are called: each worker builds its own.
        code: the function whose line and names count.
        parameters: those that a call must or may fill, with their annotations resolved.
        returns: the annotation of what it returns, resolved; `Parameter.empty` where there is none.
    """

    given: Callable[..., Any]
    is_built: bool
    code: Callable[..., Any]
    parameters: tuple[Parameter, ...] = field(repr=False)
    returns: Any = Parameter.empty

    @property
    def name(self) -> str:
        """Its name as one would call it."""
        inner = _inner(self.given)
        return str(getattr(inner, "__qualname__", type(inner).__qualname__))

    @property
    def short(self) -> str:
        """Its last name, for a plan."""
        return self.name.rpartition(".")[2]

    @property
    def described(self) -> str:
        """Its name with the line it is defined on."""
        code = getattr(self.code, "__code__", None)
        return (
            self.name if code is None else f"{self.name} ({Location(code.co_filename, code.co_firstlineno)})"
        )

    def raised(self, error: BaseException) -> str:
        """That it raised `error`, with the line of its own file that did, or that called what did."""
        said = f"{self.described} raised {type(error).__name__}"
        code, trace = getattr(self.code, "__code__", None), error.__traceback__
        if code is None:
            return said
        line = code.co_firstlineno
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == code.co_filename:
                line = trace.tb_lineno
            trace = trace.tb_next
        return said if line == code.co_firstlineno else f"{said} in line {line}"

    def make(self) -> Callable[..., Any]:
        """What a worker calls: the function itself, or an object that is built now."""
        if not self.is_built:
            return self.given
        try:
            return self.given()
        except Exception as error:
            raise UserFunctionError(
                f"{self.described} raised {type(error).__name__} when it was built",
                got=str(error) or type(error).__name__,
            ) from error

    def close(self, made: Callable[..., Any]) -> None:
        """Calls `close()` of an object that `make` built, where it has one."""
        close = getattr(made, "close", None)
        if not self.is_built or close is None:
            return
        try:
            close()
        except Exception as error:
            raise UserFunctionError(
                f"close() of {self.described} raised {type(error).__name__}",
                got=str(error) or type(error).__name__,
            ) from error


class Made:
    """The function of one worker: built on the thread that calls it first, and closed once."""

    def __init__(self, callee: Callee) -> None:
        self.callee = callee
        self._made: Callable[..., Any] | None = None

    def function(self) -> Callable[..., Any]:
        """What to call."""
        if self._made is None:
            self._made = self.callee.make()
        return self._made

    def close(self) -> None:
        """Frees what the object holds; a call after this builds a new one."""
        made, self._made = self._made, None
        if made is not None:
            self.callee.close(made)


def callee_of(given: Any, verb: str, local: Mapping[str, Any], is_async: bool = False) -> Callee:
    """Reads what the user handed to `verb`.

    Args:
        given: the function.
        verb: ``map``, ``flat_map`` or ``map_batches``, for messages.
        local: names that its annotations may use beside its own; see `names_of_the_caller`.
        is_async: whether the verb awaits what it calls.

    Raises:
        BuildError: it cannot be called, or not in this way.
    """
    if not callable(given):
        raise BuildError(f"{verb} needs a function", got=repr(given))
    inner = _inner(given)
    is_built = isinstance(inner, type) and _defines_call(inner)
    code = _code(inner, is_built)
    _check_async(code, verb, is_async)
    if is_built:
        _refuse_arguments(given, verb)
    signature = _signature(inner if is_built else given, is_built, verb)
    bound = set() if is_built else _bound(given)
    parameters = tuple(
        p.replace(annotation=plain(resolved(p.annotation, code, local)))
        for p in signature.parameters.values()
        if p.name not in bound
    )
    returns = signature.return_annotation
    if isinstance(inner, type) and not is_built and dataclasses.is_dataclass(inner):
        returns = inner
    return Callee(given, is_built, code, parameters, plain(resolved(returns, code, local)))


def _check_async(code: Callable[..., Any], verb: str, is_async: bool) -> None:
    named = getattr(code, "__qualname__", repr(code))
    if inspect.isasyncgenfunction(code):
        raise BuildError(f"{verb} cannot call an async generator", got=named)
    if inspect.iscoroutinefunction(code) and not is_async:
        raise BuildError(
            f"{verb} cannot call an async function",
            got=named,
            hint="map_async does, for many rows at a time" if verb == "map" else None,
        )
    if is_async and not inspect.iscoroutinefunction(code):
        raise BuildError(
            f"{verb} awaits what it calls",
            expected="a function with async def, or a class whose __call__ has it",
            got=named,
            hint="map calls other functions; one that blocks can be awaited: "
            "await asyncio.to_thread(function, ...)",
        )


def _inner(given: Any) -> Any:
    while isinstance(given, functools.partial):
        given = given.func
    return inspect.unwrap(given) if callable(given) else given


def _bound(given: Any) -> set[str]:
    """The parameters that `functools.partial` has filled by name."""
    names: set[str] = set()
    while isinstance(given, functools.partial):
        names.update(given.keywords)
        given = given.func
    return names


def _defines_call(owner: type) -> bool:
    return any("__call__" in base.__dict__ for base in owner.__mro__ if base is not object)


def _code(inner: Any, is_built: bool) -> Callable[..., Any]:
    """The function that holds the lines and the names."""
    if is_built:
        found = inner.__call__
    elif isinstance(inner, type) or hasattr(inner, "__code__"):
        found = inner
    else:
        found = type(inner).__call__
    found = inspect.unwrap(found)
    return getattr(found, "__func__", found)


def _refuse_arguments(given: Any, verb: str) -> None:
    try:
        inspect.signature(given).bind()
    except TypeError as error:
        name = getattr(_inner(given), "__name__", repr(given))
        raise BuildError(
            f"{verb} cannot build {name}: {error}",
            expected="a class that is built without arguments, once on each worker",
            hint=f"functools.partial({name}, ...) gives it its arguments",
        ) from None
    except ValueError:  # a class of C has no signature
        return


def _signature(target: Any, is_built: bool, verb: str) -> inspect.Signature:
    try:
        if not is_built:
            return inspect.signature(target)
        signature = inspect.signature(target.__call__)
        own = inspect.getattr_static(target, "__call__")
        if isinstance(own, (staticmethod, classmethod)):
            return signature
        return signature.replace(parameters=list(signature.parameters.values())[1:])
    except (TypeError, ValueError):
        raise BuildError(
            f"the parameters of {getattr(target, '__name__', target)!r} cannot be found",
            expected="a function written in Python",
            hint=f"call it in one: {verb}(lambda row: ...)",
        ) from None
