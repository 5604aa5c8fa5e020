"""What a release learns of its items by what is said of them, and how much that is to count.

1. The encoder is fitted on the catalogue and gives content vectors (:func:`described`).
2. On a validation part, where some items are made cold, the prior and κ are chosen (:func:`chosen`).
3. The map is learned from the items that somebody took, and the vectors of all are mixed (:func:`learn_content`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from recsys.arrays import Float32, Int32, Int64, unit
from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.content import ITEMS, Content
from recsys.encoding import Description, Encoding
from recsys.encoding.problems import SILENT, problems_of
from recsys.errors import DataError, SettingsError, TrainingError
from recsys.evaluation import evaluate
from recsys.folding import Fold
from recsys.interactions import Interactions
from recsys.pipeline import Answer
from recsys.sections import ContentSettings
from recsys.splits import Split, split_within_users
from recsys.topk import best
from recsys.users import History, fold_all
from training.encoders import encoder_of
from training.encoders.cache import encode_cached
from training.maps import mapper_of
from training.maps.taste import Taste
from training.models import MODELS, Learned, Model, Progress, silent

PRIORS = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0)
"""What auto tries as prior."""
KAPPAS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""What auto tries as κ."""
COLD = 0.1
"""The share of the items that are made cold for it."""
TESTED = 0.2
"""The share of each user's other items that is judged by."""
JUDGES, FEWEST = 2000, 200
"""Users by whom it is judged, at most, and how many there are where a large catalogue makes each of them slow."""
METRIC = "ndcg@20"
"""What is made large, over all items."""
CAUTION = 0.5
"""The share of what warm items may lose that is spent on validation: on other events it may come to more."""
UNJUDGED = (1.0, 10.0)
"""The prior and κ where there is nobody to judge by."""
REASONS = 10
"""Why items have no content: so many reasons are reported, the commonest."""
SCORES = 2**25
"""Scores that are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """The items of a catalogue as a fitted encoder sees them.

    ``items``: what is said of each. ``options``: of the encoder. ``vectors``: float32 (n, w), of length one, zeros
    where nothing usable is said. ``counts``: items with content, and those without by the reason. ``problems``: how
    often which field of an item without content has nothing usable, and why.
    """

    items: Sequence[Description]
    options: Mapping[str, Any]
    encoding: Encoding
    vectors: Float32
    counts: Mapping[str, int]
    problems: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One prior and κ on the validation part, and NDCG@20 over all items, the warm ones and the cold ones."""

    prior: float
    kappa: float
    overall: float | None
    warm: float | None
    cold: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The prior, in median lengths, and κ, and what was measured for it: without content first, then each trial."""

    prior: float
    kappa: float
    without: Trial | None = None
    trials: tuple[Trial, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def described(
    catalogue: Catalogue,
    settings: ContentSettings,
    rng: np.random.Generator,
    *,
    threads: int = 0,
    progress: Progress = silent,
) -> Described:
    """Fit the encoder and encode every item, from the cache where it has them.

    SettingsError where no encoder is named and the catalogue has no column that one could read.
    """
    items = catalogue.describe(np.arange(len(catalogue), dtype=np.int32))
    options = settings.encoder if settings.encoder is not None else usual_encoder(catalogue)
    encoding = encoder_of(options).fit(items, rng, threads=threads, progress=lambda share: progress(0.5 * share))
    raw = encode_cached(encoding, items, settings.cache, lambda share: progress(0.5 + 0.5 * share))
    vectors = unit(raw)
    return Described(items, options, encoding, vectors, *_counts(items, encoding, vectors))


def usual_encoder(catalogue: Catalogue) -> dict[str, Any]:
    """The encoder for what a catalogue has: ``text`` or ``title`` as words, columns of lists of text as tags, or both.

    SettingsError where it has neither.
    """
    columns = catalogue.table.schema
    texts = [name for name in ("title", "text") if name in columns.names]
    lists = [field.name for field in columns if str(field.type) in LISTS_OF_TEXT]
    words = {"name": "tfidf-svd", "columns": texts}
    tags = {"name": "tags", "columns": lists}
    if texts and lists:
        return {"name": "concat", "parts": {"words": words, "tags": tags}}
    if texts or lists:
        return words if texts else tags
    raise SettingsError(
        f"[content] without `encoder` reads title, text and lists of text, but the catalogue has only "
        f"{', '.join(columns.names)}: give it such a column, or name an encoder"
    )


LISTS_OF_TEXT = frozenset({"list<item: string>", "list<element: string>", "large_list<item: string>"})
"""Arrow's names of them."""


