"""Every kind of layer: checked, compressed by two LC steps, stored and read back; counted as torch counts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import lctui
from lctui.cli import app
from lctui.models import build, describe
from lctui.scheme import Scheme
from lctui.scheme.check import resolve
from tests.test_worker import start, work

CODE = """
import torch
from torch import nn

class Attends(nn.Module):
    def __init__(self, context=None):
        super().__init__()
        self.context = context
        if context is not None:
            self.other = nn.Linear(4, context)
        self.attn = nn.MultiheadAttention(4, 2, kdim=context, vdim=context, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        there = x[:, :3] if self.context is None else self.other(x[:, :3])
        return self.head(self.attn(x, there, value=there)[0].mean(1))

class Encodes(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.norm(self.embed(tokens % 2).mean(1)))

def net(kind, dims=1, **options):
    if kind in ("Attends", "Encodes", "Tied"):
        return globals()[kind](**options)
    if kind == "Linear":
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    if kind == "Embedding":
        return nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(15, 2))
    layer = getattr(nn, kind)(4, 6, 3, **options)
    norm = getattr(nn, f"BatchNorm{dims}d")(6)
    pool = getattr(nn, f"AdaptiveAvgPool{dims}d")(1)
    return nn.Sequential(layer, norm, nn.ReLU(), pool, nn.Flatten(), nn.Linear(6, 2))

def data(shape, tokens=0):
    x = torch.randint(tokens, (60, *shape)) if tokens else torch.randn(60, *shape)
    y = (x.float().flatten(1).mean(1) > (tokens - 1) / 2 if tokens else x.flatten(1).mean(1) > 0).long()
    y[0], y[1], y[40], y[41] = 0, 1, 0, 1
    return (x[:40], y[:40]), (x[40:], y[40:])
