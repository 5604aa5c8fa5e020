"""The audio benchmark: its parts share nothing, its questions are judged rightly, its listeners never hear a sound."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.audio import answers, document
from benchmarks.audio_plot import draw
from benchmarks.listeners import CURIOSITY, FEWEST, Listening, World
from benchmarks.sounds import FOLDS, NETWORKS, Stage, interval, mean_of
from recsys.datasets.free_music_mel import CLIPS, SOUNDS, clips, read_clips
from recsys.errors import DataError, UnknownDataset


@pytest.fixture(scope="module")
def real(data_folder):
    return clips({"RECSYS_DATA": str(data_folder)})


@pytest.fixture(scope="module")
def test(real):
    return Stage.of(real)


@pytest.fixture(scope="module")
def world(test):
    return World.of(test)


@pytest.fixture(scope="module")
def made(test):
    return document(test, steps=2, channels=4)


def tracks(stage, mask):
    return {stage.clips.tracks[place] for place in np.flatnonzero(mask)}


def test_the_clips_are_all_there(real):
    assert real.sounds.shape == (877, 64, 188)
    assert [len(set(names)) for names in (real.tracks, real.albums, real.soundtracks)] == [112, 9, 6]


def test_without_the_clips_it_says_what_is_wanted(tmp_path):
    environ = {"RECSYS_DATA": str(tmp_path), "RECSYS_CACHE": str(tmp_path / "cache")}
    with pytest.raises(
        UnknownDataset, match=r"its files free-music-mel/mel64.*, .*csv are not all under .*; make them"
    ):
        clips(environ)
    (tmp_path / CLIPS).parent.mkdir()
    (tmp_path / CLIPS).write_text("package,file,album,start\na,b.ogg,c,4.0\n")
    np.savez(tmp_path / SOUNDS, X=np.zeros((2, 64, 188), np.uint8))
    with pytest.raises(DataError, match=r"sounds are uint8 \(2, 64, 188\), uint8 \(1, 64, frames\) was wanted"):
        clips(environ)
    np.savez(tmp_path / SOUNDS, X=np.zeros((1, 64, 188), np.uint8))
    assert read_clips(tmp_path).tracks == ("a/c/b.ogg",)
    (tmp_path / SOUNDS).write_bytes(b"PK")
    with pytest.raises(DataError, match="get them anew"):
        clips(environ)


def test_no_track_is_learned_from_and_judged_and_folds_never_touch_the_test(real, test):
    judged = tracks(test, test.judged)
    assert len(judged) == 35
    folds = [Stage.of(real, fold) for fold in range(FOLDS)]
    for stage in (test, *folds):
        assert not tracks(stage, stage.judged) & tracks(stage, stage.learned | stage.held)
        assert not (stage.learned & stage.held).any()
        assert tracks(stage, stage.held) <= tracks(stage, stage.learned)
    assert not any(tracks(fold, fold.learned | fold.held | fold.judged) & judged for fold in folds)
    assert sum(len(tracks(fold, fold.judged)) for fold in folds) == 112 - 35
    # every soundtrack has two tracks in the test, so that each has one to be found
    soundtracks = dict(zip(real.tracks, real.soundtracks, strict=True))
    counts = np.unique([soundtracks[track] for track in judged], return_counts=True)[1]
    assert (len(counts), counts.min()) == (6, 2)


def one_hot(names):
    return np.eye(len(set(names)), dtype=np.float32)[np.unique(names, return_inverse=True)[1]]


def test_who_knows_the_answer_has_all_points_and_who_knows_nothing_has_chance(test, made):
    knowing = answers(test, one_hot(test.clips.soundtracks))
    assert (knowing["soundtrack_precision@5"], knowing["soundtrack_map"]) == (1.0, 1.0)
    knowing = answers(test, one_hot(test.clips.tracks))
    assert knowing["track_map"] == knowing["held_out_track_map"] == 1.0
    chance = made["retrieval"]["rows"][0]
    soundtracks, names = np.array(test.clips.soundtracks)[test.judged], np.array(test.clips.tracks)[test.judged]
    others = names[:, None] != names
    share = np.mean(((soundtracks[:, None] == soundtracks) & others).sum(axis=1) / others.sum(axis=1))
    assert chance["soundtrack_precision@5"] == pytest.approx(share, abs=0.015)


def test_precision_and_map_by_hand(test):
    names = tuple("abcdefxx")
    made = replace(
        test.clips,
        sounds=test.clips.sounds[:8],
        tracks=names,
        albums=("s",) * 6 + ("z", "z"),
        soundtracks=("s",) * 6 + ("z", "z"),
    )
    stage = Stage(made, np.ones(8, bool), np.arange(8) < 2, np.ones(8, bool))
    # the second clip of x is far from all
    angles = np.array([0.0, 0.3, 0.7, 0.8, 0.9, 1.0, 0.1, 3.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = answers(stage, vectors)
    # a: x b c d e f; b: x a c d e f; c to f: the others of them, b, x, a
    places = [[0, 1, 1, 1, 1, 1]] * 2 + [[1, 1, 1, 1, 0, 1]] * 4
    wanted = [np.mean([np.mean(hits[: k + 1]) for k in range(6) if hits[k]]) for hits in places]
    assert found["soundtrack_map"] == pytest.approx(np.mean(wanted), abs=1e-4)
    assert found["soundtrack_precision@5"] == pytest.approx(0.8)


def test_mean_pooled_sound_is_less_what_was_learned_from(test, made):
    mean, both = test.pooled()
    assert (mean.vectors.shape, both.vectors.shape) == ((877, 64), (877, 128))
    assert np.allclose(mean.vectors[test.learned].mean(axis=0), 0, atol=1e-3)
    assert np.allclose(both.vectors[test.learned].std(axis=0), 1, atol=1e-3)
    chance, row = made["retrieval"]["rows"][:2]
    assert row["track_map"] > 3 * chance["track_map"]


def test_intervals_are_wider_where_clips_of_a_track_say_the_same():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(20), 8)
    low, high = interval(values, np.repeat(np.arange(20), 8))
    alone = interval(values, np.arange(160))
    assert low < values.mean() < high
    assert high - low > 2 * (alone[1] - alone[0])


def test_the_mean_of_documents_leaves_intervals_out():
    rows = [{"system": "a", "x": 1.0, "x_interval": [0, 2]}, {"system": "a", "x": 2.0, "x_interval": [1, 3]}]
    assert mean_of(rows) == {"system": "a", "x": 1.5}


def test_listeners_like_few_soundtracks_and_take_tracks_by_the_chances_that_are_told():
    albums = ["a"] * 4 + ["b"] * 4 + ["c"] * 24
    soundtracks = ["one"] * 8 + ["two"] * 24
    drawn = Listening.drawn(albums, soundtracks, 4000, np.random.default_rng(1))
    assert np.allclose(drawn.chances.sum(axis=1), 1)
    taken = drawn.heard.sum(axis=1)
    assert taken.min() >= FEWEST
    assert taken.max() == len(albums) // 3
    shares = drawn.chances[:, :8].sum(axis=1)
    # most are mostly for one of the two
    assert np.mean((shares < 0.2) | (shares > 0.8)) > 0.6
    assert shares.mean() == pytest.approx((1 - CURIOSITY) * 0.5, abs=0.1)
    # what is likelier is taken more often
    assert drawn.heard[drawn.chances > 0.1].mean() > 2 * drawn.heard[drawn.chances < 0.01].mean()
    same = Listening.drawn(albums, soundtracks, 4000, np.random.default_rng(1))
    assert np.array_equal(same.heard, drawn.heard)


def test_nothing_is_learned_of_cold_tracks(test, world):
    assert not (world.warm & world.cold).any()
    assert not world.directions[world.cold].any()
    assert not world.plays[world.cold].any()
    assert np.allclose(np.linalg.norm(world.directions[world.warm], axis=1), 1, atol=1e-5)
    events = world.listening.events(test.tracks, world.warm)
    assert len(events) == world.listening.heard[:, world.warm].sum() == world.plays.sum()
    assert not set(events["item_id"]) & tracks(test, test.judged)


def test_who_listens_does_not_depend_on_any_sound(test, world):
    silence = replace(test, clips=replace(test.clips, sounds=np.zeros_like(test.clips.sounds)))
    deaf = World.of(silence)
    assert np.array_equal(deaf.listening.heard, world.listening.heard)
    assert np.array_equal(deaf.users, world.users)


def test_the_ladder_goes_from_chance_by_sound_to_the_oracle(made):
    rows = {row["system"]: row["cold_auc"] for row in made["listening"]["rows"]}
    assert rows["random"] == pytest.approx(0.5, abs=0.02)
    assert rows["random"] + 0.03 < rows["ridge, mean-pooled mel"] < rows["not by sound: its soundtrack"]
    assert rows["not by sound: its soundtrack"] < rows["oracle: the true chances"]
    assert {"mlp, mean-pooled mel", "mel-cnn, end to end", *(f"ridge, {name}" for name in NETWORKS)} < rows.keys()


def test_the_document_has_every_system_and_can_be_drawn(made, test, tmp_path):
    assert (made["clips"]["judged"], made["tracks"]["judged"]) == (test.judged.sum(), 35)
    assert made["listening"]["semi_synthetic"] is True
    names = [row["system"] for row in made["retrieval"]["rows"]]
    assert names == ["chance", "mean-pooled mel", "mean- and deviation-pooled mel", *NETWORKS]
    for row in made["listening"]["rows"]:
        assert 0 <= row["cold_recall@5"] <= row["cold_recall@20"] <= 1
    draw(made, tmp_path / "audio.png")
    assert (tmp_path / "audio.png").read_bytes().startswith(b"\x89PNG")
