import pytest

from recsys.errors import MissingExtra
from recsys.tables import Table


def test_a_missing_extra_is_named_only_when_it_is_asked_for():
    table = Table("codec", {"json": "json:dumps", "rare": "no_such_library_at_all:dumps"}, extra="train")
    assert list(table) == ["json", "rare"]
    assert "rare" in table
    assert table["json"](1) == "1"
    with pytest.raises(
        MissingExtra, match=r"'rare' needs no_such_library_at_all, which is not installed: run .*\[train\]"
    ):
        table["rare"]


def test_a_mistake_of_our_own_is_not_taken_for_a_missing_extra():
    with pytest.raises(ModuleNotFoundError, match=r"recsys\.nowhere"):
        Table("codec", {"lost": "recsys.nowhere:x"}, extra="train")["lost"]
    with pytest.raises(AttributeError):
        Table("codec", {"lost": "json:nothing"}, extra="train")["lost"]
