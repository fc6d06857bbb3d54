"""The scheme under the editor's hands: changes, undo, joint tasks, sums, problems and predictions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from lctui.console.editing import BLANK, Session
from lctui.console.form_model import LEFT_OUT
from lctui.console.forms import Row
from lctui.scheme.load import load_scheme
from lctui.scheme.net import Layer, NetInfo, lenet5
from lctui.scheme.report import check_report
from tests.conftest import ROOT

LENET: dict[str, Any] = copy.deepcopy(BLANK)
CONV1, CONV2, FC1, FC2 = (Row("layer", name) for name in ("conv1", "conv2", "fc1", "fc2"))


def session(*tasks: tuple[list[str], Any], **changes: Any) -> Session:
    listed = [{"layers": layers, "how": how} for layers, how in tasks]
    return Session({**copy.deepcopy(LENET), "compress": listed, **changes})


def layers(edited: Session) -> list[list[str]]:
    return [task["layers"] for task in edited.raw["compress"]]


def prune(kappa: int = 10) -> dict[str, Any]:
    return {"type": "prune", "kappa": kappa}


def under(edited: Session, row: Row) -> dict[str, list[str]]:
    fields = [field for section in edited.sections(row) for field in section.fields]
    return edited.problems_of(fields)[0]


def test_a_type_starts_sensibly_and_keeps_what_fits() -> None:
    edited = session()
    assert edited.set_type(CONV2, "prune")
    assert edited.raw["compress"] == [{"layers": ["conv2"], "how": {"type": "prune", "kappa": 2500}}]
    edited.set_type(CONV2, "prune_structured")  # 2500 filters do not fit: a number that does
    assert edited.raw["compress"][0]["how"] == {"type": "prune_structured", "kappa": 25}
    edited.set_type(CONV2, "prune")
    assert edited.raw["compress"][0]["how"] == {"type": "prune", "kappa": 25}
    edited.set_type(CONV1, "low_rank")
    assert layers(edited) == [["conv1"], ["conv2"]]
    assert edited.valid


@pytest.mark.parametrize("kind", Session(LENET).forms.kinds.types)
@pytest.mark.parametrize("row", [CONV1, CONV2, FC1, FC2])
def test_every_type_starts_valid_on_every_layer(kind: str, row: Row) -> None:
    edited = session()
    assert edited.set_type(row, kind)
    assert edited.valid, edited.problems
    for field in edited.sections(row)[1].fields:
        if field.field.kind == "choice" and len(field.path) == 4 and field.label not in ("type",) and not field.value:
            for choice in field.field.choices:
                edited.set_constant(field.path, choice) if field.label == "codebook" else edited.set(field.path, choice)
                assert edited.raw["compress"][0]["how"]["type"] == kind


def test_constants_that_tell_models_apart_bring_their_fields() -> None:
    edited = session((["fc1"], {"type": "quantize", "k": 4}))
    for codebook, fields in {"fixed": ["values"], "powers_of_two": ["c"], "binary": [], "adaptive": ["k"]}.items():
        edited.set_constant(("compress", 0, "how", "codebook"), codebook)
        assert edited.raw["compress"][0]["how"]["codebook"] == codebook
        assert [name for name in edited.raw["compress"][0]["how"] if name not in ("type", "codebook")] == fields
        assert edited.valid, edited.problems


def test_problems_stand_under_their_field_in_the_contract_s_words() -> None:
    edited = session((["conv2"], prune(25050)))
    assert under(edited, CONV2) == {"compress.0.how.kappa": ["25050 exceeds the 25,000 weights of conv2"]}
    edited.set(("compress", 0, "how", "fraction"), 0.1)
    words = "exactly one of 'kappa', 'fraction', 'alpha' is needed, got 'kappa' and 'fraction'"
    assert under(edited, CONV2) == {"compress.0.how.type": [words]}
    edited.set(("compress", 0, "how", "kappa"), LEFT_OUT)
    assert edited.valid
    edited.set(("compress", 0, "layers"), ["conv2", "conv3"])
    assert under(edited, CONV2) == {
        "compress.0.layers": ["no layer 'conv3' with weights to compress; did you mean 'conv2'?"]
    }
    edited.set(("lc", "mu", "steps"), 10_000_000)
    assert list(under(edited, Row("block", "lc"))) == ["lc.mu.start"]
    edited.set(("lc", "mu"), {"stepz": 3})
    assert list(under(edited, Row("block", "lc"))) == ["lc.mu.stepz"]
    assert {row.key for row in edited.wrong_rows().values()} == {"layer:conv2", "block:lc"}
    edited.set(("model", "args"), {"clases": 5})
    assert list(under(edited, Row("block", "model"))) == ["model.args"]


def test_what_is_typed_in_one_go_is_undone_as_one() -> None:
    edited = session((["conv2"], prune()))
    for text in (2, 25, 250):
        edited.set(("compress", 0, "how", "kappa"), text, typing=True)
    edited.set(("seed",), 4, typing=True)
    edited.settle()
    edited.set(("seed",), 5, typing=True)
    assert edited.undo() and edited.raw["seed"] == 4
    assert edited.undo() and "seed" not in edited.raw
    assert edited.undo() and edited.raw["compress"][0]["how"]["kappa"] == 10
    assert not edited.undo() and not edited.dirty
    for _ in range(3):
        assert edited.redo()
    assert not edited.redo()
    assert edited.raw["seed"] == 5 and edited.raw["compress"][0]["how"]["kappa"] == 250
    assert edited.dirty and edited.valid
    edited.undo()
    edited.set(("seed",), 6)
    assert not edited.redo()


def test_undo_goes_back_to_where_the_change_was() -> None:
    edited = session()
    edited.at = CONV2.key
    edited.set_type(CONV2, "prune")
    edited.at = FC1.key
    edited.undo()
    assert edited.at == CONV2.key


def test_joint_tasks() -> None:
    edited = session((["conv1"], prune()), (["conv2"], prune(20)), (["fc1"], {"type": "low_rank", "rank": 3}))
    assert edited.join(["conv2", "conv1", "fc2"])
    assert edited.raw["compress"][0] == {"layers": ["conv1", "conv2", "fc2"], "how": prune(20)}
    assert edited.valid
    assert edited.separate("conv2")
    assert layers(edited) == [["conv1", "fc2"], ["conv2"], ["fc1"]]
    assert not edited.separate("conv2")
    assert edited.leave(FC2)
    assert layers(edited) == [["conv1"], ["conv2"], ["fc1"]]
    assert not session().join(["conv1", "conv2"])


def test_globs_stay_until_a_layer_is_taken_out() -> None:
    edited = session((["conv*"], prune()), (["fc[12]"], {"type": "quantize", "k": 2}))
    edited.set(("compress", 0, "how", "kappa"), 12)
    edited.join(["conv1", "fc2"])
    assert layers(edited) == [["conv*", "fc2"], ["fc1"]]
    edited.leave(CONV1)
    assert layers(edited) == [["conv2", "fc2"], ["fc1"]]
    assert edited.valid
    edited.leave(FC1)
    assert layers(edited) == [["conv2", "fc2"]]


def test_duplicates() -> None:
    edited = session((["conv1"], prune()), (["fc*"], {"type": "quantize", "k": 2}))
    assert edited.duplicate("conv1", ["fc1", "conv2", "conv1"])
    assert edited.raw["compress"] == [
        {"layers": ["conv1"], "how": prune()},
        {"layers": ["conv2"], "how": prune()},
        {"layers": ["fc1"], "how": prune()},
        {"layers": ["fc2"], "how": {"type": "quantize", "k": 2}},
    ]
    edited.set(("compress", 1, "how", "kappa"), 11)
    assert edited.raw["compress"][0]["how"] == prune()


def test_sums() -> None:
    edited = session((["fc1"], prune()))
    assert edited.add_member(FC1) == 1
    assert [how["type"] for how in edited.raw["compress"][0]["how"]] == ["prune", "prune_structured"]
    assert [section.heading for section in edited.sections(FC1)] == ["", "summand 1 of 2", "summand 2 of 2"]
    assert edited.valid
    edited.set_type(FC1, "low_rank", 1)
    assert edited.raw["compress"][0]["how"][1] == {"type": "low_rank", "rank": 50}
    edited.set_constant(("compress", 0, "how", 0, "type"), "quantize")
    assert edited.raw["compress"][0]["how"][0] == {"type": "quantize", "k": 4}
    assert edited.remove(FC1, 0)
    assert edited.raw["compress"][0]["how"] == {"type": "low_rank", "rank": 50}
    assert edited.remove(FC1, 0)
    assert edited.raw["compress"] == []
    assert not edited.remove(FC1, 0)
    assert edited.add_member(FC1) is None


def test_tasks_that_fit_no_layer_have_a_row_of_their_own() -> None:
    edited = session((["conv1"], prune()), (["fc9"], prune()))
    assert [row.key for row in edited.rows()][:5] == [
        "layer:conv1",
        "layer:conv2",
        "layer:fc1",
        "layer:fc2",
        "task:1",
    ]
    assert list(under(edited, Row("task", "1"))) == ["compress.1.layers"]
    assert edited.leave(Row("task", "1"))
    assert edited.valid


@pytest.mark.parametrize("file", sorted((ROOT / "schemes" / "report").glob("*.json")), ids=lambda file: file.stem)
def test_the_report_s_schemes_are_valid_here_too(file: Path) -> None:
    scheme = load_scheme(file)
    edited = Session(scheme.dump(), file)
    assert edited.valid and not edited.dirty
    assert edited.report == check_report(scheme, lenet5(5))
    for row in edited.rows():
        assert edited.problems_of([field for section in edited.sections(row) for field in section.fields]) == ({}, [])


@pytest.mark.parametrize(
    "raw",
    [None, [], 3, "text", {}, {"compress": 3}, {"compress": [1, {"layers": 3, "how": [4]}]}, {"model": 3, "lc": []}],
)
def test_anything_can_be_edited(raw: Any) -> None:
    edited = Session(raw)
    assert not edited.valid
    for row in edited.rows():
        edited.sections(row)
    edited.wrong_rows()
    if isinstance(raw, dict):
        edited.set(("model", "factory"), "lenet5")
        edited.set(("data", "name"), "mnist_sample")
        assert edited.raw["model"] == {"factory": "lenet5"}
        for row in edited.rows():
            edited.set_type(row, "prune")
            edited.sections(row)


def test_nets_that_are_not_built_in() -> None:
    edited = Session({**LENET, "model": {"factory": "mine:net"}, "compress": [{"layers": ["a"], "how": prune()}]})
    assert edited.names == [] and edited.report is None and not edited.net_is_current()
    wanted = edited.net_wanted()
    assert wanted is not None and wanted.model.factory == "mine:net"
    edited.describe_net(edited.net_key(), NetInfo((Layer("a", "Linear", (3, 3)), Layer("b", "Linear", (2, 3))), 5))
    assert edited.names == ["a", "b"]
    assert under(edited, Row("layer", "a")) == {"compress.0.how.kappa": ["10 exceeds the 9 weights of a"]}
    edited.set(("compress", 0, "how", "kappa"), 3)
    assert edited.valid and edited.report is not None
    edited.set(("model", "factory"), "other:net")
    assert edited.report is None and edited.names == ["a", "b"]  # still shown, until the other has been built


def test_a_half_typed_factory_keeps_the_net_in_sight() -> None:
    edited = session((["conv1"], prune()))
    edited.set(("model", "factory"), "lenet", typing=True)
    assert edited.names == ["conv1", "conv2", "fc1", "fc2"] and not edited.valid and not edited.net_is_current()
    edited.set(("model", "factory"), "lenet300", typing=True)
    assert edited.names == ["fc1", "fc2", "fc3"]


def test_saving_is_remembered(tmp_path: Path) -> None:
    edited = session((["conv1"], prune()))
    edited.set(("seed",), 3)
    edited.saved(tmp_path / "a.json")
    assert not edited.dirty
    edited.undo()
    assert edited.dirty
