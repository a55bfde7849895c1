"""The networks of a WebUI's single-file checkpoint, as diffusers' and transformers' own.

They are built from the shapes of the file's tensors, so that every width of a layout is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib_lcm.checkpoints import PROJECTION_KEY
from lib_lcm.distill.model import CannotDistill, Cond
from lib_lcm.families import FAMILIES, SD2, SD15, SDXL, SSD1B, VEGA, Family, of_width
from lib_lcm.lora.file import shown_name
from lib_lcm.lora.key_names import split_key
from lib_lcm.lora.unet_layouts import Outline, outline_of, sdxl_or_smaller

EXTENSION = Path(__file__).absolute().parents[2]
WEBUI = EXTENSION.parent.parent
"""The WebUI's folder; the command's --webui names another, such as that of a WebUI with --data-dir."""
PACKAGES = EXTENSION / "packages"
"""Where diffusers may lie for a WebUI that has none: on nobody's path but this command's."""
TOKENIZER = "openai/clip-vit-large-patch14"
TOKENIZERS = (
    Path("backend/huggingface/stabilityai/stable-diffusion-xl-base-1.0/tokenizer"),
    Path("ldm_patched/modules/sd1_tokenizer"),
)
"""In the folder of Forge and Forge Neo, of reForge and Forge Classic. A1111 has the one above in
huggingface's cache.
"""
DISTILLED = (SD15, SD2, SDXL, SSD1B, VEGA)
UNET, VAE = "model.diffusion_model.", "first_stage_model."
EDM = "edm_"
"""Marks checkpoints of another noise schedule: CosXL, Playground 2.5."""
OPEN_CLIP_END = 0
"""What OpenCLIP's encoders were trained to see after the end of a text; CLIP's see that end again."""
SD2_LAYERS = 23
"""Of OpenCLIP's 24, what SD 2.x reads. Files made from diffusers' end there."""
HEAD_WIDTH, SD1_HEADS = 64, 8


def library(module: str, name: str) -> Any:
    """What diffusers or transformers has under this name. Raises CannotDistill where this Python has none."""
    import sys

    if PACKAGES.is_dir() and str(PACKAGES) not in sys.path:
        # first, as it is there because the WebUI's own was not enough
        sys.path.insert(0, str(PACKAGES))
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, RuntimeError, AttributeError) as error:  # what their lazy modules raise
        cause = " ".join(str(error).split())
        raise CannotDistill(
            f"This Python cannot import {name} from {module} ({cause}): use the WebUI's own, and if that"
            f' cannot either, run `{sys.executable} -m pip install --no-deps --target "{PACKAGES}"'
            " diffusers==0.31.0`, which puts it where only this command looks."
        ) from None


def read(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CannotDistill(
            f"{path} cannot be read as a checkpoint ({error}): name a .safetensors file of one."
        ) from None


@contextmanager
def whole(path: Path, part: str) -> Iterator[None]:
    """Raises CannotDistill for a tensor that was looked for in vain."""
    try:
        yield
    except KeyError as lacking:
        raise CannotDistill(
            f"{shown_name(path)} lacks {lacking.args[0]} of its {part}, or has it in another shape: name a"
            " checkpoint that is whole."
        ) from None


def _fill(
    network: nn.Module, state: Mapping[str, Tensor], device: torch.device | str, dtype: torch.dtype
) -> None:
    """Makes these tensors the network's own, frozen. Raises KeyError for one that lacks or does not fit."""
    for name, parameter in list(network.named_parameters()):
        tensor = state.get(name)
        if tensor is None or tensor.numel() != parameter.numel():
            raise KeyError(name)
        owner, _, part = name.rpartition(".")
        tensor = tensor.reshape(parameter.shape).to(device, dtype)
        setattr(network.get_submodule(owner), part, nn.Parameter(tensor, requires_grad=False))
    network.eval()


