"""Our samplers as the WebUI's samplers are: the host does the set-up, `sampling.samplers` the steps."""

from __future__ import annotations

import math
from functools import cached_property

import torch

from lib_lcm.checkpoints.guidance_input import guidance_offset
from lib_lcm.methods import EVEN, GRID, TCD
from lib_lcm.options import SAMPLER_LABELS, WEBUI
from lib_lcm.plan.plan import PlannedPass
from lib_lcm.sampling.guidance import in_some_steps, middle_steps
from lib_lcm.sampling.samplers import sample_lcm, sample_tcd
from lib_lcm.sampling.schedules import (
    ORIGINAL_STEPS,
    TRAIN_STEPS,
    sigma_at,
    tcd_jumps,
    timesteps_by,
    webui_timesteps,
)
from lib_lcm.webui import current
from lib_lcm.webui.host import models, samplers, server
from lib_lcm.webui.sampling.cfg_denoiser import CondRowsFirst, LcmCFGDenoiser


class FewStepSampler(samplers.KDiffusionSampler):
    """Samples at the timesteps of the running plan; what a step does is the subclasses' concern.

    Without a plan (the sampler picked by hand on a host that has none of its own) it uses the timesteps of
    `rule`, or the schedule that was picked by hand too. `is_of_variance`: the reference starts from a sample
    of the noise schedule, whose variance is 1 + sigma^2, and not from noise * sigma as the host does.
    """

    rule: str = GRID
    is_of_variance = True

    _img2img_timesteps: list[int] | None = None
    """Those of `sample_img2img` while it runs."""

    def __init__(self, sd_model):
        super().__init__(self._steps, sd_model)
        self.plan = current.plan()
        self.model_wrap_cfg = LcmCFGDenoiser(self)
        self.model_wrap = self.model_wrap_cfg.inner_model
        if isinstance(self.model_wrap, CondRowsFirst):
            self.model_wrap.timestep_stride = self._timestep_stride

    def get_sigmas(self, p, steps):
        """The noise levels of `steps` steps [steps + 1], descending to 0, whoever asks for them.

        A schedule set by another extension (`sampler_noise_scheduler_override`) or picked by hand goes before
        ours.
        """
        if not self._is_ours(p):
            if p.sampler_noise_scheduler_override:
                return super().get_sigmas(p, steps)
            # The schedules of the drop-down span the noise levels of the denoiser that they are given. The
            # host's own LCM has the distillation grid's; the whole table would end in a step at t = 0, where
            # a consistency model does nothing.
            lowest = TRAIN_STEPS // ORIGINAL_STEPS - 1
            if samplers.own_lcm_spans_all():
                with samplers.above_timestep(self, lowest):
                    levels = super().get_sigmas(p, steps)
            else:
                own = samplers.own_sampler(SAMPLER_LABELS["lcm"], models.in_use())
                levels = (super() if own is None else own).get_sigmas(p, steps)
            # "Align Your Steps" goes lower all the same, and "KL Optimal" leaves noise in the picture
            return torch.cat([levels[:-1].clamp(min=self._table[lowest].item()), levels.new_zeros(1)])
        if self._is_webui:
            return self._sigmas_at(webui_timesteps(steps))
        timesteps = self._img2img_timesteps or self._timesteps(p, steps)
        # img2img: the host starts in the middle of the schedule and skips the front part of steps + 1 levels
        return self._sigmas_at([*timesteps[:1] * (steps - len(timesteps)), *timesteps])

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        """From pure noise `x`: first pass of txt2img."""
        steps = steps or p.steps
        if self._is_trailing(p):
            steps = len(self._timesteps(p, steps))
            if self.is_of_variance and not server.setting("sgm_noise_multiplier", False):
                sigma = self.get_sigmas(p, steps)[0].item()
                x = x * (math.hypot(1.0, sigma) / sigma)
        return super().sample(p, x, conditioning, unconditional_conditioning, steps, image_conditioning)

    def sample_img2img(
        self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None
    ):
        """From the latent `x` with `noise` added as far as the denoising strength says: img2img, inpainting,
        hires pass.
        """
        if self._is_trailing(p):
            strength = min(p.denoising_strength, 1.0)
            self._img2img_timesteps = self._timesteps(p, steps or p.steps, strength)
            steps = len(self._img2img_timesteps)
            if steps == 0:
                return x
        try:
            return super().sample_img2img(
                p, x, noise, conditioning, unconditional_conditioning, steps, image_conditioning
            )
        finally:
            self._img2img_timesteps = None

    def _steps(self, model, x, sigmas, extra_args=None, callback=None, disable=None):
        """The sampler function that the host calls: our steps with the generation's own noise."""
        delta = server.setting("eta_noise_seed_delta", 0)
        if delta:
            # The generators of all noise but the first start from it. A host that has an LCM sampler of its
            # own lists it without "uses_ensd", so it would be missing in the infotext.
            self.p.extra_generation_params["ENSD"] = delta
        planned, steps = self._planned(self.p), len(sigmas) - 1
        if planned is not None and planned.guided.steps is not None:
            model = in_some_steps(model, samplers.at_cfg_one(model, self.p), middle_steps(steps))
        loaded, offset = models.in_use(), None
        if self.plan is not None:
            projection = models.guidance_projection(loaded)  # the hires pass may have another checkpoint
            if projection is not None:
                offset = guidance_offset(projection, self.p.cfg_scale)
            if projection is not None or self.plan.is_full_lcm:
                model = samplers.at_cfg_one(model, self.p)
        with models.adding_to_timestep(loaded, offset):
            return self._take_steps(
                model, x, sigmas, extra_args, callback, disable, samplers.noise_sampler(self.p)
            )

    def _take_steps(self, model, x, sigmas, *args):
        """The steps themselves; `args` are what `sample_lcm` and `sample_tcd` have in common after
        `sigmas`.
        """
        raise NotImplementedError

    def _planned(self, p) -> PlannedPass | None:
        """The pass that `p` is in."""
        if self.plan is None:
            return None
        is_hires = getattr(p, "is_hr_pass", False) and self.plan.hires is not None
        return self.plan.hires if is_hires else self.plan.first

    def _timesteps(self, p, steps: int, strength: float = 1.0) -> list[int]:
        """The timesteps of the pass: those of the plan or, where it did not count on this pass (a detailer's
        generation) or there is none, those of the method's rule.
        """
        planned = self._planned(p)
        if planned is not None and len(planned.timesteps) == steps and not current.is_inner(p):
            return [int(timestep) for timestep in planned.timesteps]
        recipe = None if planned is None else planned.method.recipe
        return timesteps_by(self.rule if recipe is None else recipe.timesteps, steps, strength=strength)

    def _is_ours(self, p) -> bool:
        """Whether this sampler decides the noise levels."""
        if p.sampler_noise_scheduler_override:
            return False
        return samplers.schedule_of_pass(p) is None if self.plan is None else self.plan.host_scheduler is None

    @property
    def _is_webui(self) -> bool:
        """Whether the noise levels are to be those of the WebUI's own LCM sampler."""
        plan = self.plan
        return plan is not None and plan.schedule == WEBUI and plan.host_scheduler is None

    def _is_trailing(self, p) -> bool:
        return self._is_ours(p) and not self._is_webui

    @property
    def _timestep_stride(self) -> int:
        return TRAIN_STEPS // ORIGINAL_STEPS if self._is_webui else 1

    @cached_property
    def _table(self) -> torch.Tensor:
        """The model's noise levels, float32 on the CPU, fetched from its device once."""
        return samplers.sigma_table(self.model_wrap).detach().float().cpu()

    def _sigmas_at(self, timesteps) -> torch.Tensor:
        """Noise levels at the timesteps and the last one, float32 on the CPU, where the host keeps its
        own.
        """
        levels = self._table.tolist()
        grid = ORIGINAL_STEPS if self._is_webui else None
        sigmas = [sigma_at(timestep, levels, original_steps=grid) for timestep in timesteps]
        return self._table.new_tensor([*sigmas, self._last_level])

    @property
    def _last_level(self) -> float:
        """The noise level at which the last step ends."""
        return 0.0

    def _timesteps_of(self, sigmas: torch.Tensor) -> list[int]:
        """The timesteps that the UNet is told at each noise level, none of which may be 0."""
        stride = self._timestep_stride
        log_table = self._table[stride - 1 :: stride].log()
        log_levels = sigmas.detach().float().cpu().log()
        nearest = (log_levels - log_table[:, None]).abs().argmin(dim=0)
        return (nearest * stride + stride - 1).tolist()


