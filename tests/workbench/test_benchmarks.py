"""The arithmetic of the benchmarks, and one small run of each on models that are not trained."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import __main__ as bench
from benchmarks import clock, frontier, full_lcm, guidance, quality, recipes, schedule_search
from benchmarks.statistics import frechet_distance, paired_difference, wilson
from benchmarks.unwanted import TASKS, wishes
from lib_lcm.distill import LoraAdapter, save_lora
from workbench.scenes import COLOURS
from workbench.scenes.judge import Judge
from workbench.scenes.render import render, to_uint8
from workbench.small_models import build_model, load_checkpoint, save_checkpoint
from workbench.train.lora import add_guidance_input
from workbench.train.sampling import load_for_cut_captions, sample_lcm


def test_wilson_interval():
    """Values of the formula in Brown, Cai and DasGupta (2001), equation (4)."""
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson(0, 20)
    assert (low, high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_difference_knows_that_the_prompts_are_the_same():
    ours, theirs = [True] * 80 + [False] * 20, [True] * 70 + [False] * 30
    mean, half = paired_difference(ours, theirs)
    assert mean == pytest.approx(0.1)
    assert half == pytest.approx(1.959964 * math.sqrt(0.1 * 0.9 / 99))
    unpaired = 1.96 * math.sqrt(0.8 * 0.2 / 100 + 0.7 * 0.3 / 100)
    assert half < unpaired


def test_frechet_distance_of_known_distributions():
    torch.manual_seed(0)
    one = torch.randn(20000, 4)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(one, one + 3.0) == pytest.approx(4 * 9.0, rel=1e-6)
    # (1 - 2)^2 in each of four directions
    assert frechet_distance(one, 2 * one) == pytest.approx(4.0, rel=0.05)


def test_the_judge_s_points_are_compared_on_the_same_prompts():
    rows = [
        {"label": "LCM-LoRA, 4 steps, CFG 1", "all": 75.0, "right": "1110"},
        {"label": "Euler, 4 steps, CFG 1", "all": 25.0, "right": "1000"},
        {"label": "Euler, 4 steps, CFG 3", "all": 50.0, "right": "1100"},
        {"label": "Euler, 4 steps, CFG 5", "all": 100.0, "right": "11"},  # of half the prompts
        {"label": "Euler, 4 steps, CFG 1, LCM-LoRA", "all": 100.0, "right": "1111"},
    ]
    told = quality.targets(rows)
    best = told["4 steps against Euler 4 at its best CFG, no LoRA (wanted: 30)"]
    assert (best["over"], best["points"]) == ("Euler, 4 steps, CFG 3", 25.0)
    assert told["4 steps against the teacher (wanted: -5 or more)"] is None


def test_neighbours_stay_in_order_and_in_bounds():
    rng = random.Random(0)
    candidate = schedule_search.Candidate((999, 499, 19))
    seen = set()
    for _ in range(300):
        candidate = candidate.neighbour(rng)
        seen.add(candidate)
        assert list(candidate.timesteps) == sorted(set(candidate.timesteps), reverse=True)
        assert candidate.timesteps[-1] >= 19 and candidate.timesteps[0] <= 999
    assert len(seen) > 100 and len({candidate.noise for candidate in seen}) > 3


def test_the_search_finds_what_is_better():
    """A judge that likes timesteps near 700 and 300 is led there, from candidates that it does not like."""

    class Liking:
        def __call__(self, candidate, scenes, seed):
            miss = (
                abs(candidate.timesteps[0] - 700)
                + abs(candidate.timesteps[1] - 300)
                + 200 * abs(candidate.noise - 1)
            )
            good = max(0, len(scenes) - int(miss * len(scenes) / 1000))
            return [True] * good + [False] * (len(scenes) - good)

    kept = schedule_search.search(Liking(), steps=2, rounds=300, prompts=100)
    assert abs(kept[-1].timesteps[0] - 700) <= 40 and abs(kept[-1].timesteps[1] - 300) <= 40


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with an untrained sd15 model and its LoRA."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = build_model("sd15", 1)
    save_checkpoint(model, folder / "Stable-diffusion" / "small-sd15.safetensors")
    save_lora(LoraAdapter(model.unet, 2, 2.0), folder / "Lora" / "lcm_lora_sd15.safetensors", {})
    return folder


def test_quality_measures_what_is_there_and_says_what_is_not(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "REAL", 256)
    monkeypatch.setattr(quality, "QUICK_PROMPTS", 8)
    monkeypatch.setattr(quality, "SIDE_SHARE", 2)
    monkeypatch.setattr(
        quality,
        "rows_of",
        lambda name, rows=quality.rows_of: [
            r for r in rows(name) if r.method.steps <= 4 and (r.style or r.main)
        ],
    )
    assert bench.main(["--quick", "--models", str(models), "--threads", "1"]) == 0
    results = json.loads((tmp_path / "quality.json").read_text())["checkpoints"]
    assert "absent" in results["sdxl"] and "absent" in results["ssd1b"]
    rows = {row["label"]: row for row in results["sd15"]["rows"]}
    assert rows["style LoRA 0.8 + LCM-LoRA, 4 steps"] == {
        "label": "style LoRA 0.8 + LCM-LoRA, 4 steps",
        "absent": "no style LoRA",
    }
    four = rows["LCM-LoRA, 4 steps, CFG 1"]
    assert (four["prompts"], four["unet_calls"], four["unet_rows"], four["held_out"]["prompts"]) == (
        8,
        4,
        4,
        4,
    )
    assert rows["LCM-LoRA, 4 steps, CFG 1, the WebUI's timesteps"]["unet_rows"] == 8
    assert rows["Euler, 4 steps, CFG 3"]["unet_rows"] == 8
    assert 0 < four["latent_distance_floor"] < four["latent_distance"]
    printed = capsys.readouterr().out
    assert (
        printed.count("\n| Euler, 4 steps, CFG 3 | 8 | ") == 1
        and "| LCM-LoRA, 4 steps, CFG 1 | 4 |" in printed
    )
    assert (tmp_path / "quality.md").read_text() in printed and "## small-ssd1b\n\nAbsent" in printed
    assert (tmp_path / "quality.png").exists()


def test_the_search_measures_what_it_found_on_each_model(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "RESULTS", tmp_path)
    options = [
        "--steps",
        "2",
        "--rounds",
        "2",
        "--prompts",
        "4",
        "--final-prompts",
        "8",
        "--models",
        str(models),
    ]
    assert bench.main(["schedule_search", *options]) == 0
    found = json.loads((tmp_path / "schedule_search.json").read_text())["steps"]["2"]
    assert len(found["timesteps"]) == 2 and set(found["models"]) == {"sd15"}
    assert (
        found["models"]["sd15"]["seen"]["found"]["prompts"] == 8
        and found["models"]["sd15"]["held_out"]["webui"]["prompts"] == 4
    )
    printed = capsys.readouterr().out
    assert (
        "Absent: there is no small-sdxl.safetensors with lcm_lora_sdxl.safetensors." in printed
        and "against the WebUI's" in printed
    )


def test_given_timesteps_are_measured_by_the_same_rivals(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "RESULTS", tmp_path)
    given = ["--timesteps", "999", "299", "--timesteps", "999"]
    options = [*given, "--seed", "13", "--final-prompts", "8", "--models", str(models)]
    assert bench.main(["schedule_search", *options]) == 0
    found = json.loads((tmp_path / "schedule_search.json").read_text())
    assert list(found["steps"]) == ["999 299", "999"] and found["settings"]["seed"] == 13
    # in one step all three are at 999
    alone = found["steps"]["999"]["models"]["sd15"]["seen"]
    assert alone["found minus webui"] == alone["found minus reference"] == {"points": 0.0, "interval": 0.0}


def test_recipes_are_the_extension_s_timesteps_and_noise_levels():
    levels = [float(t + 1) for t in range(1000)]
    assert recipes.sampler_of("LCM", levels)[0] == [1000, 760, 500, 260, 0]
    sigmas, sampler = recipes.sampler_of("TCD", levels)
    assert (sigmas, sampler.keywords["jump_sigmas"]) == ([1000, 760, 500, 260, 1], [532, 350, 182, 1])
    sigmas, sampler = recipes.sampler_of("trailing", levels)
    assert (sigmas, sampler.keywords["jump_sigmas"]) == ([1000, 750, 500, 250, 0], [750, 500, 250, 0])


def test_recipes_compare_each_lora_on_the_same_prompts(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "RESULTS", tmp_path)
    lora = models / "Lora" / "lcm_lora_sd15.safetensors"
    assert bench.main(["recipes", "--prompts", "8", "--models", str(models), "--lora", str(lora)]) == 0
    found = json.loads((tmp_path / "recipes.json").read_text())
    assert {len(row["right"]) for rows in found["loras"].values() for row in rows.values()} == {16}
    printed = capsys.readouterr().out
    assert "- trailing-4 LoRA, trailing against trailing-4 LoRA, LCM: " in printed
    assert "- LCM-LoRA, LCM against trailing-4 LoRA, trailing: " in printed
    bench.main(["recipes", "--prompts", "8", "--models", str(models), "--lora", str(tmp_path / "no")])
    assert f"Absent: there is no {tmp_path / 'no'}." in capsys.readouterr().out


def _judge_renders(scenes):
    pictures = render(scenes, np.random.default_rng(3))
    return Judge()(to_uint8(pictures))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_negative_prompt_names_what_the_picture_shows(task, held_out):
    """Of pictures of the very scene the prompt leaves open what the negative prompt then names."""
    asked = wishes(task, 24, seed=1, held_out=held_out)
    verdicts = _judge_renders([wish.scene for wish in asked])
    told = [wish.seen_in(verdict) for wish, verdict in zip(asked, verdicts, strict=True)]
    assert told == asked
    for wish, verdict in zip(asked, verdicts, strict=True):
        assert wish.judged(verdict) == {"unwanted": True, "right": True, "flat": False}
        assert wish.value not in wish.prompt and wish.value in wish.negative
        assert wish.scene.held_out == held_out


def test_another_value_is_not_unwanted_and_another_background_is_not_right():
    wish = wishes("colour", 1, seed=1)[0]
    thing = wish.scene.things[0]
    others = [name for name in COLOURS if name not in (thing.colour, wish.scene.background)]
    recoloured = replace(wish.scene, things=(replace(thing, colour=others[0]),))
    moved = replace(wish.scene, background=others[0])
    first, second = _judge_renders([recoloured, moved])
    assert wish.judged(first) == {"unwanted": False, "right": True, "flat": False}
    assert wish.judged(second) == {"unwanted": True, "right": False, "flat": False}
    assert wish.seen_in(first).negative == f"a {others[0]} {thing.shape}"


def test_guided_steps_are_what_the_workbench_s_own_sampler_draws(models):
    """In every step with an empty negative prompt, after other rows have left their predictions behind."""
    model = load_for_cut_captions(models / "Stable-diffusion" / "small-sd15.safetensors")
    captions = ["a big red cross on a blue mosaic", "a small circle on a green mosaic"]
    predictions = guidance.Predictions(model, captions)
    predictions.against(["", ""])

    def drawn(*scales):
        generator = torch.Generator().manual_seed(5)
        return guidance.sample(predictions, scales, [999, 679, 339], generator)

    rows = {scales: drawn(*scales) for scales in ((1, 1, 1), (1, 2, 1), (1, 2, 2), (1.5, 1.5, 1.5))}
    for cfg in (1, 1.5):
        expected = sample_lcm(model, captions, [999, 679, 339], cfg, torch.Generator().manual_seed(5))
        torch.testing.assert_close(rows[(cfg,) * 3], expected, rtol=1e-4, atol=1e-4)
    assert len({float(latents.sum()) for latents in rows.values()}) == 4
    assert len(predictions._known) == 3 + 2 + 1 + 5  # what each row adds


def test_guidance_compares_rows_on_the_same_prompts(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "RESULTS", tmp_path)
    assert bench.main(["guidance", "--prompts", "8", "--models", str(models), "--steps", "4"]) == 0
    found = json.loads((tmp_path / "guidance.json").read_text())["cells"]
    assert [len(rows) for models in found.values() for rows in models.values()] == [6] * 4
    first = found["colour, 4 steps"]["sd15"][0]
    assert (first["scales"], first["rows"], first["prompts"]) == ("1 1 1 1", 4, 8)
    assert {row["scales"]: row["rows"] for row in found["colour, 4 steps"]["sd15"]}["1 2.5 2.5 1"] == 6
    printed = capsys.readouterr().out
    assert "## colour, 4 steps, held out" in printed and "| 1.5 1.5 1.5 1.5 | 8 |" in printed
    with Image.open(tmp_path / "guidance.png") as plot:
        assert plot.mode == "RGBA" and plot.getpixel((0, 0))[3] == 0
    assert bench.main(["guidance", "--search", "4", "--models", str(models), "--steps", "3"]) == 0
    rows = json.loads((tmp_path / "guidance_search.json").read_text())["cells"]["colour, 3 steps"]["sd15"]
    assert {"1 1 1", "1.5 1.5 1.5", "3 1 1", "1 3 1", "1 1 3"} <= {row["scales"] for row in rows}


def test_what_is_left_is_counted_of_what_was_there_without_a_negative_prompt():
    def judged(named, unwanted, right):
        return [
            {"named": a == "1", "unwanted": b == "1", "right": c == "1", "flat": False}
            for a, b, c in zip(named, unwanted, right, strict=True)
        ]

    rows = {
        (1.0, 1.0): judged("1110", "1110", "1100"),
        (1.5, 1.5): judged("1110", "0001", "1100"),
        (1.0, 2.0): judged("1110", "1000", "1111"),
    }
    plain, whole, light = guidance.summary(rows)
    assert [row["unwanted"] for row in (plain, whole, light)] == [100.0, 0.0, 33.3]
    assert (light["named"], light["right"], light["more_right"][0], light["more_left"][0]) == (
        3,
        100.0,
        50.0,
        33.3,
    )
    kinds = [frontier.kind_of(row["scales"]) for row in (plain, whole, light)]
    assert kinds == ["off", "full", "light"]


def test_a_difference_within_its_interval_is_said_to_be_none():
    rows = {"LCM": "1110", "TCD": "1101", "trailing": "0000"}
    judged = dict.fromkeys(("all", "mosaic", "colour", "shape", "relation"), 50.0)
    found = {"LCM-LoRA": {name: {**judged, "interval": [1, 2], "right": row} for name, row in rows.items()}}
    assert "over" in recipes.differences(found)[0]
    told = recipes.table(found)
    assert "- LCM-LoRA, LCM against LCM-LoRA, TCD: +0.0 ± 80.0 points, within the interval." in told
    assert "- LCM-LoRA, LCM against LCM-LoRA, trailing: +75.0 ± 49.0 points.\n" in told


def test_the_search_counts_all_models_together():
    together = schedule_search.Together([lambda *_: [True, False], lambda *_: [True, True]])
    assert together(schedule_search.Candidate((999, 499)), (), 0) == [True, False, True, True]


def test_too_few_prompts_for_an_interval_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--prompts", "15"])
    assert "--prompts is 15; it must be at least 16." in capsys.readouterr().err


def test_there_is_a_list_of_benchmarks(capsys):
    assert bench.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.BENCHMARKS)
    assert bench.main(["no-such"]) == 2


@pytest.mark.parametrize("reads_guidance", [False, True])
def test_how_far_the_cfg_scale_moves_a_full_lcm_is_measured(reads_guidance, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(full_lcm, "CFG", (1.0, 2.0))
    monkeypatch.setattr(full_lcm, "TIMESTEPS", (999,))
    unet = load_checkpoint(full_lcm.BASE).unet
    add_guidance_input(unet)
    adapter = LoraAdapter(unet, 2, 2.0, ("cond_proj",))
    if reads_guidance:
        torch.nn.init.normal_(adapter.layers["lora_unet_time_embedding_cond_proj"].up.weight)
    added = tmp_path / "full_lcm_sd15.safetensors"
    save_lora(adapter, added, {})
    assert bench.main(["full_lcm", "--prompts", "4", "--steps", "1", "--added", str(added)]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    [answer] = [row for row in rows if row[0] == "999"]
    assert float(answer[3]) > 0.01 and (float(answer[4]) > 0.001) == reads_guidance
    one, two = [row for row in rows if row[0] in ("1", "2")]
    assert one[3] != two[3] and (one[4] != two[4]) == reads_guidance
    assert torch.tensor(1e-39).mul(1).item() > 0  # this process computes as before
