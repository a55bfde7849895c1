"""k-diffusion's samplers."""

from __future__ import annotations

import inspect

import torch

from modules import devices, sd_samplers_cfg_denoiser, sd_samplers_common, shared
from modules.script_callbacks import ExtraNoiseParams, extra_noise_callback
from modules.sd_samplers_cfg_denoiser import CFGDenoiser  # noqa: F401
from modules.shared import opts
from workbench.webui import profiles
from workbench.webui.forge_model import ForgeScheduleLinker
from workbench.webui.k_diffusion_host import k_diffusion

samplers_k_diffusion = [
    ("DPM++ 2M", "sample_dpmpp_2m", ["k_dpmpp_2m"], {"scheduler": "karras"}),
    (
        "DPM++ SDE",
        "sample_dpmpp_sde",
        ["k_dpmpp_sde"],
        {"scheduler": "karras", "second_order": True, "brownian_noise": True},
    ),
    (
        "DPM++ 2M SDE",
        "sample_dpmpp_2m_sde",
        ["k_dpmpp_2m_sde"],
        {"scheduler": "exponential", "brownian_noise": True},
    ),
    (
        "DPM++ 2M SDE Heun",
        "sample_dpmpp_2m_sde",
        ["k_dpmpp_2m_sde_heun"],
        {"scheduler": "exponential", "brownian_noise": True, "solver_type": "heun"},
    ),
    (
        "DPM++ 2S a",
        "sample_dpmpp_2s_ancestral",
        ["k_dpmpp_2s_a"],
        {"scheduler": "karras", "uses_ensd": True, "second_order": True},
    ),
    (
        "DPM++ 3M SDE",
        "sample_dpmpp_3m_sde",
        ["k_dpmpp_3m_sde"],
        {"scheduler": "exponential", "discard_next_to_last_sigma": True, "brownian_noise": True},
    ),
    ("Euler a", "sample_euler_ancestral", ["k_euler_a", "k_euler_ancestral"], {"uses_ensd": True}),
    ("Euler", "sample_euler", ["k_euler"], {}),
    ("LMS", "sample_lms", ["k_lms"], {}),
    ("Heun", "sample_heun", ["k_heun"], {"second_order": True}),
    (
        "DPM2",
        "sample_dpm_2",
        ["k_dpm_2"],
        {"scheduler": "karras", "discard_next_to_last_sigma": True, "second_order": True},
    ),
    (
        "DPM2 a",
        "sample_dpm_2_ancestral",
        ["k_dpm_2_a"],
        {"scheduler": "karras", "discard_next_to_last_sigma": True, "uses_ensd": True, "second_order": True},
    ),
    ("DPM fast", "sample_dpm_fast", ["k_dpm_fast"], {"uses_ensd": True}),
    ("DPM adaptive", "sample_dpm_adaptive", ["k_dpm_ad"], {"uses_ensd": True}),
]

sampler_extra_params = {
    "sample_euler": ["s_churn", "s_tmin", "s_tmax", "s_noise"],
    "sample_heun": ["s_churn", "s_tmin", "s_tmax", "s_noise"],
    "sample_dpm_2": ["s_churn", "s_tmin", "s_tmax", "s_noise"],
    "sample_dpm_2_ancestral": ["s_noise"],
    "sample_dpm_fast": ["s_noise"],
    "sample_dpmpp_2s_ancestral": ["s_noise"],
    "sample_dpmpp_3m_sde": ["s_noise"],
    "sample_dpmpp_sde": ["s_noise"],
    "sample_dpmpp_2m_sde": ["s_noise"],
}


