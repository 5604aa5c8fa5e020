"""The command line as its users type it."""

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from recsys.activity import nothing
from recsys.cli import app
from recsys.sections import State
from recsys.stores import open_store


def recsys(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "recsys", *arguments], cwd=cwd, capture_output=True, text=True)


def commands():
    import click
    import typer

    def walk(command, path):
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield path
        else:
            for name, sub in subcommands.items():
                yield from walk(sub, (*path, name))

    assert click
    return list(walk(typer.main.get_command(app), ()))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself_and_stands_in_the_docs(command, repo):
    # In this process: another for each command would do little but import the same again.
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
    assert f"recsys {' '.join(command)}" in (repo / "docs/operations.md").read_text()


def test_an_error_is_one_sentence_and_exit_code_1(tmp_path):
    for arguments, said in (
        (("train", "nowhere.toml"), "there is no nowhere.toml"),
        (("data", "fetch", "ml-100"), "unknown data set 'ml-100', choose one of"),
        (("release", "show"), "run `recsys train` first"),
        (("release", "promote", "2020-01-01T00-00-00"), "there is no release '2020-01-01T00-00-00'"),
    ):
        done = recsys(*arguments, cwd=tmp_path)
        assert done.returncode == 1, done
        assert said in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_json_is_one_document_and_nothing_else(home):
    listed = json.loads(recsys("release", "list", "--json", cwd=home).stdout)
    assert [row["current"] for row in listed] == [True]
    shown = json.loads(recsys("release", "show", "--json", cwd=home).stdout)
    assert shown["id"] == listed[0]["id"]
    assert {"numpy", "implicit"} <= shown["lineage"]["libraries"].keys()
    names = {row["name"] for row in json.loads(recsys("data", "list", "--json", cwd=home).stdout)}
    assert {"ml-100k", "gowalla", "s3rec-beauty"} <= names
    assert json.loads(recsys("data", "check", "--json", cwd=home).stdout)["findings"] == []


def test_tables_are_printed_for_people(home):
    for arguments, said in (
        (("release", "list"), "passed"),
        (("release", "show"), "popularity"),
        (("data", "list"), "MovieLens"),
        (("data", "check", "ml-100k"), "nothing wrong"),
    ):
        done = recsys(*arguments, cwd=home)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    current = json.loads(recsys("release", "show", "--json", cwd=home).stdout)["id"]
    assert "are as published" in recsys("release", "verify", current, cwd=home).stdout


def test_a_bad_log_is_refused_with_a_table_and_exit_code_1(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,time\nu1,,1600000000\nu2,i1,1600000000000\n")
    (tmp_path / "recsys.toml").write_text('[data]\nevents = "log.csv"\n')
    checked = recsys("data", "check", cwd=tmp_path)
    assert checked.returncode == 1
    assert "item_id" in checked.stdout
    assert "millisecond" in checked.stdout
    refused = recsys("train", cwd=tmp_path)
    assert refused.returncode == 1
    assert "millisecond" in refused.stderr
    assert not (tmp_path / "var/releases/CURRENT").exists()


def test_the_demo_trains_serves_asks_and_stops(tmp_path):
    done = recsys("demo", "--once", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lists = json.loads(done.stdout)["lists"]
    assert [answer["level"] for answer in lists] == ["personal"] * 4 + ["trending"]
    assert all(len(answer["items"]) == 5 for answer in lists)


def test_prune_removes_releases_and_says_which(copied, configured, tmp_path):
    copied(tmp_path, configured())
    assert recsys("train", cwd=tmp_path).returncode == 0
    old, new = (row["id"] for row in json.loads(recsys("release", "list", "--json", cwd=tmp_path).stdout))

    async def somebody_was_folded_in():
        async with open_store(State(folder=tmp_path / "var/state")) as store:
            await store.put([nothing("ann").with_vector(np.ones(64, np.float32))], old)

    asyncio.run(somebody_was_folded_in())
    done = recsys("release", "prune", "--keep", "1", cwd=tmp_path)
    assert done.stdout == f"1 releases and 1 user vectors removed: {old}\n"
    left = json.loads(recsys("release", "list", "--json", cwd=tmp_path).stdout)
    assert [row["id"] for row in left] == [new]


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("serve", "uvicorn", "serve"), ("train", "implicit", "train"), ("data check", "pandera", "train")],
)
def test_a_missing_extra_is_named_with_the_way_to_get_it(command, missing, extra, home):
    # None in sys.modules is how Python itself marks a module as not to be found.
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {command.split()}\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "from recsys.cli import main; main()"], cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert missing in done.stderr
    assert f"pip install 'recsys-engine[{extra}]'" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