def unet_of(
    tensors: Mapping[str, Tensor], path: Path, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, Family]:
    by_name = {}
    for key, tensor in tensors.items():
        if key.startswith(UNET) and (name := split_key(key)).component == "unet":
            by_name[f"{name.module}.{name.part}"] = tensor
    outline = outline_of(name.rpartition(".")[0] for name in by_name)
    family = _family(by_name, outline)
    if family not in DISTILLED:
        known = ", ".join(one.label for one in FAMILIES if one in DISTILLED)
        raise CannotDistill(
            f"{shown_name(path)} holds no UNet of a family that can be distilled ({known}): name a whole"
            " checkpoint of one, as the WebUI loads it."
        )
    if PROJECTION_KEY in tensors:
        raise CannotDistill(
            f"{shown_name(path)} is a full LCM, which needs no LoRA: distil the checkpoint that it was made"
            " from."
        )
    kind = library("diffusers", "UNet2DConditionModel")
    with whole(path, "UNet"):
        channels = by_name["conv_in.weight"].shape[1]
        if channels != 4:
            raise CannotDistill(
                f"{shown_name(path)} is for inpainting or editing (its UNet takes {channels} channels):"
                " distil the checkpoint that it was made from."
            )
        with torch.device("meta"):
            unet = kind(**_unet_config(by_name, outline, family))
        state = {}
        more = dict(by_name)
        for name, _ in unet.named_parameters():
            layer, _, part = name.rpartition(".")
            state[name] = more.pop(f"{layer.replace('.', '_')}.{part}")
        _fill(unet, state, device, dtype)
    odd = [*more, *(key for key in tensors if key.startswith(EDM))]
    if odd:
        raise CannotDistill(
            f"{shown_name(path)} is no plain {family.label} checkpoint (it has {odd[0]}, too): distil the"
            " one that it was made from."
        )
    return unet, family


def _family(by_name: Mapping[str, Tensor], outline: Outline) -> Family | None:
    widths = {tensor.shape[-1] for name, tensor in by_name.items() if name.endswith("_attn2_to_k.weight")}
    family = of_width(widths.pop()) if len(widths) == 1 else None
    return sdxl_or_smaller(outline) if family is SDXL else family


def _unet_config(by_name: Mapping[str, Tensor], outline: Outline, family: Family) -> dict[str, Any]:
    """What UNet2DConditionModel is built with. Raises KeyError for a tensor that lacks."""
    levels = 1 + max(
        (int(name.split("_")[2]) for name in by_name if name.startswith("down_blocks_")), default=0
    )
    widths = [by_name[f"down_blocks_{level}_resnets_1_conv2.weight"].shape[0] for level in range(levels)]

    def depths(side: str, level: int, attentions: int) -> list[int]:
        places = [f"{side}_blocks_{level}_attentions_{index}" for index in range(attentions)]
        return [outline.depths.get(place, 0) for place in places]

    down = [depths("down", level, 2) for level in range(levels)]
    up = [depths("up", level, 3) for level in range(levels)]
    has_mid_attention = family.unet is not None and family.unet.mid_attention
    is_linear = any(name.endswith("_proj_in.weight") and t.ndim == 2 for name, t in by_name.items())
    config: dict[str, Any] = {
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if any(depth) else "DownBlock2D" for depth in down],
        "up_block_types": ["CrossAttnUpBlock2D" if any(depth) else "UpBlock2D" for depth in up],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if has_mid_attention else "UNetMidBlock2D",
        "transformer_layers_per_block": [depth if any(depth) else 1 for depth in down],
        "reverse_transformer_layers_per_block": [depth if any(depth) else 1 for depth in up],
        "cross_attention_dim": family.width,
        "use_linear_projection": is_linear,
        # diffusers has the number of heads under this name
        "attention_head_dim": [max(1, width // HEAD_WIDTH) for width in widths] if is_linear else SD1_HEADS,
    }
    if has_mid_attention and not any(down[-1]):
        # of the middle diffusers takes the last level's depth
        config["transformer_layers_per_block"][-1] = outline.depths["mid_block_attentions_0"]
    if family.width == SDXL.width:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": by_name["add_embedding_linear_1.weight"].shape[1],
        }
    return config


