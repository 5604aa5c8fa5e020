from pathlib import Path

import pytest

from recsys.errors import SettingsError
from recsys.settings import load_settings


def written(tmp_path, text):
    path = tmp_path / "recsys.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_a_working_configuration(tmp_path):
    settings = load_settings(written(tmp_path, ""), {})
    assert settings.model == {"name": "als"}
    assert settings.releases.folder == tmp_path / "var/releases"


def test_paths_are_relative_to_the_file(tmp_path):
    text = '[data]\nevents = "log.csv"\n[state]\nfolder = "/elsewhere"\n'
    settings = load_settings(written(tmp_path, text), {})
    assert settings.data.events == (tmp_path / "log.csv",)
    assert settings.state.folder == Path("/elsewhere")


def test_the_environment_wins_over_the_file(tmp_path):
    path = written(tmp_path, '[serve]\nport = 1\n[state]\nurl = "redis://one"\n')
    settings = load_settings(path, {"RECSYS_PORT": "2", "RECSYS_STATE_URL": "redis://two", "RECSYS_HOST": ""})
    assert (settings.serve.port, settings.state.url, settings.serve.host) == (2, "redis://two", "127.0.0.1")


def test_a_kind_is_a_weight_or_a_table(tmp_path):
    text = '[data.kinds]\nplay = 2\nrating = {scale = "value", at_least = 4}\n'
    kinds = load_settings(written(tmp_path, text), {}).data.kinds
    assert (kinds["play"].weight, kinds["rating"].at_least) == (2, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train]\nsed = 3\n", "train.sed: unknown key"),
        ("[train]\ntest_share = 1.5\n", "train.test_share: .*less than 1, but it is '1.5'"),
        ("[serve]\nport = 'http'\n", "serve.port: .*integer.*'http'"),
        ("[data]\ndataset = 'a'\nevents = 'b'\n", "give `dataset` or `events`, not both"),
        ("[data]\nitems = 'b'\n", "`items` needs `events`"),
        ("[data\n", "cannot be read as TOML"),
        ("serve = 3\n", "serve: "),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        load_settings(written(tmp_path, text), {"RECSYS_PORT": "80"} if text.startswith("serve =") else {})


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no .*recsys\.toml"):
        load_settings(tmp_path / "recsys.toml", {})
