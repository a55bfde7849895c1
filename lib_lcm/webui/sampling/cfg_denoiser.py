"""CFG 1 at half the work: on hosts that compute the unconditional half for nothing, it is left out.

At CFG 1 the guided result u + (c - u) * 1 is c. A1111 still sends both halves through the UNet. The host's
denoiser and all callbacks of other extensions go on seeing both halves, with the shapes they expect; only the
UNet's own call is shortened, and the conditional rows are handed back in place of the unconditional ones.

The negative prompt's conditioning is still computed on A1111 (Forge and reForge leave it out by themselves).
Leaving it out would not be safe there: only at each step is it known whether the unconditional half is needed
(AND, weights that change in the middle of a prompt, an extension that raises the CFG scale for some steps),
callbacks receive it as a tensor, and the host caches it by the negative prompt's text for later generations
with another CFG scale. It is one pass of the text encoder, not one per step, and none at all while the
negative prompt stays the same (setting "Persistent cond cache").
"""

from __future__ import annotations

import torch

from lib_lcm.sampling.guidance import edits_image, is_cond_enough
from lib_lcm.webui.host import models, samplers

ROW_NUMBERS = "lcm_row_numbers"
"""Among the conditionings of a call: which rows of the step its rows are, int64 [rows]."""


class LcmCFGDenoiser(samplers.CFGDenoiserKDiffusion):
    """The host's CFG denoiser around an inner model that can run the conditional rows alone."""

    @property
    def inner_model(self):
        if self.model_wrap is None:
            denoiser = super().inner_model
            if not models.computes_cond_only_at_cfg_one(models.in_use()):
                # A subclass, not a wrapper: the refiner reads `.sigmas`, other extensions get this object in
                # their callbacks.
                kind = type(denoiser)
                denoiser.__class__ = type(f"Lcm{kind.__name__}", (CondRowsFirst, kind), {})
                denoiser.reset_rows(None)
            self.model_wrap = denoiser
        return self.model_wrap

    def forward(self, x, sigma, *args, **kwargs):
        inner = self.inner_model
        if isinstance(inner, CondRowsFirst):
            inner.reset_rows(len(x) if self._is_cond_enough(*args, **kwargs) else None)
        try:
            with samplers.guided_from_the_first_step():
                return super().forward(x, sigma, *args, **kwargs)
        finally:
            if isinstance(inner, CondRowsFirst):
                inner.reset_rows(None)  # lets go of this step's outputs, also when memory ran out

    def _is_cond_enough(self, uncond=None, cond=None, cond_scale=None, *args, **kwargs) -> bool:
        """Whether the result is the conditional prediction alone, for all images of the batch."""
        cfg = samplers.effective_cfg(self, cond_scale)
        is_editing = edits_image(models.is_image_editing(models.in_use()), self.image_cfg_scale)
        return all(is_cond_enough(cfg, [part.weight for part in parts], is_editing) for parts in cond.batch)


class CondRowsFirst:
    """Mixed into the host's k-diffusion denoiser: computes the first `cond_rows` rows of a step and repeats
    them for the rest.

    A1111 orders the rows of a step as all conditional ones, then as many unconditional ones. It may pass them
    in one call or in several (prompts of different length, the setting `batch_cond_uncond`), and another
    extension may stand between that call and ours, in the place of `forward`: AnimateDiff computes a long
    video in overlapping windows of frames. So the rows are numbered where the host calls, and the numbers
    travel with the conditioning, whose every entry such an extension has to cut as it cuts the rows. If
    extensions have changed the UNet's own code as well, nothing is left out: they may count on two halves, as
    AnimateDiff's first motion modules do in the group norms, and ControlNet with a control picture for each
    row of AnimateDiff's batch.
    """

    cond_rows: int | None
    timestep_stride: int = 1
    """The UNet is told a timestep of the grid stride - 1, 2 * stride - 1, ...: 20 for the WebUI's own LCM
    schedule.
    """
    _numbered: int
    _outputs: dict[int, torch.Tensor]

    def reset_rows(self, cond_rows: int | None) -> None:
        """Begins a step; `cond_rows` None means that every row is computed."""
        self.cond_rows = cond_rows
        self._numbered = 0
        self._outputs = {}

    def sigma_to_t(self, sigma, quantize=None):
        # Our noise levels are entries of the table: the nearest entry is exact, where interpolating can miss
        # it by one ulp.
        stride = self.timestep_stride
        log_sigmas = self.log_sigmas[stride - 1 :: stride]
        nearest = (sigma.log() - log_sigmas[:, None]).abs().argmin(dim=0)
        return (nearest * stride + stride - 1).view(sigma.shape)

    def __call__(self, input, sigma, *args, **kwargs):
        """The host's own call."""
        cond = kwargs.get("cond")
        is_between = "forward" in vars(self)
        is_batch_fixed = is_between and models.is_unet_hooked(models.in_use())
        if self.cond_rows is not None and isinstance(cond, dict) and not is_batch_fixed:
            first, self._numbered = self._numbered, self._numbered + len(input)
            # on the CPU, where reading them waits for nothing
            kwargs["cond"] = {**cond, ROW_NUMBERS: torch.arange(first, self._numbered)}
        return super().__call__(input, sigma, *args, **kwargs)

    def forward(self, input, sigma, **kwargs):
        cond = kwargs.get("cond")
        numbers = cond.get(ROW_NUMBERS) if isinstance(cond, dict) else None
        if numbers is None:
            return super().forward(input, sigma, **kwargs)
        kwargs["cond"] = {key: value for key, value in cond.items() if key != ROW_NUMBERS}
        # unconditional row k repeats conditional row k
        numbers = numbers.tolist()
        if len(numbers) != len(input):
            # An extension between has made other rows of these and knows nothing of the numbers (Tiled
            # Diffusion: one for each tile).
            return super().forward(input, sigma, **kwargs)
        repeated = [number - self.cond_rows if number >= self.cond_rows else number for number in numbers]
        known = {*self._outputs, *(number for number in numbers if number < self.cond_rows)}
        fresh = [i for i, number in enumerate(numbers) if number < self.cond_rows or repeated[i] not in known]
        if fresh:
            # a slice where that will do: a list of rows has to be sent to the device
            rows = slice(fresh[0], fresh[-1] + 1) if fresh[-1] - fresh[0] + 1 == len(fresh) else fresh
            output = super().forward(input[rows], sigma[rows], **_rows_of(kwargs, len(input), rows))
            self._outputs.update(zip((repeated[i] for i in fresh), output, strict=True))
            if len(fresh) == len(input):
                return output
        return torch.stack([self._outputs[number] for number in repeated])


def _rows_of(value, count: int, rows: slice | list[int]):
    """`value` with every tensor of `count` rows in it, however nested, cut to some of its rows."""
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim > 0 and len(value) == count else value
    if isinstance(value, dict):
        return {key: _rows_of(item, count, rows) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rows_of(item, count, rows) for item in value)
    return value
