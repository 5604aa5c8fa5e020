"""Contract suites: what every implementation of a protocol must do, shipped so that plug-ins can run them too.

A suite is a class of tests for pytest. Subclass it, name the subclass ``Test…``, and give it the fixture that
its docstring asks for. pytest and hypothesis are needed when the tests run, not to import these modules.
"""