class LcmSampler(FewStepSampler):
    """The sampler "LCM"."""

    def _take_steps(self, model, x, sigmas, *args):
        return sample_lcm(model, x, sigmas, *args, timesteps=self._timesteps_of(sigmas[:-1]))


class TcdSampler(FewStepSampler):
    """The sampler "TCD", with the gamma of the running plan."""

    def _take_steps(self, model, x, sigmas, *args):
        planned = self._planned(self.p)
        gamma = TCD.recipe.gamma if planned is None or planned.gamma is None else planned.gamma
        jumps = tcd_jumps(self._timesteps_of(sigmas[:-1]), gamma)
        return sample_tcd(model, x, sigmas, *args, jump_sigmas=self._table[jumps].tolist())

    @property
    def _last_level(self) -> float:
        return self._table[0].item()  # TCD ends at t = 0


class EulerSampler(FewStepSampler):
    """The sampler "Euler trailing": the plain ODE step, down to no noise at all."""

    rule = EVEN
    is_of_variance = False

    def _take_steps(self, model, x, sigmas, *args):
        # without renewed noise, TCD's step is Euler's
        return sample_tcd(model, x, sigmas, *args, jump_sigmas=sigmas[1:].tolist())


class DdimSampler(EulerSampler):
    """The sampler "DDIM trailing": on the same timesteps the very same step, from another start."""

    is_of_variance = True


SAMPLERS = {
    SAMPLER_LABELS["lcm"]: LcmSampler,
    SAMPLER_LABELS["tcd"]: TcdSampler,
    SAMPLER_LABELS["euler"]: EulerSampler,
    SAMPLER_LABELS["ddim"]: DdimSampler,
}
