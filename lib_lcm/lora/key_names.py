"""Takes tensor names of LoRAs apart, in the styles of kohya, peft, diffusers and LyCORIS: which layer, and
which part of its change. Of a UNet's own tensors it tells the layer too, in the original naming and in
diffusers'.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class Key(NamedTuple):
    """One tensor name taken apart.

    `component` is "unet", "text_encoder", "video" (layers that work across frames) or "other". `module` is
    the layer's path with underscores, a UNet's always in diffusers' names. `part` is the tensor's role in its
    module ("down", "up", "alpha", "hada_w1_a", ...) and `kind` the kind of network that has such a part, None
    if any kind does. `ldm_names`: the name was in the original (LDM) naming. `is_cross_attention_input`: the
    module takes the text's embedding as input, so its width tells the family.
    """

    component: str
    module: str
    part: str
    kind: str | None
    ldm_names: bool = False
    is_cross_attention_input: bool = False


_HALF = re.compile(
    r"(.+?)(?:\.lora_|[._]lora\.|\.lora_linear_layer\.)(down|up|mid|A|B)(?:\.[^.]+)?", re.DOTALL
)
_HALF_NAMES = {"down": "down", "A": "down", "up": "up", "B": "up", "mid": "mid"}
_KIND_OF_PART = {
    "down": "lora",
    "up": "lora",
    "mid": "tucker",
    "dora_scale": "dora",
    "lora_magnitude_vector": "dora",
    **dict.fromkeys(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"), "loha"),
    **dict.fromkeys(
        ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"), "lokr"
    ),
    "on_input": "ia3",
    **dict.fromkeys(("diff", "diff_b"), "full"),
    **dict.fromkeys(("w_norm", "b_norm"), "norm"),
    **dict.fromkeys(("a1", "a2", "b1", "b2"), "glora"),
    **dict.fromkeys(("oft_blocks", "oft_diag"), "oft"),
}
_TEXT_ENCODER = re.compile(
    r"lora_te\d?_|lora_t5|lycoris_(te|text_model)|oft_te\d?_|(base_model\.model\.)?(text_encoder(_\d)?[._]|text_model[._])|clip_[lg]\.|t5xxl\."
)
_UNET_PREFIX = re.compile(
    r"^(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|unet\.|transformer\.|lora_unet_|lora_transformer_|lycoris_|oft_unet_)*"
)
_UNET_MODULE = re.compile(
    r"(?:down_blocks_\d+|up_blocks_\d+|mid_block)_(?:attentions|resnets|downsamplers|upsamplers)_\d+_|conv_(?:in|out|norm_out)$|(?:time|add)_embedding_(?:linear_|cond_proj$)"
)
_LDM_MODULE = re.compile(
    r"(input_blocks|output_blocks)_(\d{1,2})_(\d)_(.+)|middle_block_(\d)_(.+)|(input_blocks_0_0|(?:time_embed|label_emb|out)_.+)",
    re.DOTALL,
)
_LDM_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_LDM_OUTSIDE_BLOCKS = {
    "input_blocks_0_0": "conv_in",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "time_embed_cond_proj": "time_embedding_cond_proj",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}


@lru_cache(maxsize=16384)  # thousands of files share the same few thousand names
def split_key(name: str) -> Key:
    """Take a tensor's name apart, in kohya's, peft's, diffusers' or LyCORIS' style."""
    module, _, part = name.rpartition(".")
    if part == "weight":
        half = _HALF.fullmatch(module)
        if half:
            module, part = half[1], _HALF_NAMES[half[2]]
        else:
            owner, _, inner = module.rpartition(".")
            if inner in _KIND_OF_PART:  # GLoRA's `a1.weight`, peft's `lora_magnitude_vector.weight`
                module, part = owner, inner
    kind = _KIND_OF_PART.get(part)
    if _TEXT_ENCODER.match(name):
        return Key("text_encoder", module, part, kind)
    path = _UNET_PREFIX.sub("", module, count=1).replace(".", "_")
    # diffusers' first LoRA format hung its layers on attention processors
    path = path.replace("_processor_to_", "_to_")
    if path.endswith("_to_out"):
        path += "_0"
    if "temporal" in path or "motion_modules" in path or "_temp_" in path:
        return Key("video", path, part, kind)
    ldm = _LDM_MODULE.fullmatch(path)
    if ldm:
        path = _diffusers_name(ldm)
    elif not _UNET_MODULE.match(path):
        return Key("other", path, part, kind)
    return Key("unet", path, part, kind, ldm is not None, path.endswith(("_attn2_to_k", "_attn2_to_v")))


def _diffusers_name(ldm: re.Match[str]) -> str:
    """diffusers' name of a layer of the original UNet, whose blocks are numbered through: three to a level,
    the third a downsampler.
    """
    side, block, sub, inner, middle_sub, middle_inner, outside = ldm.groups()
    if outside:
        return _LDM_OUTSIDE_BLOCKS.get(outside, outside)
    if side is None:
        kind = "attentions_0" if middle_sub == "1" else f"resnets_{int(middle_sub) // 2}"
        return f"mid_block_{kind}_{_LDM_RESNET.get(middle_inner, middle_inner)}"
    inner = _LDM_RESNET.get(inner, inner)
    number = int(block)
    if side == "input_blocks":
        level, index = divmod(number - 1, 3)
        if index == 2:
            return f"down_blocks_{level}_downsamplers_0_conv"
        return f"down_blocks_{level}_{'resnets' if sub == '0' else 'attentions'}_{index}_{inner}"
    level, index = divmod(number, 3)
    if inner == "conv":
        return f"up_blocks_{level}_upsamplers_0_conv"
    return f"up_blocks_{level}_{'resnets' if sub == '0' else 'attentions'}_{index}_{inner}"
