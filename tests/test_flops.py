"""FLOPs: those that torch counts in layers that really are narrower, or really two; foretold as they are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lctui.algorithm import LCProblem, size, task_c_step
from lctui.compression import Compressed, c_step
from lctui.compression.low_rank import LowRankFactors
from lctui.compression.pruning_groups import PrunedStructured
from lctui.learning.evaluate import Splits
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.models import build, describe
from lctui.scheme import Scheme
from lctui.scheme.check import ResolvedTask, resolved_tasks
from lctui.scheme.models import Mu
from lctui.scheme.net import Layer, NetInfo, lenet5
from lctui.scheme.predict_flops import predict_flops
from lctui.scheme.report import check_report
from tests.conftest import Cli

MU = Mu(start=0.01, steps=2)
CONV: dict[str, Any] = {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2), "bias": False}
KINDS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (nn.Conv2d(4, 6, **CONV), (4, 11, 9)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2, padding=1, bias=False), (4, 9, 8)),
    "same": (nn.Conv2d(4, 6, 3, padding=1, bias=False), (4, 7, 7)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2, bias=False), (4, 11)),
    "transposed": (nn.ConvTranspose2d(4, 6, (3, 5), stride=(2, 1), bias=False), (4, 5, 6)),
    "linear": (nn.Linear(12, 7, bias=False), (12,)),
    "tokens": (nn.Linear(12, 7, bias=False), (3, 12)),
}


def counted(module: Any, inputs: Tensor) -> tuple[int, Tensor]:
    """What torch counts, and what comes out."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(inputs)
    return counter.get_total_flops(), output


def of(kind: str, how: dict[str, Any]) -> tuple[nn.Module, Tensor, Compressed, Layer]:
    """A layer, an input, its C step, and its description; what is foretold must be what Θ costs."""
    module, shape = KINDS[kind]
    inputs = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    scheme = Scheme.model_validate(
        {"model": {"factory": "a:b"}, "data": {"name": "a:c"}, "compress": [{"layers": ["0"], "how": how}]}
    )
    info = describe(nn.Sequential(module), inputs)
    (task,) = resolved_tasks(scheme, info)
    theta = c_step(task.how, module.weight.detach(), 1.0)  # type: ignore[arg-type]
    foretold = predict_flops(info, [task], MU)
    assert foretold is not None and foretold.total.basis == "exact"
    assert (foretold.total.compressed,) == theta.flops(task.layers)
    assert foretold.total.reference == counted(module, inputs)[0]
    return module, inputs, theta, task.layers[0]


def put(layer: Any, weight: Tensor) -> Any:
    assert layer.weight.shape == weight.shape
    layer.weight.data = weight
    return layer


def halves(module: Any, theta: LowRankFactors, scheme: str) -> nn.Sequential:
    """The two layers that a layer of low rank is, written out by hand."""
    u, z, r = theta.u, theta.z, theta.rank
    if isinstance(module, nn.Linear):
        return nn.Sequential(put(nn.Linear(12, r, bias=False), z.mT), put(nn.Linear(r, 7, bias=False), u))
    if isinstance(module, nn.Conv1d):
        first = nn.Conv1d(4, r, 3, stride=2, bias=False)
        return nn.Sequential(put(first, z.mT.reshape(r, 4, 3)), put(nn.Conv1d(r, 6, 1, bias=False), u[..., None]))
    high, wide = module.kernel_size
    (down, across), (below, beside), (far, off) = module.stride, module.padding, module.dilation
    if isinstance(module, nn.ConvTranspose2d):
        if scheme == "scheme_1":
            first = put(nn.Conv2d(4, r, 1, bias=False), u.mT[..., None, None])
            second = nn.ConvTranspose2d(r, 6, (high, wide), stride=(down, across), bias=False)
            return nn.Sequential(first, put(second, z.mT.reshape(r, 6, high, wide)))
        strip = nn.ConvTranspose2d(4, r, (high, 1), stride=(down, 1), bias=False)
        rows = put(strip, u.reshape(4, high, r).movedim(2, 1)[..., None])
        columns = nn.ConvTranspose2d(r, 6, (1, wide), stride=(1, across), bias=False)
        return nn.Sequential(rows, put(columns, z.mT.reshape(r, 6, 1, wide)))
    if scheme == "scheme_1":
        options = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
        first = nn.Conv2d(4, r, module.kernel_size, bias=False, **options)
        return nn.Sequential(
            put(first, z.mT.reshape(r, 4, high, wide)), put(nn.Conv2d(r, 6, 1, bias=False), u[..., None, None])
        )
    row = nn.Conv2d(4, r, (1, wide), stride=(1, across), padding=(0, beside), dilation=(1, off), bias=False)
    column = nn.Conv2d(r, 6, (high, 1), stride=(down, 1), padding=(below, 0), dilation=(far, 1), bias=False)
    return nn.Sequential(
        put(row, z.mT.reshape(r, 4, 1, wide)), put(column, u.reshape(6, high, r).movedim(2, 1)[..., None])
    )


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_costs_what_two_layers_do(kind: str, scheme: str) -> None:
    module, inputs, theta, layer = of(kind, {"type": "low_rank", "rank": 2, "conv_scheme": scheme})
    assert isinstance(theta, LowRankFactors)
    flops, output = counted(halves(module, theta, scheme), inputs)
    assert theta.flops((layer,)) == (flops,)
    whole: Any = module
    dense = whole.weight.data.clone()
    try:  # the two layers are the one
        whole.weight.data = theta.dense()
        torch.testing.assert_close(output, counted(whole, inputs)[1], atol=1e-5, rtol=1e-4)
    finally:
        whole.weight.data = dense


