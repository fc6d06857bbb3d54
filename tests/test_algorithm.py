"""The LC loop against a plain transcription of the paper's pseudocode, and what must hold of any run."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import lctui
from lctui.algorithm import LCProblem, State, compressed_state, learning_compression
from lctui.errors import BadInput, Diverged, Interrupted
from lctui.events import DirectCompression, Epoch, Step
from lctui.learning.evaluate import Splits
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.seeds import derive, permutation
from lctui.learning.train import Turn
from lctui.models import describe
from lctui.scheme import Scheme
from lctui.scheme.check import resolve
from tests.conftest import tiny

CPU = torch.device("cpu")


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def make_data(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 6, generator=generator)
    return inputs, inputs[:, :3].argmax(1)


def make_scheme(method: str = "augmented_lagrangian", **changes: Any) -> Scheme:
    raw = tiny(
        compress=[
            {"layers": ["0"], "how": {"type": "prune", "kappa": 10}},
            {"layers": ["2"], "how": {"type": "quantize", "k": 2}},
        ],
        lc={"method": method, "mu": {"start": 0.05, "factor": 1.6, "steps": 5}},
        l_step={"epochs": 2, "batch_size": 16, "lr": 0.1, "lr_decay": 0.9},
    )
    return Scheme.model_validate(raw | changes)


def make_problem(scheme: Scheme, **options: Any) -> LCProblem:
    module = make_net()
    train, test = Resident(*make_data(60, 1), CPU), Resident(*make_data(30, 2), CPU)
    info = describe(module, torch.zeros(1, 6))
    tasks, problems = resolve(dict(enumerate(scheme.compress)), info)
    assert not problems
    splits = Splits(train, Resident(*make_data(20, 3), CPU), test)
    return LCProblem(FlatNet(module, CPU), info, tasks, splits, scheme, **options)


def events_of(problem: LCProblem, state: State) -> list[Any]:
    """What the loop reports, every epoch trained by itself."""
    return [event for event in learning_compression(problem, state) if not isinstance(event, Turn)]


def keep_largest(v: torch.Tensor, kappa: int) -> torch.Tensor:
    order = v.abs().flatten().argsort(descending=True)
    kept = torch.zeros(v.numel())
    kept[order[:kappa]] = 1
    return v * kept.view_as(v)


def best_two_values(v: torch.Tensor) -> torch.Tensor:
    """Optimal two-value quantization by trying every split of the sorted values."""
    ordered = v.flatten().double().sort().values
    costs = [
        float((ordered[:i] - ordered[:i].mean()).square().sum() + (ordered[i:] - ordered[i:].mean()).square().sum())
        for i in range(1, len(ordered))
    ]
    split = 1 + costs.index(min(costs))
    low, high = ordered[:split].mean(), ordered[split:].mean()
    return torch.where((v - low).abs() <= (v - high).abs(), low, high).float()


def transcription(scheme: Scheme) -> tuple[nn.Sequential, list[torch.Tensor], list[torch.Tensor]]:
    """The pseudocode with autograd penalties and torch's own optimizer: the net, Δ(Θ) and λ at the end."""
    net = make_net()
    inputs, labels = make_data(60, 1)
    weights = [net[0].weight, net[2].weight]
    lam = [torch.zeros_like(weight) for weight in weights]
    compress = [lambda v: keep_largest(v, 10), best_two_values]
    delta = [solve(weight.detach()) for solve, weight in zip(compress, weights, strict=True)]
    for k in range(5):
        mu, lr = 0.05 * 1.6**k, 0.1 * 0.9**k
        optimizer = torch.optim.SGD(net.parameters(), lr=min(lr, 1 / mu), momentum=0.9, nesterov=True)
        for epoch in range(2):
            for index in permutation(60, derive(scheme.seed, "l_step", k, epoch)).split(16):
                optimizer.zero_grad()
                penalty = sum(
                    (weight - target - multiplier / mu).square().sum()
                    for weight, target, multiplier in zip(weights, delta, lam, strict=True)
                )
                (F.cross_entropy(net(inputs[index]), labels[index]) + mu / 2 * penalty).backward()
                optimizer.step()
        for i, weight in enumerate(weights):
            delta[i] = compress[i](weight.detach() - lam[i] / mu)
            if scheme.lc.method == "augmented_lagrangian":
                lam[i] = lam[i] - mu * (weight.detach() - delta[i])
    return net, delta, lam


