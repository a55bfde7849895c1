"""Tags in prompts such as `<lora:name:weight>`: found, taken out of the text, and handed to the network they
name.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict

from modules import errors

extra_network_registry: dict[str, ExtraNetwork] = {}
extra_network_aliases: dict[str, ExtraNetwork] = {}

_TAG = re.compile(r"<(\w+):([^>]+)>")


class ExtraNetworkParams:
    """The parts of one tag after its name: `items` as written, `named` those with exactly one `=`,
    `positional` the others. Equal by text.
    """

    def __init__(self, items=None):
        self.items = items or []
        self.positional = []
        self.named = {}
        for item in self.items:
            parts = item.split("=") if isinstance(item, str) else [item]
            if len(parts) == 2:
                self.named[parts[0]] = parts[1]
            else:
                self.positional.append(item)

    def __eq__(self, other):
        return self.items == other.items

    __hash__ = None


class ExtraNetwork:
    """A kind of network. `activate` is called for every image, with an empty list if the prompt names
    none.
    """

    def __init__(self, name):
        self.name = name

    def activate(self, p, params_list):
        raise NotImplementedError

    def deactivate(self, p):
        raise NotImplementedError


def initialize():
    extra_network_registry.clear()
    extra_network_aliases.clear()


def register_extra_network(extra_network):
    extra_network_registry[extra_network.name] = extra_network


def register_extra_network_alias(extra_network, alias):
    extra_network_aliases[alias] = extra_network


def lookup_extra_networks(extra_network_data):
    """Network object -> list of its tags. Names that no network has are left out."""
    found: dict[ExtraNetwork, list] = {}
    for name, params in (extra_network_data or {}).items():
        network = extra_network_registry.get(name) or extra_network_aliases.get(name)
        if network is None:
            logging.info("Skipping unknown extra network: %s", name)
        else:
            found.setdefault(network, []).extend(params)
    return found


def _each_network(extra_network_data):
    """All registered networks with their tags, those in the prompt first."""
    mentioned = lookup_extra_networks(extra_network_data)
    yield from mentioned.items()
    for network in extra_network_registry.values():
        if network not in mentioned:
            yield network, []


def _activate_one(p, network, params) -> bool:
    """Whether it could be activated; if not, that is reported."""
    try:
        network.activate(p, params)
    except Exception as e:
        errors.display(
            e, f"activating extra network {network.name} with arguments {[item.items for item in params]}"
        )
        return False
    return True


def activate(p, extra_network_data):
    for network, params in _each_network(extra_network_data):
        # one whose tags cannot be read has none then: else it would go on with those of the picture before
        if not _activate_one(p, network, params) and params:
            _activate_one(p, network, [])
    if p.scripts is not None:
        p.scripts.after_extra_networks_activate(
            p,
            batch_number=p.iteration,
            prompts=p.prompts,
            seeds=p.seeds,
            subseeds=p.subseeds,
            extra_network_data=extra_network_data,
        )


def deactivate(p, extra_network_data):
    for network, _ in _each_network(extra_network_data):
        try:
            network.deactivate(p)
        except Exception as e:
            errors.display(e, f"deactivating extra network {network.name}")


def parse_prompt(prompt):
    """(the prompt without its tags, name -> list of ExtraNetworkParams)"""
    found = defaultdict(list)

    def take(match):
        found[match.group(1)].append(ExtraNetworkParams(items=match.group(2).split(":")))
        return ""

    return _TAG.sub(take, prompt), found


def parse_prompts(prompts):
    """(the prompts without tags, the tags of the first prompt: a batch has one set of networks)"""
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in parsed], parsed[0][1] if parsed else None