def learn_content(
    learned: Learned,
    data: Interactions,
    catalogue: Catalogue,
    settings: ContentSettings,
    rng: np.random.Generator,
    *,
    model: Model | None = None,
    items: Described | None = None,
    choice: Choice | None = None,
    warm_loss: float = 0.01,
    threads: int = 0,
    progress: Progress = silent,
) -> tuple[Learned, Content]:
    """What was learned with the vectors of all items mixed with what their content says, and the content.

    ``learned``: from ``data``. ``items``: of the catalogue, encoded here unless given. ``choice``: of the prior and κ;
    made here unless given, for which ``model`` must be if one of them is auto, see :func:`chosen`.
    SettingsError for a model without vectors; TrainingError where no item has both content and a vector.
    """
    fold = fold_of(learned)
    if items is None:
        items = described(catalogue, settings, rng, threads=threads, progress=lambda share: progress(0.2 * share))
    if choice is None:
        choice = chosen(
            model, data, items, settings, rng, warm_loss=warm_loss, threads=threads,
            progress=lambda share: progress(0.2 + 0.5 * share),
        )  # fmt: skip
    content = content_of(
        fold, data, items, settings, choice, rng, threads=threads, progress=lambda share: progress(0.7 + 0.3 * share)
    )
    return replace(learned, fold=content.mixed(fold, takers_of(data))), content


def fold_of(learned: Learned) -> Fold:
    """The vectors that content is mapped to. SettingsError where there are none."""
    if learned.fold is None:
        raise no_vectors(f"the model learned only {', '.join(sorted(learned.serves))}")
    return learned.fold


def no_vectors(came: str) -> SettingsError:
    """The error for a model whose items have no vectors."""
    able = ", ".join(name for name in MODELS if "vectors" in MODELS[name].serves)
    return SettingsError(
        f"[content] maps what is said of items to item vectors, but {came}: choose one of {able} under [model], or "
        "leave [content] out"
    )


def takers_of(data: Interactions) -> Int64:
    """How many users each item was learned from, int64 (n,)."""
    matrix = data.matrix()
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.int64)


def content_of(
    fold: Fold,
    data: Interactions,
    items: Described,
    settings: ContentSettings,
    choice: Choice,
    rng: np.random.Generator,
    *,
    threads: int = 0,
    progress: Progress = silent,
) -> Content:
    """Learn the map from the items that somebody took, and before it what an encoder wants to learn from these.

    An item of n takers weighs n / (n + ``certainty``). TrainingError where no item has content and a vector.
    """
    takers = takers_of(data)
    learned = fold.per_item()
    known = (takers > 0) & items.vectors.any(axis=1) & learned[ITEMS].any(axis=1)
    if not known.any():
        raise TrainingError(
            f"of {len(takers):,} items {int((takers > 0).sum()):,} were taken and "
            f"{int(items.vectors.any(axis=1).sum()):,} have content, but none both: nothing can be learned of how "
            "content and taste go together; do the ids of the catalogue and of the events agree?"
        )
    weights = (takers[known] / (takers[known] + settings.certainty)).astype(np.float32)
    directions = {name: unit(array[known]) for name, array in learned.items()}
    encoding, vectors = items.encoding, items.vectors
    taught = encoder_of(items.options).refined(
        encoding, [items.items[row] for row in np.flatnonzero(known).tolist()], directions[ITEMS], weights, rng,
        threads=threads, progress=lambda share: progress(0.3 * share),
    )  # fmt: skip
    if taught is not encoding:
        # not from the cache: it is learned anew with each fit
        encoding, vectors = taught, unit(encode_cached(taught, items.items, None))
    mapper, told = mapper_of(settings.map), vectors[known]
    net = mapper.fit(
        told, directions, weights, rng, threads=threads, progress=lambda share: progress(0.3 + 0.2 * share)
    )
    net = mapper.refined(
        net, told, directions, weights, Taste.of(fold, data, known), rng, threads=threads,
        progress=lambda share: progress(0.5 + 0.5 * share),
    )  # fmt: skip
    lengths = {name: float(np.median(np.linalg.norm(array[known], axis=1))) for name, array in learned.items()}
    # The prior says how popular an answer is; what a user is made of has the usual length.
    norms = {**lengths, ITEMS: choice.prior * lengths[ITEMS]}
    return Content(encoding, net, norms, choice.kappa, vectors)


