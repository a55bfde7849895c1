"""The one script that the WebUI loads; everything is in lib_lcm.webui."""

try:
    from lib_lcm.webui.host import server

    _missing = server.missing_parts()
    if not _missing:
        from lib_lcm.webui import script
except ImportError as error:
    # a WebUI that lacks what even the probing needs, or a part that the probing does not know
    _missing = [error.name or str(error)]
    if _missing[0].startswith("lib_lcm"):
        raise  # not the WebUI's fault

if not _missing:
    try:
        script.install()
    except Exception as error:  # a WebUI that has all these parts and is another one all the same
        script.uninstall()
        _missing = [f"something that LCM builds on ({type(error).__name__}: {error})"]

if _missing:
    print(
        f"LCM: this WebUI lacks {', '.join(_missing)}, so LCM is not available; use A1111 1.6 or later,"
        " Forge, Forge Neo, Forge Classic or reForge."
    )
else:

    class LcmScript(script.LcmScript):
        """Defined here because the WebUI looks for script classes in this file."""
