"""Sound: spectrograms as another library has them, the network as torch has it, what it learns, and what it refuses."""

import sys

import librosa
import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError

from recsys.encoding.mel_cnn import TOGETHER, MelCnn, MelCnnRule, windows_of
from recsys.encoding.spectrogram import BANDS, MEANING, PROBLEMS, RATE, decibels, mel_bands, read
from recsys.errors import MissingExtra, TrainingError
from recsys.testing.encodings import EncodingContract
from training.encoders.mel_cnn import MelCnnEncoder, Network, contrast, encoded_on
from training.encoders.on_device import TWINS, encoded
from training.transformer import Dropout

TINY = {"window": 16, "channels": 8, "width": 6, "kernel": 3, "pools": (2, 1), "batch": 8, "steps": 3}


def clip(kind, frames=40, seed=0):
    """Noise whose loud bands say its kind, of 0 to 7, in dB."""
    rng = np.random.default_rng([kind, seed])
    loud = np.exp(-0.5 * ((np.arange(BANDS) - 8 * kind - 4) / 4) ** 2)
    return (-50 + 50 * loud[:, None] + rng.normal(0, 3, (BANDS, frames))).astype(np.float32)


def as_bytes(spectrogram):
    return ((spectrogram + 80) / 100 * 255).round().astype(np.uint8)


def fitted(items, seed=0, **options):
    return MelCnnEncoder(**{**TINY, **options}).fit(items, np.random.default_rng(seed), threads=1)


@pytest.fixture(scope="module")
def tiny():
    return fitted([{"mel": clip(kind)} for kind in range(4)])


class TestMelCnn(EncodingContract):
    @pytest.fixture
    def items(self):
        return [
            {"mel": clip(0).tolist()},
            {"mel": as_bytes(clip(1, 16)).tolist()},
            {"mel": np.stack([clip(2), clip(3)]).tolist()},
            {"mel": "away.npy"},
            {"title": "no sound"},
        ]

    @pytest.fixture
    def fit(self, items, tmp_path):
        return lambda: fitted(items, folder=tmp_path)


def test_spectrograms_are_those_of_librosa():
    t = np.arange(3 * RATE) / RATE
    samples = 0.3 * np.sin(2 * np.pi * 440 * t * (1 + t)) + np.random.default_rng(0).normal(0, 0.01, len(t))
    samples = samples.astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=2048, hop_length=512, n_mels=64, fmin=20, fmax=8000, power=2.0
    )
    wanted = np.clip(librosa.power_to_db(power, ref=1.0, top_db=None), -80, 20)
    assert np.allclose(decibels(samples), wanted, rtol=0, atol=1e-3)
    assert np.allclose(mel_bands(), librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=64, fmin=20, fmax=8000), atol=1e-7)


def test_six_seconds_are_188_frames_at_any_rate():
    for rate in (16_000, 44_100, 11_025):
        tone = np.sin(2 * np.pi * 1000 * np.arange(6 * rate) / rate).astype(np.float32)
        spectrogram = decibels(tone, rate)
        assert spectrogram.shape == (64, 188)
        assert spectrogram[:, 90].argmax() == decibels(tone[: 6 * RATE], RATE)[:, 90].argmax() or rate != RATE
        assert abs(spectrogram[:, 90].max() - 20) < 0.01


