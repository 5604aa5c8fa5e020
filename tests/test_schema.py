"""The API against its own OpenAPI document: generated requests, valid and not, never a 5xx or an undeclared answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

WITH_INPUT = {
    "GET /recommend",
    "POST /recommend",
    "POST /events",
    "GET /items/{item_id}/similar",
    "POST /similar",
    "GET /popular",
    "GET /trending",
    "GET /onboarding",
    "PUT /items/{item_id}",
    "DELETE /items/{item_id}",
    "PUT /users/{user_id}",
    "POST /users/{user_id}/merge",
    "DELETE /users/{user_id}",
    "GET /playlists/{user_id}",
}
SLOW = {"DELETE /users/{user_id}"}
"""Erasures take a second, in which what is in flight settles."""
DEPENDS = {label for label in WITH_INPUT if label.startswith("POST")} | {
    "GET /recommend",
    "GET /items/{item_id}/similar",
    "GET /popular",
    "GET /trending",
    "GET /onboarding",
    "GET /playlists/{user_id}",
}
LONGEST_URL = 5_000
LISTS = ("exclude", "context", "filter")
"""In a query one text is a list of one, and `true` is a text."""
REFUSALS = ["400", "403", "404", "405", "413", "415", "422"]
"""What is answered to a request that cannot be; 413 where it is so large that nobody reads it."""
WITHOUT_INPUT = {"GET /releases/current", "GET /healthz", "GET /readyz", "GET /metrics"}
# Nothing can be wrong with a request that has no parameters.
CASES = [
    *((label, mode) for label in sorted(WITH_INPUT) for mode in GenerationMode),
    *((label, GenerationMode.POSITIVE) for label in sorted(WITHOUT_INPUT)),
]


@pytest.fixture(scope="module")
def address(copied, tmp_path_factory, configured, serve):
    """A server of its own: what is generated is kept."""
    with serve(copied(tmp_path_factory.mktemp("own"), configured())) as (address, _):
        yield address


@pytest.fixture(scope="module")
def operations(address):
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=config)
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


def test_every_operation_of_the_document_is_tried(operations):
    assert set(operations) == WITH_INPUT | WITHOUT_INPUT


@pytest.mark.parametrize(("label", "mode"), CASES, ids=lambda case: getattr(case, "value", case))
def test_every_answer_is_one_that_the_document_declares(operations, label, mode):
    operation = operations[label]

    examples = 4 if label in SLOW else 40

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case):
        # What the release decides, kinds of event and columns of a filter, what the clock does, times of events, and a
        # cursor, which only the service makes, may be refused in the right shape too.
        excluded = [positive_data_acceptance] if label in DEPENDS else []
        # In a list each event is refused for itself, and the list is not.
        excluded += [negative_data_rejection] if label == "POST /events" else []
        query = case.query or {}
        if any(name in query and not isinstance(query[name], list) for name in LISTS):
            excluded += [negative_data_rejection]
        # A URL longer than that is refused by the HTTP server, before there is anybody who writes problem documents.
        assume(len(str(case.as_transport_kwargs(base_url="http://here").get("params", ""))) < LONGEST_URL)
        case.call_and_validate(excluded_checks=excluded)

    answered()
