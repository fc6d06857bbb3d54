"""Plots by name: what they show is what the run's files hold, and what cannot be shown is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import lctui
from lctui.console.inspection import Answers
from lctui.errors import BadInput
from lctui.export.files import export_runs
from lctui.export.gallery import PLOTS, Gallery, gallery
from lctui.export.names import MAX_LENGTH, file_name, run_names
from lctui.export.plots import Figure, Series
from lctui.export.training import history_of, layers_figure, reference_epochs
from lctui.headless import options
from lctui.runs import atomic
from lctui.runs.store import Run

ROOT = Path(__file__).parents[2]
Home = tuple[Path, str]


@pytest.fixture(scope="module")
def answers(looked_at_run: Home) -> Iterator[Answers]:
    """Whoever knows the insides of the finished run."""
    with Answers(looked_at_run[0]) as answers:
        yield answers


@pytest.fixture(scope="module")
def shown(looked_at_run: Home, answers: Answers) -> Gallery:
    """All plots of the finished run."""
    found = gallery([finished(looked_at_run)], PLOTS, answers)
    for figure in found.figures.values():
        figure.check()
    return found


def finished(home: Home) -> Run:
    return Run(home[0] / "runs" / home[1])


def recorded(*names: str) -> list[Run]:
    """Runs whose logs are kept with the tests, without their nets."""
    folder = ROOT / "tests/data/home/runs"
    return [Run(next(folder.glob(f"{name}-*"))) for name in names]


def series(figure: Figure, name: str) -> Series:
    return next(each for each in figure.series if each.name.startswith(name))


def test_a_finished_run_shows_all_but_what_needs_two(shown: Gallery) -> None:
    per_layer = ["codebook-conv1", "codebook-conv2", "singular_values-fc1"]
    assert list(shown.figures) == ["error", "gap", "confusion", *per_layer, "layers", "reference"]
    assert shown.reasons("pareto") == "of looked-at: needs two runs or more with an error and a ratio"
    assert shown.shown == set(PLOTS) - {"pareto"}


def test_the_confusion_matrix_has_the_runs_error(shown: Gallery, looked_at_run: Home) -> None:
    matrix = np.array(shown.figures["confusion"].matrix)
    wrong = 100 * (1 - np.trace(matrix) / matrix.sum())
    assert wrong == pytest.approx(finished(looked_at_run).read("result.json")["final"]["test_error_pct"])


@pytest.mark.parametrize(("layer", "task"), [("conv1", 0), ("conv2", 1)])
def test_codebooks_count_the_weights_of_the_artifact(
    layer: str, task: int, shown: Gallery, looked_at_run: Home
) -> None:
    run, figure = finished(looked_at_run), shown.figures[f"codebook-{layer}"]
    values = run.read("result.json")["layers"][task]["codebook"]
    weights = lctui.load(run.file("compressed.safetensors"))[f"{layer}.weight"].numpy()
    stems, histogram = series(figure, "compressed"), series(figure, "reference")
    assert list(stems.x) == sorted(np.float32(values).tolist())
    assert list(stems.y) == [int((weights == np.float32(value)).sum()) for value in stems.x]
    assert [label.removesuffix(" %") for label in stems.labels] == [
        f"{100 * count / sum(stems.y):.1f}" for count in stems.y
    ]
    assert sum(histogram.y) == weights.size
    assert ("2,000 non-zeros of 25,000" in figure.title) == (layer == "conv2")


def test_singular_values_are_those_of_both_nets(shown: Gallery, looked_at_run: Home) -> None:
    run, figure = finished(looked_at_run), shown.figures["singular_values-fc1"]
    rank = run.read("result.json")["layers"][2]["rank"]
    (reference,) = (looked_at_run[0] / "references").glob("*/reference.safetensors")
    nets = {"compressed": lctui.load(run.file("compressed.safetensors"))["fc1.weight"].numpy()}
    nets["reference"] = load_file(reference)["fc1.weight"]
    for name, weights in nets.items():
        expected = np.linalg.svd(weights.astype(float), compute_uv=False)
        drawn = series(figure, name)
        assert list(drawn.x) == list(range(1, len(drawn.y) + 1))
        assert np.allclose(drawn.y, expected[: len(drawn.y)], rtol=1e-5)
    assert len(series(figure, "compressed").y) == rank
    mark = series(figure, "rank")
    assert (mark.name, mark.kind, list(mark.x)) == (f"rank {rank}", "place", [rank + 0.5])


def test_shares_of_the_bits_are_those_of_the_result(shown: Gallery, looked_at_run: Home) -> None:
    result, figure = finished(looked_at_run).read("result.json"), shown.figures["layers"]
    assert figure.classes == ("conv1", "conv2", "fc1", "fc2", "not compressed")
    after, before = figure.series
    whole = result["final"]["compressed_bits"]
    assert list(after.y)[:4] == pytest.approx([100 * task["bits"] / whole for task in result["layers"]])
    assert list(before.y)[:4] == pytest.approx(
        [100 * task["reference_bits"] / result["reference"]["bits"] for task in result["layers"]]
    )
    assert sum(after.y) == pytest.approx(100) and sum(before.y) == pytest.approx(100)
    rank = result["layers"][2]["rank"]
    assert after.labels[1].startswith("2,000 non-zeros, 4 values, ") and after.labels[2].startswith(f"rank {rank}, ")
    assert after.labels[3].startswith("rank 1 + 50 non-zeros, ")


def test_the_references_accuracies_are_those_of_its_training(shown: Gallery, looked_at_run: Home) -> None:
    (file,) = (looked_at_run[0] / "references").glob("*/reference.json")
    history = json.loads(file.read_text())["history"]
    for split in ("train", "validation"):
        drawn = series(shown.figures["reference"], split)
        assert list(drawn.y) == [100 - epoch[f"{split}_error_pct"] for epoch in history]
        assert list(drawn.x) == [epoch["epoch"] for epoch in history]


def test_a_joint_task_is_one_bar_and_a_net_without_biases_has_no_rest(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    task = {"layers": ["a", "b"], "type": "quantize", "bits": 25, "codebook": [1.0]}
    step = {"event": "step", "step": 1, "compressed_bits": 25, "layers": [task]}
    run.file("events.jsonl").write_text(json.dumps(step) + "\n")
    figure = layers_figure("x", history_of(run))
    assert figure is not None and figure.classes == ("a + b",)
    (bars,) = figure.series  # the log does not say what the reference's layers weigh
    assert (list(bars.y), list(bars.labels)) == ([100], ["1 values"])


# Sets of runs


def test_runs_that_share_a_reference_share_its_figure(looked_at_run: Home, answers: Answers, tmp_path: Path) -> None:
    run = finished(looked_at_run)
    twins = [run, *copies(looked_at_run, tmp_path, "twin-x")]
    assert list(gallery(twins, ["reference"], answers).figures) == ["reference"]
    both = gallery([run, *recorded("eexm", "t2u3")], ["reference", "layers"], answers)
    assert list(both.figures) == [
        *("layers-looked-at", "layers-quickstart", "layers-k-0.k=4"),
        *("reference-looked-at", "reference-quickstart"),
    ]
    assert both.reasons("reference") == "of k/0.k=4: the training of its reference is not in the store"


def copies(home: Home, folder: Path, *ids: str, **meta: Any) -> list[Run]:
    """The home's run and references again, elsewhere, under other ids, with changes of what is known of them."""
    shutil.copytree(home[0] / "references", folder / "references")
    runs = [Run(shutil.copytree(finished(home).folder, folder / "runs" / run_id)) for run_id in ids]
    for run in runs:
        atomic.write_json(run.file("meta.json"), run.read("meta.json") | meta)
    return runs