def chosen(
    model: Model | None,
    data: Interactions,
    items: Described,
    settings: ContentSettings,
    rng: np.random.Generator,
    *,
    warm_loss: float = 0.01,
    threads: int = 0,
    progress: Progress = silent,
) -> Choice:
    """The prior and κ: what the settings say, and what validation does where they say auto.

    A tenth of the items are made cold, and of each user's others a fifth are held out; the model and the map are fitted
    on the rest. Chosen are a prior with κ = 0, the κ with that prior, and the prior again with that κ. Nothing may cost
    warm items more than s, half of ``warm_loss``, against no content. The κ is the one of the best NDCG@20 over all
    items; the prior is the one of the best over cold items among those that come within s of the best over all.
    """
    prior = None if settings.prior == "auto" else settings.prior
    kappa = None if settings.kappa == "auto" else settings.kappa
    if prior is not None and kappa is not None:
        return Choice(prior, kappa)
    if model is None:
        raise ValueError(
            "prior or kappa is auto: give the `model`, which is fitted on a part to choose them by the rest"
        )
    try:
        split = validation(data, items, rng)
    except DataError:
        return Choice(UNJUDGED[0] if prior is None else prior, UNJUDGED[1] if kappa is None else kappa)
    fold = fold_of(model.fit(split.train, rng, threads=threads, progress=lambda share: progress(0.6 * share)))
    content = content_of(
        fold, split.train, items, settings, Choice(1.0, 0.0), rng, threads=threads,
        progress=lambda share: progress(0.6 + 0.2 * share),
    )  # fmt: skip
    history, takers = History.of(split.train), takers_of(split.train)

    def tried(prior: float, kappa: float) -> Trial:
        norms = {**content.norms, ITEMS: prior * content.prior}
        mixed = replace(content, norms=norms, kappa=kappa).mixed(fold, takers)
        return Trial(prior, kappa, *_judged(mixed, history, split))

    without = Trial(0.0, 0.0, *_judged(fold, history, split))
    trials: list[Trial] = []
    priors, kappas = PRIORS if prior is None else (prior,), KAPPAS if kappa is None else (kappa,)
    slack = CAUTION * warm_loss

    def most(grid: list[tuple[float, float]], done: float, *, for_cold: bool) -> Trial:
        known = {(trial.prior, trial.kappa): trial for trial in trials}
        for place, point in enumerate(grid):
            if point not in known:
                trials.append(tried(*point))
            progress(done + 0.06 * (place + 1) / len(grid))
        return _best(
            [trial for trial in trials if (trial.prior, trial.kappa) in grid], without, slack, for_cold=for_cold
        )

    found = most([(one, kappas[0]) for one in priors], 0.8, for_cold=True)
    found = most([(found.prior, one) for one in kappas], 0.86, for_cold=False)
    found = most([(one, found.kappa) for one in priors], 0.92, for_cold=True)
    progress(1.0)
    return Choice(found.prior, found.kappa, without, tuple(trials))


