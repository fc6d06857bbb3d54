"""The JSON Schema says what the loader does: it takes the schemes that load, and describes every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lctui.scheme import Scheme
from lctui.scheme.study import StudyFile
from tests.scheme.cases import EXAMPLE, MINIMAL, changed, with_how
from tests.scheme.test_loading import HOWS

ROOT = Path(__file__).parents[2]
SCHEMA = Scheme.model_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
STUDY_VALIDATOR = jsonschema.Draft202012Validator(StudyFile.model_json_schema())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(StudyFile.model_json_schema())


@pytest.mark.parametrize("file", sorted(ROOT.glob("schemes/**/*.json")), ids=lambda file: file.stem)
def test_every_shipped_scheme_fits_the_schema(file: Path) -> None:
    content = json.loads(file.read_text())
    (STUDY_VALIDATOR if "study" in content else VALIDATOR).validate(content)


@pytest.mark.parametrize("how", [how for how, _ in HOWS], ids=str)
def test_every_kind_of_compression_fits_the_schema_as_written_and_as_dumped(how: dict[str, Any]) -> None:
    VALIDATOR.validate(with_how(how))
    VALIDATOR.validate(with_how([how, how]))
    VALIDATOR.validate(json.loads(json.dumps(Scheme.model_validate(with_how(how)).dump())))


def blocks() -> list[tuple[str, dict[str, Any]]]:
    return [("Scheme", SCHEMA), *SCHEMA["$defs"].items()]


@pytest.mark.parametrize(("name", "block"), blocks(), ids=[name for name, _ in blocks()])
def test_every_block_and_field_is_described_and_closed(name: str, block: dict[str, Any]) -> None:
    assert block["description"]
    assert block["additionalProperties"] is False
    for field, described in block["properties"].items():
        # A field that is a block of its own may leave its description to the block.
        of_block = SCHEMA["$defs"].get(described.get("$ref", "").rpartition("/")[2], {})
        if field != "type":
            assert len(described.get("description", of_block.get("description", ""))) > 5, f"{name}.{field}"


@pytest.mark.parametrize("path", ["x", "model.x", "lc.x", "lc.mu.x", "l_step.x", "compress.0.x", "compress.0.how.x"])
def test_the_schema_rejects_an_unknown_field(path: str) -> None:
    assert not VALIDATOR.is_valid(changed({path: 1}))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"seed": True},
        {"version": 2},
        {"version": True},
        {"precision": "x"},
        {"l_step.lr": 0},
        {"l_step.lr": "0.1"},
        {"compress.0.how.kappa": -1},
        {"compress.2.how.rank": "x"},
        {"compress.0.how": {"type": "x"}},
        {"compress.0.layers": "conv1"},
    ],
    ids=str,
)
def test_the_schema_rejects_what_the_loader_refuses_of_one_field(settings: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(changed(settings))


def test_the_schema_asks_for_what_has_no_default() -> None:
    VALIDATOR.validate(MINIMAL)
    VALIDATOR.validate(EXAMPLE)
    for field in MINIMAL:
        assert not VALIDATOR.is_valid({name: value for name, value in MINIMAL.items() if name != field})


def test_the_studys_schema_takes_the_contracts_study() -> None:
    study = {"version": 1, "study": "name", "base": EXAMPLE, "grid": {"compress.1.how.kappa": [5010, 2505]}}
    study["variants"] = [{"name": "a", "set": {"seed": 2}}]
    validator = jsonschema.Draft202012Validator(StudyFile.model_json_schema())
    validator.validate(study)
    assert not validator.is_valid(study | {"gird": {}})
