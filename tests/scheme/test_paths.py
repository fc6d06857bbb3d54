"""Files that a scheme names are found in the current folder or beside the scheme, and named absolutely from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lctui.errors import BadInput, Problem
from lctui.scheme import Scheme
from tests.scheme.cases import MINIMAL, written


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The current folder, and another one that the scheme file is in."""
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    beside.mkdir()
    monkeypatch.chdir(here)
    return here, beside


def load(folder: Path, **blocks: Any) -> Scheme:
    return Scheme.load(written(folder / "scheme.json", MINIMAL | blocks))


def problems(folder: Path, **blocks: Any) -> tuple[Problem, ...]:
    with pytest.raises(BadInput) as caught:
        load(folder, **blocks)
    return caught.value.problems


def test_a_file_beside_the_scheme_is_found(folders: tuple[Path, Path]) -> None:
    _, beside = folders
    (beside / "net.py").write_text("")
    (beside / "w.safetensors").write_text("")
    model = {"factory": "net.py:make", "weights": "w.safetensors"}
    scheme = load(beside, model=model, data={"name": "net.py:sets"})
    assert scheme.model.factory == f"{beside / 'net.py'}:make"
    assert scheme.model.weights == str(beside / "w.safetensors")
    assert scheme.data.name == f"{beside / 'net.py'}:sets"


def test_a_file_in_the_current_folder_comes_first(folders: tuple[Path, Path]) -> None:
    here, beside = folders
    for folder in folders:
        (folder / "net.py").write_text("")
    assert load(beside, model={"factory": "net.py:make"}).model.factory == f"{here / 'net.py'}:make"


def test_a_path_below_and_a_home_are_followed(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    here, beside = folders
    (here / "code").mkdir()
    (here / "code" / "net.py").write_text("")
    monkeypatch.setenv("HOME", str(here))
    expected = f"{here / 'code' / 'net.py'}:make"
    assert load(beside, model={"factory": "code/net.py:make"}).model.factory == expected
    assert load(beside, model={"factory": "~/code/net.py:make"}).model.factory == expected


def test_what_is_found_once_is_found_from_any_folder(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, beside = folders
    (beside / "net.py").write_text("")
    scheme = load(beside, model={"factory": "net.py:make"})
    monkeypatch.chdir("/")
    assert Scheme.load(written(tmp_path / "again.json", scheme.dump())) == scheme


def test_a_path_may_be_longer_than_a_name(folders: tuple[Path, Path]) -> None:
    _, beside = folders
    deep = beside.joinpath(*["a-folder-with-a-long-name"] * 10)
    deep.mkdir(parents=True)
    (deep / "net.py").write_text("")
    scheme = load(deep, model={"factory": "net.py:make"})
    assert len(scheme.model.factory) > 200
    assert Scheme.model_validate(scheme.dump()) == scheme


@pytest.mark.parametrize("name", ["my.package:make", "torchvision:resnet18"])
def test_a_modules_function_is_no_file(name: str, folders: tuple[Path, Path]) -> None:
    assert load(folders[1], model={"factory": name}).model.factory == name


def test_a_missing_file_is_a_problem_that_says_where_it_was_looked_for(folders: tuple[Path, Path]) -> None:
    here, beside = folders
    model = {"factory": "net.py:make", "weights": "/nowhere/w.pt"}
    found = problems(beside, model=model, data={"name": "~nobody-at-all/sets.py:sets"})
    assert [problem.path for problem in found] == ["model.factory", "data.name", "model.weights"]
    assert found[0].message == f"no file 'net.py' in {here} or {beside}"
    assert found[2].message == "no file '/nowhere/w.pt'"


def test_missing_files_hide_no_other_problem(folders: tuple[Path, Path]) -> None:
    found = problems(folders[1], model={"factory": "lenet5", "weights": "w.pt"}, data={"name": "cifar10"})
    assert {problem.path for problem in found} == {"model.weights", "data.name"}


def test_a_folder_is_no_file(folders: tuple[Path, Path]) -> None:
    (folders[0] / "net.py").mkdir()
    assert [problem.path for problem in problems(folders[1], model={"factory": "net.py:make"})] == ["model.factory"]


def test_a_path_that_no_file_can_have_is_a_problem(folders: tuple[Path, Path]) -> None:
    name = "x" * 300 + ".py:make"
    assert [problem.path for problem in problems(folders[1], model={"factory": name})] == ["model.factory"]
