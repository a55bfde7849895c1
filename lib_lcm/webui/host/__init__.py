"""What this WebUI is and has: the only place that imports it and that knows that hosts differ.

It asks what a host can do, never for its version. A difference is marked with the hosts that need it, in
brackets: [a1111-1.6 forge]. Their names are those of the workbench's profiles; [a1111] is all of its
versions. So dropping a host is a search for its name.
"""
