"""Intervals and distances for the figures: how sure a share is, and how far generated latents are from real
ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Z95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, 0..1; (0, 1) when nothing was counted."""
    if not total:
        return 0.0, 1.0
    share, spread = right / total, Z95**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(ours: list[bool], theirs: list[bool]) -> tuple[float, float]:
    """(difference of the two shares, half width of its 95 % interval) for two methods on the same prompts."""
    differences = [int(a) - int(b) for a, b in zip(ours, theirs, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((d - mean) ** 2 for d in differences) / max(1, count - 1)
    return mean, Z95 * math.sqrt(variance / count)


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Fréchet distance between normal distributions fitted to latents [N, ...] and [M, ...]; falls with N and
    M, so it needs a floor.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as the FID, on latents instead of a classifier's features.
    """
    (mean_1, covariance_1), (mean_2, covariance_2) = (_moments(part) for part in (one, other))
    values, vectors = torch.linalg.eigh(covariance_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance_2 @ root).clamp(min=0).sqrt().sum()
    return float((mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * cross)


def _moments(latents: Tensor) -> tuple[Tensor, Tensor]:
    flat = latents.flatten(1).double()
    return flat.mean(dim=0), flat.T.cov()
