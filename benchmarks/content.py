"""``recsys bench content``: what is worth knowing of items that nobody took, system by system, on one parted data set.

Every system is an engine that is asked three times: among the cold items alone, among the others alone, and among all.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.cold import parts_of
from benchmarks.ladder import Bench, Config
from benchmarks.published import published
from recsys.datasets import load
from recsys.errors import SettingsError
from recsys.settings import describe
from recsys.tables import Table
from training.encoders import encoder_of
from training.maps import mapper_of
from training.models import model_of
from training.progress import Watcher

AUDIO = "free-music-mel"
SOUND: Table[Callable[..., dict[str, Any]]] = Table("benchmark", {AUDIO: "benchmarks.audio:measure_audio"})
"""By name, since what it imports trains networks."""
CONFIGS = Path(__file__).parent / "configs-content"


def config_of(dataset: str, folder: Path = CONFIGS) -> Config:
    """The configuration of a data set. SettingsError if there is none, or one that nothing can be made of."""
    file = folder / f"{dataset}.toml"
    choices = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    if not file.is_file():
        raise SettingsError(
            f"there is no benchmark of content on {dataset!r}: choose one of {choices}, or write {file}"
        )
    try:
        config = Config.model_validate(tomllib.loads(file.read_text("utf-8")))
    except (ValidationError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        told = describe(error) if isinstance(error, ValidationError) else error
        raise SettingsError(f"{file}: {told}") from error
    model_of(config.model)
    for options in config.maps.values():
        mapper_of(options)
    for options in (config.encoder, *config.ablation.values()):
        encoder_of(options)
    return config


def measure_all(
    datasets: Sequence[str],
    watcher: Watcher,
    *,
    environ: Mapping[str, str],
    validation: bool = False,
    folder: Path = CONFIGS,
) -> Iterator[dict[str, Any]]:
    """One document after the other; what cannot be measured is said before anything is.

    Of ``free-music-mel`` it is that of :mod:`benchmarks.audio`, whose ``rows`` are those of its listening log.
    """
    for dataset in datasets:
        if dataset != AUDIO:
            config_of(dataset, folder)
        elif validation:
            raise SettingsError(f"{AUDIO} is validated by `python -m benchmarks.audio --validate`")
    for dataset in datasets:
        if dataset == AUDIO:
            document = SOUND[AUDIO](environ)
            yield {**document, "rows": document["listening"]["rows"]}
        else:
            yield measure(dataset, watcher, environ=environ, validation=validation, folder=folder)


def keep(document: Mapping[str, Any], folder: Path, kind: str = "content") -> None:
    """Write ``KIND-DATASET.json`` into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / f"{kind}-{document['dataset']}.json").write_text(text, encoding="utf-8")


def measure(
    dataset: str,
    watcher: Watcher,
    *,
    environ: Mapping[str, str],
    validation: bool = False,
    folder: Path = CONFIGS,
) -> dict[str, Any]:
    """``dataset``, ``parts``, ``counts``, ``rows``, ``ablation``, ``curve`` and ``published``.

    ``validation``: judged by the items that settings are chosen by. UnknownDataset, SettingsError.
    """
    config = config_of(dataset, folder)
    with watcher.stage("read"):
        bench = Bench(parts_of(load(dataset, environ), validation=validation), config, watcher)
    rows, choice = bench.rows()
    return {
        "dataset": dataset,
        "parts": bench.parts.description,
        "judged_by": "validation" if validation else "test",
        "counts": bench.counts(),
        "prior": choice.prior,
        "kappa": choice.kappa,
        "encode_s": round(bench.encoded_s, 2),
        "map_s": bench.map_s,
        "rows": rows,
        "ablation": bench.ablation(),
        "curve": bench.curve(choice),
        "published": [line.as_dict() for line in published(f"{dataset}, cold items")],
        "config": config.model_dump(mode="json", exclude_defaults=True),
    }