"""

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "Conv1d": ({"kind": "Conv1d", "dims": 1}, {"shape": [4, 9]}, {"0": "0.weight"}),
    "Conv2d": ({"kind": "Conv2d", "dims": 2, "stride": 2}, {"shape": [4, 7, 6]}, {"0": "0.weight"}),
    "Conv3d": ({"kind": "Conv3d", "dims": 3}, {"shape": [4, 4, 5, 3]}, {"0": "0.weight"}),
    "grouped": ({"kind": "Conv2d", "dims": 2, "groups": 2}, {"shape": [4, 5, 5]}, {"0": "0.weight"}),
    "ConvTranspose1d": ({"kind": "ConvTranspose1d", "dims": 1}, {"shape": [4, 5]}, {"0": "0.weight"}),
    "ConvTranspose2d": (
        {"kind": "ConvTranspose2d", "dims": 2, "stride": 2, "groups": 2},
        {"shape": [4, 3, 4]},
        {"0": "0.weight"},
    ),
    "ConvTranspose3d": ({"kind": "ConvTranspose3d", "dims": 3}, {"shape": [4, 2, 3, 2]}, {"0": "0.weight"}),
    "Linear": ({"kind": "Linear"}, {"shape": [6]}, {"0": "0.weight", "2": "2.weight"}),
    "Embedding": ({"kind": "Embedding"}, {"shape": [5], "tokens": 7}, {"0": "0.weight"}),
    "tied": ({"kind": "Tied"}, {"shape": [5], "tokens": 7}, {"embed": "embed.weight"}),
    "attention": (
        {"kind": "Attends"},
        {"shape": [6, 4]},
        {"attn.in_proj": "attn.in_proj_weight", "attn.out_proj": "attn.out_proj.weight"},
    ),
    "attention, apart": (
        {"kind": "Attends", "context": 3},
        {"shape": [6, 4]},
        {f"attn.{each}_proj": f"attn.{each}_proj_weight" for each in "qkv"},
    ),
    "encoder": (
        {"kind": "Encodes"},
        {"shape": [6, 4]},
        {"encoder.self_attn.in_proj": "encoder.self_attn.in_proj_weight", "encoder.linear1": "encoder.linear1.weight"},
    ),
}


def flops_of_weights(net: nn.Module, example: torch.Tensor) -> int:
    """What torch counts for one input, without products of activations with each other, which no weight is in."""
    with FlopCounterMode(display=False) as counter:
        net.eval()(example)
    counts = {str(operation): flops for operation, flops in counter.get_flop_counts()["Global"].items()}
    return sum(counts.get(f"aten.{name}", 0) for name in ("mm", "addmm", "convolution"))


@pytest.mark.parametrize("case", CASES)
def test_each_kind_is_checked_compressed_and_read_back(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args, data, tensors = CASES[case]
    (tmp_path / "mine.py").write_text(CODE)
    raw: dict[str, Any] = {
        "model": {"factory": f"{tmp_path}/mine.py:net", "args": args},
        "data": {"name": f"{tmp_path}/mine.py:data", "args": data, "validation": 0.2},
        "reference": {"epochs": 1, "batch_size": 8},
        "compress": [{"layers": list(tensors), "how": {"type": "prune", "fraction": 0.5}}],
        "lc": {"mu": {"start": 0.1, "steps": 2}},
        "l_step": {"epochs": 1, "batch_size": 8, "lr": 0.05},
    }
    (tmp_path / "scheme.json").write_text(json.dumps(raw))
    app(["check", str(tmp_path / "scheme.json"), "--json"], standalone_mode=False)
    checked = json.loads(capsys.readouterr().out)
    scheme = Scheme.model_validate(raw)
    net = build(scheme.model, seed=0)
    distinct = {id(tensor): tensor.numel() for tensor in net.state_dict(keep_vars=True).values()}
    assert checked["reference_bits"] == 32 * sum(distinct.values())
    sizes = {name: net.state_dict()[tensor].numel() for name, tensor in tensors.items()}
    assert {layer["name"]: layer["parameters"] for layer in checked["layers"] if layer["task"] == 0} == sizes

    run = start(tmp_path / "home", raw)
    result = work(tmp_path / "home", run)
    state = lctui.load(run.file("compressed.safetensors"))
    net.load_state_dict(state)
    kept = {name: int(torch.count_nonzero(state[tensor])) for name, tensor in tensors.items()}
    assert sum(kept.values()) == round(0.5 * sum(sizes.values()))
    example = torch.zeros(1, *data["shape"], dtype=torch.int64 if "tokens" in data else torch.float32)
    info = describe(net, example)
    assert info.flops == flops_of_weights(net, example)
    spared = sum(2 * (sizes[name] - kept[name]) * info.layer(name).pixels for name in tensors)
    assert result["final"]["flops"] == info.flops - spared
    assert result["final"]["compressed_bits"] < checked["reference_bits"]


def test_attention_of_other_lengths_counts_each_input(tmp_path: Path) -> None:
    attends = nn.MultiheadAttention(4, 2, batch_first=True)
    holder = nn.ModuleDict({"attn": attends})
    holder.forward = lambda x: attends(key=x[:, :3], value=x[:, :3], query=x)[0]  # type: ignore[method-assign]
    info = describe(holder, torch.zeros(2, 6, 4))
    assert {layer.name: layer.pixels for layer in info.layers} == {"attn.in_proj": 4, "attn.out_proj": 6}
    assert [(bias.name, bias.tensor) for bias in info.biases] == [
        ("attn.in_proj.bias", "attn.in_proj_bias"),
        ("attn.out_proj.bias", "attn.out_proj.bias"),
    ]


@pytest.mark.parametrize(
    ("layer", "how", "said"),
    [
        (
            nn.ConvTranspose2d(4, 6, 3),
            {"type": "prune_structured", "kappa": 1},
            "prune_structured takes rows of outputs",
        ),
        (nn.ConvTranspose1d(4, 6, 3), {"type": "prune_n_m"}, "prune_n_m takes rows of outputs"),
        (nn.Conv2d(4, 6, 3, groups=2), {"type": "low_rank", "rank": 1}, "low_rank takes layers whose outputs all have"),
        (nn.ConvTranspose2d(4, 6, 3), {"type": "low_rank", "rank": 1}, None),
        (nn.Conv2d(4, 6, 3, groups=2), {"type": "prune_structured", "kappa": 1}, None),
    ],
)
def test_what_a_layout_forbids_is_one_line(layer: nn.Module, how: dict[str, Any], said: str | None) -> None:
    blocks = {"model": {"factory": "a:b"}, "data": {"name": "a:c"}, "compress": [{"layers": ["0"], "how": how}]}
    scheme = Scheme.model_validate(blocks)
    _, problems = resolve({0: scheme.compress[0]}, describe(nn.Sequential(layer)))
    assert [problem.path for problem in problems] == ["compress.0.how"] * (said is not None)
    assert all(problem.message.startswith(str(said)) for problem in problems)