def test_bytes_and_decibels_say_the_same():
    coded = as_bytes(clip(3))
    assert np.allclose(read(coded, 16, None), coded[None] / 255 * 100 - 80, atol=1e-4)
    assert np.allclose(read(coded.tolist(), 16, None), read((coded / 255 * 100 - 80).tolist(), 16, None), atol=1e-4)
    louder = clip(3) + 60
    assert read(louder, 16, None).max() == 20


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (None, "nothing said"),
        (" ", "nothing said"),
        (clip(1)[:63], "not a spectrogram"),
        (clip(1)[0], "not a spectrogram"),
        (np.full((64, 40), 256), "not a spectrogram"),
        (np.full((64, 40), -1), "not a spectrogram"),
        (np.full((64, 40), True), "not a spectrogram"),
        ([["a"] * 40] * 64, "not a spectrogram"),
        ([[1.0] * 40] * 63 + [[1.0] * 39], "not a spectrogram"),
        ({"mel": 1}, "not a spectrogram"),
        (np.where(np.arange(40) == 7, np.nan, clip(1)), "not finite"),
        (clip(1, 15), "too short"),
        (np.zeros((64, 0)), "too short"),
        (np.zeros((0, 64, 40)), "too short"),
        (np.full((64, 40), -80.0), "silent"),
        (np.zeros((64, 40), np.uint8), "silent"),
        (clip(1) - 100, "silent"),
        (np.full((64, 40), 3.0), "silent"),
        ("song.wav", "no folder"),
    ],
)
def test_what_cannot_be_used_has_a_reason_and_no_vector(tiny, said, problem):
    items = [{"mel": said}, {"mel": clip(2)}]
    silent = problem == "nothing said"
    assert tiny.problems(items[0]) == {"mel": problem if silent else f"{problem}: {MEANING[problem]}"}
    assert tiny.problems(items[1]) == {}
    assert tiny.encode(items).any(axis=1).tolist() == [False, True]
    assert problem in MEANING


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2 * RATE, 2))).astype(np.float32)
    soundfile.write(folder / "noise.wav", noise, RATE)
    soundfile.write(folder / "noise.flac", noise, RATE)
    soundfile.write(folder / "noise.ogg", noise, RATE)
    soundfile.write(folder / "silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(folder / "short.wav", noise[:2000], RATE)
    soundfile.write(folder / "empty.wav", noise[:0], RATE)
    soundfile.write(folder / "nan.wav", np.full(2 * RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    np.save(folder / "clip.npy", clip(1))
    np.save(folder / "objects.npy", np.array([{}]), allow_pickle=True)
    whole = (folder / "clip.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-100])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.mp3").write_text("This is no audio.")
    (folder / "zero.mp3").write_bytes(b"")
    flac = bytearray((folder / "noise.flac").read_bytes())
    flac[2000:] = bytes(len(flac) - 2000)
    (folder / "damaged.flac").write_bytes(flac)
    rate = bytearray((folder / "noise.wav").read_bytes())
    rate[24:28] = (2**31 - 1).to_bytes(4, "little")
    (folder / "rate.wav").write_bytes(rate)
    (folder / "inner").mkdir()
    (folder / "inner" / "noise.wav").symlink_to(folder / "noise.wav")
    return folder


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("silent.wav", "silent"),
        ("short.wav", "too short"),
        ("empty.wav", "too short"),
        ("nan.wav", "not finite"),
        ("objects.npy", "corrupt"),
        ("cut.npy", "corrupt"),
        ("empty.npy", "corrupt"),
        ("text.mp3", "not audio"),
        ("zero.mp3", "not audio"),
        ("damaged.flac", "corrupt"),
        ("rate.wav", "corrupt"),
        ("none.wav", "no such file"),
        ("none.npy", "no such file"),
        ("inner", "no such file"),
        ("a\0b.npy", "no such file"),
        ("long" * 2000, "no such file"),
        ("../x.wav", "outside the folder"),
        ("/etc/hostname", "outside the folder"),
    ],
)
def test_files_that_cannot_be_used_have_a_reason(sounds, name, problem):
    assert read(name, 16, sounds) == problem


def test_a_link_does_not_lead_out_of_the_folder(sounds):
    assert read("noise.wav", 16, sounds / "inner") == "outside the folder"


def test_audio_files_say_what_their_samples_say(sounds):
    samples, rate = soundfile.read(sounds / "noise.wav", dtype="float32")
    wanted = decibels(samples.mean(axis=1), rate)
    assert np.allclose(read("noise.wav", 16, sounds), wanted[None], atol=1e-4)
    assert np.allclose(read("noise.flac", 16, sounds), wanted[None], atol=0.01)
    assert np.abs(read("noise.ogg", 16, sounds) - wanted[None]).mean() < 3
    assert np.array_equal(read("clip.npy", 16, sounds), clip(1)[None])


def test_the_files_that_items_are_read_from_are_known(tiny, sounds):
    encoding = MelCnn.of(tiny.rule.model_copy(update={"folder": str(sounds)}), tiny.arrays())
    names = ["noise.wav", "none.wav", "../x.wav", "a\0b", " ", None, [[1.0]]]
    assert [encoding.files({"mel": name}) for name in names] == [[(sounds / "noise.wav").resolve()], *[[]] * 6]
    assert tiny.files({"mel": "noise.wav"}) == []


def test_without_soundfile_a_file_has_a_reason_and_training_says_what_to_install(sounds, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert read("noise.wav", 16, sounds) == "extra audio is missing"
    with pytest.raises(MissingExtra, match=r"'noise.wav'.*pip install 'recsys-engine\[audio\]'"):
        fitted([{"mel": clip(1)}, {"mel": "noise.wav"}], folder=sounds)


def test_every_problem_is_explained():
    assert tuple(MEANING) == PROBLEMS


def test_more_than_ten_minutes_are_not_read():
    long = np.tile(clip(1, 1000), (1, 20))
    assert read(long, 16, None).shape == (1, 64, 18_750)
    assert read(np.stack([long] * 2), 16, None).shape == (1, 64, 18_750)
    assert read(np.stack([clip(1, 1000)] * 20), 16, None).shape == (18, 64, 1000)


@pytest.mark.parametrize(("frames", "starts"), [(4, [0]), (5, [0, 1]), (8, [0, 4]), (9, [0, 2, 5]), (12, [0, 4, 8])])
def test_windows_cover_a_clip_and_are_as_few_as_can_be(frames, starts):
    clips = np.arange(2 * frames, dtype=np.float32).reshape(2, 1, frames)
    windows = windows_of(clips, 4)
    assert windows.shape == (2 * len(starts), 1, 4)
    assert windows[::2, 0, 0].tolist() == starts


@pytest.mark.parametrize("pools", [(1,), (4, 2, 1), (3, 2, 2)])
def test_numpy_answers_as_torch_does(pools):
    encoder = MelCnnEncoder(pools=pools, width=20, channels=24, window=100, steps=2)
    encoding = encoder.fit([{"mel": clip(kind, 130)} for kind in range(4)], np.random.default_rng(0), threads=1)
    parameters = {name: torch.from_numpy(array) for name, array in encoding.arrays().items()}
    network = Network(parameters, pools, lambda x: x)
    windows = np.concatenate([windows_of(clip(kind, 300, seed=1)[None], 100) for kind in range(8)] * 4)
    with torch.no_grad():
        wanted = network(windows).numpy()
    assert np.allclose(encoding.forward(windows), wanted, rtol=0, atol=1e-5)
    assert np.std(wanted, axis=0).max() > 1e-3


def test_torch_on_a_device_gives_the_same(tiny):
    items = [{"mel": clip(1, 50)}, {}, {"mel": np.stack([clip(2), clip(3)])}]
    found = tiny.encode(items)
    assert np.allclose(encoded_on(tiny, items, "cpu"), found, rtol=0, atol=1e-5)
    assert np.allclose(encoded(tiny, items), found, rtol=0, atol=1e-5)
    assert all(callable(twin) for twin in TWINS.values())


def test_more_items_than_go_through_together_are_each_as_alone(tiny):
    items = [{"mel": clip(place % 8, 16 + place % 50)} for place in range(TOGETHER // 2)] + [{}]
    found = tiny.encode(items)
    some = [0, 1, 50, 300, len(items) - 2, len(items) - 1]
    assert sum(len(windows_of(item["mel"][None], 16)) for item in items[:-1]) > TOGETHER
    assert np.allclose(found[some], [tiny.encode([items[place]])[0] for place in some], rtol=0, atol=1e-6)


def test_an_item_is_the_mean_of_its_windows(tiny):
    spectrogram = clip(2, 32)
    halves = tiny.encode([{"mel": spectrogram[:, :16]}, {"mel": spectrogram[:, 16:]}])
    whole = tiny.encode([{"mel": spectrogram}, {"mel": np.stack([spectrogram[:, :16], spectrogram[:, 16:]])}])
    mean = halves.mean(axis=0) / np.linalg.norm(halves.mean(axis=0))
    assert np.allclose(whole, mean, atol=1e-6)


def test_nothing_is_left_on_the_processor_where_the_parameters_are_elsewhere():
    # torch's device "meta" holds shapes and, like a GPU, refuses to compute with what lies on the processor
    encoder = MelCnnEncoder(**TINY)
    here = fitted([{"mel": clip(kind)} for kind in range(3)])
    parameters = {name: torch.from_numpy(array).to("meta") for name, array in here.arrays().items()}
    network = Network(parameters, encoder.pools, Dropout(0.2, torch.Generator()))
    taught = network.taught()
    found = network(np.zeros((6, BANDS, 16), np.float32))
    contrast(found, torch.tensor([0, 1, 2] * 2).to(found.device), 0.1).backward()
    assert {value.grad.device.type for value in taught} == {"meta"}


def test_contrast_by_hand():
    found = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # one is alike, two are at right angles: e^1 of e^1 + 2 e^0
    assert float(contrast(found, torch.tensor([0, 0, 1, 1]), 1.0)) == pytest.approx(np.log(np.e + 2) - 1)
    assert float(contrast(found, torch.tensor([0, 1, 0, 1]), 1.0)) == pytest.approx(np.log(np.e + 2))
    # all belong together: the mean over the one alike and the two others
    assert float(contrast(found, torch.zeros(4), 1.0)) == pytest.approx(np.log(np.e + 2) - 1 / 3)


def nearest_are_alike(vectors, labels):
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return (labels[scores.argmax(axis=1)] == labels).mean()


def test_crops_of_one_item_come_to_lie_together():
    rng = np.random.default_rng(0)
    # what differs is how loud each band is; what is the same for all is a loud noise
    sounds = [np.clip(clip(1, 80, seed) + rng.normal(0, 6, (BANDS, 1)), -80, 20) for seed in range(12)]
    encoding = fitted([{"mel": sound[:, :40]} for sound in sounds], steps=60, learning_rate=0.01)
    halves = encoding.encode([{"mel": half} for sound in sounds for half in (sound[:, 40:60], sound[:, 60:])])
    assert nearest_are_alike(halves, np.repeat(np.arange(12), 2)) > 0.8


def test_items_with_one_label_come_to_lie_together_unheard_ones_too():
    items = [{"mel": clip(seed % 8, seed=seed), "album": "low" if seed % 8 < 4 else "high"} for seed in range(32)]
    heard = fitted(items, labels=("album",), steps=40, learning_rate=0.01)
    unheard = heard.encode([{"mel": clip(kind, seed=99)} for kind in range(8)])
    scores = unheard @ unheard.T
    same = np.arange(8) < 4
    alike = same[:, None] == same
    assert scores[alike].min() > scores[~alike].max() + 0.2


def test_an_item_without_a_label_belongs_to_itself():
    items = [{"mel": clip(kind), "album": label} for kind, label in enumerate(["a", "a", None, "", 7])]
    (groups,) = MelCnnEncoder(**TINY, labels=("album",))._groups(items)
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4


@pytest.fixture(scope="module")
def directions():
    return np.random.default_rng(5).normal(size=(8, 5)).astype(np.float32)


def test_directions_that_are_given_are_learned(directions):
    kinds = np.arange(40) % 8
    items = [{"mel": clip(kind, seed=seed)} for seed, kind in enumerate(kinds)]
    encoder = MelCnnEncoder(**{**TINY, "steps": 150, "learning_rate": 0.01, "dropout": 0.0})
    encoding = encoder.fit_to(items, directions[kinds] * 3, np.random.default_rng(0), threads=1)
    assert encoding.width == 5
    found = encoding.encode([{"mel": clip(kind, seed=99)} for kind in range(8)])
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert (found * unit).sum(axis=1).mean() > 0.95
    assert (found @ unit.T).argmax(axis=1).tolist() == list(range(8))


def test_what_has_no_direction_or_no_weight_teaches_nothing(directions):
    items = [{"mel": clip(kind)} for kind in range(8)]
    targets, weights = directions.copy(), np.ones(8, np.float32)
    targets[6], weights[7] = 0, 0
    encoder = MelCnnEncoder(**TINY)
    found = encoder.fit_to(items, targets, np.random.default_rng(0), weights=weights, threads=1)
    same = encoder.fit_to(items[:6], targets[:6], np.random.default_rng(0), threads=1)
    assert all(np.array_equal(array, same.arrays()[name]) for name, array in found.arrays().items())


def test_it_ends_when_what_is_held_out_gets_no_better():
    rng = np.random.default_rng(0)
    items = [{"mel": clip(3, seed=seed)} for seed in range(20)]
    shares = []
    encoder = MelCnnEncoder(**{**TINY, "steps": 240, "held_out": 0.5, "patience": 2, "learning_rate": 0.01})
    # there is nothing to find
    encoder.fit_to(items, rng.normal(size=(20, 4)).astype(np.float32), rng, threads=1, progress=shares.append)
    assert 20 < len(shares) < 200
    assert shares[-1] == 1.0


def test_of_what_is_held_out_nothing_all_steps_are_taken(directions):
    shares = []
    items = [{"mel": clip(kind)} for kind in range(8)]
    encoder = MelCnnEncoder(**TINY, held_out=0)
    encoder.fit_to(items, directions, np.random.default_rng(0), threads=1, progress=shares.append)
    assert np.allclose(shares, [1 / 3, 2 / 3, 1])


def test_too_few_sounds_are_an_error_that_says_what_is_wrong_with_the_rest(directions):
    items = [{"mel": clip(1)}, {"mel": clip(1, 3)}, {"mel": clip(1, 5)}, {"mel": None}]
    wanted = r"have 1 of 4 items in column 'mel', at least 2 were wanted: 2 too short \(it has fewer.*; 1 nothing said"
    with pytest.raises(TrainingError, match=wanted):
        fitted(items)
    with pytest.raises(TrainingError, match="have 0 of 0 items"):
        fitted([])
    with pytest.raises(ValueError, match="4 items have 8 targets and 4 weights"):
        MelCnnEncoder(**TINY).fit_to(items, directions, np.random.default_rng(0), threads=1)


def test_layers_that_leave_nothing_of_a_window_are_refused(tiny):
    with pytest.raises(ValidationError, match="nothing is left of `window` 16 behind `kernel` 4"):
        MelCnnEncoder(window=16, pools=(4, 4, 4))
    with pytest.raises(ValueError, match="a window of 3 frames is too short"):
        MelCnn.of(MelCnnRule(window=3, pools=tiny.rule.pools), tiny.arrays())
    arrays = {**tiny.arrays(), "dense_0": np.zeros((5, 16), np.float32)}
    with pytest.raises(ValueError, match=r"dense_0 is \(5, 16\) .* but 24 numbers come in"):
        MelCnn.of(tiny.rule, arrays)