class CFGDenoiserKDiffusion(sd_samplers_cfg_denoiser.CFGDenoiser):
    """Guidance around k-diffusion's wrapper of the model."""

    @property
    def inner_model(self):
        if self.model_wrap is None:
            model = shared.sd_model
            if profiles.active.forge:
                self.model_wrap = ForgeScheduleLinker(model.forge_objects.unet.model.predictor, model)
            else:
                wrapper = (
                    k_diffusion.external.CompVisVDenoiser
                    if model.parameterization == "v"
                    else k_diffusion.external.CompVisDenoiser
                )
                self.model_wrap = wrapper(model, quantize=opts.enable_quantization)
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    """Runs one function with k-diffusion's sampler signature, given or by name."""

    def __init__(self, funcname, sd_model, options=None):
        super().__init__(funcname)
        self.extra_params = sampler_extra_params.get(funcname, [])
        self.options = options or {}
        self.func = funcname if callable(funcname) else getattr(k_diffusion.sampling, funcname)
        self.model_wrap_cfg = CFGDenoiserKDiffusion(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def _schedule(self, p):
        """(function or None for the model's own, whether it needs the model, its default rho)."""
        by_default = self.config.options.get("scheduler") if self.config is not None else None
        if profiles.active.schedulers:
            from modules import sd_schedulers

            name = (p.hr_scheduler if p.is_hr_pass else p.scheduler) or "Automatic"
            scheduler = sd_schedulers.schedulers_map.get(by_default if name == "Automatic" else name)
            if scheduler is None or scheduler.function is None:
                return None, False, -1
            if not p.is_hr_pass:
                p.extra_generation_params["Schedule type"] = scheduler.label
            elif scheduler.label != p.extra_generation_params.get("Schedule type"):
                p.extra_generation_params["Hires schedule type"] = scheduler.label
            return scheduler.function, scheduler.need_inner_model, scheduler.default_rho
        name = by_default if opts.k_sched_type == "Automatic" else opts.k_sched_type
        if opts.k_sched_type != "Automatic":
            p.extra_generation_params["Schedule type"] = opts.k_sched_type
        rho = {"karras": 7.0, "polyexponential": 1.0}.get(name, -1)
        return getattr(k_diffusion.sampling, f"get_sigmas_{name}") if name else None, False, rho

    def get_sigmas(self, p, steps):
        """The noise levels [steps + 1] on the CPU: of the generation's override, else of the schedule."""
        params = p.extra_generation_params
        drops_second_last = self.config is not None and self.config.options.get(
            "discard_next_to_last_sigma", False
        )
        if opts.always_discard_next_to_last_sigma and not drops_second_last:
            drops_second_last = True
            params["Discard penultimate sigma"] = True
        steps += drops_second_last

        if p.sampler_noise_scheduler_override:
            sigmas = p.sampler_noise_scheduler_override(steps)
        else:
            function, needs_model, default_rho = self._schedule(p)
            if function is None:
                sigmas = self.model_wrap.get_sigmas(steps)
            else:
                kwargs = {
                    "sigma_min": self.model_wrap.sigmas[0].item(),
                    "sigma_max": self.model_wrap.sigmas[-1].item(),
                }
                for name in ("sigma_min", "sigma_max"):
                    if getattr(opts, name) not in (0, kwargs[name]):
                        kwargs[name] = getattr(opts, name)
                        params[f"Schedule {name[-3:]} sigma"] = kwargs[name]
                if default_rho != -1 and opts.rho not in (0, default_rho):
                    kwargs["rho"] = params["Schedule rho"] = opts.rho
                if needs_model:
                    kwargs["inner_model"] = self.model_wrap
                sigmas = function(n=steps, device=devices.cpu, **kwargs)
        if drops_second_last:
            sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
        return sigmas.cpu()

    def _start(self, p, noise, latent, sigma, from_nothing_but_noise=False):
        """The latent at the first noise level."""
        if profiles.active.forge:
            return self.model_wrap.predictor.noise_scaling(
                sigma, noise, latent, max_denoise=from_nothing_but_noise
            )
        return latent + noise * (torch.sqrt(1.0 + sigma**2.0) if from_nothing_but_noise else sigma)

    def _function_kwargs(self, p, x, sigmas, sigma_min, sigma_max):
        """Keyword arguments for the sampler function, by what its signature asks for."""
        kwargs = self.initialize(p)
        offered = {
            "sigma_min": sigma_min,
            "sigma_max": sigma_max,
            "n": len(sigmas) - 1,
            "sigma_sched": sigmas,
            "sigmas": sigmas,
        }
        accepted = inspect.signature(self.func).parameters
        kwargs.update({name: value for name, value in offered.items() if name in accepted})
        if self.config.options.get("brownian_noise", False):
            kwargs["noise_sampler"] = self.create_noise_sampler(x, sigmas, p)
        if self.config.options.get("solver_type") == "heun":
            kwargs["solver_type"] = "heun"
        return kwargs

    def _run(self, p, x, steps, kwargs, conditioning, unconditional_conditioning, image_conditioning):
        self.sampler_extra_args = {
            "cond": conditioning,
            "image_cond": image_conditioning,
            "uncond": unconditional_conditioning,
            "cond_scale": p.cfg_scale,
            "s_min_uncond": self.s_min_uncond,
        }

        def call():
            return self.func(
                self.model_wrap_cfg,
                x,
                extra_args=self.sampler_extra_args,
                disable=False,
                callback=self.callback_state,
                **kwargs,
            )

        samples = self.launch_sampling(steps, call)
        self.add_infotext(p)
        return samples

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        steps = steps or p.steps
        sigmas = self.get_sigmas(p, steps)
        if opts.sgm_noise_multiplier:
            p.extra_generation_params["SGM noise multiplier"] = True
        x = self._start(
            p, x, torch.zeros_like(x), sigmas[0], from_nothing_but_noise=opts.sgm_noise_multiplier
        )
        kwargs = self._function_kwargs(
            p, x, sigmas, self.model_wrap.sigmas[0].item(), self.model_wrap.sigmas[-1].item()
        )
        self.last_latent = x
        return self._run(p, x, steps, kwargs, conditioning, unconditional_conditioning, image_conditioning)

    def sample_img2img(
        self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None
    ):
        steps, t_enc = sd_samplers_common.setup_img2img_steps(p, steps)
        sigmas = self.get_sigmas(p, steps)
        remaining = sigmas[steps - t_enc - 1 :]
        start = self._start(p, noise, x, remaining[0])
        if opts.img2img_extra_noise > 0:
            p.extra_generation_params["Extra noise"] = opts.img2img_extra_noise
            params = ExtraNoiseParams(noise, x, start)
            extra_noise_callback(params)
            start = start + params.noise * opts.img2img_extra_noise
        kwargs = self._function_kwargs(p, x, remaining, remaining[-2], remaining[0])
        self.model_wrap_cfg.init_latent = x
        self.last_latent = x
        return self._run(
            p, start, t_enc + 1, kwargs, conditioning, unconditional_conditioning, image_conditioning
        )


def sampler_entries(rows) -> list:
    """Entries of the registry for rows of (label, function or its name, aliases, options)."""
    return [
        sd_samplers_common.SamplerData(
            label, lambda model, funcname=funcname: KDiffusionSampler(funcname, model), aliases, options
        )
        for label, funcname, aliases, options in rows
    ]


samplers_data_k_diffusion = sampler_entries(samplers_k_diffusion)
k_diffusion_samplers_map = {sampler.name: sampler for sampler in samplers_data_k_diffusion}
if not profiles.active.schedulers:  # before the drop-down, each sampler had a twin with Karras' schedule
    karras_twins = [
        sd_samplers_common.SamplerData(
            f"{data.name} Karras",
            data.constructor,
            [f"{alias}_ka" for alias in data.aliases],
            {**data.options, "scheduler": "karras"},
        )
        for data in samplers_data_k_diffusion
        if data.options.get("scheduler") == "karras"
    ]
    samplers_data_k_diffusion = [
        *karras_twins,
        *(
            data._replace(options={key: value for key, value in data.options.items() if key != "scheduler"})
            for data in samplers_data_k_diffusion
        ),
    ]
