"""Functions of the WebUI that have one of ours in their place while the extension is there."""

from __future__ import annotations


class Replaced:
    """The function `name` of a module of the WebUI, and what stands in its place."""

    def __init__(self, module, name: str):
        self._module = module
        self._name = name
        self._original = None
        self._replacement = None

    def __call__(self, *args, **kwargs):
        if self._replacement is None:
            return self._original(*args, **kwargs)
        return self._replacement(self._original, *args, **kwargs)

    def replace(self, replacement) -> None:
        """The function becomes `replacement(host's own, ...)`. Doing it again changes nothing."""
        if self._original is None:
            self._original = getattr(self._module, self._name)
            setattr(self._module, self._name, self)
        self._replacement = replacement

    def restore(self) -> None:
        """The host's own again. Where another extension has wrapped ours since, ours stays as a mere
        passage.
        """
        self._replacement = None
        if self._original is not None and getattr(self._module, self._name) is self:
            setattr(self._module, self._name, self._original)
            self._original = None
