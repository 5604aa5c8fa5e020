"""Documentation that cannot lag: what it shows is run, what it names exists."""

import inspect
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from pydantic import BaseModel

from index import BACKENDS
from recsys.features import FEATURES
from recsys.fusions import FUSIONS
from recsys.sections import ContentSettings, Kind, RankerSettings
from recsys.settings import Settings, load_settings
from recsys.sources import SOURCES
from recsys.steps import STEPS
from training.encoders import ENCODERS
from training.maps import MAPS
from training.models import MODELS, model_of

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", REPO / "CHANGELOG.md", *sorted((REPO / "docs").rglob("*.md"))]
TOURS = [REPO / "README.md", REPO / "docs/guide.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path):
    return str(path.relative_to(REPO))


def blocks(page, language):
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


def prose(page):
    return FENCE.sub("", page.read_text())


def block_of(page, title):
    """The block that stands under the line `title`:."""
    found = re.search(rf"^`{re.escape(title)}`:\n\n```\w+\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no block under `{title}`:"
    return found[1]


def recsys(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "recsys", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("page", TOURS, ids=name_of)
def test_every_toml_block_is_a_configuration(page, tmp_path):
    assert blocks(page, "toml")
    for body in blocks(page, "toml"):
        path = tmp_path / "recsys.toml"
        path.write_text(body)
        assert load_settings(path, {}) != Settings()


@pytest.mark.parametrize("page", TOURS, ids=name_of)
def test_every_model_and_index_shown_can_be_built(page, tmp_path):
    for body in blocks(page, "toml"):
        path = tmp_path / "recsys.toml"
        path.write_text(body)
        settings = load_settings(path, {})
        model_of(settings.model)
        backend = settings.index["backend"]
        if backend != "auto":
            assert settings.index.keys() - {"backend"} <= inspect.signature(BACKENDS[backend].build).parameters.keys()


def keys(section, prefix):
    """Dotted key → default, for every key below a section."""
    for key, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from keys(type(default), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", default


def table_under(heading, page="docs/operations.md"):
    """Key → default, as the table under a heading of a page shows them."""
    text = (REPO / page).read_text()
    assert f"\n{heading}\n" in text, f"{page} has no heading {heading!r}"
    section = re.split(r"^#+ ", text.split(f"\n{heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \| ", section, re.MULTILINE))


def shown(defaults):
    return {
        key: "none" if default is None else f"`{json.dumps(default, default=str)}`" for key, default in defaults.items()
    }


def test_every_key_stands_in_the_table_with_its_default():
    every = {**dict(keys(Settings, "")), **dict(keys(Kind, "data.kinds.KIND."))}
    assert table_under("## Settings") == shown(every)


@pytest.mark.parametrize("model", MODELS)
def test_every_key_of_a_model_stands_in_its_table(model):
    assert table_under(f"### Model `{model}`") == shown(dict(keys(MODELS[model], "")))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_key_of_an_index_stands_in_its_table(backend):
    _, *options = inspect.signature(BACKENDS[backend].build).parameters.values()
    assert table_under(f"### Index `{backend}`") == shown({option.name: option.default for option in options})


@pytest.mark.parametrize("name", MAPS)
def test_every_key_of_a_map_stands_in_its_table(name):
    assert table_under(f"### Map `{name}`") == shown(dict(keys(MAPS[name], "")))


def test_every_key_of_content_stands_in_its_table():
    assert table_under("### Content") == shown(dict(keys(ContentSettings, "")))


def test_every_key_of_a_ranker_stands_in_its_table():
    assert table_under("### Ranker") == shown(dict(keys(RankerSettings, "")))


def test_every_feature_stands_in_its_table():
    text = (REPO / "docs/ranking.md").read_text()
    assert dict(re.findall(r"^\| `([a-z-]+)` \| [^|]*\| ([^|]+) \|$", text, re.MULTILINE)) == {
        name: feature.about for name, feature in FEATURES.items()
    }


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_key_of_an_encoder_stands_in_its_table(encoder):
    assert table_under(f"### Encoder `{encoder}`") == shown(dict(keys(ENCODERS[encoder], "")))


LINES = [(table.kind, name) for table in (SOURCES, FUSIONS, STEPS) for name in table]


@pytest.mark.parametrize(("kind", "name"), LINES)
def test_every_option_of_a_line_of_a_pipeline_stands_in_its_table(kind, name):
    builder = {"source": SOURCES, "fusion": FUSIONS, "step": STEPS}[kind][name]
    _, *options = inspect.signature(builder).parameters.values()
    given = shown({option.name: option.default for option in options if option.default is not option.empty})
    wanted = {option.name: given.get(option.name, "must be given") for option in options}
    assert table_under(f"### {kind.title()} `{name}`", "docs/pipelines.md") == wanted


def test_no_line_of_a_pipeline_is_documented_that_is_not_there():
    text = (REPO / "docs/pipelines.md").read_text()
    said = re.findall(r"^### (Source|Fusion|Step) `(.+)`$", text, re.MULTILINE)
    assert sorted((kind.lower(), name) for kind, name in said) == sorted(LINES)


def test_the_pipelines_that_are_shown_answer_as_they_are_shown(tmp_path):
    page = REPO / "docs/pipelines.md"
    for file in ("events.csv", "items.csv"):
        (tmp_path / file).write_text(block_of(REPO / "README.md", file))
    (tmp_path / "recsys.toml").write_text(block_of(page, "recsys.toml"))
    trained = recsys("train", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (example,) = blocks(page, "python")
    asked = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert f"```text\n{asked.stdout}```" in page.read_text()


def test_every_environment_variable_stands_in_the_table():
    named = {
        name for file in (REPO / "recsys").rglob("*.py") for name in re.findall(r"\bRECSYS_[A-Z_]+", file.read_text())
    }
    assert named
    assert named <= set(re.findall(r"RECSYS_[A-Z_]+", (REPO / "docs/operations.md").read_text()))


def test_every_metric_stands_in_the_table():
    from api.metrics import METRICS

    text = (REPO / "docs/operations.md").read_text()
    for name in METRICS.__slots__:
        (family,) = getattr(METRICS, name).describe()
        suffix = "_total" if family.type == "counter" else ""
        assert f"| `{family.name}{suffix}` |" in text


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_image_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / unquote(file) if file else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no such heading"


def test_every_record_can_be_found_in_the_navigation():
    navigation = (REPO / "mkdocs.yml").read_text()
    for page in (REPO / "docs").rglob("*.md"):
        assert page.relative_to(REPO / "docs").as_posix() in navigation


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z]+)\b", page.read_text(), re.MULTILINE)
        assert set(named) <= targets, page.name


def test_every_command_that_is_named_exists():
    from typer.main import get_command

    from recsys.cli import app

    whole = get_command(app)
    for page in PAGES:
        for line in re.findall(r"(?:^|`|\$ )recsys ([a-z][a-z -]*)", page.read_text(), re.MULTILINE):
            command = whole
            for word in line.split():
                children = getattr(command, "commands", None)
                if children is None or word.startswith("-"):
                    break
                assert word in children, f"{page.name}: recsys {line}"
                command = children[word]


def test_python_blocks_are_python():
    for page in PAGES:
        for body in blocks(page, "python"):
            compile(body, page.name, "exec")


def test_the_model_that_is_shown_learns():
    import numpy as np
    import pandas as pd

    from recsys.interactions import interactions_of

    shown = {"__name__": "training.models.plain_svd"}
    exec(block_of(REPO / "docs/extending.md", "training/models/plain_svd.py"), shown)  # noqa: S102  our own page
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in range(12) if u % 2 == i % 2]
    log = pd.DataFrame(pairs, columns=["user_id", "item_id"], dtype="str").assign(kind="play", value=1.0)
    data = interactions_of(log, {"play": Kind()})
    learned = shown["PlainSvd"](factors=2).fit(data, np.random.default_rng(0), threads=1)
    assert learned.serves == shown["PlainSvd"].serves
    assert learned.vectors().items.shape == (12, 2)


def test_the_encoder_that_is_shown_encodes(monkeypatch):
    from types import ModuleType

    import numpy as np

    for file in ("recsys/encoding/hashed_words.py", "training/encoders/hashed_words.py"):
        name = file.removesuffix(".py").replace("/", ".")
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(block_of(REPO / "docs/extending.md", file), vars(module))  # noqa: S102  our own page
    encoding = module.HashedWordsEncoder(width=50).fit([], np.random.default_rng(0), threads=1)
    one, same, other, nothing = encoding.encode([{"text": t} for t in ("A b", "b <i>a</i>", "c d", "")])
    assert np.array_equal(one, same)
    assert one @ other < one @ one
    assert not nothing.any()
    again = type(encoding).of(type(encoding).Rule(**encoding.rule.model_dump()), encoding.arrays())
    assert np.array_equal(again.encode([{"text": "a b"}])[0], one)


def test_json_blocks_are_json():
    for page in PAGES:
        for body in blocks(page, "json"):
            json.loads(body)


def test_the_readme_trains_and_the_guide_asks(tmp_path):
    readme, guide = TOURS
    for file in ("events.csv", "items.csv", "recsys.toml"):
        (tmp_path / file).write_text(block_of(readme, file))
    checked = recsys("data", "check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout in readme.read_text()
    trained = recsys("train", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "promoted, 0 users taken over" in trained.stdout
    (example,) = blocks(guide, "python")
    asked = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert f"```text\n{asked.stdout}```" in guide.read_text()


def test_an_event_changes_the_list_as_the_readme_shows(tmp_path, serve):
    (readme, _), listed = TOURS, r'"item_id":"([a-z-]+)","rank"'
    for file in ("events.csv", "items.csv", "recsys.toml"):
        (tmp_path / file).write_text(block_of(readme, file))
    assert recsys("train", cwd=tmp_path).returncode == 0
    shown = next(body for body in blocks(readme, "console") if "/events" in body)
    event, answer = re.search(r"-d '(.*?)'\n(\{.*?\})\n", shown).groups()
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address) as client:
        headers = {"Content-Type": "application/json"}
        assert client.post("/events", content=event, headers=headers).text == answer
        deadline = time.monotonic() + 10
        while (found := client.get("/recommend", params={"user_id": "ben", "k": 2}).text) and "blue-train" in found:
            assert time.monotonic() < deadline, "the item is in the list still"
        assert re.findall(listed, found) == re.findall(listed, shown)


def test_the_bad_rows_of_the_readme_are_refused_as_it_shows(tmp_path):
    (readme, _), bad = TOURS, "gus,kid-a,1770000000000,play\n,kid-a,2026-02-05T10:00:00,play\n"
    for file in ("events.csv", "items.csv", "recsys.toml"):
        (tmp_path / file).write_text(block_of(readme, file) + (bad if file == "events.csv" else ""))
    refused = recsys("train", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr in readme.read_text()
