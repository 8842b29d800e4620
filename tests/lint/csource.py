"""C text without its comments and strings, line by line; enough of a lexer for the checks, and no more."""

import re

TOKEN = re.compile(r'''//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*\'''', re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def without_comments(text, strings=False):
    """Comments become blanks, with strings=True strings do too; line numbers stay what they were."""
    def blank(m):
        t = m.group(0)
        if t[0] != "/" and not strings:
            return t
        return re.sub(r"[^\n]", " ", t)

    return TOKEN.sub(blank, text)


def code_lines(text):
    return list(enumerate(without_comments(text, strings=True).split("\n"), 1))


def includes(text):
    """(line number, '<' or '"', what is included)"""
    clean = without_comments(text)
    return [(clean.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)) for m in INCLUDE.finditer(clean)]
