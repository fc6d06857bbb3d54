"""The console's side of questions: the newest counts, a process that dies is replaced, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lctui.console.inspection import Inspection, InspectionError, Superseded
from tests.conftest import looked_at
from tests.test_house import heavy_after

Home = tuple[Path, str]


def talk(home: Path, conversation: Callable[[Inspection], Awaitable[None]]) -> None:
    """A conversation with an inspection of its own, in an event loop of its own."""

    async def held() -> None:
        inspection = Inspection(home)
        try:
            await conversation(inspection)
        finally:
            inspection.close()

    asyncio.run(held())


def pruned(kappa: int) -> dict[str, Any]:
    return looked_at(compress=[{"layers": ["conv2"], "how": {"type": "prune", "kappa": kappa}}])


def pid(inspection: Inspection) -> int:
    assert inspection._process is not None
    return inspection._process._popen.pid


def test_every_question_has_its_answer(looked_at_run: Home) -> None:
    home, run_id = looked_at_run

    async def conversation(inspection: Inspection) -> None:
        assert inspection._process is None  # nobody has asked yet
        answers = await asyncio.gather(
            inspection.net(looked_at()),
            inspection.direct(looked_at()),
            inspection.confusion(run_id),
            inspection.weights(run_id, bins=8),
        )
        net, direct, confusion, weights = answers
        assert [layer["name"] for layer in net["layers"]] == ["conv1", "conv2", "fc1", "fc2"]
        assert direct["split"] == "validation"
        assert confusion["classes"] == [3, 8]
        assert len(weights["layers"][0]["counts"]) == 8
        with pytest.raises(InspectionError, match="the first run of this model, data and seed trains it"):
            await inspection.direct(looked_at(seed=99))
        with pytest.raises(InspectionError, match=r"^b\.json: compress\.0\.how\.kappa: -1 must be at least 0"):
            await inspection.direct(pruned(-1), Path("b.json"))

    talk(home, conversation)


def test_a_newer_question_replaces_older_ones_of_its_kind_only(looked_at_run: Home) -> None:
    home, run_id = looked_at_run

    async def conversation(inspection: Inspection) -> None:
        other = asyncio.create_task(inspection.confusion(run_id))
        asked = [asyncio.create_task(inspection.direct(pruned(kappa))) for kappa in (10, 20, 30, 40)]
        answers = await asyncio.gather(other, *asked, return_exceptions=True)
        assert isinstance(answers[0], dict) and answers[0]["split"] == "test"
        assert all(isinstance(answer, Superseded) for answer in answers[1:-1])
        assert isinstance(answers[-1], dict) and answers[-1]["tasks"][0]["nonzeros"] == 40
        # One that is under way is replaced as well, at once, and its late reply is nobody's.
        under_way = asyncio.create_task(inspection.direct(pruned(50)))
        await asyncio.sleep(0)
        assert inspection._asked is None and inspection._waiting
        await asyncio.sleep(0)
        assert inspection._asked is not None
        newest = asyncio.create_task(inspection.direct(pruned(60)))
        with pytest.raises(Superseded):
            await under_way
        assert not newest.done()
        assert (await newest)["tasks"][0]["nonzeros"] == 60

    talk(home, conversation)


def test_whoever_stops_waiting_disturbs_nobody(looked_at_run: Home) -> None:
    home, _ = looked_at_run

    async def conversation(inspection: Inspection) -> None:
        impatient = asyncio.create_task(inspection.direct(pruned(10)))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await inspection.net(looked_at()))["layers"]
        assert impatient.cancelled()
        assert (await inspection.direct(pruned(20)))["tasks"][0]["nonzeros"] == 20

    talk(home, conversation)


def test_a_killed_process_is_started_again(looked_at_run: Home) -> None:
    home, _ = looked_at_run

    async def conversation(inspection: Inspection) -> None:
        await inspection.net(looked_at())
        first = pid(inspection)
        os.kill(first, 9)
        assert (await inspection.net(looked_at()))["layers"]
        assert pid(inspection) != first

    talk(home, conversation)


DEADLY = """
import os, sys
import torch

def net(die=False):
    if die:
        sys.stderr.write("cannot\\x1b go on\\n")
        sys.stderr.flush()
        os._exit(3)
    return torch.nn.Linear(4, 2)
"""


def test_a_net_that_ends_the_process_is_an_error_and_edited_code_is_loaded_anew(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(DEADLY)

    def scheme(**args: Any) -> dict[str, Any]:
        return looked_at(model={"factory": "nets.py:net", "args": args})

    async def conversation(inspection: Inspection) -> None:
        source = tmp_path / "scheme.json"
        with pytest.raises(InspectionError, match=r"without an answer \(exit code 3: cannot\\x1b go on\)$"):
            await inspection.net(scheme(die=True), source)
        assert (await inspection.net(scheme(), source))["layers"][0]["shape"] == [2, 4]
        file.write_text(DEADLY.replace("Linear(4", "Linear(5"))
        assert (await inspection.net(scheme(), source))["layers"][0]["shape"] == [2, 5]

    talk(tmp_path / "home", conversation)


def test_closing_ends_the_process_and_every_question(looked_at_run: Home) -> None:
    home, run_id = looked_at_run

    async def conversation(inspection: Inspection) -> None:
        await inspection.net(looked_at())
        number = pid(inspection)
        asked = [
            asyncio.create_task(question)
            for question in (inspection.direct(looked_at()), inspection.confusion(run_id), inspection.weights(run_id))
        ]
        await asyncio.sleep(0)
        inspection.close()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, InspectionError)
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
        with pytest.raises(InspectionError, match="closed"):
            await inspection.net(looked_at())
        inspection.close()

    talk(home, conversation)


def test_closing_while_the_process_starts_leaves_none(tmp_path: Path) -> None:
    async def conversation(inspection: Inspection) -> None:
        asked = asyncio.create_task(inspection.net(looked_at()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inspection.close()
        with pytest.raises(InspectionError, match="closed"):
            await asked

    talk(tmp_path, conversation)


def test_a_process_that_cannot_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation(inspection: Inspection) -> None:
        monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
        with pytest.raises(InspectionError, match=r"cannot be asked: .*No such file"):
            await inspection.net(looked_at())

    talk(tmp_path, conversation)


def test_asking_loads_no_torch() -> None:
    found, done = heavy_after("import lctui.console.inspection")
    assert done.returncode == 0, done.stderr
    assert not found
