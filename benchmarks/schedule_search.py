"""Is there a set of timesteps, and an amount of fresh noise, that beats the reference's at 2, 3 and 4 steps
on every model here?

    python dev.py bench schedule_search [--steps 2 3 4] [--rounds 40]
    python dev.py bench schedule_search --timesteps 999 679 359 79 --seed 13

Searches on one set of prompts and seeds and measures what it found on another, prompts held out of training
included, next to the reference's timesteps and the WebUI's own. The search climbs: each round moves one
timestep, or the amount of noise, of the best so far, and keeps what draws more prompts right, all models
counted together. A candidate is only believed after twice as many prompts as it was found with. It is not
told what the answer is judged by afterwards, so an advantage that was luck in the search does not last.
`--timesteps` measures given ones instead, by the same rivals.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import clock
from benchmarks.statistics import paired_difference, wilson
from workbench.scenes import Scene
from workbench.scenes import prompts as prompts_of
from workbench.scenes.judge import agreement
from workbench.small_models import MODELS, TRAIN_STEPS
from workbench.train.common import bar_interval
from workbench.train.evaluate import LOOK_OF, LORA_OF, load_with_loras
from workbench.train.sampling import evenly_to_lowest, reference_timesteps, sample_lcm, to_pictures

SEARCH_SEED, FINAL_SEED = 11, 12
SEARCH_PROMPTS, FINAL_PROMPTS = 96, 1024
BATCH = 128
LOWEST = 19
"""The distillation grid's first timestep: nothing below it was trained."""
MOVES = (-160, -80, -40, -20, 20, 40, 80, 160)
NOISES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1)


@dataclass(frozen=True)
class Candidate:
    """`timesteps` descending; `noise` scales the fresh noise between two steps, 1 being what the noise
    schedule says.
    """

    timesteps: tuple[int, ...]
    noise: float = 1.0

    def neighbour(self, rng: random.Random) -> Candidate:
        """A candidate that differs in one place, with its timesteps in order and in bounds."""
        if len(self.timesteps) > 1 and rng.random() < 0.25:
            return replace(self, noise=rng.choice([noise for noise in NOISES if noise != self.noise]))
        moved = list(self.timesteps)
        place = rng.randrange(len(moved))
        moved[place] = min(TRAIN_STEPS - 1, max(LOWEST, moved[place] + rng.choice(MOVES)))
        return (
            replace(self, timesteps=tuple(sorted(moved, reverse=True)))
            if len(set(moved)) == len(moved)
            else self
        )


class Measure:
    """Draws with one model and its LCM-LoRA, and says of each prompt whether all is right. Remembers what it
    has measured.
    """

    def __init__(self, checkpoint: Path, lora: Path, look: str, device: torch.device) -> None:
        self.model, loras = load_with_loras(checkpoint, device, lcm=lora)
        loras.apply(lcm=1.0)
        self.look = look
        self._known: dict[tuple[Candidate, int, int], list[bool]] = {}

    def __call__(self, candidate: Candidate, scenes: Sequence[Scene], seed: int) -> list[bool]:
        key = (candidate, seed, len(scenes))
        if key not in self._known:
            right = []
            for start in range(0, len(scenes), BATCH):
                part = scenes[start : start + BATCH]
                generator = torch.Generator().manual_seed(seed * 100_003 + start)
                captions = [scene.caption for scene in part]
                latents = sample_lcm(
                    self.model, captions, candidate.timesteps, 1.0, generator, noise_scale=candidate.noise
                )
                right += [row["all"] for row in agreement(to_pictures(self.model, latents), part, self.look)]
            self._known[key] = right
        return self._known[key]


class Together:
    """Several models measured as one: what is right of every prompt on the first, then on the second, and so
    on.
    """

    def __init__(self, measures: Collection[Measure]) -> None:
        self.measures = measures

    def __call__(self, candidate: Candidate, scenes: Sequence[Scene], seed: int) -> list[bool]:
        return [flag for measure in self.measures for flag in measure(candidate, scenes, seed)]


def search(
    measure: Measure | Together, steps: int, rounds: int, prompts: int, seed: int = SEARCH_SEED
) -> list[Candidate]:
    """Climbs from the reference's timesteps, from the WebUI's and from what was best so far; returns the
    candidates kept, best last.
    """
    rng = random.Random(steps)
    scenes = prompts_of(2 * prompts, seed)
    half = scenes[:prompts]
    starts = [Candidate(tuple(reference_timesteps(steps))), Candidate(tuple(evenly_to_lowest(steps)))]
    best = max(starts, key=lambda candidate: sum(measure(candidate, half, seed)))
    kept = [best]
    for _ in tqdm(range(rounds), desc=f"{steps} steps", mininterval=bar_interval()):
        tried = best.neighbour(rng)
        if tried == best or sum(measure(tried, half, seed)) <= sum(measure(best, half, seed)):
            continue
        if sum(measure(tried, scenes, seed)) > sum(measure(best, scenes, seed)):
            best = tried
            kept.append(best)
    return kept


