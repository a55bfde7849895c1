"""What the small models draw: captions, its pictures, and a judge that can be trusted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workbench.scenes import COLOURS, HELD_OUT, SHAPES, Scene, Thing, prompts, random_scene, random_scenes
from workbench.scenes.classifier import CLASSIFIER, load_classifier
from workbench.scenes.judge import Judge, agreement, rates
from workbench.scenes.render import GRID, LOOKS, SIDE, TILE, place, render, to_uint8
from workbench.small_models import MODELS
from workbench.tokenizer import Tokenizer

PAIR = Scene("green", (Thing("red", "cross"), Thing("purple", "circle")), "left of")


def pictures_of(scenes, seed=0, look="plain"):
    return to_uint8(render(scenes, np.random.default_rng(seed), look))


def test_captions():
    assert PAIR.caption == "a red cross left of a purple circle on a green mosaic"
    assert Scene("white", (Thing("red", "cross", "big"),)).caption == "a big red cross on a white mosaic"


@pytest.mark.parametrize("relation", ["left of", "above"])
def test_the_order_of_reading_is_the_same_whichever_thing_the_caption_names_first(relation):
    first, second = PAIR.things
    opposite = {"left of": "right of", "above": "below"}[relation]
    one, other = Scene("green", (first, second), relation), Scene("green", (second, first), opposite)
    assert one.facts != other.facts and one.in_reading_order == other.in_reading_order == one


def test_every_caption_is_made_of_known_words():
    tokenizer = Tokenizer()
    rng = np.random.default_rng(1)
    for scene in random_scenes(200, rng):
        for caption in (scene.caption, scene.loose_caption(rng)):
            assert tokenizer.unk_id not in tokenizer.encode_words(caption), caption
            assert all(thing.shape in caption for thing in scene.things)


def test_training_never_shows_what_is_held_out():
    rng = np.random.default_rng(2)
    seen = {(thing.colour, thing.shape) for scene in random_scenes(4000, rng) for thing in scene.things}
    assert seen == {(colour, shape) for colour in COLOURS for shape in SHAPES} - HELD_OUT
    assert all(
        any((t.colour, t.shape) in HELD_OUT for t in scene.things)
        for scene in random_scenes(50, rng, held_out=True)
    )


def test_held_out_combinations_leave_every_colour_and_shape_to_be_learnt():
    assert sorted(shape for _, shape in HELD_OUT) == sorted(SHAPES)
    assert len({colour for colour, _ in HELD_OUT}) == len(HELD_OUT)


@pytest.mark.parametrize("look", LOOKS)
def test_the_judge_is_right_of_real_pictures(look):
    scenes = random_scenes(300, np.random.default_rng(3))
    assert rates(agreement(pictures_of(scenes, look=look), scenes, look))["all"] == 1.0


def test_an_unknown_look_is_refused():
    for asked in (lambda look: pictures_of([PAIR], look=look), Judge):
        with pytest.raises(ValueError, match="unknown look 'dark'"):
            asked("dark")


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(MODELS / CLASSIFIER)


@pytest.mark.parametrize("look", LOOKS)
def test_the_classifier_is_right_of_real_pictures_and_misses_a_mosaic_that_is_none(classifier, look):
    scenes = random_scenes(500, np.random.default_rng(31)) + random_scenes(
        500, np.random.default_rng(32), held_out=True
    )
    assert rates(classifier.agreement(pictures_of(scenes, look=look), scenes))["all"] > 0.99
    flat = render(
        scenes[:200], np.random.default_rng(5), look, tiles=np.zeros((200, SIDE // TILE, SIDE // TILE))
    )
    assert rates(classifier.agreement(to_uint8(flat), scenes[:200]))["mosaic"] < 0.02


@pytest.mark.parametrize("reader", ["judge", "classifier"])
def test_every_kind_of_mistake_is_seen(classifier, reader):
    """Of the same pictures, with one thing in the caption changed each time, nothing is all right."""
    agrees = agreement if reader == "judge" else classifier.agreement
    rng = np.random.default_rng(4)
    pairs = [random_scene(rng, pair=True) for _ in range(40)]
    singles = [random_scene(rng, pair=False) for _ in range(40)]
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    turned = {"left of": "above", "right of": "below", "above": "left of", "below": "right of"}

    def changed(scene, **first):
        return dataclasses.replace(
            scene, things=(dataclasses.replace(scene.things[0], **first), *scene.things[1:])
        )

    def other_colour(scene):
        used = {scene.background, *(thing.colour for thing in scene.things)}
        return next(colour for colour in COLOURS if colour not in used)

    wrong = {
        "relation": (pairs, [dataclasses.replace(s, relation=opposite[s.relation]) for s in pairs]),
        "axis": (pairs, [dataclasses.replace(s, relation=turned[s.relation]) for s in pairs]),
        "colour": (pairs, [changed(s, colour=other_colour(s)) for s in pairs]),
        "shape": (pairs, [changed(s, shape=SHAPES[SHAPES.index(s.things[0].shape) - 1]) for s in pairs]),
        "number": (
            pairs,
            [dataclasses.replace(s, things=(Thing("red", "cross", "big"),), relation=None) for s in pairs],
        ),
        "size": (
            singles,
            [changed(s, size="big" if s.things[0].size == "small" else "small") for s in singles],
        ),
        "background": (singles, [dataclasses.replace(s, background=other_colour(s)) for s in singles]),
    }
    for mistake, (shown, wanted) in wrong.items():
        assert not any(row["all"] for row in agrees(pictures_of(shown), wanted)), mistake


def test_the_judge_refuses_what_is_no_clear_shape():
    """Noise, and the mean of many places and angles, which is what a sampler with too few steps tends to."""
    rng = np.random.default_rng(5)
    scenes = [Scene("white", (Thing("red", shape, "big"),)) for shape in ("square", "triangle", "cross")]
    noise = rng.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    assert not any(row["all"] for row in agreement(noise, scenes))
    smeared = np.stack(
        [pictures_of([scene] * 16, seed=6).astype(np.float32).mean(axis=0) for scene in scenes]
    ).astype(np.uint8)
    assert not any(row["shape"] for row in agreement(smeared, scenes))


@pytest.mark.parametrize("look", LOOKS)
def test_a_washed_out_mosaic_is_none(look):
    """Light and dark at a third of their difference, which is what averaging leaves, and a background of one
    tone, even a light one.
    """
    scenes = random_scenes(60, np.random.default_rng(10))
    judge = Judge(look)
    real = pictures_of(scenes, look=look).astype(np.float32)
    flat = np.stack(
        [
            np.mean([pictures_of([scene], seed, look)[0] for seed in range(40, 70)], axis=0)
            for scene in scenes[:8]
        ]
    )
    assert not any(row["mosaic"] for row in agreement(flat.astype(np.uint8), scenes[:8], look))
    ground = np.array([judge.tone(scene.background) for scene in scenes])[:, None, None]
    objects = abs(real - ground).max(axis=-1, keepdims=True) > 45
    washed = np.where(objects, real, ground + (real - ground) / 3)
    rows = agreement(washed.round().astype(np.uint8), scenes, look)
    assert not any(row["mosaic"] for row in rows)
    assert rates([{name: row[name] for name in ("background", "colour")} for row in rows])["colour"] > 0.9


def test_objects_stand_on_the_grid_apart_and_inside():
    scenes = random_scenes(400, np.random.default_rng(7))
    placed = place(scenes, np.random.default_rng(8))
    for index, scene in enumerate(scenes):
        for centre, reach in list(zip(placed.centres[index], placed.reach[index], strict=True))[
            : len(scene.things)
        ]:
            assert not np.any(centre % GRID)
            assert np.all(centre - reach >= 0.99) and np.all(centre + reach <= SIDE - 0.99)
        if scene.relation:
            (ax, ay), (bx, by) = placed.centres[index]
            assert np.hypot(ax - bx, ay - by) >= placed.reach[index].sum() + 0.99
            right = {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}[
                scene.relation
            ]
            assert right and (abs(ax - bx) > abs(ay - by)) == (scene.relation in ("left of", "right of"))


def test_the_same_seed_gives_the_same_pictures():
    assert np.array_equal(pictures_of([PAIR] * 3, seed=9), pictures_of([PAIR] * 3, seed=9))
    assert not np.array_equal(pictures_of([PAIR] * 3, seed=9), pictures_of([PAIR] * 3, seed=10))
    with pytest.raises(ValueError, match="look"):
        render([PAIR], np.random.default_rng(0), "noir")


def test_prompts_to_measure_with_repeat_themselves():
    assert prompts(12, 5) == prompts(12, 5) != prompts(12, 6)
    assert all(scene.held_out for scene in prompts(12, 5, held_out=True))