def validation(data: Interactions, items: Described, rng: np.random.Generator) -> Split:
    """A tenth of the items that somebody took and that have content cold, and a fifth of each user's others held out.

    Judged by up to JUDGES users who have something on both sides. DataError where there is nobody.
    """
    known = np.flatnonzero((takers_of(data) > 0) & items.vectors.any(axis=1))
    cold = rng.permutation(known)[: round(COLD * len(known))]
    frozen = np.isin(data.item, cold)
    warm = split_within_users(data.where(~frozen), TESTED, rng)
    test = warm.test.joined(data.where(frozen))
    able = np.intersect1d(warm.train.user[warm.train.weight > 0], test.user[test.weight > 0])
    judges = rng.permutation(able)[: min(JUDGES, max(FEWEST, 4 * SCORES // len(data.items)))]
    if not len(judges) or not len(cold):
        raise DataError(f"of {len(data):,} events too few are left to validate by")
    return Split(warm.train, test.where(np.isin(test.user, judges)), "validation: some items cold, others held out")


def _best(trials: list[Trial], without: Trial, slack: float, *, for_cold: bool) -> Trial:
    """See :func:`chosen`; where every trial costs the warm items too much, the one that costs them least."""
    allowed = [trial for trial in trials if (trial.warm or 0.0) >= (1 - slack) * (without.warm or 0.0)]
    if not allowed:
        return max(trials, key=lambda trial: trial.warm or 0.0)
    overall = max(trial.overall or 0.0 for trial in allowed)
    if not for_cold:
        return next(trial for trial in allowed if (trial.overall or 0.0) == overall)
    near = [trial for trial in allowed if (trial.overall or 0.0) >= (1 - slack) * overall]
    return max(near, key=lambda trial: trial.cold or 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Exact:
    """Answers users by inner products with all items, without what they have taken."""

    users: Float32
    items: Float32
    history: History

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:  # noqa: ARG002
        step = max(1, SCORES // max(len(self.items), 1))
        rows, values = zip(
            *(self._best(users[start : start + step], k) for start in range(0, len(users), step)), strict=True
        )
        found = Candidates(np.concatenate(rows), np.concatenate(values))
        return Answer(found, ("personal",) * len(users), ())

    def _best(self, users: Int32, k: int) -> tuple[Int32, Float32]:
        scores = self.users[users] @ self.items.T
        for line, user in enumerate(users.tolist()):
            scores[line, self.history.rows[self.history.indptr[user] : self.history.indptr[user + 1]]] = -np.inf
        rows, values = best(scores, k)
        return np.where(np.isneginf(values), np.int32(-1), rows), values


def _judged(fold: Fold, history: History, split: Split) -> tuple[float | None, float | None, float | None]:
    """NDCG@20 over all items, warm ones and cold ones."""
    report = evaluate(_Exact(fold_all(history, fold), fold.items, history), split, (METRIC,))
    found = report.as_dict()
    parts = found["items"][METRIC]
    return found["users"][METRIC]["all"], parts["warm"], parts["never"]


def _counts(
    items: Sequence[Description], encoding: Encoding, vectors: Float32
) -> tuple[dict[str, int], dict[str, int]]:
    """Items with content, without a word that the encoder reads, and without a useful one; of those why, by field."""
    empty = np.flatnonzero(~vectors.any(axis=1)).tolist()
    found = [problems_of(encoding, items[row]) for row in empty]
    useless = [reasons for reasons in found if set(reasons.values()) != {SILENT}]
    counts = {
        "with content": len(items) - len(empty),
        "nothing said": len(empty) - len(useless),
        "nothing usable": len(useless),
    }
    why = Counter(f"{name}: {reason}" for reasons in useless for name, reason in reasons.items() if reason != SILENT)
    return counts, dict(why.most_common(REASONS))
