"""CFG 1 at half the work: on hosts that compute the unconditional half for nothing, it is left out.

At CFG 1 the guided result u + (c - u) * 1 is c. A1111 still sends both halves through the UNet. The host's denoiser and all
callbacks of other extensions go on seeing both halves, with the shapes they expect; only the UNet's own call is shortened,
and the conditional rows are handed back in place of the unconditional ones.

The negative prompt's conditioning is still computed on A1111 (Forge and reForge leave it out by themselves). Leaving it out would not be
safe there: only at each step is it known whether the unconditional half is needed (AND, weights that change in the middle of a
prompt, an extension that raises the CFG scale for some steps), callbacks receive it as a tensor, and the host caches it by
the negative prompt's text for later generations with another CFG scale. It is one pass of the text encoder, not one per step,
and none at all while the negative prompt stays the same (setting "Persistent cond cache").
"""

from __future__ import annotations

import torch

from lib_lcm.plan import is_cfg_one
from lib_lcm.webui import host
from modules import sd_samplers_kdiffusion, shared


class LcmCFGDenoiser(sd_samplers_kdiffusion.CFGDenoiserKDiffusion):
    """The host's CFG denoiser around an inner model that can run the conditional rows alone."""

    @property
    def inner_model(self):
        if self.model_wrap is None:
            denoiser = super().inner_model
            if not host.computes_cond_only_at_cfg_one(shared.sd_model):
                # A subclass, not a wrapper: the refiner reads `.sigmas`, other extensions get this object in their callbacks.
                kind = type(denoiser)
                denoiser.__class__ = type(f"Lcm{kind.__name__}", (CondRowsFirst, kind), {})
                denoiser.reset_rows(None)
            self.model_wrap = denoiser
        return self.model_wrap

    def forward(self, x, sigma, *args, **kwargs):
        inner = self.inner_model
        if isinstance(inner, CondRowsFirst):
            inner.reset_rows(len(x) if self._is_cond_enough(*args, **kwargs) else None)
        denoised = super().forward(x, sigma, *args, **kwargs)
        if isinstance(inner, CondRowsFirst):
            inner.reset_rows(None)  # lets go of this step's outputs
        return denoised

    def _is_cond_enough(self, uncond=None, cond=None, cond_scale=None, *args, **kwargs) -> bool:
        """Whether the result is the conditional prediction alone: CFG 1, one prompt per image at weight 1, no image editing."""
        scale = cond_scale * getattr(self, "cond_scale_miltiplier", 1.0)  # (sic) A1111's spelling
        if not is_cfg_one(scale) or host.is_image_editing(shared.sd_model):
            return False
        return all(len(prompts) == 1 and prompts[0].weight == 1.0 for prompts in cond.batch)


class CondRowsFirst:
    """Mixed into the host's k-diffusion denoiser: runs the first `cond_rows` rows of a step and repeats them for the rest.

    One step may be one call or several (prompts of different length, the setting `batch_cond_uncond`): rows are counted
    over the calls. A1111 orders them as all conditional rows, then as many unconditional ones.
    """

    cond_rows: int | None
    timestep_stride: int = 1
    """The UNet is told a timestep of the grid stride - 1, 2 * stride - 1, ...: 20 for the WebUI's own LCM schedule."""
    _done: int
    _outputs: list[torch.Tensor]

    def reset_rows(self, cond_rows: int | None) -> None:
        """Begins a step; `cond_rows` None means that every row is computed."""
        self.cond_rows = cond_rows
        self._done = 0
        self._outputs = []

    def sigma_to_t(self, sigma, quantize=None):
        # Our noise levels are entries of the table: the nearest entry is exact, where interpolating can miss it by one ulp.
        stride = self.timestep_stride
        log_sigmas = self.log_sigmas[stride - 1 :: stride]
        nearest = (sigma.log() - log_sigmas[:, None]).abs().argmin(dim=0)
        return (nearest * stride + stride - 1).view(sigma.shape)

    def forward(self, input, sigma, **kwargs):
        if self.cond_rows is None:
            return super().forward(input, sigma, **kwargs)
        rows = len(input)
        fresh = min(max(self.cond_rows - self._done, 0), rows)
        start, self._done = self._done, self._done + rows
        parts = []
        if fresh:
            output = super().forward(input[:fresh], sigma[:fresh], **_first_rows(kwargs, rows, fresh))
            self._outputs.append(output)
            parts.append(output)
        if fresh < rows:
            # unconditional row k repeats conditional row k
            cond = torch.cat(self._outputs)
            first = start + fresh - self.cond_rows
            parts.append(cond[first : first + rows - fresh])
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _first_rows(value, rows: int, count: int):
    """`value` with every tensor of `rows` rows in it, however nested, cut to its first `count`."""
    if count == rows:
        return value
    if isinstance(value, torch.Tensor):
        return value[:count] if value.ndim > 0 and len(value) == rows else value
    if isinstance(value, dict):
        return {key: _first_rows(item, rows, count) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_first_rows(item, rows, count) for item in value)
    return value
