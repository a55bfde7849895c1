"""What this WebUI's user had remembered: the LCM-LoRA that Auto means for a checkpoint, and what method a
LoRA is of.
"""

from __future__ import annotations

from lib_lcm.lora.remembered import NotRemembered, RememberedLoras, RememberedMethods
from lib_lcm.text import Text
from lib_lcm.webui.host import models, server

FILE_NAME, METHODS_FILE_NAME = "lcm-loras.json", "lcm-lora-methods.json"

_store: RememberedLoras | None = None
_methods: RememberedMethods | None = None


def store() -> RememberedLoras:
    """What this WebUI remembers, in a file beside its settings."""
    global _store
    path = server.data_folder() / FILE_NAME
    if _store is None or _store.path != path:
        _store = RememberedLoras(path)
        if _store.problem is not None:
            server.log(_store.problem)
    return _store


def methods() -> RememberedMethods:
    """The methods of LoRA files that were taken for another's, in a file beside the WebUI's settings."""
    global _methods
    path = server.data_folder() / METHODS_FILE_NAME
    if _methods is None or _methods.path != path:
        _methods = RememberedMethods(path)
    return _methods


def is_empty() -> bool:
    """Whether nothing is remembered for any checkpoint."""
    return store().is_empty()


def lora_of(model) -> str | None:
    """What Auto means for a loaded model, as the option `lora` has it; None where nothing is remembered, or
    no model is loaded.
    """
    return None if model is None else store().get(models.checkpoint_sha256(model))


def remember(model, lora: str) -> None:
    """From now on Auto means `lora` for this model's checkpoint. Raises NotRemembered with one sentence."""
    store().remember(_checkpoint(model), lora, name=models.checkpoint_name(model) or "")


def forget(model) -> None:
    """From now on Auto means what fits best. Raises NotRemembered with one sentence."""
    store().forget(_checkpoint(model))


def _checkpoint(model) -> str:
    sha256 = None if model is None else models.checkpoint_sha256(model)
    if sha256 is None:
        raise NotRemembered(
            Text("Nothing can be remembered: no checkpoint is loaded.")
            if model is None
            else Text(
                "Nothing can be remembered: the WebUI has no hash of this checkpoint (was it started with"
                " --no-hashing?)."
            )
        )
    return sha256
