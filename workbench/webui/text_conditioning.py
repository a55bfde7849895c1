"""From prompt text to what the UNet attends to: chunks of 75 tokens, weighted by the prompt's brackets."""

from __future__ import annotations

import torch

from workbench.small_models import DEFAULT_SIZE_IDS, SmallModel
from workbench.webui.prompt_syntax import parse_prompt_attention

CHUNK = 75
"""Tokens that fit between CLIP's begin and end marks."""


def _chunks(tokenizer, text: str, ignore_weights: bool) -> list[list[tuple[int, float]]]:
    """The prompt as chunks of at most 75 (token id, weight)."""
    pieces = [[text, 1.0]] if ignore_weights else parse_prompt_attention(text)
    chunks: list[list[tuple[int, float]]] = [[]]
    for piece, weight in pieces:
        if piece == "BREAK" and weight == -1:
            chunks.append([])
            continue
        for token in tokenizer.encode_words(piece):
            if len(chunks[-1]) == CHUNK:
                chunks.append([])
            chunks[-1].append((token, weight))
    return chunks


def prompt_lengths(model: SmallModel, text: str) -> tuple[int, int]:
    """(number of tokens, number of tokens up to which no chunk is added)."""
    chunks = _chunks(model.tokenizer, text, ignore_weights=False)
    return (len(chunks) - 1) * CHUNK + len(chunks[-1]), len(chunks) * CHUNK


def _encode_chunk(model: SmallModel, chunk: list[tuple[int, float]], emphasis: str):
    """(hidden [77, width], pooled [1280] or None). "Original" emphasis keeps the mean, "No norm" does not."""
    ids = torch.tensor([model.tokenizer.frame([token for token, _ in chunk])], device=model.device)
    hidden, pooled = model.text_encoder(ids)
    weights = [weight for _, weight in chunk]
    if emphasis != "Ignore" and any(weight != 1.0 for weight in weights):
        scale = torch.ones(hidden.shape[1], device=hidden.device, dtype=hidden.dtype)
        scale[1 : 1 + len(weights)] = torch.tensor(weights)
        weighted = hidden * scale[:, None]
        hidden = weighted if emphasis == "No norm" else weighted * (hidden.mean() / weighted.mean())
    return hidden[0], None if pooled is None else pooled[0]


def encode_prompts(
    model: SmallModel, prompts: list[str], *, emphasis: str = "Original", zero_if_empty: bool = False
):
    """Conditioning of a list of prompts.

    Returns [B, 77·chunks, width]; for a model with pooled text a dictionary {"crossattn": that, "vector": [B,
    1280 + 6]}, the vector being the pooled text and SDXL's six size ids (always those of training: the small
    model knows no others). zero_if_empty: all zeros if every prompt is empty, as SDXL's unconditional.
    """
    with torch.no_grad():
        all_chunks = [_chunks(model.tokenizer, prompt, emphasis == "None") for prompt in prompts]
        longest = max(len(chunks) for chunks in all_chunks)
        hidden, pooled = [], []
        for chunks in all_chunks:
            encoded = [
                _encode_chunk(model, chunk, emphasis) for chunk in chunks + [[]] * (longest - len(chunks))
            ]
            hidden.append(torch.cat([part for part, _ in encoded]))
            pooled.append(encoded[0][1])
        crossattn = torch.stack(hidden)
        if pooled[0] is None:
            return crossattn
        text_vector = torch.stack(pooled)
        if zero_if_empty and not any(prompt.strip() for prompt in prompts):
            crossattn, text_vector = torch.zeros_like(crossattn), torch.zeros_like(text_vector)
        size_ids = torch.tensor(DEFAULT_SIZE_IDS, device=crossattn.device, dtype=crossattn.dtype).repeat(
            len(prompts), 1
        )
        return {"crossattn": crossattn, "vector": torch.cat([text_vector, size_ids], dim=1)}
