"""Tables of the settings, such as ``[model]``, as the frozen configuration of what they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from recsys.errors import SettingsError, unknown_choice
from recsys.sections import Section
from recsys.settings import describe
from recsys.tables import Table

S = TypeVar("S", bound=Section)


def configured(table: Table[type[S]], options: Mapping[str, Any], default: str, key: str) -> S:
    """What ``name`` says, ``default`` if nothing does, with the other options as its configuration.

    ``key``: where the options stand in recsys.toml. SettingsError for a name that the table does not have, or an option
    or value that the named thing refuses.
    """
    name = options.get("name", default)
    if not isinstance(name, str) or name not in table:
        raise SettingsError(f"[{key}]: {unknown_choice(table.kind, str(name), table)}")
    try:
        return table[name].model_validate({option: value for option, value in options.items() if option != "name"})
    except ValidationError as error:
        raise SettingsError(f"[{key}] {name}: {describe(error)}") from error