@pytest.mark.parametrize("kind", ["conv", "dilated", "1d", "linear", "tokens"])
def test_structured_pruning_costs_what_the_rows_that_stay_do(kind: str) -> None:
    module, inputs, theta, layer = of(kind, {"type": "prune_structured", "kappa": 4})
    assert isinstance(theta, PrunedStructured)
    narrow: Any = (
        nn.Linear(12, 4, bias=False)
        if isinstance(module, nn.Linear)
        else type(module)(  # type: ignore[call-overload]
            4, 4, module.kernel_size, stride=module.stride, padding=module.padding, dilation=module.dilation, bias=False
        )
    )
    flops, _ = counted(put(narrow, theta.dense()[theta.kept]), inputs)
    assert theta.flops((layer,)) == (flops,)


def test_n_of_m_costs_what_gathered_inputs_do() -> None:
    _, inputs, theta, layer = of("linear", {"type": "prune_n_m", "n": 1, "m": 4})
    weight = theta.dense()  # [7, 12], three non-zeros a row
    places = weight.nonzero()[:, 1].reshape(7, 3)
    values = weight.gather(1, places)

    def gathered(x: Tensor) -> Tensor:
        return torch.bmm(values[:, None], x[0][places][..., None]).reshape(1, 7)

    flops, output = counted(gathered, inputs)
    assert theta.flops((layer,)) == (flops,) == (2 * 7 * 3,)
    torch.testing.assert_close(output, inputs @ weight.mT)


def test_zeros_are_skipped_and_codebooks_multiply() -> None:
    _, _, theta, layer = of("conv", {"type": "prune", "kappa": 9})
    assert theta.flops((layer,)) == (2 * 9 * 5 * 9,)  # 5×9 outputs
    for how in ({"type": "quantize", "k": 2}, {"type": "quantize", "codebook": "ternary"}):
        module, inputs, theta, layer = of("conv", how)
        assert theta.flops((layer,)) == (counted(module, inputs)[0],)
    both = [{"type": "prune", "kappa": 9}, {"type": "low_rank", "rank": 2}]
    alone = of("conv", both[1])[2].flops((layer,))[0]
    assert of("conv", both)[2].flops((layer,)) == (alone + 2 * 9 * 5 * 9,)  # type: ignore[arg-type]


TASKS: list[dict[str, Any]] = [
    {"layers": ["conv1"], "how": {"type": "low_rank", "rank": 3}},
    {"layers": ["conv2"], "how": {"type": "prune_structured", "kappa": 20}},
    {"layers": ["fc1"], "how": [{"type": "prune_n_m", "n": 1}, {"type": "low_rank", "rank": 4}]},
    {"layers": ["fc2", "fc2.bias"], "how": {"type": "quantize", "k": 4}},
]


