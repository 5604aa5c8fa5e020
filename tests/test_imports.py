"""What a process loads is part of what it promises."""

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
from pathlib import Path
from recsys.settings import load_settings
{act}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded(act, cwd):
    done = subprocess.run([sys.executable, "-c", LOADED.format(act=act)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_serving_imports_no_training_library_and_no_pandas(home, tmp_path):
    act = """
import asyncio, httpx
from api.server import worker_app
from recsys.sections import LogSettings
settings = load_settings(Path("recsys.toml"), {"RECSYS_STATE_URL": "memory://"})
app = worker_app(settings.model_copy(update={"log": LogSettings(url="file:EVENTS")}))

async def ask():
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for path in ("/readyz", "/recommend?user_id=196", "/items/50/similar", "/page/users/196/history"):
                answer = await client.get(path)
                assert answer.status_code == 200, answer.text
            await client.post("/recommend", json={"history": [{"item_id": "50"}], "interests": ["war"]})
            said = {"/items/new": {"title": "New", "tags": ["war"]}, "/users/new": {"interests": ["war"]}}
            for path, about in said.items():
                answer = await client.put(path, json=about)
                assert answer.status_code in (200, 201), answer.text
            assert (await client.delete("/items/new")).status_code == 204
            event = {"user_id": "new", "item_id": "50", "kind": "play"}
            assert (await client.post("/events", json=event)).status_code == 202

asyncio.run(ask())
"""
    modules = loaded(act.replace("EVENTS", str(tmp_path)), home)
    assert {"numpy", "fastapi", "pyarrow"} <= modules
    assert not {"torch", "implicit", "lightgbm", "training", "pandera", "pandas", "scipy", "sklearn"} & modules


@pytest.mark.parametrize(
    ("module", "absent"),
    [("index", "faiss"), ("training.models", "implicit"), ("recsys.cli", "fastapi"), ("recsys.cli", "pandas")],
)
def test_importing_a_table_imports_nothing_it_lists(module, absent, tmp_path):
    assert absent not in loaded(f"import {module}", tmp_path)


def test_a_transformer_folds_in_without_torch(tmp_path):
    act = """
import numpy as np
from recsys.folding import FOLDS
kind = FOLDS["transformer"]
wide = {"attention_in": (1, 4, 12), "attention_in_shift": (1, 12), "position": (3, 4)}
shapes = {name: (1, 4, 4) if name.endswith(("in", "out")) else (1, 4) for name in kind.ARRAYS} | wide
arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
fold = kind.of(np.ones((5, 4), np.float32), kind.Rule(), arrays)
assert fold.fold(np.array([0, 2]), np.array([1, 4], np.int32), np.ones(2, np.float32)).shape == (1, 4)
"""
    assert not {"torch", "training", "scipy"} & loaded(act, tmp_path)


def test_torch_is_installed_so_that_its_absence_from_serving_means_something(tmp_path):
    assert "torch" in loaded("import torch", tmp_path)


def test_a_package_that_shadows_ours_is_named(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training/__init__.py").write_text("")
    done = subprocess.run([sys.executable, "-m", "recsys", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "package 'training' should lie in" in done.stderr.replace("\n", " ")
    assert str(tmp_path) in done.stderr.replace("\n", "")
