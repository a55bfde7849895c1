"""Everything that touches the WebUI, one file per concern. `host` is the only one that knows how WebUIs
differ.
"""
