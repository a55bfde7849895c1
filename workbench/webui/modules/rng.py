"""Noise with one generator per image, so that an image does not depend on the batch it was made in."""

from __future__ import annotations

import torch

from modules import devices, shared


def create_generator(seed) -> torch.Generator:
    return torch.Generator(devices.cpu).manual_seed(int(seed))


def manual_seed(seed) -> None:
    """Seed the global generator."""
    torch.manual_seed(int(seed))


def randn(seed, shape, generator=None) -> torch.Tensor:
    """Normal noise of a shape; also seeds the global generator, from which it is drawn if no generator is
    given.
    """
    manual_seed(seed)
    return randn_without_seed(shape, generator)


def randn_local(seed, shape) -> torch.Tensor:
    """The first noise of a seed, without touching the global generator."""
    return randn_without_seed(shape, create_generator(seed))


def randn_without_seed(shape, generator=None) -> torch.Tensor:
    return torch.randn(shape, device=devices.cpu, generator=generator).to(devices.device)


def randn_like(x) -> torch.Tensor:
    return randn_without_seed(x.shape).to(x)


def slerp(val, low, high) -> torch.Tensor:
    """Spherical interpolation along dimension 1 of two tensors [C, H, W], from `low` (0) to `high` (1)."""
    unit_low = low / low.norm(dim=1, keepdim=True)
    unit_high = high / high.norm(dim=1, keepdim=True)
    cosine = (unit_low * unit_high).sum(1)
    if cosine.mean() > 0.9995:
        return low * val + high * (1 - val)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    return (torch.sin((1.0 - val) * angle) / sine).unsqueeze(1) * low + (
        torch.sin(val * angle) / sine
    ).unsqueeze(1) * high


class ImageRNG:
    """A source of noise batches: image k draws from its own seed only.

    shape is that of one image's latent [C, H, W]; `next` returns [len(seeds), C, H, W].
    """

    def __init__(
        self, shape, seeds, subseeds=None, subseed_strength=0.0, seed_resize_from_h=0, seed_resize_from_w=0
    ):
        self.shape = tuple(int(size) for size in shape)
        self.seeds = seeds
        self.subseeds = subseeds
        self.subseed_strength = subseed_strength
        self.seed_resize_from_h = seed_resize_from_h
        self.seed_resize_from_w = seed_resize_from_w
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def next(self) -> torch.Tensor:
        if self.is_first:
            self.is_first = False
            return self.first()
        return torch.stack([randn_without_seed(self.shape, generator) for generator in self.generators]).to(
            shared.device
        )

    def first(self) -> torch.Tensor:
        noises = [self._first_of_image(index) for index in range(len(self.seeds))]
        delta = shared.opts.eta_noise_seed_delta or 0
        if delta:
            self.generators = [create_generator(seed + delta) for seed in self.seeds]
        return torch.stack(noises).to(shared.device)

    def _first_of_image(self, index: int) -> torch.Tensor:
        seed, generator = self.seeds[index], self.generators[index]
        resizing = self.seed_resize_from_h > 0 and self.seed_resize_from_w > 0
        source_shape = (
            (self.shape[0], int(self.seed_resize_from_h) // 8, int(self.seed_resize_from_w) // 8)
            if resizing
            else self.shape
        )
        variation = None
        if self.subseeds is not None and self.subseed_strength != 0:
            variation = randn(self.subseeds[index] if index < len(self.subseeds) else 0, source_shape)
        noise = randn(seed, source_shape, None if source_shape != self.shape else generator)
        if variation is not None:
            noise = slerp(self.subseed_strength, noise, variation)
        if source_shape == self.shape:
            return noise
        return _paste_centred(noise, onto=randn(seed, self.shape, generator))


def _paste_centred(noise: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
    """Copy the middle of one noise [C, h, w] to the middle of another [C, H, W]."""
    slices = []
    for axis in (1, 2):
        size = min(noise.shape[axis], onto.shape[axis])
        source = max((noise.shape[axis] - onto.shape[axis]) // 2, 0)
        target = max((onto.shape[axis] - noise.shape[axis]) // 2, 0)
        slices.append((slice(source, source + size), slice(target, target + size)))
    (source_y, target_y), (source_x, target_x) = slices
    onto[:, target_y, target_x] = noise[:, source_y, source_x]
    return onto


devices.randn = randn
devices.randn_local = randn_local
devices.randn_like = randn_like
devices.randn_without_seed = randn_without_seed
devices.manual_seed = manual_seed
