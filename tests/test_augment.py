"""`data.augment` in a scheme: what it changes, and one line for whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lctui.cli import _guarded, app
from lctui.scheme import Scheme
from tests.conftest import TINY, tiny

CODE = """
import torch

def data():
    return tuple((torch.randn(20, 6), torch.arange(20) % 2) for _ in range(2))

def net():
    return torch.nn.Linear(6, 2)

def noise(inputs, generator):
    return inputs + 0.1 * torch.randn(inputs.shape, generator=generator)

def halves(inputs, generator):
    return inputs[:, :, ::2]

def fails(inputs):
    return inputs
"""


def lctui(*arguments: str) -> int:
    return _guarded(lambda: app([*arguments], standalone_mode=False))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)

    def run(*augment: str, **changes: Any) -> int:
        data = changes.pop("data", TINY["data"]) | {"augment": list(augment)}
        (tmp_path / "scheme.json").write_text(json.dumps(tiny(**changes) | {"data": data}))
        return lctui("--run", "scheme.json", "--home", "home", "--quiet")

    return run


def test_without_it_schemes_are_known_as_they_were() -> None:
    assert Scheme.model_validate(tiny()).fingerprint() == "477eaddb26b10444"
    one, other = (Scheme.model_validate(tiny(data=TINY["data"] | {"augment": augment})) for augment in ([], ["flip"]))
    assert one.fingerprint() == "477eaddb26b10444" != other.fingerprint()
    assert one.reference_fingerprint() != other.reference_fingerprint()


def test_it_changes_training_and_is_the_same_each_time(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    losses = []
    for number, augment in enumerate([["shift=3", "mine.py:noise"], ["shift=3", "mine.py:noise"], []]):
        assert run(*augment, name=str(number), lc={"mu": {"start": 0.01 + number * 1e-9, "steps": 1}}) == 0
        losses.append(json.loads(capsys.readouterr().out)["reference"])
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("augment", "changes", "said"),
    [
        (["flipp"], {}, "data.augment.0: 'flipp' is not known; did you mean 'flip'?"),
        (["flip", "crop=x"], {}, "data.augment.1: 'crop=x' must have a whole number of pixels, such as crop=4"),
        (["flip=2"], {}, "data.augment.0: flip takes no number"),
        (["crop=28"], {}, "data.augment.0: crop of 28 pixels must be smaller than the images, which are 28×28"),
        (["gone.py:noise"], {}, "data.augment.0: no file 'gone.py'"),
        (["mine.py:nois"], {}, "has no 'nois'; did you mean 'noise'?"),
        (["mine.py:halves"], {}, "data.augment.0: it must return what it gets, float32 [2, 1, 28, 28]"),
        (["flip", "mine.py:fails"], {}, "data.augment.1: does not take inputs float32 [2, 1, 28, 28] and a generator"),
        (
            ["crop"],
            {"data": {"name": "mine.py:data"}, "model": {"factory": "mine.py:net"}, "compress": []},
            "data.augment.0: crop is for images, channels × height × width; inputs are 6",
        ),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_written(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    augment: list[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    assert run(*augment, **changes) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob("home/runs/*"))
