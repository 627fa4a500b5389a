"""The engine against the model, a few seeds of it. `make simulate` plays ten thousand."""

from __future__ import annotations

import pytest

from streamlib.testing.simulate import main, simulate

CHUNK = 20


@pytest.mark.parametrize("first", range(0, 40, CHUNK))
def test_seeds_from(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate(seed)
        except Exception as error:
            error.add_note(f"repeat: python -m streamlib.testing.simulate --seed {seed} -v")
            raise


def test_the_command_plays_seeds_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--from", "5"]) == 0
    assert "3 seeds, 0 failed" in capsys.readouterr().out


def test_a_failing_seed_prints_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(scenario: object) -> None:
        raise AssertionError("a rule is broken")

    monkeypatch.setattr("streamlib.testing.simulate.play", broken)
    assert main(["--seed", "12", "-v"]) == 1
    out = capsys.readouterr().out
    assert "seed 12: AssertionError: a rule is broken" in out
    assert "repeat: python -m streamlib.testing.simulate --seed 12 -v" in out
