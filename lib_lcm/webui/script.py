"""The Script class that the WebUI sees, and what is registered with the WebUI once."""

from __future__ import annotations

from contextlib import suppress

import gradio as gr

from lib_lcm.options import SCRIPT_TITLE
from lib_lcm.webui import language, settings, xyz_grid
from lib_lcm.webui.api import routes as api
from lib_lcm.webui.generation import activation
from lib_lcm.webui.generation.process import Generation
from lib_lcm.webui.host import infotexts, page, scripts
from lib_lcm.webui.page import first_values, live, paste
from lib_lcm.webui.page.accordion import Accordion
from lib_lcm.webui.page.host_controls import HostControls
from lib_lcm.webui.sampling import registry


class LcmScript(scripts.Script):
    """Always-on script "LCM": its arguments are the values of `lib_lcm.options.OPTIONS`, in order, or one
    object.
    """

    def __init__(self):
        super().__init__()
        # again: by now all extensions have had their say, and no page lists the samplers yet
        registry.register()
        # another extension may put a sampler of our name in our place
        self._generation = Generation(registry.register)
        self._host_controls: HostControls | None = None
        self._accordion: Accordion | None = None
        self._has_page = False
        self._api_controls: list | None = None

    def title(self):
        return SCRIPT_TITLE

    def show(self, is_img2img):
        return scripts.ALWAYS_VISIBLE

    def after_component(self, component, **kwargs):
        """Notes the WebUI's own controls as they are made, ours being somewhere among them, and connects ours
        when all are there.
        """
        element_id = kwargs.get("elem_id")
        self._controls().note(component, element_id)
        # which is below all controls
        if element_id == f"generation_info_{self._controls().tab}" and self._accordion is not None:
            self._accordion.connect()
            self._accordion = None

    def ui(self, is_img2img):
        # all scripts are loaded now, and the selectable ones have not made their interface yet
        xyz_grid.register()
        self._accordion = Accordion(self.elem_id, self._controls())
        self.infotext_fields = self._accordion.infotext_fields
        self.paste_field_names = self._accordion.paste_field_names
        page.save_as_its_tick(self._accordion.enabled, self.filename)
        if self._has_page:
            # The API makes controls that no page has, and takes their values, at this moment, for what a
            # request leaves out.
            self._api_controls = self._accordion.controls
            first_values.settle(self._api_controls)
        self._has_page = True
        return self._accordion.controls

    def first_args(self) -> list:
        """What the API passes to this script where a request leaves arguments out."""
        if self._api_controls is None:  # they are made with the first request; this is how [a1111-1.6]
            with gr.Blocks():
                self.ui(self.is_img2img)
        return [control.value for control in self._api_controls]

    def _controls(self) -> HostControls:
        if self._host_controls is None:
            self._host_controls = HostControls("img2img" if self.is_img2img else "txt2img")
        return self._host_controls

    def before_process(self, p, *args):
        live.runs.begin(p)

    def process(self, p, *args):
        self._generation.process(p, args)

    def post_sample(self, p, sampled, *args):  # never called [a1111-1.6 a1111-1.7]
        live.runs.decode(p, sampled)

    def postprocess(self, p, processed, *args):
        self._generation.postprocess(p)
        live.runs.end(p, processed)


def install() -> None:
    """Registers the sampler, the settings and the API. Called each time the script file is loaded, also after
    "Reload UI".
    """
    registry.register()
    activation.install()
    infotexts.wrap_reading(paste.read_infotext)
    scripts.call(
        ui_settings=settings.register,
        before_ui=language.begin_page,
        app_started=_app_started,
        script_unloaded=_script_unloaded,
    )


def _app_started(demo, app) -> None:
    """The page is there; by now all extensions have had their say."""
    first_values.settle_all()
    api.add_routes(demo, app)
    registry.register()
    live.add_routes(demo, app)


_UNDO = (registry.unregister, activation.uninstall, infotexts.unwrap_reading)


def _script_unloaded() -> None:
    for undo in _UNDO:
        undo()


def uninstall() -> None:
    """Takes back what `install` got done before it failed; the page then has no accordion, and our JavaScript
    leaves it alone.
    """
    for undo in (*_UNDO, scripts.call_no_more):
        with suppress(Exception):
            undo()
