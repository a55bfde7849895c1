"""The routes under /sdapi/v1."""

from __future__ import annotations

import base64
import binascii
import io
import time
from contextlib import closing
from secrets import compare_digest

import gradio as gr
from fastapi import Depends, FastAPI
from fastapi.exceptions import HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from modules import (
    images,
    infotext_utils,
    progress,
    script_callbacks,
    scripts,
    sd_models,
    sd_samplers,
    shared,
)
from modules.api import models
from modules.api.errors import add_error_handling
from modules.processing import (
    StableDiffusionProcessingImg2Img,
    StableDiffusionProcessingTxt2Img,
    process_images,
)
from modules.shared import opts
from workbench.webui import profiles


def script_name_to_index(name, script_list):
    """Raises HTTPException 422 if no script has that title."""
    titles = [script.title().lower() for script in script_list]
    if name.lower() not in titles:
        raise HTTPException(status_code=422, detail=f"Script '{name}' not found")
    return titles.index(name.lower())


def validate_sampler_name(name):
    if name not in sd_samplers.all_samplers_map:
        raise HTTPException(
            status_code=profiles.active.unknown_sampler_status or 400, detail="Sampler not found"
        )
    return name


def decode_base64_to_image(encoding):
    """Raises HTTPException 500 if it is not an image."""
    if encoding.startswith("data:image/"):
        encoding = encoding.partition(",")[2]
    try:
        return images.read(io.BytesIO(base64.b64decode(encoding)))
    except (OSError, binascii.Error) as e:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from e


def encode_pil_to_base64(image):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=images.pnginfo_of(image))
    return base64.b64encode(buffer.getvalue())