@pytest.mark.parametrize("method", ["augmented_lagrangian", "quadratic_penalty"])
def test_the_loop_is_the_papers(method: str) -> None:
    scheme = make_scheme(method)
    problem, state = make_problem(scheme), State()
    events_of(problem, state)
    net, delta, lam = transcription(scheme)
    assert state.theta is not None and state.lam is not None
    for place, (name, theta) in enumerate(zip(("0.weight", "2.weight"), state.theta, strict=True)):
        torch.testing.assert_close(theta.dense(), delta[place], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(problem.net.view(state.lam, name), lam[place], rtol=1e-3, atol=1e-5)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(problem.net.view(problem.net.w, name), parameter.detach(), rtol=1e-4, atol=1e-5)


def test_events_come_in_order_and_say_what_the_net_does() -> None:
    problem, state = make_problem(make_scheme()), State()
    events = events_of(problem, state)
    assert [type(event) for event in events] == [DirectCompression] + [Epoch, Epoch, Step] * 5
    last = events[-1]
    assert isinstance(last, Step) and state.theta is not None
    net = make_net()
    net.load_state_dict(compressed_state(problem, state.theta))
    inputs, labels = make_data(30, 2)
    assert last.test_error_pct == 100 * int((net(inputs).argmax(1) != labels).sum()) / 30
    # 48 + 24 weights and 11 biases; 10 kept at 32 bits plus positions, one bit an index plus two values.
    gap_bits = last.layers[0]["bits"] - 320
    assert 0 < gap_bits < 10 * 32
    assert last.compressed_bits == 320 + gap_bits + 24 + 64 + 11 * 32
    assert last.compression_ratio == 83 * 32 / last.compressed_bits
    assert last.compressed_parameters == 10 + 26
    assert last.flops == 2 * (10 + 24)
    assert last.mu == pytest.approx(0.05 * 1.6**4)


def test_the_gap_closes() -> None:
    scheme = make_scheme(lc={"mu": {"start": 0.05, "factor": 1.6, "steps": 16}})
    gaps = [event.gap for event in learning_compression(make_problem(scheme), State()) if isinstance(event, Step)]
    assert gaps[-1] < 0.02 * gaps[0]


def test_tolerance_stops_early() -> None:
    lc = {"mu": {"start": 0.05, "factor": 1.6, "steps": 16}, "tolerance": 0.05}
    steps = [
        event for event in learning_compression(make_problem(make_scheme(lc=lc)), State()) if isinstance(event, Step)
    ]
    assert len(steps) < 16
    assert steps[-1].relative_gap < 0.05 <= steps[-2].relative_gap


def test_a_loop_that_converged_stays_so_when_it_is_taken_up_again() -> None:
    lc = {"mu": {"start": 0.05, "factor": 1.6, "steps": 16}, "tolerance": 0.05}
    problem, state = make_problem(make_scheme(lc=lc)), State()
    events_of(problem, state)
    assert events_of(problem, state) == []


def test_the_learning_rate_is_clipped_to_one_over_mu() -> None:
    lc = {"mu": {"start": 5.0, "factor": 2.0, "steps": 3}}
    for clip, expected in ((True, [0.2, 0.1, 0.05]), (False, [1.0, 0.9, 0.81])):
        l_step = {"epochs": 1, "batch_size": 60, "lr": 1.0, "lr_decay": 0.9, "clip_lr": clip, "momentum": 0.0}
        scheme = make_scheme(lc=lc, l_step=l_step | {"nesterov": False})
        epochs = [event for event in learning_compression(make_problem(scheme), State()) if isinstance(event, Epoch)]
        assert [event.lr for event in epochs] == pytest.approx(expected)


def test_penalty_types_compress_the_reference_with_the_first_mu() -> None:
    how = {"type": "prune", "alpha": 0.001}
    scheme = make_scheme(compress=[{"layers": ["0"], "how": how}])
    direct = next(learning_compression(make_problem(scheme), State()))
    assert isinstance(direct, DirectCompression)
    threshold = (2 * 0.001 / 0.05) ** 0.5
    assert direct.layers[0]["nonzeros"] == int((make_net()[0].weight.abs() > threshold).sum())


@pytest.mark.parametrize("batches", [0, 3, 4, 7, 8, 20])
def test_a_stopped_loop_goes_on_exactly(batches: int) -> None:
    scheme = make_scheme()
    whole, whole_state = make_problem(scheme), State()
    undisturbed = events_of(whole, whole_state)

    left = batches

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    problem, state = make_problem(scheme, stop=stop), State()
    with pytest.raises(Interrupted):
        events_of(problem, state)
    problem.stop = lambda: False
    rest = events_of(problem, state)
    assert torch.equal(problem.net.w, whole.net.w)
    assert state.lam is not None and whole_state.lam is not None and torch.equal(state.lam, whole_state.lam)

    def numbers(event: Any) -> dict[str, Any]:
        return {name: value for name, value in asdict(event).items() if "seconds" not in name}

    assert [numbers(event) for event in rest] == [numbers(event) for event in undisturbed[-len(rest) :]]


def test_infinite_weights_are_divergence() -> None:
    l_step = {"epochs": 3, "batch_size": 16, "lr": 1e6, "clip_lr": False}
    with pytest.raises(Diverged, match=r"LC step 1, epoch \d.*l_step.lr \(here 1e\+06\).*clip_lr"):
        list(learning_compression(make_problem(make_scheme(l_step=l_step)), State()))


def test_no_tasks_leave_the_reference_as_it_is() -> None:
    problem, state = make_problem(make_scheme(compress=[])), State()
    events = events_of(problem, state)
    assert len(events) == 1
    assert events[0].compression_ratio == 1
    reference = make_net().state_dict()
    assert all(torch.equal(reference[name], tensor) for name, tensor in compressed_state(problem, []).items())


def test_batch_norm_statistics_are_counted_and_kept() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    scheme = make_scheme(compress=[{"layers": ["0"], "how": {"type": "quantize", "codebook": "binary"}}])
    result = lctui.compress(module, TensorDataset(*make_data(60, 1)), TensorDataset(*make_data(30, 2)), scheme)
    values = sum(tensor.numel() for tensor in module.state_dict().values())
    assert result.final.compressed_bits == 48 + 32 + 32 * (values - 48)
    assert result.model[1].num_batches_tracked > 0


def test_compress_works_on_a_copy_and_returns_the_compressed_module() -> None:
    module = make_net()
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    test = TensorDataset(*make_data(30, 2))
    result = lctui.compress(module, TensorDataset(*make_data(60, 1)), test, make_scheme(), device="cpu")
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert len(result.model[2].weight.unique()) == 2
    assert int(result.model[0].weight.count_nonzero()) == 10
    inputs, labels = test.tensors
    wrong = int((result.model(inputs).argmax(1) != labels).sum())
    assert result.final.test_error_pct == 100 * wrong / 30
    assert len(result.steps) == 5


def test_compress_refuses_a_scheme_that_does_not_fit() -> None:
    scheme = make_scheme(compress=[{"layers": ["fc1"], "how": {"type": "prune", "kappa": 1000}}])
    data = TensorDataset(*make_data(60, 1))
    with pytest.raises(BadInput, match=r"compress\.0\.layers\.0: no layer 'fc1'"):
        lctui.compress(make_net(), data, data, scheme)
