"""What the accordion says, asked of the code that says it: the page's own question over HTTP, without a
browser.

A `Panel` reads from gradio what the page is made of, and asks as javascript/lcm.js does: the values of a
fresh page, with some of them changed. So the order of inputs and outputs, and what gradio makes of each
value, are those of the page.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = "\u00a0\u00b7\u00a0"


@dataclass(frozen=True)
class Answer:
    """What the page would show."""

    exchange: str
    """What the server says in the hidden box."""
    line: str
    """The status line with all its details."""
    short: str
    state: str | None
    """What the title of the accordion says."""
    is_refusal: bool
    warnings: list[str]
    covered: dict[str, str]
    """Element id -> the value that covers one of the WebUI's controls."""
    noted: dict[str, str]
    """Element id -> the note at one of the WebUI's controls."""
    preset: str | None
    negative: str | None
    """None where it is hidden."""
    ranges: dict[str, tuple[float, float]]
    """Options whose sliders get another range."""
    moved: dict[str, float]
    """Options whose sliders the answer moves."""
    known: dict
    """What the page tells the server again with its next question."""
    lora: str | None
    """The entry that the LoRA drop-down shows from now on, None where that stays."""
    entries: list[str]
    """The entries of the LoRA drop-down, with plain spaces."""
    sends_entries: bool
    remember: str | None
    """The text of the remember button, None where it is hidden."""
    download: str | None
    correct: str | None
    """The text of the button that corrects a method, None where it is hidden."""
    offers: list[str]
    """What the folded part offers for download, with plain spaces."""
    clears_offer: bool
    """Whether what is chosen there is not chosen any more, and its licence not asked for."""
    own: str | None
    """What the folded part says that makes a checkpoint's own LoRA, None where that stays."""


class Panel:
    """The accordion of one tab of a WebUI. `client` is a `workbench.client.Client`."""

    def __init__(self, client, tab: str = "txt2img"):
        self._client = client
        self._tab = tab
        self.known = None

    @cached_property
    def config(self) -> dict:
        """What gradio tells the page of its components and events."""
        return self._client.get("/config")

    @cached_property
    def components(self) -> dict[int, dict]:
        return {component["id"]: component for component in self.config["components"]}

    @cached_property
    def ids(self) -> dict[str, int]:
        """Element id -> gradio's id of the component."""
        named = (component for component in self.components.values() if component["props"].get("elem_id"))
        return {component["props"]["elem_id"]: component["id"] for component in named}

    def event(self, element_id: str, trigger: str) -> tuple[int, dict]:
        """The number and the description of the event that asks the server when `trigger` happens to an
        element.
        """
        wanted = self.ids[element_id]
        for number, event in enumerate(self.config["dependencies"]):
            if event["backend_fn"] and (wanted, trigger) in self.targets(event):
                return event.get("id", number), event
        raise LookupError(f"nothing asks the server at {trigger} of {element_id}")

    @staticmethod
    def targets(event: dict) -> set[tuple[int, str]]:
        """(component, trigger) of an event: gradio 3 has one trigger for all components, gradio 4 one for
        each.
        """
        return {
            tuple(target) if isinstance(target, list) else (target, event["trigger"])
            for target in event["targets"]
        }

    def element_id(self, component: int) -> str:
        return self.components[component]["props"].get("elem_id")

    def name(self, option: str) -> str:
        """The element id of a control of the accordion, for its tick that of the hidden checkbox which every
        host has.
        """
        return f"script_{self._tab}_lcm_{'enabled-checkbox' if option == 'enabled' else option}"

    def call(self, element_id: str, trigger: str, values: dict) -> list:
        """What the server answers to an event, by output; `values` by element id, those of a fresh page for
        the rest.
        """
        number, event = self.event(element_id, trigger)
        data = [
            values.get(self.element_id(one), self.components[one]["props"].get("value"))
            for one in event["inputs"]
        ]
        return self._client.post("/run/predict", {"fn_index": number, "data": data, "session_hash": "panel"})[
            "data"
        ]

    def ask(
        self, problem: str | None = None, is_scaled: bool = False, host: dict | None = None, **options
    ) -> Answer:
        """The answer to a question; `options` are values of the accordion by name, `host` of the WebUI's own
        controls by element id.
        """
        values = {self.name(name): value for name, value in options.items()} | (host or {})
        known = (
            self.known
            or json.loads(self.components[self.ids[self.name("exchange")]]["props"]["value"])["known"]
        )
        question = {"token": "a token", "known": known, "problem": problem, "is_scaled": is_scaled}
        values[self.name("exchange")] = json.dumps(question)
        answer = self._read(*self.call(self.name("ask"), "click", values))
        self.known = answer.known
        return answer

    def press(self, button: str, after: Answer | None = None, **options) -> str | None:
        """Presses a button of the accordion as it is `after` an answer; returns what goes wrong."""
        values = {self.name(name): value for name, value in options.items()}
        if after is not None:
            values[self.name("exchange")] = after.exchange
        return json.loads(self.call(self.name(button), "click", values)[0])["problem"]

    @staticmethod
    def _read(
        exchange: str,
        status: str,
        messages: str,
        preset: str | None,
        negative: dict,
        steps: dict,
        cfg: dict,
        drop_down: dict,
        remember: dict,
        download: dict,
        correct: dict,
        offers: dict,
        accept: dict,
        own: str | dict,
        own_name: dict,
    ) -> Answer:
        said = json.loads(exchange)
        assert said["token"] == "a token"

        shown = re.search(
            r'<div class="lcm-status[^"]*"(?: title="(.*?)")?><span class="lcm-plan">(.*?)</span>', status
        )
        details, line = (_text(part or "") for part in shown.groups())

        def button(update: dict) -> str | None:
            return update["value"] if update.get("visible") else None

        return Answer(
            exchange=exchange,
            line=details or line,
            short=line,
            state=next(iter(re.findall(r'span:not\(.icon\)::after\{content:" · (.*?)"', status)), None),
            is_refusal="lcm-refusal" in status,
            warnings=[_text(item) for item in re.findall(r"<li>(.*?)</li>", messages)],
            covered=_rules(r'^#(\S+)\{--lcm-value:"(.*)"\}$', status),
            noted=_rules(r'^#(\S+)::after\{content:"(.*)"\}$', status),
            preset=preset,
            negative=negative["value"] if negative["visible"] else None,
            ranges={
                name: (update["minimum"], update["maximum"])
                for name, update in (("steps", steps), ("cfg", cfg))
                if "minimum" in update
            },
            moved={
                name: value
                for name, value in zip(("weight", "steps", "cfg"), said["moved"], strict=True)
                if value is not None
            },
            known=said["known"],
            lora=drop_down.get("value"),
            entries=[entry.replace("\u00a0", " ") for entry in said["known"]["entries"]],
            sends_entries="choices" in drop_down,
            remember=button(remember),
            download=button(download),
            correct=button(correct),
            offers=[entry.replace("\u00a0", " ") for entry in said["known"]["offers"]],
            clears_offer="value" in offers and accept["visible"] is False,
            own=_text(own) if isinstance(own, str) else None,
        )


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def _rules(pattern: str, status: str) -> dict[str, str]:
    """Element id -> text of the rules of the style sheet in a status line."""
    sheet = re.search(r"<style>(.*?)</style>", status, re.DOTALL)
    found = re.findall(pattern, sheet[1], re.MULTILINE) if sheet else []
    return {
        element_id: re.sub(r"\\([0-9a-f]+) ", lambda match: chr(int(match[1], 16)), text)
        for element_id, text in found
    }
