"""The script "Prompts from file or textbox": one generation for each line of a text. A line is a prompt, or
options such as `--prompt "a star" --steps 8`, which become fields of that generation.
"""

import shlex
from copy import copy

import gradio as gr

from modules import errors, processing, scripts, sd_samplers, shared
from workbench.webui import profiles

FIELDS = {
    "prompt": str,
    "negative_prompt": str,
    "seed": int,
    "subseed": int,
    "subseed_strength": float,
    "sampler_name": lambda name: sd_samplers.samplers_map.get(name.lower()),
    "batch_size": int,
    "n_iter": int,
    "steps": int,
    "cfg_scale": float,
    "width": int,
    "height": int,
}
PROMPTS = ("prompt", "negative_prompt")


def cmdargs(line):
    """What a line sets, field -> value. Raises ValueError for a line that is no list of options."""
    options, words = {}, shlex.split(line)
    while words:
        name = words.pop(0).removeprefix("--")
        if name not in FIELDS or not words:
            raise ValueError(f"no option with a value: {name}")
        value = words.pop(0)
        while name in PROMPTS and words and not words[0].startswith("--"):
            value += f" {words.pop(0)}"
        options[name] = FIELDS[name](value)
    return options


def read(line):
    if "--" in line:
        try:
            return cmdargs(line)
        except ValueError:
            errors.report(f"Error parsing line {line} as commandline", exc_info=True)
    return {"prompt": line}


class Script(scripts.Script):
    def title(self):
        return "Prompts from file or textbox"

    def ui(self, is_img2img):
        controls = [
            gr.Checkbox(label="Iterate seed every line", value=False),
            gr.Checkbox(label="Use same random seed for all lines", value=False),
        ]
        if profiles.active.file_prompts_beside_own:
            controls.append(gr.Radio(["start", "end"], label="Insert prompts at the", value="start"))
        controls.append(
            gr.Textbox(label="List of prompt inputs", lines=1, elem_id=self.elem_id("prompt_txt"))
        )
        if profiles.active.forge:
            controls.append(gr.Checkbox(label="Make a combined image containing all outputs", value=False))
        return controls

    def run(self, p, iterate, same_seed, *args):
        """args: where the prompts go, the text, and Forge's combined picture, which is not made here."""
        position = args[0] if profiles.active.file_prompts_beside_own else None
        text = args[1 if profiles.active.file_prompts_beside_own else 0]
        lines = [read(line.strip()) for line in text.splitlines() if line.strip()]
        if iterate or same_seed:
            processing.fix_seed(p)
        p.do_not_save_grid = True
        shared.state.job_count = sum(line.get("n_iter", p.n_iter) for line in lines)

        made, prompts, infotexts = [], [], []
        for line in lines:
            # shallow, as in the WebUI: the generations share comments and extra_generation_params
            one = copy(p)
            for name, value in line.items():
                own = getattr(p, name) if name in PROMPTS and position else ""
                if own:
                    value = f"{value} {own}" if position == "start" else f"{own} {value}"
                setattr(one, name, value)
            processed = processing.process_images(one)
            made += processed.images
            prompts += processed.all_prompts
            infotexts += processed.infotexts
            if iterate:
                p.seed += p.batch_size * p.n_iter
        return processing.Processed(p, made, p.seed, "", all_prompts=prompts, infotexts=infotexts)
