"""Nets that deploy: what they compute is what the dense compressed net computes, with fewer multiplications."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lctui.compression import c_step
from lctui.compression.low_rank import LowRankFactors
from lctui.errors import BadInput
from lctui.export import artifact
from lctui.export.artifact import ArtifactTask
from lctui.export.deploy import deployable
from lctui.export.deploy_costs import flops
from lctui.export.deploy_files import open_program, write_program
from lctui.runs.store import Store
from lctui.scheme.compressions import LowRank
from lctui.what_if import Sessions


def low_rank_task(net: nn.Module, name: str, rank: int, **fields: object) -> ArtifactTask:
    """The task of a layer whose weights are made of that rank."""
    layer = net.get_submodule(name)
    theta = c_step(LowRank(rank=rank, **fields), [layer.weight.detach()], mu=1.0)
    (dense,) = theta.dense()
    layer.weight.data.copy_(dense)
    return ArtifactTask((f"{name}.weight",), theta)


def same(dense: nn.Module, deployed: nn.Module, inputs: Tensor) -> None:
    """Both give the same outputs, to the rounding of float32."""
    with torch.no_grad():
        torch.testing.assert_close(deployed(inputs), dense.eval()(inputs), rtol=1e-4, atol=1e-5)


def multiplications(module: nn.Module, inputs: Tensor) -> int:
    """Multiply-adds as torch itself counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(inputs)
    return counter.get_total_flops() // 2


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(2, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)) | st.just("valid"),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    scheme=st.sampled_from(["scheme_1", "scheme_2"]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_convolution_of_low_rank_is_two(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
    scheme: str,
    bias: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layer = nn.Conv2d(6, 7, kernel, stride, padding, dilation, bias=bias)
    net, inputs = nn.Sequential(layer), torch.randn(3, 6, 11, 12)
    task = low_rank_task(net, "0", 1, conv_scheme=scheme)
    made = deployable(net, net.state_dict(), [task], inputs)
    same(net, made.module, inputs)
    split = isinstance(made.module.get_submodule("0"), nn.Sequential)
    assert split == ("two layers of rank 1" in made.notes[0])
    assert (multiplications(made.module, inputs) < multiplications(net, inputs)) == split


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_padding_by_name_stays_what_it_is(scheme: str) -> None:
    torch.manual_seed(0)
    net, inputs = nn.Sequential(nn.Conv2d(6, 8, (5, 3), padding="same", dilation=(1, 2))), torch.randn(2, 6, 9, 9)
    task = low_rank_task(net, "0", 2, conv_scheme=scheme)
    made = deployable(net, net.state_dict(), [task], inputs)
    assert "two layers" in made.notes[0]
    same(net, made.module, inputs)


def test_a_rank_that_saves_nothing_stays_dense() -> None:
    net, inputs = nn.Sequential(nn.Linear(10, 10)), torch.randn(2, 10)
    for rank, words in ((5, "would multiply no less"), (4, "two layers of rank 4, 1.2× fewer")):
        made = deployable(net, net.state_dict(), [low_rank_task(net, "0", rank)], inputs)
        assert words in made.notes[0]
        same(net, made.module, inputs)


class Tied(nn.Module):
    """Two layers with one weight, and one whose weight is used besides."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x))) + self.c.weight.sum()


@pytest.mark.parametrize(
    ("name", "words"), [("a", "a: left dense: Linear of rank 1"), ("c", "c: left dense: the net uses more")]
)
def test_what_shares_its_weight_stays_dense(name: str, words: str) -> None:
    net, inputs = Tied(), torch.randn(2, 12)
    made = deployable(net, net.state_dict(), [low_rank_task(net, name, 1)], inputs)
    assert made.notes[0].startswith(words)
    same(net, made.module, inputs)


def test_a_runs_net_predicts_the_same_of_every_test_image(looked_at_run: tuple[Path, str]) -> None:
    home, name = looked_at_run
    run = Store(home).find(name)
    state, tasks = artifact.load_with_tasks(run.file("compressed.safetensors"))
    session = Sessions(home, "cpu").get(run.scheme(), "scheme.json")
    test = session.splits.test
    images, labels = next(test.in_order(len(test)))
    made = deployable(session.module, state, tasks, images[:2])
    (theta,) = [task.theta for task in tasks if isinstance(task.theta, LowRankFactors)]
    assert made.notes[0].startswith(f"fc1: two layers of rank {theta.rank}, ")
    session.module.load_state_dict(state)
    same(session.module, made.module, images)
    with torch.no_grad():
        predicted = made.module(images).argmax(1)
        assert torch.equal(predicted, session.module(images).argmax(1))
    wrong = 100 * int((predicted != labels).sum()) / len(labels)
    assert wrong == run.read("result.json")["final"]["test_error_pct"]


def test_a_pair_is_narrowed_like_any_layers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(432, 20)
    ).eval()
    inputs = torch.randn(4, 3, 8, 8)
    net[0].weight.data[:4] = 0
    tasks = [low_rank_task(net, "2", 3), low_rank_task(net, "5", 2)]
    made = deployable(net, net.state_dict(), tasks, inputs)
    same(net, made.module, inputs)
    found = {name: tuple(each.shape) for name, each in made.module.state_dict().items() if name.endswith("weight")}
    # Four constants within zeros: one channel stands for those that are not zero.
    left = 8 + bool((net[0].bias[:4] > 0).any())
    assert found == {
        "0.weight": (left, 3, 3, 3),
        "2.0.weight": (3, left, 1, 3),
        "2.1.weight": (12, 3, 3, 1),
        "5.0.weight": (2, 432),
        "5.1.weight": (20, 2),
    }
    assert multiplications(made.module, inputs) < multiplications(net, inputs) / 2


def test_a_pair_that_costs_more_than_what_pruning_leaves_is_none() -> None:
    net, inputs = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20)).eval(), torch.randn(4, 6)
    net[0].weight.data[:15] = 0
    task = low_rank_task(net, "2", 4)
    made = deployable(net, net.state_dict(), [task], inputs)
    same(net, made.module, inputs)
    assert "2: left dense: two layers of rank 4 would multiply no less" in made.notes
    assert made.module.get_submodule("2").weight.shape == (20, 5)


class Branching(nn.Module):
    """Code that depends on numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_what_a_format_cannot_express_is_one_line_and_no_file(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        write_program(kind, Branching(), torch.randn(2, 4), tmp_path / "model", "run")
    (line,) = caught.value.lines()
    assert line.startswith(f"run: --format: {kind} cannot express this net: GuardOnDataDependentSymNode: Could not ")
    assert "TORCH_LOGS" not in line
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_attention_counts_like_the_products_it_is() -> None:
    n, length, d = 1, 7, 16
    net = nn.TransformerEncoderLayer(d, 2, 32, batch_first=True).eval().requires_grad_(False)
    layers = 4 * d * d + 2 * d * 32  # queries, keys, values, the output; the two of the perceptron
    products = 2 * length * d  # of every query with all keys, and of its weights with all values
    assert flops(net, torch.randn(3, length, d)) == 2 * n * length * (layers + products)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_a_program_takes_any_number_of_inputs(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.Flatten(), nn.Linear(32, 3)).eval().requires_grad_(False)
    path = tmp_path / "model"
    write_program(kind, net, torch.randn(1, 1, 4, 4), path)  # a warning would be an error
    scores = open_program(kind, path)
    for n in (1, 2, 5):
        inputs = torch.randn(n, 1, 4, 4)
        torch.testing.assert_close(scores(inputs), net(inputs))
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_why_onnx_cannot_express_a_net_is_what_was_raised_first(tmp_path: Path) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten())
    with pytest.raises(BadInput) as caught:
        write_program("onnx", net.eval(), torch.randn(2, 1, 5, 5, 5), tmp_path / "model", "run")
    (line,) = caught.value.lines()
    assert line.startswith("run: --format: onnx cannot express this net: DispatchError: No ONNX function found for ")
