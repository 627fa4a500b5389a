"""docs/reference.md, made from the docstrings of what is public: ``python -m tests.house.reference``.

`GROUPS` is the page's order, and all that is written by hand. A name is `sl.run`, `Stream.filter`,
`Expr.str.contains` or `t.check`; one that ends in ``.*`` stands for all public members, in the order of
the code. Every public name stands in one group: `ungrouped` finds those that stand in none.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import streamlib as sl
import streamlib.testing as t
from streamlib.expr.branching import Then, WhenThen
from streamlib.expr.lists import Lists
from streamlib.expr.strings import Strings
from streamlib.expr.structs import Structs
from streamlib.expr.times import Times
from tests.house import repository
from tests.house.reference_groups import GROUPS, NOT_FOR_USERS, Group

PAGE = repository.ROOT / "docs" / "reference.md"
WIDTH = 118

NAMESPACES: dict[str, type] = {
    "Expr.str": Strings,
    "Expr.dt": Times,
    "Expr.list": Lists,
    "Expr.struct": Structs,
    "when": WhenThen,
    "Then": Then,
}
"""Classes that a user meets under another name than their own."""

INTRO = """\
# Reference

Every public name, with its arguments, errors and an example. This page is made from the docstrings by `make reference`.
The other pages explain: [start](start.md), [time](time.md), [types](types.md), [functions](functions.md),
[streams and tables](streams-and-tables.md), [the rows before](rolling.md), [own state](state.md),
[sockets](sockets.md), [errors](errors.md), [testing](testing.md). Words are in the [glossary](glossary.md).

In the examples `sl` is `streamlib` and `t` is `streamlib.testing`.
"""

_SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Columns|Yields):")
_ITEM = re.compile(r"([\w*][\w*.]*(?:, [\w*.]+)*): (.*)")


# ---- what is public ------------------------------------------------------------------------------------


def public() -> dict[str, Any]:
    """Every public name with what it names. What a class inherits from a public class is listed there."""
    found: dict[str, Any] = {}
    for module, short in ((sl, "sl"), (t, "t")):
        for name in module.__all__:
            thing = getattr(module, name)
            found[f"{short}.{name}"] = thing
            if inspect.isclass(thing):
                found.update(_members(name, thing, _public_bases(thing)))
    for name, owner in NAMESPACES.items():
        found.update(_members(name, owner, _public_bases(owner)))
    return {name: thing for name, thing in found.items() if name not in NOT_FOR_USERS}


def _public_bases(owner: type) -> tuple[type, ...]:
    shown = [getattr(sl, name) for name in sl.__all__] + [getattr(t, name) for name in t.__all__]
    classes = [c for c in shown if inspect.isclass(c)]
    return tuple(base for base in owner.__mro__[1:] if base in classes)


def _members(prefix: str, owner: type, without: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class, in the order of its code and that of its bases."""
    seen = set()
    for base in owner.__mro__:
        if not base.__module__.startswith("streamlib"):
            continue
        for name, raw in vars(base).items():
            routine = inspect.isroutine(raw) or isinstance(raw, property)
            if name.startswith("_") or name in seen or not routine:
                continue
            seen.add(name)
            inherited = any(name in vars(b) for other in without for b in other.__mro__)
            if name not in vars(owner) and inherited:
                continue
            yield f"{prefix}.{name}", raw


def grouped() -> dict[str, str]:
    """The group of each name that `GROUPS` lists.

    Raises:
        ValueError: a name that stands in two groups, or that there is not.
    """
    known = public()
    found: dict[str, str] = {}
    for group in GROUPS:
        for name in _names(group, known):
            if name in found:
                raise ValueError(f"{name} stands in {found[name]} and in {group.title}")
            if name not in known:
                raise ValueError(f"{group.title} lists {name}, which is not there")
            found[name] = group.title
    return found


def ungrouped() -> list[str]:
    """Public names that stand in no group."""
    found = grouped()
    return [name for name in public() if name not in found]


def _names(group: Group, known: dict[str, Any]) -> Iterator[str]:
    for name in group.names:
        if name.endswith(".*"):
            yield from (n for n in known if n.rpartition(".")[0] == name.removesuffix(".*"))
        else:
            yield name


# ---- a docstring ---------------------------------------------------------------------------------------


@dataclass
class Parts:
    """A docstring by its parts."""

    summary: str = ""
    body: list[str] = field(default_factory=list)
    sections: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    example: str = ""


def parts_of(doc: str) -> Parts:
    """Splits a docstring of the house's form: summary, paragraphs, sections, an example.

    >>> parts_of("One line.\\n\\nArgs:\\n    n: a number,\\n        or none.\\n\\n>>> 1\\n1").sections
    {'Args': [('n', 'a number, or none.')]}
    """
    parts = Parts()
    examples: list[str] = []
    for block in re.split(r"\n[ \t]*\n", inspect.cleandoc(doc)):
        lines = block.splitlines() or [""]
        section = _SECTION.fullmatch(lines[0])
        if section:
            parts.sections[section[1]] = _items(textwrap.dedent("\n".join(lines[1:])))
        elif block.lstrip().startswith(">>>"):
            examples.append(textwrap.dedent(block))
        elif not parts.summary:
            parts.summary = " ".join(line.strip() for line in lines)
        else:
            parts.body.append(block)
    parts.example = "\n".join(examples)
    return parts


