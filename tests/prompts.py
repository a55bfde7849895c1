"""Prompts that the workbench's own models understand; to a real WebUI they are as good as any."""

PROMPT = "a big red cross on a blue mosaic"
OTHER = "a big yellow circle on a green mosaic"
THIRD = "a small white square on a black mosaic"
