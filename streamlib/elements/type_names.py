"""Arrow types as text and back: what a user writes in `schema=`, and what `streamlib schema` prints.

The names are Arrow's own (``timestamp[us, tz=UTC]``, ``list<int64>``, ``struct<a: int64>``) and a few
that Python users expect.
"""

from __future__ import annotations

import json
import re

import pyarrow as pa

_ALIASES = {
    "str": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
}
_TIMESTAMP = re.compile(r"timestamp[\[(](s|ms|us|ns)(?:,\s*(?:tz=)?([\w/+:-]+))?[\])]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)?\((\d+)(?:,\s*(-?\d+))?\)")
_FIXED_BINARY = re.compile(r"(?:fixed_size_binary|binary)\[(\d+)\]")
_NESTED = re.compile(r"(list|large_list|struct|map|dictionary)[<\[](.*)[>\]]", re.DOTALL)
_FIXED_LIST = re.compile(r"fixed_size_list<(.*)>\[(\d+)\]", re.DOTALL)
_PLAIN_FIELD = re.compile(r"[^\W\d]\w*")
_BRACKETS = {"<": 1, "[": 1, "(": 1, ">": -1, "]": -1, ")": -1}
DEPTH_MAX = 64
"""How deep a type may be nested."""


def type_named(name: str, depth: int = 0) -> pa.DataType | None:
    """The type of a name; None where there is no such type.

    >>> type_named("list<timestamp[ms, UTC]>")
    ListType(list<item: timestamp[ms, tz=UTC]>)
    >>> type_named("struct<a: int64, b: list<string>>")
    StructType(struct<a: int64, b: list<item: string>>)
    """
    name = name.strip().removesuffix(" not null")
    if name in _ALIASES:
        return _ALIASES[name]
    if depth > DEPTH_MAX:
        return None
    try:
        return _parametric(name) or _nested(name, depth) or pa.type_for_alias(name)
    except (ValueError, pa.ArrowException):
        return None


def _parametric(name: str) -> pa.DataType | None:
    if match := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(match[1], tz=match[2])
    if match := _DECIMAL.fullmatch(name):
        make = getattr(pa, f"decimal{match[1] or 128}")
        return make(int(match[2]), int(match[3] or 0))
    if match := _FIXED_BINARY.fullmatch(name):
        return pa.binary(int(match[1]))
    return None


def _nested(name: str, depth: int) -> pa.DataType | None:
    if match := _FIXED_LIST.fullmatch(name):
        inner = type_named(_unnamed(match[1]), depth + 1)
        return None if inner is None else pa.list_(inner, int(match[2]))
    match = _NESTED.fullmatch(name)
    if match is None:
        return None
    kind, parts = match[1], _split(match[2])
    if kind == "struct":
        return _struct(parts, depth)
    if kind == "dictionary":
        named = dict(part.strip().partition("=")[::2] for part in parts)
        values = type_named(named.get("values", ""), depth + 1)
        indices = type_named(named.get("indices", "int32"), depth + 1)
        return None if values is None or indices is None else pa.dictionary(indices, values)
    inner = [type_named(_unnamed(part), depth + 1) for part in parts]
    if None in inner or len(inner) != (2 if kind == "map" else 1):
        return None
    make = {"list": pa.list_, "large_list": pa.large_list, "map": pa.map_}[kind]
    return make(*inner)


def _struct(parts: list[str], depth: int) -> pa.DataType | None:
    fields = []
    for part in parts:
        key, kind = _key_and_type(part)
        inner = type_named(kind, depth + 1)
        if key is None or inner is None:
            return None
        fields.append(pa.field(key, inner))
    return pa.struct(fields)


def _key_and_type(part: str) -> tuple[str | None, str]:
    part = part.strip()
    if part.startswith('"'):
        key, end = json.JSONDecoder().raw_decode(part)
        rest = part[end:].lstrip()
        return (key, rest[1:]) if rest.startswith(":") else (None, "")
    key, colon, kind = part.partition(":")
    return (key.strip(), kind) if colon else (None, "")


def _unnamed(part: str) -> str:
    """A list's item without its name: ``item: int64`` is ``int64``."""
    match = re.match(r"\s*\w+:\s*", part)
    return part[match.end() :] if match else part


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no bracket and no quotes."""
    parts, start, depth, quoted, escaped = [], 0, 0, False, False
    for at, char in enumerate(text):
        if quoted:
            escaped, quoted = char == "\\" and not escaped, char != '"' or escaped
        elif char == '"':
            quoted = True
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        else:
            depth += _BRACKETS.get(char, 0)
    rest = text[start:]
    return [*parts, rest] if rest.strip() or parts else []


def name_of(kind: pa.DataType) -> str:
    """A name that `type_named` reads back as the same type.

    >>> name_of(pa.struct({"a": pa.float64(), "b c": pa.list_(pa.timestamp("us", "UTC"))}))
    'struct<a: float64, "b c": list<timestamp[us, UTC]>>'
    """
    types = pa.types
    if types.is_timestamp(kind):
        return f"timestamp[{kind.unit}{'' if kind.tz is None else f', {kind.tz}'}]"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{_key(f.name)}: {name_of(f.type)}' for f in kind)}>"
    if types.is_map(kind):
        return f"map<{name_of(kind.key_type)}, {name_of(kind.item_type)}>"
    if types.is_fixed_size_list(kind):
        return f"fixed_size_list<{name_of(kind.value_type)}>[{kind.list_size}]"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"{'list' if types.is_list(kind) else 'large_list'}<{name_of(kind.value_type)}>"
    if types.is_dictionary(kind):
        return f"dictionary<values={name_of(kind.value_type)}, indices={name_of(kind.index_type)}>"
    return _SHORT.get(str(kind), str(kind))


_SHORT = {
    "double": "float64",
    "float": "float32",
    "halffloat": "float16",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}


def _key(name: str) -> str:
    return name if _PLAIN_FIELD.fullmatch(name) else json.dumps(name)