def test_check_says_what_a_run_will(tmp_path: Path) -> None:
    raw = {"model": {"factory": "lenet5"}, "data": {"name": "mnist_sample"}, "compress": TASKS}
    (tmp_path / "net.json").write_text(json.dumps(raw))
    done = Cli(tmp_path / "home")("check", "net.json", "--json")
    checked = json.loads(done.stdout)
    scheme = Scheme.model_validate(raw)
    module = build(scheme.model, seed=0)
    info = describe(module, torch.zeros(1, 1, 28, 28))
    assert (info.layers, info.flops) == (lenet5().layers, lenet5().flops)  # strips too
    tasks, net = resolved_tasks(scheme, info), FlatNet(module, torch.device("cpu"))
    one = Resident(torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64), torch.device("cpu"))
    thetas = [task_c_step(net, task, net.w, 0.1) for task in tasks]
    reported = size(LCProblem(net, info, tasks, Splits(one, one, one), scheme), thetas)
    assert checked["compressed_flops"] == reported["flops"]
    assert checked["flops_ratio"] == reported["flops_ratio"]
    assert (checked["reference_flops"], checked["flops_exact"]) == (info.flops, True)
    layers = {layer["name"]: layer for layer in checked["layers"]}
    # conv1 as 5×3 strips along 28 rows, then 24; conv2 20 filters; fc1 a quarter and two factors; fc2 as it is.
    assert layers["conv1"]["compressed_flops"] == 2 * 3 * (5 * 28 * 24 + 100 * 24 * 24)
    assert layers["conv2"]["compressed_flops"] == 2 * 20 * 500 * 64
    assert layers["fc1"]["compressed_flops"] == 2 * (100_000 + 4 * 1300)
    assert layers["fc2"]["compressed_flops"] == layers["fc2"]["reference_flops"] == 10_000
    assert layers["fc2.bias"]["compressed_flops"] is None
    text = " ".join(Cli(tmp_path / "home")("check", "net.json").stdout.split())
    assert "FLOPs: exactly 1.9 M of 4.6 M, 2.5×" in text


OWN = """
from torch import nn, randn, zeros

def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(676, 10))

def data():
    return (randn(9, 1, 28, 28), zeros(9).long()), (randn(9, 1, 28, 28), zeros(9).long())
"""


def test_a_net_of_ones_own_is_counted_where_the_images_are_known(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    cli, how = Cli(tmp_path / "home"), {"type": "low_rank", "rank": 2}
    for name, data in (("built-in", "mnist_sample"), ("own", "own.py:data")):
        raw = {"model": {"factory": "own.py:net"}, "data": {"name": data}, "compress": [{"layers": ["0"], "how": how}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(raw))
    checked = json.loads(cli("check", "built-in.json", "--json").stdout)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Flatten(), nn.Linear(676, 10))
    assert checked["reference_flops"] == counted(module, torch.zeros(1, 1, 28, 28))[0]
    # 3 wide along 28 rows to 13 columns, then 3 high to 13 × 13.
    assert checked["layers"][0]["compressed_flops"] == 2 * 2 * (3 * 28 * 13 + 12 * 13 * 13)
    unknown = json.loads(cli("check", "own.json", "--json").stdout)
    assert unknown["reference_flops"] is unknown["layers"][0]["compressed_flops"] is None
    assert "FLOPs: not known without the data, a run reports them" in cli("check", "own.json").stdout


def foretold(net: NetInfo, *tasks: dict[str, Any], **fields: Any) -> Any:
    blocks = {"model": {"factory": "lenet5"}, "data": {"name": "mnist_sample"}, "compress": list(tasks), **fields}
    scheme = Scheme.model_validate(blocks)
    return predict_flops(net, resolved_tasks(scheme, net), scheme.lc.mu)


def test_what_training_decides_is_an_estimate_or_a_bound() -> None:
    net = lenet5()
    joint = foretold(net, {"layers": ["conv*"], "how": {"type": "prune", "fraction": 0.5}})
    assert (joint.total.basis, joint.layers["conv2"].compressed) == ("estimate", 2 * 12_500 * 64)
    rows = foretold(net, {"layers": ["conv*"], "how": {"type": "prune_structured", "fraction": 0.5}})
    assert (rows.total.basis, rows.layers["conv1"].compressed) == ("estimate", 2 * 250 * 576)
    penalty = foretold(net, {"layers": ["fc1"], "how": {"type": "prune", "alpha": 1e-6}})
    assert (penalty.total.basis, penalty.total.ratio) == ("bound", 1.0)
    auto = {"layers": ["fc1"], "how": {"type": "low_rank", "rank": "auto", "alpha": 1e-6}}
    ranked = foretold(net, auto, lc={"mu": {"start": 1e-3, "factor": 2.0, "steps": 4}})
    # α·r·(500 + 800) ≤ μ/2 = 0.004 holds up to r = 3.
    assert (ranked.total.basis, ranked.layers["fc1"].compressed) == ("bound", 2 * 3 * 1300)
    nothing = foretold(net, *({"layers": [n], "how": {"type": "prune", "kappa": 0}} for n in ("conv*", "fc*")))
    assert (nothing.total.basis, nothing.total.compressed, nothing.total.ratio) == ("exact", 0, None)


def test_without_an_input_nothing_is_said_of_flops() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    scheme = Scheme.model_validate({"model": {"factory": "a:b"}, "data": {"name": "a:c"}, "compress": []})
    report = check_report(scheme, describe(module))
    assert report["reference_flops"] is report["flops_ratio"] is report["flops_exact"] is None
    assert predict_flops(describe(module), [ResolvedTask(0, describe(module).layers, scheme)], MU) is None
