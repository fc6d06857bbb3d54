"""An ensemble that really does not fit into the host's memory: half as many train at once, and come to the same."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from lctui.learning.ensemble import Ensemble
from lctui.learning.resident import Resident
from lctui.learning.train import Trainer
from tests.learning.test_ensemble import make_data, make_trainers, turns_of
from tests.limited import ROOM, room_of

MEMBERS = 5
LARGE = 1500
"""Neurons: a member's weights take 9 MiB, a stack of five with all that it needs some 300."""


def large(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, LARGE), nn.ReLU(), nn.Linear(LARGE, LARGE), nn.Linear(LARGE, 3))


def some_data() -> Resident:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(20, 1, 6, 6, generator=generator)
    return Resident(inputs, torch.randint(0, 3, (20,), generator=generator), torch.device("cpu"))


def trained(size: int, room: float) -> tuple[list[Trainer], list[int]]:
    """The members after two epochs, and how many trained at once in each."""
    trainers = make_trainers(some_data(), MEMBERS, make=large)
    ensemble, together = Ensemble(size), []
    all_turns = [turns_of(trainers), turns_of(trainers)]
    with room_of(room):
        for turns in all_turns:
            ensemble.train(turns)
            together += [turn.together for turn in turns]
            assert all(isinstance(turn.outcome, float) for turn in turns), [turn.outcome for turn in turns]
    return trainers, together


def main() -> None:
    """In a process with little memory: a stack of five, of which two fit, beside stacks of two."""
    said: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logging.getLogger("lctui").addHandler(Lines())
    Ensemble(2).train(turns_of(make_trainers(make_data(), 2)))  # torch loads what it needs
    halved, together = trained(MEMBERS, float(sys.argv[1]))
    planned, _ = trained(2, 4096)
    pairs = [(one.net.w, other.net.w) for one, other in zip(halved, planned, strict=True)]
    pairs += [(one.momentum, other.momentum) for one, other in zip(halved, planned, strict=True)]
    same = all(torch.equal(one, other) for one, other in pairs)
    sys.stdout.write(json.dumps({"together": together, "same": same, "said": said}) + "\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited by Linux's means")
def test_an_ensemble_halves_itself_when_the_hosts_memory_runs_out_and_comes_to_the_very_same() -> None:
    command = [sys.executable, "-m", "tests.learning.test_halving", "170"]
    done = subprocess.run(command, env=os.environ | ROOM, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["together"] == [2, 2, 2, 2, 1] * 2
    assert len(found["said"]) == 1
    assert found["said"][0].startswith("out of memory (") and found["said"][0].endswith(
        ": 2 runs are trained at once from here on"
    )


if __name__ == "__main__":
    main()
