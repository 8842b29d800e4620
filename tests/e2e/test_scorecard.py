"""The scorecard's column of Entrepot: every fault is met as docs/resilience.md says (scorecard.py has the faults)."""

import pytest
import scorecard
import servers


@pytest.fixture(scope="module")
def world():
    if servers.binary() is None:
        pytest.skip("no entrepot binary: build first, or set ENTREPOT")
    w = scorecard.World()
    yield w
    w.close()


@pytest.mark.parametrize("row", scorecard.ROWS, ids=lambda row: row.name)
def test_a_fault_is_met_as_it_should_be(world, row):
    result = world.run(scorecard.Entrepot, row)
    assert result.warm in row.warm, "of what is stored"
    assert result.cold in row.cold, "of what is not"
    assert result.next.startswith("yes"), result.next
    assert all(n <= most for n, most in zip(result.requests, row.most)), result.requests


def test_many_at_once_are_one_upstream(world):
    many = world.many(scorecard.Entrepot, count=50)
    assert many["served"] == 50 and many["times the bytes"] == 1.0
    assert many["requests"] <= 12, "by the steps of the back-off in two seconds, not by the clients"


def test_the_document_has_every_fault():
    text = scorecard.DOCUMENT.read_text(encoding="utf-8")
    table = text.split(scorecard.BEGIN)[1].split(scorecard.END)[0]
    assert [r.name for r in scorecard.ROWS if f"| {r.name} " not in table] == []