def final(
    measure: Measure, found: Candidate, steps: int, prompts: int, seed: int = FINAL_SEED
) -> dict[str, Any]:
    """What was found against the reference and the WebUI's timesteps, on prompts and seeds that the search
    never saw.
    """
    rivals = {
        "found": found,
        "reference": Candidate(tuple(reference_timesteps(steps))),
        "webui": Candidate(tuple(evenly_to_lowest(steps))),
    }
    sets = {
        "seen": prompts_of(prompts, seed),
        "held_out": prompts_of(prompts // 2, seed, held_out=True),
    }
    result: dict[str, Any] = {}
    for kind, scenes in sets.items():
        right = {name: measure(candidate, scenes, seed) for name, candidate in rivals.items()}
        result[kind] = {name: _share(flags) for name, flags in right.items()}
        for rival in ("reference", "webui"):
            mean, half = paired_difference(right["found"], right[rival])
            result[kind][f"found minus {rival}"] = {
                "points": round(100 * mean, 1),
                "interval": round(100 * half, 1),
            }
    return result


def _share(flags: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(flags), len(flags))
    interval = [round(100 * low, 1), round(100 * high, 1)]
    return {"all": round(100 * sum(flags) / len(flags), 1), "interval": interval, "prompts": len(flags)}


def told(result: dict[str, Any]) -> str:
    """One line for the terminal: what `final` measured."""
    parts = []
    for kind, name in (("seen", ""), ("held_out", "held-out combinations ")):
        shares = ", ".join(
            f"{rival} {result[kind][rival]['all']:.1f} %" for rival in ("found", "reference", "webui")
        )
        ahead = " and ".join(
            "{points:+.1f} ± {interval:.1f} against {whose}".format(
                whose=whose, **result[kind][f"found minus {rival}"]
            )
            for rival, whose in (("reference", "the reference's"), ("webui", "the WebUI's"))
        )
        parts.append(f"{name}{shares} ({ahead})")
    return "; ".join(parts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python dev.py bench schedule_search", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--rounds", type=int, default=40, help="candidates tried for each number of steps")
    parser.add_argument(
        "--prompts",
        type=int,
        default=SEARCH_PROMPTS,
        help="prompts for each model that a candidate is found with",
    )
    parser.add_argument("--final-prompts", type=int, default=FINAL_PROMPTS)
    parser.add_argument("--seed", type=int, default=FINAL_SEED, help="of the final prompts and their noise")
    parser.add_argument(
        "--timesteps",
        type=int,
        nargs="+",
        action="append",
        help="measure these and search for nothing; may be given several times",
    )
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    measures = {}
    for name, family in LORA_OF.items():
        checkpoint = options.models / "Stable-diffusion" / f"small-{name}.safetensors"
        lora = options.models / "Lora" / f"lcm_lora_{family}.safetensors"
        if checkpoint.exists() and lora.exists():
            measures[name] = Measure(
                checkpoint, lora, LOOK_OF.get(name, "plain"), torch.device(options.device)
            )
        else:
            print(f"Absent: there is no {checkpoint.name} with {lora.name}.")
    results: dict[str, Any] = {}

    def compare(key: str, found: Candidate, **more: Any) -> None:
        results[key] = {"timesteps": list(found.timesteps), "noise": found.noise, **more, "models": {}}
        for name, measure in measures.items():
            row = final(measure, found, len(found.timesteps), options.final_prompts, options.seed)
            results[key]["models"][name] = row
            print(f"  small-{name}: {told(row)}", flush=True)

    for timesteps in options.timesteps or ():
        key = " ".join(map(str, timesteps))
        print(f"timesteps {key}", flush=True)
        compare(key, Candidate(tuple(timesteps)))
    for steps in options.steps if measures and not options.timesteps else ():
        kept = search(Together(measures.values()), steps, options.rounds, options.prompts)
        found = kept[-1]
        print(
            f"{steps} steps: timesteps {found.timesteps}, noise {found.noise}, after {len(kept) - 1}"
            " improvements",
            flush=True,
        )
        compare(str(steps), found, improvements=len(kept) - 1)
    settings = {"rounds": options.rounds, "prompts": options.prompts, "final_prompts": options.final_prompts}
    settings["seed"] = options.seed
    path = clock.save("schedule_search", {"settings": settings, "steps": results})
    print(f"Written to {path}.")


if __name__ == "__main__":
    main()
