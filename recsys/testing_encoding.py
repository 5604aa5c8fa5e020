"""The contract suite of encodings, shipped so that plug-ins can run it too: see :mod:`recsys.testing`."""
