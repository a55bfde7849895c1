"""Cross-attention that skips padding, exactly.

The text encoder's output is zero after the caption, and SD's key and value projections have no bias, so all
padding has key 0 and value 0. Seventy of them weigh as much in the softmax as one with log(70) added to its
score. A training step on 13 tokens instead of 77 is then several times faster and gives the same result.
"""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from workbench.tokenizer import MAX_LENGTH


class SkipPadding:
    """Attention processor for diffusers; expects text cut to its first L <= 77 positions, all used positions
    among them.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """[B, N, C] attends to itself, or to text [B, L, W]; returns [B, N, C]. The UNet of SD passes no mask
        and flat states.
        """
        is_cross = encoder_hidden_states is not None
        context = encoder_hidden_states if is_cross else hidden_states
        query, key, value = (
            self._heads(layer(states), attn.heads)
            for layer, states in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        bias = None
        skipped = MAX_LENGTH - context.shape[1]
        if is_cross and skipped > 0:
            key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))
            bias = query.new_zeros(key.shape[2])
            bias[-1] = math.log(skipped)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias if bias is None else bias[None], scale=attn.scale
        )
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))

    @staticmethod
    def _heads(states: Tensor, heads: int) -> Tensor:
        """[B, N, heads * d] -> [B, heads, N, d]"""
        return states.unflatten(2, (heads, -1)).transpose(1, 2)


def skip_padding(unet: UNet2DConditionModel) -> None:
    """Makes `unet` take text cut to any length and treat what was cut off as zeros."""
    unet.set_attn_processor(SkipPadding())


def used_length(input_ids: Tensor, pad_id: int) -> int:
    """Length of the longest caption in ids [B, L], special tokens included."""
    return int((input_ids != pad_id).sum(dim=1).max())


def cut(input_ids: Tensor, pad_id: int) -> Tensor:
    """ids [B, 77] without the positions that are padding in every row."""
    return input_ids[:, : used_length(input_ids, pad_id)].contiguous()
