from recsys.arrays import Float32, Int32, Int64, UInt8

class Cells:
    def __init__(
        self,
        owner: object,
        centres: Float32,
        low: Float32,
        step: Float32,
        sizes: Int64,
        codes: Int64,
        ids: Int64,
        vectors: Float32,
        by_bytes: bool = True,
    ) -> None: ...
    def search(
        self, queries: Float32, k: int, probes: int, wanted: int, bits: UInt8 | None = None
    ) -> tuple[Int32, Float32]: ...
