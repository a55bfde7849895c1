"""The optimiser of the small models."""

from __future__ import annotations

import copy

import pytest
import torch

from workbench.train.muon import Muon, embeddings, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 16, 40), (1, 4, 300)])
def test_updates_are_nearly_orthogonal_whatever_the_gradient(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(
        -2, 0, shape[2]
    )
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.3 and values.max() < 1.3


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Embedding(6, 8), torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
    )


def optimizer_of(model):
    return Muon(model.parameters(), 0.02, tables=embeddings([model]))


def steps(model, optimizer, count):
    ids, wanted = torch.arange(6), torch.randn(6, 2, generator=torch.Generator().manual_seed(2))
    losses = []
    for _ in range(count):
        loss = (model(ids) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_it_learns_and_leaves_tables_and_biases_to_adam():
    model = network()
    optimizer = optimizer_of(model)
    shapes = {
        group["orthogonal"]: [tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups
    }
    assert shapes == {True: [(16, 8), (2, 16)], False: [(6, 8), (16,), (2,)]}
    losses = steps(model, optimizer, 60)
    assert losses[-1] < 0.05 * losses[0]


def test_a_saved_state_goes_on_as_if_it_had_not_stopped(tmp_path):
    model = network()
    optimizer = optimizer_of(model)
    steps(model, optimizer, 5)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    again = copy.deepcopy(model)
    resumed = optimizer_of(again)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert steps(model, optimizer, 5) == steps(again, resumed, 5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
