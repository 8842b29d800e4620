"""Every check must be able to fail: each is shown a bad sample and a good one."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import banned  # noqa: E402
import csource  # noqa: E402
import hardening  # noqa: E402
import includes  # noqa: E402
import lint  # noqa: E402
import text  # noqa: E402
import tidy  # noqa: E402

GOOD_C = "#include \"base/buf.h\"\n\nint add(int a, int b)\n{\n    return a + b;\n}\n"


def complaints(check, path, sample, tmp_path, mode=0o644):
    """What a check of the tree says of one file."""
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sample)
    file.chmod(mode)
    shutil.copy(pathlib.Path(lint.ROOT) / ".clang-format", tmp_path)
    return list(check(str(tmp_path), [path]))


@pytest.mark.parametrize("path,sample", [
    ("blobstore/a.c", '#include "mirror/mirror.h"\n'),
    ("blobstore/a.c", '#include "config/config.h"\n'),
    ("src/base/a.c", '#include "config/config.h"\n'),
    ("src/upstream/a.c", '#include "blobstore/blobstore.h"\n'),
    ("src/upstream/a.c", '#include "mirror/mirror.h"\n'),
    ("src/mirror/a.c", '#include "server/server.h"\n'),
    ("src/mirror/a.c", '#include "blobstore/index.h"\n'),
    ("src/server/a.c", '#include "upstream/upstream.h"\n'),
    ("src/server/a.c", '#include "../mirror/flight.h"\n'),
    ("src/server/a.c", '#include "nowhere.h"\n'),
    ("src/attic/a.c", "int x;\n"),
    ("src/mirror/a.c", "#include <microhttpd.h>\n"),
    ("src/mirror/a.c", "#  include <curl/curl.h>\n"),
    ("src/mirror/a.c", "#include <lmdb.h>\n"),
    ("src/mirror/a.c", "#include <openssl/evp.h>\n"),
    ("src/server/a.c", "#include <jansson.h>\n"),
    ("src/main.c", "#include <libfyaml.h>\n"),
    ("src/mirror/a.h", "#include <uthash.h>\n"),
    ("tests/unit/base/test_a.c", "#include <curl/curl.h>\n"),
])
def test_an_include_that_the_house_does_not_allow(path, sample):
    assert list(includes.check({path: sample}))


def test_one_file_for_lmdb():
    sample = "#include <lmdb.h>\n"
    assert not list(includes.check({"blobstore/index.c": sample}))
    assert list(includes.check({"blobstore/index.c": sample, "blobstore/store.c": sample}))


def test_includes_that_are_right():
    files = {"src/server/a.c": '#include "server/server.h"\n#include "b.h"\n#include "mirror/mirror.h"\n'
                               "#include <microhttpd.h>\n#include <stdio.h>\n// #include <curl/curl.h>\n",
             "src/server/b.h": '#include "server/range.h"\n',
             "tests/unit/mirror/test_flight.c": '#include "mirror/flight.h"\n#include <check.h>\n'}
    assert list(includes.check(files)) == []


@pytest.mark.parametrize("name", sorted(banned.EVERYWHERE) + sorted(banned.PROGRAM))
def test_a_banned_function(name):
    assert list(banned.check({"src/base/a.c": f"void f(void)\n{{\n    {name} (x);\n}}\n"}))


def test_what_only_looks_like_a_banned_function():
    sample = '/* gets(x) */ // system("x")\nint my_gets(void); x->signal(1); y.random(); const char *s = "system(1)";\n'
    assert list(banned.check({"src/base/a.c": sample})) == []
    assert list(banned.check({"src/a.c": "(void)signal(SIGPIPE, SIG_IGN);\n"})) == []
    assert list(banned.check({"tests/bench/a.c": "n = atoi(argv[1]);\n"})) == []


def test_comments_and_strings_keep_their_lines():
    sample = 'a /* 1\n2 */ b "x\\"/*" c // d\n\'"\' e\n'
    out = csource.without_comments(sample, strings=True)
    assert out.count("\n") == sample.count("\n") and out.split() == ["a", "b", "c", "e"]


@pytest.mark.parametrize("sample", [
    "no end", "x\n\n", "x \n", "x\r\n", "\tx\n", "see " + "/r" + "oot/x.txt\n", "path = '" + "/ho" + "me/me/x'\n",
    "x\n" + "<" * 7 + " HEAD\n", "Co-Authored" + "-By: x\n",
])
def test_text_that_is_not_clean(sample):
    assert list(text.check({"a.py": sample}))


def test_text_that_is_clean():
    assert list(text.check({"a.py": 'f"{directory}/root/x" /var/lib/entrepot\n', "b": ""})) == []


@pytest.mark.parametrize("check,path,bad,good", [
    (lint.check_format, "src/base/a.c", "int  f( void ) { return 1; }\n", GOOD_C),
    (lint.check_includes, "src/base/a.c", '#include "mirror/mirror.h"\n', GOOD_C),
    (lint.check_banned, "src/base/a.c", "void f(char *s)\n{\n    gets(s);\n}\n", GOOD_C),
    (lint.check_text, "a.py", "x", "x\n"),
    (lint.check_scripts, "a", "#!/bin/sh\nrm -rf $1/x\n", "#!/bin/sh\nrm -rf \"$1/x\"\n"),
    (lint.check_spelling, "a.md", "to rec" + "ieve\n", "to receive\n"),
    (lint.check_python, "a.py", "import os\n", "x = 1\n"),
    (lint.check_python, "a.py", "def f(:\n", "x = 1\n"),
])
def test_a_check_of_the_tree(check, path, bad, good, tmp_path):
    assert complaints(check, path, bad, tmp_path, 0o755)
    assert complaints(check, path, good, tmp_path, 0o755) == []


def test_a_script_that_cannot_be_run(tmp_path):
    assert complaints(lint.check_scripts, "a", "#!/bin/sh\necho\n", tmp_path, 0o644)


def test_names(tmp_path):
    assert list(lint.check_names(str(tmp_path), ["a/test_x.py", "b/test_x.py"]))
    assert list(lint.check_names(str(tmp_path), ["a b"]))
    assert list(lint.check_names(str(tmp_path), ["a/test_x.py", "b/test_y.py", "b/x.py", "a/x.py"])) == []


def compile_program(tmp_path, *flags):
    source, out = tmp_path / "a.c", tmp_path / "a"
    source.write_text('#include <stdio.h>\n#include <string.h>\nint main(int argc, char **argv)\n{\n    char b[64];\n'
                      '    memcpy(b, argv[0], (size_t)argc);\n    return printf("%.1s", b) < 0;\n}\n')
    subprocess.run(["gcc", "-O2", "-o", out, source, *flags], check=True)
    return str(out)


HARD = ["-fPIE", "-pie", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-Wl,-z,relro",
        "-Wl,-z,now"]


def test_a_hardened_binary(tmp_path):
    assert list(hardening.check(compile_program(tmp_path, *HARD))) == []


@pytest.mark.parametrize("flags,what", [
    (["-no-pie"], "position independent"), (["-Wl,-z,norelro"], "no RELRO"), (["-Wl,-z,lazy"], "BIND_NOW"),
    (["-Wl,-z,execstack"], "executable stack"), (["-fno-stack-protector"], "stack protector"),
    (["-U_FORTIFY_SOURCE"], "fortified"), (["-Wl,-rpath,/opt"], "RPATH"),
])
def test_a_binary_that_lacks_one_defence(tmp_path, flags, what):
    found = list(hardening.check(compile_program(tmp_path, *HARD, *flags)))
    assert len(found) == 1 and what in found[0]


def test_clang_tidy_finds_remembers_and_looks_again(tmp_path):
    shutil.copy(pathlib.Path(lint.ROOT) / ".clang-tidy", tmp_path)
    source = tmp_path / "src/a.c"
    source.parent.mkdir()
    database = [{"directory": str(tmp_path), "file": "src/a.c", "command": "clang -o a.o -c src/a.c"}]
    (tmp_path / "compile_commands.json").write_text(json.dumps(database))

    def found():
        return list(tidy.check(str(tmp_path), str(tmp_path), str(tmp_path / "memory")))

    source.write_text("int f(int a);\nint f(int a)\n{\n    int *p = 0;\n    return a > 3 ? *p : a;\n}\n")
    assert "NullDereference" in found()[0]
    assert found(), "a failure is not remembered"
    source.write_text("int f(int a);\nint f(int a)\n{\n    return a;\n}\n")
    assert found() == [] and len(os.listdir(tmp_path / "memory")) == 1
    source.write_text("int f(int a);\nint f(int a)\n{\n    return a == a;\n}\n")
    assert found()
