"""A word-level tokenizer with a small vocabulary, in CLIP's layout: BOS, words, EOS, padding, 77 ids in
all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch

from workbench.scenes import WORDS

MAX_LENGTH = 77
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PUNCTUATION = (",", ".", ":", ";", "!", "?", "(", ")", "[", "]", "-", "'", '"')
FILLERS = (
    "a", "an", "the", "on", "of", "in", "and", "with", "at", "is", "background", "picture", "image", "photo",
    "drawing",
    "shape", "one", "two", "large", "little", "tiny", "huge", "grey", "orange", "purple", "brown",
)  # fmt: skip
WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


VOCABULARY = tuple(dict.fromkeys((*SPECIAL, *WORDS, *FILLERS, *PUNCTUATION)))
"""Every word once; its order is that of the ids."""


class Tokenizer:
    """Turns any text into ids. Words outside the vocabulary become `unk_id`; nothing is ever refused."""

    model_max_length = MAX_LENGTH

    def __init__(self, words: Sequence[str] = VOCABULARY) -> None:
        self.words = tuple(words)
        self.ids = {word: index for index, word in enumerate(self.words)}
        self.pad_id, self.bos_id, self.eos_id, self.unk_id = (self.ids[token] for token in SPECIAL)

    def __len__(self) -> int:
        return len(self.words)

    def encode_words(self, text: str) -> list[int]:
        """Ids of the words and punctuation marks of `text`, without BOS, EOS, padding or truncation."""
        return [self.ids.get(word, self.unk_id) for word in WORD.findall(text.lower())]

    def frame(self, word_ids: Sequence[int]) -> list[int]:
        """BOS + ids + EOS + padding, exactly MAX_LENGTH long; ids beyond the 75th are cut."""
        framed = [self.bos_id, *list(word_ids)[: MAX_LENGTH - 2], self.eos_id]
        return framed + [self.pad_id] * (MAX_LENGTH - len(framed))

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids`, special tokens left out."""
        return " ".join(self.words[index] for index in ids if index >= len(SPECIAL))

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """int64 [B, 77] for one text or a list of texts."""
        batch = [texts] if isinstance(texts, str) else list(texts)
        return torch.tensor([self.frame(self.encode_words(text)) for text in batch], dtype=torch.long)
