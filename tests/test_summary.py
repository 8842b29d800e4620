"""The sum at the end of ./dev test must not be better than the run was."""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import summary  # noqa: E402


def program(stdout, result="OK", returncode=0, name="base/buf"):
    run = {"name": name, "stdout": stdout, "result": result, "returncode": returncode}
    return json.dumps({k: v for k, v in run.items() if v is not None}) + "\n"


TAP_GOOD = "1..2\nok 1 - test_buf.c:buf:grows: Passed\nok 2 - test_buf.c:buf:refuses more: Passed\n"
TAP_BAD = "1..2\nok 1 - a: Passed\nnot ok 2 - b: Assertion failed\n"
JUNIT = '<testsuites><testsuite>%s</testsuite></testsuites>'
CASE = '<testcase classname="c" name="n">%s</testcase>'


def run(capsys, tmp_path, text, least=1, suffix="json"):
    file = tmp_path / ("log." + suffix)
    file.write_text(text)
    status = summary.main([f"part:{least}:{file}"])
    out = capsys.readouterr().out
    last = out.rstrip("\n").rpartition("\n")[2]
    m = re.fullmatch(r"(\d+) passed, (\d+) failed", last)
    assert m, out
    assert (status == 0) == (m.group(2) == "0")
    return int(m.group(1)), int(m.group(2)), out


@pytest.mark.parametrize("log,passed,failed", [
    (program(TAP_GOOD), 2, 0),
    (program(TAP_BAD, "FAIL", 1), 1, 1),
    (program(TAP_GOOD) + program(TAP_BAD, "FAIL", 1, name="base/log"), 3, 1),
    (program(TAP_GOOD, "ERROR", 99), 2, 1),                   # a sanitizer's report at the very end
    (program("1..3\nok 1 - a\n", "ERROR", -11), 1, 1),        # a crash in the middle
    (program("1..3\nok 1 - a\n", "TIMEOUT", -15), 1, 1),
    (program("", "OK"), 0, 1),                                # a program without tests
    (program(None, "ERROR", 1), 0, 1),                        # one that did not start
    (program("ok 1 # SKIP needs root\nok 2 - b\n"), 1, 0),
    (program("ok 1 # SKIP no reason that is known\nok 2 - b\n"), 1, 1),
    ("", 0, 1),
    ("{broken", 0, 1),
])
def test_programs_that_speak_tap(capsys, tmp_path, log, passed, failed):
    assert run(capsys, tmp_path, log)[:2] == (passed, failed)


@pytest.mark.parametrize("cases,passed,failed", [
    (CASE % "", 1, 0),
    (CASE % "" + CASE % '<failure message="wrong&#10;more"/>', 1, 1),
    (CASE % '<error message="fixture"/>', 0, 1),
    (CASE % '<skipped message="needs root"/>' + CASE % "", 1, 0),
    (CASE % '<skipped message="no entrepot binary"/>' + CASE % "", 1, 1),
    (CASE % '<skipped type="pytest.xfail" message=""/>' + CASE % "", 1, 1),
    ("", 0, 1),
])
def test_junit(capsys, tmp_path, cases, passed, failed):
    assert run(capsys, tmp_path, JUNIT % cases, suffix="xml")[:2] == (passed, failed)


def test_fewer_tests_than_there_must_be(capsys, tmp_path):
    passed, failed, out = run(capsys, tmp_path, program(TAP_GOOD), least=3)
    assert (passed, failed) == (2, 1) and "2 tests ran, at least 3 must" in out


def test_a_file_that_is_missing_and_no_file_at_all(capsys, tmp_path):
    assert summary.main([f"e2e:0:{tmp_path}/none.xml"]) == 1
    assert capsys.readouterr().out.endswith("\n0 passed, 1 failed\n")
    assert summary.main([]) == 1
    assert capsys.readouterr().out.endswith("0 passed, 1 failed\n")


def test_what_failed_is_named(capsys, tmp_path):
    assert "FAILED base/buf: b: Assertion failed" in run(capsys, tmp_path, program(TAP_BAD, "FAIL", 1))[2]