def test_names_that_would_meet_in_one_file_give_way_to_ids(tmp_path: Path) -> None:
    runs = []
    for n, name in enumerate(("a/b", "A?B", "c")):
        runs.append(Run(tmp_path / f"id{n}"))
        runs[-1].folder.mkdir()
        atomic.write_json(runs[-1].file("scheme.json"), {"name": name})
    assert list(run_names(runs[1:]).values()) == ["A-B", "c"]
    assert list(run_names(runs).values()) == ["id0", "id1", "id2"]


@given(st.text())
def test_a_file_name_is_one_on_any_system(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= MAX_LENGTH and not set(name) & set('/\\:*?"<>|\0 \n') and name not in (".", "..")
    assert file_name(name) == name


# What cannot be shown


def test_every_plot_is_named_where_a_user_looks_for_it(tmp_path: Path) -> None:
    (option,) = options.Plots.__metadata__  # type: ignore[attr-defined]
    assert all(plot in option.help for plot in PLOTS)
    table = (ROOT / "README.md").read_text()
    assert all(f"| `{plot}` |" in table for plot in PLOTS)


@pytest.mark.parametrize(
    ("names", "plots", "lines"),
    [
        (
            ["eexm"],
            ["pareto"],
            ["pareto cannot be drawn of quickstart: needs two runs or more with an error and a ratio"],
        ),
        (
            ["eexm", "a52y"],
            ["curve", "singular_values", "confusion"],
            [
                "singular_values cannot be drawn of quickstart: no compressed net yet: it is written when the run "
                "finishes; of k/0.k=16: no layer is of low rank alone",
                "confusion cannot be drawn of quickstart, k/0.k=16: no compressed net yet: it is written when the run "
                "finishes",
            ],
        ),
        (
            ["nrvx"],
            ["curve", "layer"],
            ["'layer' is not known; did you mean 'layers'? (one of: " + ", ".join(PLOTS) + ")"],
        ),
    ],
)
def test_a_plot_that_was_named_and_cannot_be_shown(
    names: Sequence[str], plots: Sequence[str], lines: Sequence[str], tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        export_runs(recorded(*names), tmp_path / "out", ["png"], plots)
    assert caught.value.lines() == [f"--plot: {line}" for line in lines]
    assert not (tmp_path / "out").exists()


def test_plots_without_a_format_that_draws_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        export_runs(recorded("eexm"), tmp_path / "out", ["csv", "md"], ["curve"])
    assert caught.value.lines() == ["--plot: needs --format png or svg (or both), got csv,md"]
    assert not (tmp_path / "out").exists()


def test_what_some_runs_can_show_is_drawn_and_the_others_are_named(
    looked_at_run: Home, answers: Answers, tmp_path: Path
) -> None:
    runs, notes = [finished(looked_at_run), *recorded("eexm")], list[str]()
    paths = export_runs(runs, tmp_path, ["svg"], ["singular_values"], answers, notes.append)
    assert [path.name for path in paths] == ["singular_values-looked-at-fc1.svg"] and paths[0].stat().st_size > 1000
    assert notes == [
        "singular_values left out of quickstart: no compressed net yet: it is written when the run finishes"
    ]
    # Nobody asked for it: nothing to say.
    everything = export_runs(recorded("eexm", "t2u3"), tmp_path, ["svg"], (), answers, notes.append)
    stems = ["error", "gap", "pareto", "layers-quickstart", "layers-k-0.k=4", "reference-quickstart"]
    assert [path.stem for path in everything] == stems and len(notes) == 1


def test_a_finished_run_that_cannot_be_looked_into_is_no_silence(looked_at_run: Home, tmp_path: Path) -> None:
    """Its data are others by now: nobody would guess why a picture is not there."""
    runs, notes = copies(looked_at_run, tmp_path / "home", "abcd-moved", data_sha256="others"), list[str]()
    with Answers(tmp_path / "home") as answers:
        paths = export_runs(runs, tmp_path / "out", ["svg"], (), answers, notes.append)
        assert notes == ["confusion left out of looked-at: its data changed since it ran"]
        assert {"error.svg", "codebook-conv1.svg"} <= {path.name for path in paths} and "confusion.svg" not in paths
        with pytest.raises(BadInput, match="confusion cannot be drawn of looked-at: its data changed since it ran"):
            export_runs(runs, tmp_path / "out", ["svg"], ["confusion"], answers)


def test_epochs_of_another_runs_training_end_when_this_run_had_the_reference(
    looked_at_run: Home, tmp_path: Path
) -> None:
    """Their own times are not kept; how long each took is."""
    (run,) = copies(looked_at_run, tmp_path, "late-x")
    file = next((tmp_path / "references").glob("*/reference.json"))
    record = json.loads(file.read_text())
    record["history"] = [record["history"][0] | {"epoch": n, "seconds": float(n)} for n in (1, 2, 3)]
    atomic.write_json(file, record)
    log = [json.loads(line) for line in run.file("events.jsonl").read_text().splitlines()]
    kept = [event for event in log if event["event"] != "reference_epoch"]
    had = next(event for event in kept if event["event"] == "reference_finished")
    had["time"] = "2026-01-01T00:01:40.000Z"
    run.file("events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in kept))
    midnight = 1767225600.0
    assert [epoch["unix_time"] - midnight for epoch in reference_epochs(run)] == [95.0, 97.0, 100.0]


def test_epochs_of_its_own_training_have_the_times_of_the_log() -> None:
    (run,) = recorded("eexm")
    epochs = reference_epochs(run)
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 16))
    assert epochs[0]["unix_time"] == 1795482802.884  # 2026-11-24T01:13:22.884Z
    assert list(chain(epochs)) == sorted(epochs, key=lambda epoch: epoch["unix_time"])
