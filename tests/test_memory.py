"""What loading leaves behind is given back."""

import gc
import weakref

from api.memory import settle


class Knot:
    """Holds itself, so that only the collector can free it."""

    def __init__(self):
        self.me = self


def test_what_stays_is_not_looked_through_again_and_what_went_since_is_freed_next_time():
    try:
        knot = Knot()
        gone = weakref.ref(knot)
        settle()
        assert gc.get_freeze_count() > 0
        del knot
        gc.collect()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()