def _items(text: str) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for line in text.splitlines():
        item = _ITEM.fullmatch(line)
        if item and not line.startswith(" "):
            items.append((item[1], item[2]))
        elif items:
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}")
        else:
            items.append(("", line.strip()))
    return items


# ---- an entry ------------------------------------------------------------------------------------------


def entry(name: str, thing: Any) -> str:
    """A name's heading, signature, text and example."""
    parts = parts_of(_doc(name, thing))
    lines = [f"### `{name}`", ""]
    if not inspect.isclass(thing) or "Args" in parts.sections:  # users make no object of other classes
        lines += ["```text", signature(name, thing), "```", ""]
    lines += [_prose(parts.summary), ""]
    for block in parts.body:
        lines += [_table_or_prose(block), ""]
    for title in ("Args", "Attributes", "Columns"):
        for key, text in parts.sections.get(title, []):
            lines.append(_item(f"`{key}`: {text}" if key else text))
        lines += [""] if title in parts.sections else []
    for title in ("Returns", "Yields", "Raises"):
        for key, text in parts.sections.get(title, []):
            lines += [_prose(f"{title} {f'`{key}`: ' if key else ''}{text}"), ""]
    if parts.example:
        lines += ["```pycon", parts.example, "```", ""]
    return "\n".join(lines)


def _is_called(thing: Any) -> bool:
    return inspect.isclass(thing) or inspect.isroutine(getattr(thing, "__func__", thing))


def _doc(name: str, thing: Any) -> str:
    """The docstring; of a value the text that stands below it where it is defined.

    Raises:
        ValueError: there is none.
    """
    if isinstance(thing, property):
        found = inspect.getdoc(thing.fget)
    elif _is_called(thing):
        found = inspect.getdoc(getattr(thing, "__func__", thing))
    else:
        found = _below(name.rpartition(".")[2])
    if not found:
        raise ValueError(f"{name} has no docstring")
    return found


def _below(name: str) -> str | None:
    for path in repository.shipped_modules().values():
        if not re.search(rf"^{name}\b", repository.text(path), re.MULTILINE):
            continue
        for made, text in pairwise(repository.syntax(path).body):
            if (
                isinstance(made, ast.Assign)
                and [ast.unparse(target) for target in made.targets] == [name]
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                return inspect.cleandoc(str(text.value.value))
    return None


def _prose(text: str) -> str:
    text = text.replace("``", "`")
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.indent(_prose(text), "  ").replace("  ", "* ", 1)


def _table_or_prose(block: str) -> str:
    """A block of the docstring: a list or an indented piece stays as it is."""
    if re.match(r"\s*([*-] |\|)", block):
        return block.replace("``", "`")
    if block.startswith("  "):
        return f"```text\n{textwrap.dedent(block)}\n```"
    return _prose(block)


def signature(name: str, thing: Any) -> str:
    """How it is called, on one line or a line for each argument; of a property its type.

    >>> signature("sl.col", sl.col)
    'sl.col(name: str) -> Expr'
    """
    if isinstance(thing, property):
        kind = inspect.signature(thing.fget).return_annotation if thing.fget else ""
        return f"{name}: {_type(kind)}"
    if not _is_called(thing):
        return f"{name} = {thing!r}"
    found = inspect.signature(getattr(thing, "__func__", thing))
    given = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    pieces: list[str] = []
    for parameter in given:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in "".join(p[:1] for p in pieces):
            pieces.append("*")
        pieces.append(_parameter(parameter))
    returned = "" if inspect.isclass(thing) else _type(found.return_annotation)
    if returned == "Self":
        returned = name.split(".")[0]
    arrow = f" -> {returned}" if returned else ""
    line = f"{name}({', '.join(pieces)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {piece}," for piece in pieces), f"){arrow}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    kind = _type(parameter.annotation)
    if kind:
        text += f": {kind}"
    if parameter.default is not parameter.empty:
        text += f" = {_default(parameter.default)}" if kind else f"={_default(parameter.default)}"
    return text


def _default(value: Any) -> str:
    shown = repr(value)
    return shown if '"' in shown else shown.replace("'", '"')


def _type(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty or annotation in (None, "None"):
        return ""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    text = re.sub(r"\bOneOf\b", "Literal", text.strip("'\"")).replace("dt.timedelta", "timedelta")
    return text.replace("'", '"')


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The whole page."""
    known = public()
    to = links()
    lines = [INTRO]
    for group in GROUPS:
        lines.append(f"* [{group.title}](#{to[group.title]})")
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", group.text.strip(), "", "| name | what |", "| --- | --- |"]
        names = list(_names(group, known))
        for name in names:
            summary = parts_of(_doc(name, known[name])).summary.replace("``", "`").replace("|", "\\|")
            lines.append(f"| [`{name}`](#{to[name]}) | {summary} |")
        lines.append("")
        lines += [entry(name, known[name]) for name in names]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def links() -> dict[str, str]:
    """The anchor that GitHub makes of each heading; a second one of the same letters has a number."""
    known, seen = public(), Counter({"reference": 1})
    found = {}
    for group in GROUPS:
        for heading in (group.title, *_names(group, known)):
            anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            found[heading] = f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
            seen[anchor] += 1
    return found


if __name__ == "__main__":
    missing = ungrouped()
    if missing:
        raise SystemExit(f"in no group of tests/house/reference_groups.py: {', '.join(missing)}")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(repository.ROOT)}: {len(grouped())} names")