def autoencoder(tensors: Mapping[str, Tensor], path: Path, scaling_factor: float) -> Any:
    """Raises KeyError for a tensor that lacks."""
    own = {key: tensor.float() for key, tensor in tensors.items() if key.startswith(VAE)}
    if not own:
        raise CannotDistill(
            f'{shown_name(path)} has no VAE: put one into it in the WebUI ("Bake in VAE" of the Checkpoint'
            " Merger)."
        )
    kind = library("diffusers", "AutoencoderKL")
    convert = library("diffusers.loaders.single_file_utils", "convert_ldm_vae_checkpoint")
    encoder = (key for key in own if key.startswith(f"{VAE}encoder.down."))
    levels = 1 + max((int(key.split(".")[3]) for key in encoder), default=0)
    widths = [own[f"{VAE}encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels)]
    blocks = sum(
        key.startswith(f"{VAE}encoder.down.0.block.") and key.endswith(".conv1.weight") for key in own
    )
    config = {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": blocks,
        "latent_channels": 4,
        "scaling_factor": scaling_factor,
        "sample_size": 512,  # of the tiles that larger pictures are decoded in
    }
    vae = kind(**config)
    _fill(vae, convert(own, config), "cpu", torch.float32)
    vae.enable_tiling()
    return vae


class TextEncoder:
    """transformers' text model, from texts to what its last layer says, normed, or the one before, as it is
    [B, 77, width] and, of a network with a projection, the pooled text [B, width]. After a text's end mark
    come more of them, or `after_end`.
    """

    def __init__(self, network: Any, after_end: int | None, skips_last: bool) -> None:
        self.network, self.after_end, self.skips_last = network, after_end, skips_last

    def __call__(self, texts: Sequence[str]) -> Cond:
        tokenizer = clip_tokenizer()
        ids = torch.tensor(
            tokenizer(list(texts), padding="max_length", truncation=True, max_length=77)["input_ids"]
        )
        if self.after_end is not None:
            ends = (ids == tokenizer.eos_token_id).int()
            ids = torch.where((ends.cumsum(1) - ends) > 0, self.after_end, ids)
        answer = self.network(ids.to(self.network.device), output_hidden_states=True)
        hidden = answer.hidden_states[-2] if self.skips_last else answer.last_hidden_state
        pooled = getattr(answer, "text_embeds", None)
        return (hidden.cpu(),) if pooled is None else (hidden.cpu(), pooled.cpu())


def _text_config(width: int, layers: int, intermediate: int, **others: Any) -> Any:
    return library("transformers", "CLIPTextConfig")(
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // HEAD_WIDTH),
        bos_token_id=49406,
        eos_token_id=49407,
        **others,
    )


def _clip(tensors: Mapping[str, Tensor], prefix: str, is_xl: bool) -> TextEncoder:
    own = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            # files of SD 1's first year leave it out
            own[f"text_model.{key[len(prefix) :].removeprefix('text_model.')}"] = tensor.float()
    layers = sum(key.endswith(".mlp.fc1.weight") for key in own)
    intermediate, width = own["text_model.encoder.layers.0.mlp.fc1.weight"].shape
    network = library("transformers", "CLIPTextModel")(_text_config(width, layers, intermediate))
    _fill(network, own, "cpu", torch.float32)
    return TextEncoder(network, None, skips_last=is_xl)


def _open_clip(tensors: Mapping[str, Tensor], prefix: str, is_xl: bool) -> TextEncoder:
    own = {key: tensor.float() for key, tensor in tensors.items() if key.startswith(prefix)}
    projection = f"{prefix}text_projection"
    if f"{projection}.weight" in own:  # as a linear layer has it
        own[projection] = own.pop(f"{projection}.weight").T
    layers = sum(key.endswith(".mlp.c_fc.weight") for key in own)
    if not is_xl and layers != SD2_LAYERS:
        layers -= 1
    intermediate, width = own[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape
    config = _text_config(width, layers, intermediate, hidden_act="gelu", projection_dim=width)
    network = library("transformers", "CLIPTextModelWithProjection" if is_xl else "CLIPTextModel")(config)
    convert = library("diffusers.loaders.single_file_utils", "convert_open_clip_checkpoint")
    _fill(network, convert(network, own, prefix), "cpu", torch.float32)
    return TextEncoder(network, OPEN_CLIP_END, skips_last=is_xl)


def text_encoders(tensors: Mapping[str, Tensor], is_xl: bool) -> list[TextEncoder]:
    """Those that a file has, in the order in which SDXL joins what they say. Raises KeyError for a tensor
    that lacks.
    """
    kinds = {"conditioner.embedders.0.transformer.": _clip, "conditioner.embedders.1.model.": _open_clip,
             "cond_stage_model.transformer.": _clip, "cond_stage_model.model.": _open_clip,
             "conditioner.embedders.0.model.": _open_clip}  # fmt: skip
    return [
        make(tensors, prefix, is_xl)
        for prefix, make in kinds.items()
        if any(key.startswith(prefix) for key in tensors)
    ]


@cache
def clip_tokenizer() -> Any:
    """CLIP's: the one that the WebUI has, else huggingface's. Raises CannotDistill without either."""
    own = next((WEBUI / folder for folder in TOKENIZERS if (WEBUI / folder).is_dir()), TOKENIZER)
    kind = library("transformers", "CLIPTokenizer")
    try:
        return kind.from_pretrained(str(own))
    except Exception:  # what it raises seldom names the cause
        raise CannotDistill(
            f"CLIP's tokenizer could not be had from {own}: be online once, or name the folder of"
            " Forge, Forge Neo, Forge Classic or reForge by --webui."
        ) from None


@contextmanager
def on_device(device: torch.device, network: nn.Module) -> Iterator[None]:
    """Inside, `network` is on `device`; otherwise it waits on the CPU."""
    network.to(device)
    try:
        yield
    finally:
        network.to("cpu")