class Api:
    """Adds its routes to `app`; all of them ask for the password if there is one."""

    def __init__(self, app: FastAPI, queue_lock):
        self.app = app
        self.queue_lock = queue_lock
        self.credentials = {}
        for pair in (shared.cmd_opts.api_auth or "").split(","):
            user, colon, password = pair.partition(":")
            if colon:
                self.credentials[user.strip()] = password
        add_error_handling(app)
        self._add_routes()
        self.default_script_arg_txt2img = self.init_default_script_args(scripts.scripts_txt2img)
        self.default_script_arg_img2img = self.init_default_script_args(scripts.scripts_img2img)

    def _add_routes(self):
        add = self.add_api_route
        add("/sdapi/v1/txt2img", self.text2imgapi, methods=["POST"], response_model=models.GenerationResponse)
        add("/sdapi/v1/img2img", self.img2imgapi, methods=["POST"], response_model=models.GenerationResponse)
        add("/sdapi/v1/png-info", self.pnginfoapi, methods=["POST"], response_model=models.PNGInfoResponse)
        add("/sdapi/v1/progress", self.progressapi, methods=["GET"], response_model=models.ProgressResponse)
        add("/sdapi/v1/interrupt", self.interruptapi, methods=["POST"])
        add("/sdapi/v1/skip", self.skip, methods=["POST"])
        add("/sdapi/v1/options", self.get_config, methods=["GET"])
        add("/sdapi/v1/options", self.set_config, methods=["POST"])
        add("/sdapi/v1/cmd-flags", self.get_cmd_flags, methods=["GET"])
        add("/sdapi/v1/samplers", self.get_samplers, methods=["GET"])
        if profiles.active.schedulers:
            add("/sdapi/v1/schedulers", self.get_schedulers, methods=["GET"])
        add("/sdapi/v1/upscalers", self.get_upscalers, methods=["GET"])
        add("/sdapi/v1/latent-upscale-modes", self.get_latent_upscale_modes, methods=["GET"])
        add("/sdapi/v1/sd-models", self.get_sd_models, methods=["GET"])
        add("/sdapi/v1/refresh-checkpoints", self.refresh_checkpoints, methods=["POST"])
        add("/sdapi/v1/unload-checkpoint", self.unloadapi, methods=["POST"])
        add("/sdapi/v1/reload-checkpoint", self.reloadapi, methods=["POST"])
        add("/sdapi/v1/scripts", self.get_scripts_list, methods=["GET"], response_model=models.ScriptsList)
        add(
            "/sdapi/v1/script-info",
            self.get_script_info,
            methods=["GET"],
            response_model=list[models.ScriptInfo],
        )

    def add_api_route(self, path, endpoint, **kwargs):
        dependencies = [Depends(self.auth)] if self.credentials else None
        return self.app.add_api_route(path, endpoint, dependencies=dependencies, **kwargs)

    def auth(self, credentials: HTTPBasicCredentials = Depends(HTTPBasic())):  # noqa: B008 (fastapi's way)
        known = self.credentials.get(credentials.username)
        if known is not None and compare_digest(credentials.password.encode(), known.encode()):
            return True
        raise HTTPException(
            status_code=401, detail="Incorrect username or password", headers={"WWW-Authenticate": "Basic"}
        )

    # -- generations

    def init_default_script_args(self, script_runner):
        """The values that all scripts' components have in a fresh page."""
        args = [None] * max([1, *(script.args_to for script in script_runner.scripts if script.args_to)])
        args[0] = 0
        with gr.Blocks():
            for script in script_runner.scripts:
                controls = script.ui(script.is_img2img)
                if controls:
                    args[script.args_from : script.args_to] = [control.value for control in controls]
        return args

    def init_script_args(
        self, request, defaults, selectable, selectable_index, script_runner, *, from_infotext=None
    ):
        """All scripts' arguments: defaults, then the infotext's, then the request's, which may leave out the
        last ones.
        """
        args = defaults.copy()
        for index, value in (from_infotext or {}).items():
            args[index] = value
        if selectable is not None:
            args[selectable.args_from : selectable.args_to] = request.script_args
            args[0] = selectable_index + 1
        for name, settings in (request.alwayson_scripts or {}).items():
            script = script_runner.scripts[script_name_to_index(name, script_runner.scripts)]
            if not script.alwayson:
                raise HTTPException(
                    status_code=422, detail="Cannot have a selectable script in the always on scripts params"
                )
            for offset, value in enumerate(settings.get("args", [])[: script.args_to - script.args_from]):
                args[script.args_from + offset] = value
        return args

    def get_selectable_script(self, script_name, script_runner):
        if not script_name:
            return None, None
        index = script_name_to_index(script_name, script_runner.selectable_scripts)
        return script_runner.selectable_scripts[index], index

    def apply_infotext(self, request, tabname, script_runner) -> dict:
        """Fill in what the request leaves out from its `infotext`; returns script argument index -> value."""
        if not request.infotext:
            return {}
        params = infotext_utils.parse_generation_parameters(request.infotext)
        already_set = request.dict(exclude_unset=True)
        index_of = {component: index for index, component in enumerate(script_runner.inputs)}
        script_args = {}
        for field in infotext_utils.paste_fields[tabname]["fields"]:
            value = field.function(params) if field.function else params.get(field.label)
            if isinstance(value, dict) and value.get("__type__") == "generic_update":
                value = value.get("value")
            kind = type(field.component.value)
            if value is None or kind is type(None):
                continue
            value = value == "True" if kind is bool and isinstance(value, str) else kind(value)
            if field.component in index_of:
                script_args[index_of[field.component]] = value
            if field.api and field.api not in already_set:
                setattr(request, field.api, value)
        request.override_settings = request.override_settings or {}
        for _, setting, value in infotext_utils.get_override_settings(params):
            request.override_settings.setdefault(setting, value)
        return script_args

    def _sampler_of(self, request):
        """(sampler, scheduler) of a request, as the profile resolves names."""
        name = request.sampler_name or request.sampler_index
        if not profiles.active.schedulers:
            return validate_sampler_name(name), None
        sampler, scheduler = sd_samplers.get_sampler_and_scheduler(name, request.scheduler)
        if profiles.active.unknown_sampler_status:
            validate_sampler_name(name)
        return sampler, request.scheduler or (scheduler if scheduler != "Automatic" else None)

    def _generate(self, request, tabname, processing_class, defaults, **changes):
        runner = getattr(scripts, f"scripts_{tabname}")
        from_infotext = self.apply_infotext(request, tabname, runner)
        selectable, selectable_index = self.get_selectable_script(request.script_name, runner)
        sampler_name, scheduler = self._sampler_of(request)
        script_args = self.init_script_args(
            request, defaults, selectable, selectable_index, runner, from_infotext=from_infotext
        )
        args = {
            **request.dict(
                exclude={
                    "script_name",
                    "script_args",
                    "alwayson_scripts",
                    "infotext",
                    "send_images",
                    "save_images",
                    "include_init_images",
                }
            ),
            "sampler_name": sampler_name,
            "sampler_index": None,
            **({"scheduler": scheduler} if profiles.active.schedulers else {}),
            "do_not_save_samples": not request.save_images,
            "do_not_save_grid": not request.save_images,
            **changes,
        }
        task = args.get("force_task_id") or progress.create_task_id(tabname)
        with self.queue_lock, closing(processing_class(sd_model=shared.sd_model, **args)) as p:
            p.is_api = True
            p.scripts = runner
            p.outpath_grids = getattr(opts, f"outdir_{tabname}_grids")
            p.outpath_samples = getattr(opts, f"outdir_{tabname}_samples")
            try:
                shared.state.begin(job=f"scripts_{tabname}")
                progress.start_task(task)
                p.script_args = script_args if selectable is not None else tuple(script_args)
                processed = runner.run(p, *p.script_args) if selectable is not None else process_images(p)
            finally:
                progress.finish_task(task)
                shared.state.end()
                shared.total_tqdm.clear()
        encoded = [encode_pil_to_base64(image) for image in processed.images] if request.send_images else []
        parameters = request.dict(
            exclude=set() if getattr(request, "include_init_images", True) else {"init_images", "mask"}
        )
        return models.GenerationResponse(images=encoded, parameters=parameters, info=processed.js())

    def text2imgapi(self, txt2imgreq: models.StableDiffusionTxt2ImgProcessingAPI):
        return self._generate(
            txt2imgreq, "txt2img", StableDiffusionProcessingTxt2Img, self.default_script_arg_txt2img
        )

    def img2imgapi(self, img2imgreq: models.StableDiffusionImg2ImgProcessingAPI):
        if img2imgreq.init_images is None:
            raise HTTPException(status_code=404, detail="Init image not found")
        pictures = {
            "init_images": [decode_base64_to_image(image) for image in img2imgreq.init_images],
            "mask": decode_base64_to_image(img2imgreq.mask) if img2imgreq.mask else None,
        }
        return self._generate(
            img2imgreq,
            "img2img",
            StableDiffusionProcessingImg2Img,
            self.default_script_arg_img2img,
            **pictures,
        )

    # -- everything else

    def pnginfoapi(self, req: models.PNGInfoRequest):
        geninfo, items = images.read_info_from_image(decode_base64_to_image(req.image.strip()))
        params = infotext_utils.parse_generation_parameters(geninfo or "")
        script_callbacks.infotext_pasted_callback(geninfo or "", params)
        return models.PNGInfoResponse(info=geninfo or "", items=items, parameters=params)

    def progressapi(self, skip_current_image: bool = False):
        state = shared.state
        if state.job_count == 0:
            return models.ProgressResponse(
                progress=0, eta_relative=0, state=state.dict(), textinfo=state.textinfo
            )
        done = 0.01
        if state.job_count > 0:
            done += state.job_no / state.job_count
            if state.sampling_steps > 0:
                done += state.sampling_step / state.sampling_steps / state.job_count
        done = min(done, 1)
        elapsed = time.time() - state.time_start
        picture = None
        if not skip_current_image:
            state.set_current_image()
            picture = (
                encode_pil_to_base64(state.current_image).decode()
                if state.current_image is not None
                else None
            )
        return models.ProgressResponse(
            progress=done, eta_relative=elapsed / done - elapsed, state=state.dict(), current_image=picture,
            textinfo=state.textinfo,
            current_task=progress.current_task,
        )  # fmt: skip

    def interruptapi(self):
        shared.state.interrupt()
        return {}

    def skip(self):
        shared.state.skip()

    def get_config(self):
        return dict(opts.data)

    def set_config(self, req: dict):
        checkpoint = req.get("sd_model_checkpoint")
        if checkpoint is not None and checkpoint not in sd_models.checkpoint_aliases:
            raise RuntimeError(f"model {checkpoint!r} not found")
        for key, value in req.items():
            opts.set(key, value, is_api=True)
        opts.save(shared.config_filename)

    def get_cmd_flags(self):
        return vars(shared.cmd_opts)

    def get_samplers(self):
        return [
            {"name": s.name, "aliases": s.aliases, "options": {k: str(v) for k, v in s.options.items()}}
            for s in sd_samplers.all_samplers
        ]

    def get_schedulers(self):
        from modules import sd_schedulers

        names = ("name", "label", "aliases", "default_rho", "need_inner_model")
        return [{name: getattr(scheduler, name) for name in names} for scheduler in sd_schedulers.schedulers]

    def get_upscalers(self):
        return [
            {
                "name": upscaler.name,
                "model_name": None,
                "model_path": None,
                "model_url": None,
                "scale": upscaler.scale,
            }
            for upscaler in shared.sd_upscalers
        ]

    def get_latent_upscale_modes(self):
        return [{"name": name} for name in shared.latent_upscale_modes]

    def get_sd_models(self):
        return [
            {
                "title": info.title, "model_name": info.model_name, "hash": info.shorthash,
                "sha256": info.sha256,
                "filename": info.filename, "config": None,
            }
            for info in sd_models.checkpoints_list.values()
        ]  # fmt: skip

    def refresh_checkpoints(self):
        with self.queue_lock:
            sd_models.list_models()

    def unloadapi(self):
        sd_models.unload_model_weights()
        return {}

    def reloadapi(self):
        sd_models.reload_model_weights()
        return {}

    def get_scripts_list(self):
        return models.ScriptsList(
            txt2img=[script.name for script in scripts.scripts_txt2img.scripts if script.name is not None],
            img2img=[script.name for script in scripts.scripts_img2img.scripts if script.name is not None],
        )

    def get_script_info(self):
        both = [*scripts.scripts_txt2img.scripts, *scripts.scripts_img2img.scripts]
        return [script.api_info for script in both if script.api_info is not None]
