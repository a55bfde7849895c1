"""LoRA files: what they are, which are published, and which one is used."""
