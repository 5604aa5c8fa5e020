"""A recommendation engine with vector retrieval: the library that the programs stand on."""

__version__ = "0.1.0"
