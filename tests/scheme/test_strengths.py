"""What may be tried on a layer: ladders whose every rung the net takes, and sizes that rise with the strength."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from lctui.scheme import Compression, Scheme
from lctui.scheme.check import ResolvedTask, resolve, resolved_tasks
from lctui.scheme.compressions import Prune
from lctui.scheme.models import Mu
from lctui.scheme.net import Layer, NetInfo, lenet5
from lctui.scheme.predict import predict_task
from lctui.scheme.strengths import ladders, most, strength, with_strength, written

MU = Mu(start=0.01, steps=2)
LAYERS = [
    *lenet5().layers,
    Layer("grouped", "Conv2d", (6, 2, 3, 3), blocks=2),
    Layer("up", "ConvTranspose2d", (4, 6, 3, 3)),
    Layer("one", "Linear", (1, 1)),
    Layer("few", "Linear", (2, 3)),
]
HOWS: list[Any] = [
    {"type": "prune", "alpha": 1e-6},
    {"type": "prune", "kappa": 2.5, "norm": "l1"},
    {"type": "prune", "fraction": 0.5, "k": 16, "code": "arithmetic"},
    {"type": "prune_structured", "fraction": 0.5},
    {"type": "prune_n_m", "n": 3, "m": 8},
    {"type": "quantize", "k": 5, "code": "arithmetic"},
    {"type": "quantize", "codebook": "ternary"},
    {"type": "low_rank", "rank": "auto", "alpha": 1e-9, "conv_scheme": "scheme_1", "bits": 16},
    [{"type": "quantize", "k": 2}, {"type": "prune", "kappa": 9}],
    [{"type": "quantize", "k": 2}, {"type": "quantize", "codebook": "binary"}],
]


def taken(layer: Layer, how: Any) -> Any:
    """The compression as a file's, once the net takes it."""
    raw = written(how)
    again = TypeAdapter(Compression | list[Compression]).validate_python(raw)
    scheme = Scheme.model_validate(
        {"model": {"factory": "a:b"}, "data": {"name": "a:c"}, "compress": [{"layers": [layer.name], "how": raw}]}
    )
    assert resolve({0: scheme.compress[0]}, NetInfo((layer,), 0))[1] == []
    return tuple(again) if isinstance(again, list) else again


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_rung_is_one_that_the_net_takes(layer: Layer) -> None:
    found = ladders(ResolvedTask(0, (layer,), None))
    for how in (how for ladder in found for how in ladder):
        assert taken(layer, how) == how
    types = [{how.type for how in ladder} for ladder in found]
    assert types == [*([{"quantize"}] if layer.parameters > 1 else []), {"prune"}, {"prune"}] + (
        [{"low_rank"}] if layer.blocks == 1 else []
    )


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_task_keeps_its_kind(how: Any) -> None:
    net = lenet5()
    scheme = Scheme.model_validate(
        {"model": {"factory": "lenet5"}, "data": {"name": "mnist"}, "compress": [{"layers": ["conv2"], "how": how}]}
    )
    (task,) = resolved_tasks(scheme, net)
    (ladder,) = ladders(task)
    first = how[0] if isinstance(how, list) else how
    for each in ladder:
        assert taken(net.layer("conv2"), each) == each
        one = each[0] if isinstance(how, list) else each
        assert (one.type, getattr(one, "code", "plain")) == (first["type"], first.get("code", "plain"))
    sizes = [predict_task(ResolvedTask(0, task.layers, each), MU).compressed_bits for each in ladder]
    assert sizes == sorted(sizes)
    thin = ladders(task, every=4)[0]
    assert thin == ladder[::4]


def test_what_has_no_other_strength_is_tried_as_it_is() -> None:
    one = Layer("one", "Linear", (1, 1))
    for raw in ({"type": "prune_n_m", "n": 1, "m": 1}, {"type": "quantize", "k": 1}):
        how: Any = TypeAdapter(Compression).validate_python(raw)
        assert ladders(ResolvedTask(0, (one,), how)) == [[how]]


def test_a_strength_is_one_number() -> None:
    task = ResolvedTask(0, (lenet5().layer("conv2"),), None)
    for ladder in ladders(task):
        for how in ladder:
            here = strength(how)
            assert (here is None) == (how.type == "quantize")
            if here is not None:
                more = with_strength(how, here + 1)
                assert strength(more) == here + 1 <= most(more, task)
    summed = tuple(ladders(task)[0][:1] + ladders(task)[1][:1])  # a codebook and survivors
    assert (strength(summed), strength(with_strength(summed, 70)), most(summed, task)) == (8, 70, 25_000)
    assert with_strength(summed, 70)[0] == summed[0]


@pytest.mark.parametrize(("layer", "asked", "k"), [("conv2", 16, 16), ("conv2", None, 8), ("few", None, 6)])
def test_survivors_fill_their_codebook_on_every_rung(layer: str, asked: int | None, k: int) -> None:
    how: Any = Prune(fraction=0.5, k=asked) if asked else None
    task = ResolvedTask(0, (next(each for each in LAYERS if each.name == layer),), how)
    ladder = next(found for found in ladders(task) if found[0].type == "prune")
    assert {each.k for each in ladder} == {k} and ladder[0].kappa == k
