"""The API against its own OpenAPI document: generated requests, valid and not, never a 5xx or an undeclared answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

OPERATIONS = {
    "GET /recommend",
    "POST /recommend",
    "GET /items/{item_id}/similar",
    "GET /popular",
    "GET /releases/current",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}


@pytest.fixture(scope="module")
def operations(address):
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


def test_every_operation_of_the_document_is_tried(operations):
    assert set(operations) == OPERATIONS


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_every_answer_is_one_that_the_document_declares(operations, label, mode):
    operation = operations[label]
    if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
        # Nothing can be wrong with a request that has no parameters.
        return

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case):
        # Which kinds of event there are is the release's to say, so a body of the right shape may be refused.
        excluded = [positive_data_acceptance] if label.startswith("POST") else []
        case.call_and_validate(excluded_checks=excluded)

    answered()
