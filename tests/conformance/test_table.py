"""The reading of the suite's table: nothing but a whole and clean run may count as one."""

import pathlib
import sys
import xml.etree.ElementTree as ET

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import run  # noqa: E402

TEXT = """Test results
OCI Conformance Test: {result}
  OCI Conformance Test/ping: Pass
  OCI Conformance Test/read-only: {result}
    OCI Conformance Test/read-only/push: Disabled
      OCI Conformance Test/read-only/push/blob: Disabled
    OCI Conformance Test/read-only/head: Pass
      OCI Conformance Test/read-only/head/manifest by tag: Pass
      OCI Conformance Test/read-only/head/manifest by tag: Pass
    OCI Conformance Test/read-only/referrers: {outcome}
     - unexpected status code, expected one of [200], received 404
OCI Conformance Result: {result}
  Disabled......................:          1
  Skip..........................:          {skip}
  Pass..........................:          {passes}
  FAIL..........................:          {fail}
  Error.........................:          {error}
  Total.........................:          5

API conformance:
  Tag listing...................:       Pass
"""


def table(result="Pass", outcome="Pass", passes=4, fail=0, error=0, skip=0):
    return run.read_table(TEXT.format(**locals()))


def test_a_clean_table():
    t = table()
    assert t.result == "Pass" and t.counts["Pass"] == 4 and t.counts["Total"] == 5
    assert t.cases == [("ping", "Pass"), ("read-only/push/blob", "Disabled"), ("read-only/head/manifest by tag", "Pass"),
                       ("read-only/head/manifest by tag", "Pass"), ("read-only/referrers", "Pass")]
    assert run.complaints(t, 4) == []


@pytest.mark.parametrize("changed", [
    {"fail": 1}, {"error": 1}, {"skip": 1}, {"result": "FAIL"}, {"result": "Unknown"}, {"passes": 3},
])
def test_a_table_that_is_no_success(changed):
    assert run.complaints(table(**changed), 4)


@pytest.mark.parametrize("text", ["", "panic: runtime error\n", "OCI Conformance Result: Pass\n",
                                  "OCI Conformance Result: Pass\n  Pass....:   5\n\n  FAIL....:   0\n"])
def test_output_without_a_whole_table_is_an_error_of_the_harness(text):
    with pytest.raises(run.HarnessError):
        run.read_table(text)


def cases(t, wrong, tmp_path):
    run.write_junit(t, wrong, tmp_path / "junit.xml")
    found = list(ET.parse(tmp_path / "junit.xml").getroot())
    return len(found), sum(c.find("failure") is not None for c in found)


def test_the_results_for_the_sum_leave_out_what_is_switched_off(tmp_path):
    assert cases(table(), [], tmp_path) == (4, 0)
    assert cases(table(outcome="FAIL", fail=1, passes=3, result="FAIL"), ["1 FAIL"], tmp_path) == (4, 1)
    assert cases(table(passes=3), ["too few"], tmp_path) == (5, 1)


def test_fewer_contents_than_full_mode_leaves(tmp_path):
    with pytest.raises(run.HarnessError):
        run.contents(tmp_path)
