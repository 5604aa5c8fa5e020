"""Sums of trees as probabilities, and how far those are from what happened."""

from __future__ import annotations

import numpy as np

from recsys.arrays import Bool, Float32, Float64
from recsys.ranking import sigmoid

BINS = 10
"""Parts of the examples, alike in number, over which a probability is compared with what happened."""


def platt(sums: Float64, labels: Bool) -> tuple[float, float]:
    """Slope and offset of the sigmoid under which ``labels`` are likeliest, float64 (m,) and bool (m,).

    Platt (1999): targets a little within 0 and 1, so that a separable sample has an answer. By Newton's method.
    """
    taken = int(labels.sum())
    target = np.where(labels, (taken + 1) / (taken + 2), 1 / (len(labels) - taken + 2))
    centre, spread = float(sums.mean()), float(sums.std()) or 1.0
    columns = np.stack([(sums - centre) / spread, np.ones(len(sums))], axis=1)
    weights = np.array([0.0, np.log((taken + 1) / (len(labels) - taken + 1))])
    for _ in range(100):
        probability = sigmoid(columns @ weights)
        gradient = columns.T @ (probability - target)
        curvature = (columns * (probability * (1 - probability))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    slope = float(weights[0] / spread)
    return slope, float(weights[1] - slope * centre)


def calibration(said: Float32, labels: Bool) -> dict[str, float]:
    """How far probabilities, float32 (m,), are from what happened, bool (m,), on examples that were not learned from.

    "predicted" and "observed": the mean probability and the share that was taken; "error": mean distance of the two
    over ten parts of the examples, alike in number, by probability.
    """
    chance = said.astype(np.float64)
    order = np.argsort(chance, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    apart = [abs(chance[part].mean() - labels[part].mean()) * len(part) for part in parts]
    return {
        "predicted": round(float(chance.mean()), 5),
        "observed": round(float(labels.mean()), 5),
        "error": round(float(sum(apart) / len(chance)), 5),
    }
