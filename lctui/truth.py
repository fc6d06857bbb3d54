"""Whether what a run reports is true of the file that it leaves.

Owns the last check of a run: the file is unpacked, compared bit for bit with the net that was measured, and measured
again.  Repairs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lctui.algorithm import LCProblem, size
from lctui.compression import Compressed
from lctui.errors import RunFailed, shown
from lctui.export import artifact
from lctui.learning.evaluate import evaluate
from lctui.learning.net import FlatNet
from lctui.prepare import Prepared


def require_truth(
    path: Path,
    state: Mapping[str, Tensor],
    problem: LCProblem,
    thetas: Sequence[Compressed],
    prepared: Prepared,
    said: Mapping[str, Any],
) -> None:
    """What is reported must be what the file holds: its net is `state`, and measures what the last step `said`.

    Raises:
        RunFailed: it is not; with the first number that differs.
    """
    unpacked = artifact.load(path)
    if unpacked.keys() != state.keys() or not all(torch.equal(unpacked[name], state[name]) for name in state):
        raise RunFailed(f"{path.name} does not decompress to the net that was measured")
    net = FlatNet(prepared.module, prepared.device)
    net.load_state(unpacked)
    measures = asdict(evaluate(net.module, prepared.splits)) | size(problem, thetas)
    for name, value in measures.items():
        # As JSON has it: after a resume the last step comes from the checkpoint.
        if json.loads(json.dumps(value)) != json.loads(json.dumps(said.get(name))):
            words = f"the last step said {shown(said.get(name))}"
            raise RunFailed(f"{path.name} measures {name} = {shown(value)}, {words}: nothing of it is reported")
