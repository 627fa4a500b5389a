"""docs/reference.md says what the docstrings say, and leaves out no public name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import streamlib as sl
import streamlib.testing as t
from tests.house import reference, repository
from tests.house.reference_groups import GROUPS, NOT_FOR_USERS
from tests.house.test_links import anchors, broken

RENEW = "run `make reference`"


def test_the_page_is_up_to_date() -> None:
    assert reference.PAGE.exists(), f"docs/reference.md is missing: {RENEW}"
    wanted, found = reference.page(), reference.PAGE.read_text(encoding="utf-8")
    if wanted != found:
        pairs = zip(wanted.splitlines(), found.splitlines(), strict=False)
        first = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), "its end")
        pytest.fail(f"docs/reference.md is out of date from line {first} on: {RENEW}")


def test_make_renews_the_page() -> None:
    assert re.search(
        r"^reference:.*\n\t.*-m tests\.house\.reference$", repository.text(Path("Makefile")), re.MULTILINE
    )


def test_every_public_name_is_in_a_group() -> None:
    missing = reference.ungrouped()
    assert not missing, (
        f"in no group of tests/house/reference_groups.py: {', '.join(missing)}; add them, then {RENEW}"
    )


def test_every_name_on_the_list_of_exceptions_exists() -> None:
    shown, names = {}, set()
    for module, short in ((sl, "sl"), (t, "t")):
        shown.update({name: getattr(module, name) for name in module.__all__})
        names |= {f"{short}.{name}" for name in module.__all__}
    gone = [
        name
        for name in NOT_FOR_USERS
        if name not in names and not hasattr(shown.get(name.split(".")[0]), name.split(".")[-1])
    ]
    assert not gone, f"in NOT_FOR_USERS and not there: {', '.join(gone)}"


def test_every_link_of_a_table_leads_to_its_entry() -> None:
    page = reference.page()
    assert not list(broken(Path("docs/reference.md"), page))
    assert set(reference.links().values()) < anchors(page)


# ---- the generator itself ------------------------------------------------------------------------------


class Base:
    def inherited(self) -> int:
        """A public method of a base that is not public."""
        return 1


class Example(Base):
    """One line."""

    @property
    def size(self) -> int:
        """How many."""
        return 1

    def scale(self, by: float, *others: str, unit: str = "s", deep: bool | None = None) -> Example:
        """Larger, or
        smaller.

        A paragraph.

        Args:
            by: how much; at least
                ``0``.
            others: more names.
            unit: of what.

        Raises:
            BuildError: never.

        >>> 1 + 1
        2
        """
        return self

    def _hidden(self) -> None: ...


def test_members_are_those_a_user_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Base, "__module__", "streamlib.example")
    monkeypatch.setattr(Example, "__module__", "streamlib.example")
    assert [n for n, _ in reference._members("E", Example, ())] == ["E.size", "E.scale", "E.inherited"]
    assert [n for n, _ in reference._members("E", Example, (Base,))] == ["E.size", "E.scale"]


def test_an_entry_has_signature_arguments_errors_and_example() -> None:
    text = reference.entry("Example.scale", Example.scale)
    assert text == (
        "### `Example.scale`\n\n"
        "```text\n"
        'Example.scale(by: float, *others: str, unit: str = "s", deep: bool | None = None) -> Example\n'
        "```\n\n"
        "Larger, or smaller.\n\n"
        "A paragraph.\n\n"
        "* `by`: how much; at least `0`.\n* `others`: more names.\n* `unit`: of what.\n\n"
        "Raises `BuildError`: never.\n\n"
        "```pycon\n>>> 1 + 1\n2\n```\n"
    )
    assert "size: int" in reference.entry("Example.size", vars(Example)["size"])


def test_long_signatures_have_a_line_for_each_argument() -> None:
    text = reference.signature("Stream.write_files", sl.Stream.write_files)
    assert text.splitlines()[0] == "Stream.write_files(" and "    *," in text.splitlines()
    assert max(map(len, text.splitlines())) <= reference.WIDTH


def test_a_name_in_no_group_or_in_two_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = GROUPS
    short = dataclasses.replace(first, names=first.names[1:])
    before = set(reference.ungrouped())
    monkeypatch.setattr(reference, "GROUPS", (short, *rest))
    assert set(reference.ungrouped()) - before == {first.names[0]}
    monkeypatch.setattr(reference, "GROUPS", (*GROUPS, first))
    with pytest.raises(ValueError, match=r"stands in Read and in Read"):
        reference.grouped()
    monkeypatch.setattr(reference, "GROUPS", (dataclasses.replace(first, names=("sl.no_such",)),))
    with pytest.raises(ValueError, match=r"sl\.no_such, which is not there"):
        reference.grouped()


def test_a_name_without_a_docstring_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Example\._hidden has no docstring"):
        reference.entry("Example._hidden", Example._hidden)
