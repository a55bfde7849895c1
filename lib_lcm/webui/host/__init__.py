"""What this WebUI is and has: the only place that imports it and that knows that hosts differ.

It asks what a host can do, never for its version. A difference is marked with the hosts that need it, as in
"(1.6, 1.7, Forge)": 1.6 to 1.10 are AUTOMATIC1111's versions.
"""
