"""What others have printed, by data set: full rankings, training items masked, mean over users with test items.

Rows stand beside measured ones only where data and protocol are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

BARS = "BARS (Zhu et al. 2022)"
AUTHORS = "the authors' log, as BARS keeps it"
BSPM = "Choi et al. (2023), BSPM"
STEIN = "Liang et al. (2018), Steck (2019)"
RENDLE = "Rendle et al. (2022)"
RECVAE = "Shenbin et al. (2020)"
KLENITSKIY = "Klenitskiy & Vasilev (2023)"
GSASREC = "Petrov & Macdonald (2023)"
GAR = "Chen et al. (2022), GAR"
TIGER = "Rajput et al. (2023), TIGER; whether a user's own items are masked is not said"


@dataclass(frozen=True, slots=True)
class Published:
    """A line of somebody's table. ``values``: metric → number."""

    model: str
    values: Mapping[str, float] = field(hash=False)
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As it stands beside measured rows."""
        return {"model": self.model, **self.values, "source": self.source}


def _rows(metrics: str, *lines: tuple[str, tuple[float, ...], str]) -> tuple[Published, ...]:
    names = metrics.split()
    return tuple(
        Published(model, MappingProxyType(dict(zip(names, values, strict=True))), source)
        for model, values, source in lines
    )


PUBLISHED: Mapping[str, tuple[Published, ...]] = MappingProxyType(
    {
        "gowalla": _rows(
            "recall@20 ndcg@20",
            ("MF-BPR", (0.1627, 0.1378), BARS),
            ("ItemCF", (0.1570, 0.1214), BARS),
            ("SLIM", (0.1699, 0.1382), BARS),
            ("EASE", (0.1765, 0.1467), BARS),
            ("LightGCN", (0.1820, 0.1547), BARS),
            ("MF-CCL", (0.1837, 0.1493), BARS),
            ("GF-CF", (0.1849, 0.1518), BARS),
            ("UltraGCN", (0.1862, 0.1580), BARS),
            ("SimpleX", (0.1872, 0.1557), BARS),
            ("BSPM", (0.1920, 0.1597), BSPM),
        ),
        "amazon-cds": _rows("recall@20 ndcg@20", ("UltraGCN", (0.1622, 0.1043), AUTHORS)),
        "ml-20m": _rows(
            "recall@20 recall@50 ndcg@100",
            ("Mult-VAE", (0.395, 0.535, 0.426), STEIN),
            ("EASE", (0.391, 0.521, 0.420), STEIN),
            ("iALS", (0.395, 0.532, 0.425), RENDLE),
            ("RecVAE", (0.414, 0.553, 0.442), RECVAE),
        ),
        "msd": _rows(
            "recall@20 recall@50 ndcg@100",
            ("EASE", (0.333, 0.428, 0.389), STEIN),
            ("iALS", (0.309, 0.41, 0.368), RENDLE),
            ("RecVAE", (0.276, 0.374, 0.326), RECVAE),
        ),
        "ml-1m": _rows(
            "hit-rate@10 ndcg@10",
            ("SASRec, 1 negative", (0.250, 0.134), KLENITSKIY),
            ("BERT4Rec", (0.284, 0.154), KLENITSKIY),
            ("SASRec, cross-entropy", (0.315, 0.182), KLENITSKIY),
            ("gSASRec", (0.300, 0.173), GSASREC),
        ),
        "s3rec-beauty": _rows(
            "hit-rate@10 ndcg@10",
            ("SASRec", (0.0605, 0.0318), TIGER),
            ("S3-Rec", (0.0647, 0.0327), TIGER),
            ("TIGER", (0.0648, 0.0384), TIGER),
        ),
        "citeulike-a, cold items": _rows(
            "ndcg@20",
            ("DeepMusic", (0.108,), GAR),
            ("MetaEmb", (0.119,), GAR),
            ("DropoutNet", (0.120,), GAR),
            ("Heater", (0.121,), GAR),
            ("GAR", (0.124,), GAR),
        ),
    }
)


def published(dataset: str) -> tuple[Published, ...]:
    """The lines for a data set in the protocol that it is measured by here; none if there are none."""
    return PUBLISHED.get(dataset, ())
