"""What torch trains and computes on a GPU is what it gives on the processor: `make gpu`, where there is one.

The processor's answers come from a process of their own, from which the GPU is hidden, as a user would hide it.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.arrays import unit
from recsys.encoding.concat import Concat
from recsys.encoding.sentence_transformer import SentenceTransformer, SentenceTransformerRule
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.vocabulary import Vocabulary
from training.devices import fastest_device
from training.encoders.mel_cnn import MelCnnEncoder
from training.encoders.on_device import encoded
from training.maps import mapper_of
from training.maps.taste import Taste
from training.models import model_of

USERS, ITEMS, WIDTH = 200, 300, 12
SMALL_CNN = {"window": 32, "channels": 16, "kernel": 3, "pools": (2, 2), "width": 8, "steps": 40, "batch": 16}


def drawn(seed=0):
    return np.random.default_rng(seed)


def listeners():
    """Items whose content bends into taste, their vectors, and who took which."""
    chance = drawn()
    content = unit(chance.normal(size=(ITEMS, WIDTH)).astype(np.float32))
    true = unit((np.abs(content[:, :6]) - np.abs(content[:, :6]).mean(axis=0)).astype(np.float32))
    tastes = unit(chance.normal(size=(USERS, 6)).astype(np.float32))
    taken = np.argsort(-(tastes @ true.T), axis=1)[:, :30]
    log = pd.DataFrame({"user_id": np.repeat(np.arange(USERS), 30).astype(str), "item_id": taken.ravel().astype(str)})
    data = interactions_of(
        log.assign(kind="play"), {"play": Kind()}, items=Vocabulary.of([str(item) for item in range(ITEMS)])
    )
    return content, unit(true + 0.2 * chance.normal(size=true.shape).astype(np.float32)), data


def clips(count=24):
    """Noise, each with a loud band of its own, of different lengths."""
    chance = drawn(1)
    loud = np.exp(-0.5 * ((np.arange(64) - 2.5 * np.arange(count)[:, None]) / 5) ** 2)
    return [
        {"mel": (-50 + 50 * bands[:, None] + chance.normal(0, 3, (64, 40 + 9 * place))).astype(np.float32)}
        for place, bands in enumerate(loud)
    ]


def factors(name, **options):
    """The item vectors of a model."""
    *_, data = listeners()
    fold = model_of({"name": name, "factors": 16, **options}).fit(data, drawn(2), threads=1).fold
    return unit(fold.items)


def predicted(name, **options):
    """Where a map, learned from most items, says that all of them lie."""
    content, vectors, data = listeners()
    known = (np.arange(ITEMS) % 5 > 0) & (np.bincount(data.item, minlength=ITEMS) > 0)
    told = content[known], {"items": vectors[known]}, np.ones(int(known.sum()), np.float32)
    mapper = mapper_of({"name": name, "hidden": options.pop("hidden", 32), "learning_rate": 0.01, **options})
    net = mapper.fit(*told, drawn(3), threads=1)
    taste = Taste.of(Linear.of(vectors, LinearRule(unit=True)), data, known)
    return mapper.refined(net, *told, taste, drawn(4), threads=1).predict(content)


def heard(towards):
    """What a network that was learned here says of each clip, by contrast or towards vectors."""
    encoder, items = MelCnnEncoder(**SMALL_CNN), clips()
    if towards:
        encoding = encoder.fit_to(items, drawn(5).normal(size=(len(items), 8)).astype(np.float32), drawn(6), threads=1)
    else:
        encoding = encoder.fit(items, drawn(6), threads=1)
    return encoded(encoding, items)


def read(beside_sound):
    """What a language model of random numbers says of texts, alone or beside a network for sound."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **{str(word): word + 1 for word in range(50)}}, "[UNK]"))  # type: ignore[arg-type]
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    width, inner, layers, chance = 24, 40, 2, drawn(7)
    shapes = {
        "token": (51, width), "position": (32, width), "norm_first_scale": (width,), "norm_first_shift": (width,),
        "attention_in": (layers, width, 3 * width), "attention_in_shift": (layers, 3 * width),
        "attention_out": (layers, width, width), "attention_out_shift": (layers, width),
        "norm_attention_scale": (layers, width), "norm_attention_shift": (layers, width),
        "forward_in": (layers, width, inner), "forward_in_shift": (layers, inner),
        "forward_out": (layers, inner, width), "forward_out_shift": (layers, width),
        "norm_forward_scale": (layers, width), "norm_forward_shift": (layers, width),
    }  # fmt: skip
    arrays = {
        name: (name.endswith("_scale") + chance.normal(0, 0.3, shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    spelling = np.frombuffer(tokenizer.to_str().encode(), np.uint8)
    rule = SentenceTransformerRule(columns=("text",), model="random", heads=3, max_tokens=32)
    encoding = SentenceTransformer.of(rule, {**arrays, "tokenizer": spelling})
    words = [" ".join(map(str, chance.integers(0, 50, length))) for length in range(1, 40)]
    if not beside_sound:
        return encoded(encoding, [{"text": text} for text in words])
    sound = MelCnnEncoder(**SMALL_CNN).fit(clips(), drawn(6), threads=1)
    both = Concat({"words": encoding, "sound": sound}, {"words": 1.0, "sound": 2.0})
    return encoded(both, [{"text": text, **clip} for text, clip in zip(words, clips(), strict=False)])


CASES = {
    "ials": lambda: factors("ials"),
    "sasrec": lambda: factors("sasrec", epochs=4, dropout=0.2, negatives=100),
    "mlp": lambda: predicted("mlp", hidden=[32], epochs=20),
    "contrastive": lambda: predicted("contrastive", negatives=100, epochs=6, dropout=0.1),
    "mel-cnn by contrast": lambda: heard(towards=False),
    "mel-cnn towards vectors": lambda: heard(towards=True),
    "sentence-transformer": lambda: read(beside_sound=False),
    "concat": lambda: read(beside_sound=True),
}
"""What is computed: vectors of length one or, beside each other, of lengths one and two."""
TOLERANCE = 1e-4
"""How far one number may be from the processor's; on an H200 it was 0.000004 at most."""


@pytest.mark.parametrize("name", CASES)
def test_each_case_computes_something_that_comes_out_the_same_again(name):
    found = CASES[name]()
    assert np.isfinite(found).all()
    assert found.std(axis=0).min() > 1e-3
    assert np.array_equal(found, CASES[name]()) or fastest_device() == "cuda"


@pytest.fixture(scope="module")
def by_the_processor(tmp_path_factory):
    """The answers of all cases where no GPU is to be seen."""
    path = tmp_path_factory.mktemp("processor") / "answers.npz"
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, __file__, str(path)], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(path) as answers:
        return dict(answers)


def test_the_cases_can_be_computed_by_the_processor_alone(by_the_processor):
    assert by_the_processor.keys() == CASES.keys()


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_what_the_processor_gives(name, by_the_processor):
    assert fastest_device() == "cuda", "torch sees no GPU here"
    torch.cuda.reset_peak_memory_stats()
    found = CASES[name]()
    assert torch.cuda.max_memory_allocated() > 0, "nothing was computed on the GPU"
    assert np.abs(found - by_the_processor[name]).max() <= TOLERANCE


if __name__ == "__main__":
    assert fastest_device() == "cpu"
    np.savez(sys.argv[1], **{name: case() for name, case in CASES.items()})
