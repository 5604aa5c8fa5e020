from recsys.arrays import Bool, Float32, Int64

HALF: int

def columns(
    stored: bytes, start: int, width: int, r: int, s: int, first: int, w: int
) -> tuple[Int64, Float32, Bool] | None: ...
