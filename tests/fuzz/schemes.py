"""Broken schemes and studies: `check`, and for those it refuses `--run`, which must write nothing."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.conftest import ROOT
from tests.fuzz.mutations import mutated_bytes, mutated_json, text_of
from tests.fuzz.trial import lctui, require
from tests.scheme.cases import EXAMPLE, with_how
from tests.scheme.test_loading import HOWS

STUDY = {
    "version": 1,
    "study": "s",
    "base": EXAMPLE,
    "grid": {"compress.1.how.kappa": [5010, 2505], "seed": [1, 2]},
    "variants": [{"name": "a", "set": {"l_step.lr": 0.1}}],
}


def cases(rng: Random, count: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Broken files of every kind of scheme."""
    bases = [EXAMPLE, *(with_how(how) for how, _ in HOWS), with_how([how for how, _ in HOWS[:3]]), STUDY, STUDY]
    bases += [json.loads((ROOT / "schemes" / "quickstart.json").read_text())]
    file, home = folder / "scheme.json", folder / "home"
    importlib.import_module("lctui.models")  # some schemes need torch: what loading it takes is not theirs
    for number in range(count):
        base = rng.choice(bases)
        whole = text_of(base)
        broken = mutated_bytes(rng, whole) if rng.random() < 0.35 else text_of(mutated_json(rng, base))
        file.write_bytes(broken)
        yield f"scheme {number}", lambda: _try(file, home)


def _try(file: Path, home: Path) -> str:
    code, said, errors = lctui("check", file, "--json")
    require(code == 2 or json.loads(said), "a scheme that is fine has no report")
    if code == 0:
        return "accepted"
    lines = errors.splitlines()
    require(all(line.startswith(f"{file}: ") for line in lines), f"not FILE: PATH: problem: {lines[:2]}")
    require(lctui("--run", file)[0] == 2, "a scheme that is refused runs")
    require(not home.exists(), "a refused scheme has written into the store")
    return "refused"
