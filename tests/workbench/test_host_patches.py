"""What the extension puts into the host's modules is taken out again exactly. Runs in a process of its own,
inside the host's modules.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests import prepared
from tests.unit.lora_fixtures import official_lora_tensors, write_lora

ROOT = Path(__file__).resolve().parents[2]
PROLOGUE = """
import sys
sys.path[:0] = [{webui!r}, {root!r}]
from workbench.webui import profiles
profiles.select({profile!r})
from modules import shared_cmd_options
shared_cmd_options.configure(port=0, data_dir={data!r}, ckpt_dir={data!r}, lora_dir={loras!r}, extensions=[])
from pathlib import Path
from modules import extra_networks
import networks
from lib_lcm.webui.host import networks as host_networks
networks.list_available_networks()
"""


def run_in_host(tmp_path, code: str, profile: str = "a1111-1.10") -> None:
    """Runs `code` where the host's modules can be imported; what it asserts counts."""
    loras = tmp_path / "Lora"
    values = {
        "profile": profile,
        "webui": str(ROOT / "workbench" / "webui"),
        "root": str(ROOT),
        "data": str(tmp_path),
        "loras": str(loras),
    }
    program = PROLOGUE.format(**values) + textwrap.dedent(code)
    status, printed = prepared.run("-c", program)
    assert status == 0, printed


def test_the_activation_of_networks_is_the_hosts_own_again(tmp_path):
    run_in_host(
        tmp_path,
        """
        own = extra_networks.activate
        seen = []
        host_networks.wrap_activate(lambda activate, p, tags: seen.append((activate, tags)))
        host_networks.wrap_activate(lambda activate, p, tags: seen.append((activate, tags)))
        extra_networks.activate(None, {"lora": []})
        assert seen == [(own, {"lora": []})], "wrapped once, however often it is asked for"
        host_networks.unwrap_activate()
        assert extra_networks.activate is own

        # another extension wraps ours; ours goes first
        called = []
        extra_networks.activate = lambda p, tags: called.append("own")
        host_networks.wrap_activate(lambda activate, p, tags: called.append("ours") or activate(p, tags))
        ours = extra_networks.activate
        extra_networks.activate = theirs = lambda p, tags: called.append("theirs") or ours(p, tags)
        host_networks.unwrap_activate()
        assert extra_networks.activate is theirs, "theirs is left alone"
        extra_networks.activate(None, {})
        assert called == ["theirs", "own"]
        """,
    )


def test_a_second_file_of_one_name_is_listed_only_for_as_long_as_it_is_needed(tmp_path):
    for family in ("sd15", "sdxl"):
        write_lora(tmp_path / "Lora" / family / "weights.safetensors", official_lora_tensors(family))
    run_in_host(
        tmp_path,
        """
        folder = Path(networks.shared.cmd_opts.lora_dir)
        names = (
            "available_networks", "available_network_aliases",
            "available_network_hash_lookup", "forbidden_network_aliases",
        )
        before = {name: dict(getattr(networks, name)) for name in names}
        look_again = networks.list_available_networks
        for family in ("sd15", "sdxl"):
            path = folder / family / "weights.safetensors"
            try:
                with host_networks.reachable(path, f"{family}/weights") as name:
                    assert name == f"{family}/weights" and host_networks.path_of(name) == path
                    networks.list_available_networks()
                    assert host_networks.path_of(name) == path, "the host looked at its folder again"
                    entry = networks.available_network_aliases[name]
                    entry.read_hash()
                    assert entry.shorthash in networks.available_network_hash_lookup
                    raise KeyError
            except KeyError:
                pass
            assert host_networks.path_of(name) is None
            assert networks.list_available_networks is look_again
            for name in names:
                assert getattr(networks, name).keys() == before[name].keys(), name
        """,
    )


def test_loras_in_the_folders_of_another_webui_count(tmp_path):
    folder = tmp_path / "of another WebUI"
    folder.mkdir()
    write_lora(folder / "theirs.safetensors", official_lora_tensors("sd15"))
    run_in_host(
        tmp_path,
        f"""
        Path(networks.shared.cmd_opts.lora_dir).mkdir(exist_ok=True)
        networks.shared.cmd_opts.lora_dirs = [{str(folder)!r}, {str(tmp_path / "gone")!r}]
        assert host_networks.lora_dirs() == [Path(networks.shared.cmd_opts.lora_dir), Path({str(folder)!r})]
        networks.list_available_networks()
        assert host_networks.path_of("theirs") == Path({str(folder / "theirs.safetensors")!r})
        """,
        profile="neo",
    )


