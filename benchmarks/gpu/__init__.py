"""What a GPU makes of samplers, UNets of real size, torch.compile, distillation and the small models:
`python dev.py gpu`.

Needs torch, safetensors, diffusers and this repository alone; no network, no weights (the UNets have random
ones), no host. `samplers`, `speed`, `compiled`, `distillation` and `pictures` are the sections; each hands
out its checks, which `__main__` carries out one by one and `record` keeps.
"""

import os

# The profiler's own log would stand between the lines; it reads this when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "5")
