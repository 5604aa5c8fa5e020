import numpy as np

from recsys.arrays import Float32, Float64, Int32

def score(
    rows: Float32,
    columns: Int32,
    starts: Int32,
    thresholds: Float32,
    words: np.ndarray,
    leaves: Float64,
    out: Float64,
) -> None: ...
def sigmoid(sums: Float64, slope: float, offset: float) -> Float64: ...