def test_where_no_checkpoint_is_selected_the_one_that_will_be_loaded_counts(tmp_path):
    """As after a preset of Forge Neo that names none."""
    for name in ("first", "second"):
        write_lora(tmp_path / f"{name}.safetensors", official_lora_tensors("sd15"))
    run_in_host(
        tmp_path,
        """
        from modules import sd_models, shared
        from lib_lcm.webui.host import models
        sd_models.list_models()
        for selected, name in ((None, "first"), ("second.safetensors", "second")):
            shared.opts.sd_model_checkpoint = selected
            assert models.selected_name() == name
        """,
        profile="neo",
    )


def test_what_a_preset_puts_into_the_hires_steps_is_no_choice(tmp_path):
    """As Forge Neo's presets do."""
    run_in_host(
        tmp_path,
        """
        from modules import shared
        from lib_lcm.webui.host import generations
        assert [generations.chosen_hires_steps(steps) for steps in (0, 2, 32, None)] == [0, 2, 0, None]
        shared.opts.forge_preset = "xl"
        assert [generations.chosen_hires_steps(steps) for steps in (24, 32)] == [0, 32]
        """,
        profile="neo",
    )


def test_a_schedule_that_the_webui_guesses_for_a_picture_of_lcms_is_automatic(tmp_path):
    """Forge Neo guesses "Simple" for pictures of A1111 1.6 to 1.8."""
    run_in_host(
        tmp_path,
        """
        from modules import infotext_utils
        from lib_lcm.webui.host import infotexts
        from lib_lcm.webui.page.paste import SCHEDULE_TYPE, read_infotext
        own = infotext_utils.parse_generation_parameters
        infotexts.wrap_reading(read_infotext)
        for last, skipped, schedule in (
            ("LCM LoRA: x", None, "Automatic"),
            ("LCM LoRA: x, Schedule type: Simple", None, "Simple"),
            ("Lora hashes: x", None, "Simple"),
            ("LCM LoRA: x", [SCHEDULE_TYPE], None),
        ):
            text = f"a star\\nSteps: 4, Sampler: LCM, CFG scale: 1, {last}"
            read = infotext_utils.parse_generation_parameters(text, skipped)
            assert (read["Steps"], read.get(SCHEDULE_TYPE)) == ("4", schedule), read
        infotexts.unwrap_reading()
        assert infotext_utils.parse_generation_parameters is own
        """,
        profile="neo",
    )


def test_another_extensions_tcd_is_used_when_picked_by_hand_and_is_back_when_ours_goes(tmp_path):
    run_in_host(
        tmp_path,
        """
        from modules import sd_samplers, sd_samplers_common
        from lib_lcm.webui.host import samplers
        from lib_lcm.webui.sampling import registry
        before, by_alias = list(sd_samplers.all_samplers), dict(sd_samplers.samplers_map)
        assert [entry.name for entry in before].count("LCM") == 1
        registry.register()
        registry.register()
        names = [entry.name for entry in sd_samplers.all_samplers]
        assert names == [entry.name for entry in before] + ["TCD", "Euler trailing", "DDIM trailing"]
        assert by_alias.items() <= sd_samplers.samplers_map.items(), "none means another sampler now"
        assert samplers.own_samplers() == {"LCM"}
        registry.unregister()
        assert sd_samplers.all_samplers == before and "TCD" not in sd_samplers.all_samplers_map

        made = []
        make = lambda model: made.append(model) or "their sampler"
        theirs = sd_samplers_common.SamplerData("TCD", make, ["k_tcd"], {"their": "option"})
        sd_samplers.all_samplers.insert(2, theirs)
        sd_samplers.all_samplers_map["TCD"] = theirs
        for _ in range(2):
            registry.register()
        ours = sd_samplers.all_samplers[2]
        assert ours is sd_samplers.all_samplers_map["TCD"] is not theirs and ours.options == theirs.options
        assert samplers.own_samplers() == {"LCM", "TCD"}
        # no generation of LCM's is running
        assert ours.constructor("model") == "their sampler" and made == ["model"]
        registry.unregister()
        assert sd_samplers.all_samplers[2] is theirs is sd_samplers.all_samplers_map["TCD"]
        assert samplers.own_samplers() == {"LCM", "TCD"}
        """,
    )
