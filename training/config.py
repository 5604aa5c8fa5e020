"""``[model]`` of the settings as the frozen configuration of one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from recsys.errors import SettingsError, unknown_choice
from recsys.settings import describe
from training.models import MODELS, Model


def model_of(table: Mapping[str, Any]) -> Model:
    """The model that ``name`` says, with the table's other keys as its configuration.

    SettingsError for an unknown model, or a key or value that the model refuses.
    """
    name = table.get("name", "als")
    if not isinstance(name, str) or name not in MODELS:
        raise SettingsError(f"[model]: {unknown_choice('model', str(name), MODELS)}")
    try:
        return MODELS[name].model_validate({key: value for key, value in table.items() if key != "name"})
    except ValidationError as error:
        raise SettingsError(f"[model] {name}: {describe(error)}") from error
