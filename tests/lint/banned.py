"""Functions that are not called here, and what is called instead."""

import re

import csource

EVERYWHERE = {
    "strcpy": "memcpy, snprintf or buf_adds",
    "strcat": "buf_adds",
    "strncpy": "memcpy of a checked length",
    "strncat": "buf_add",
    "sprintf": "snprintf or buf_addf",
    "vsprintf": "vsnprintf",
    "gets": "fgets or getline",
    "scanf": "strtoll and its like",
    "fscanf": "strtoll and its like",
    "strtok": "strcspn; strtok_r",
    "localtime": "localtime_r",
    "gmtime": "gmtime_r",
    "ctime": "strftime",
    "asctime": "strftime",
    "system": "nothing: no shell",
    "popen": "nothing: no shell",
    "alloca": "a bounded buffer",
    "mktemp": "mkstemp or O_TMPFILE",
    "tmpnam": "mkstemp or O_TMPFILE",
    "tempnam": "mkstemp or O_TMPFILE",
    "signal": "sigaction",
    "gethostbyname": "getaddrinfo",
    "inet_addr": "inet_pton",
    "inet_ntoa": "inet_ntop",
    "setjmp": "return",
    "longjmp": "return",
    "bzero": "memset",
    "vfork": "posix_spawn",
}
# In the program itself; a test may.
PROGRAM = {
    "atoi": "strtol with a check of its end",
    "atol": "strtol with a check of its end",
    "atoll": "strtoll with a check of its end",
    "atof": "strtod with a check of its end",
    "sscanf": "strtoll and its like",
    "rand": "getrandom",
    "srand": "getrandom",
    "random": "getrandom",
    "srandom": "getrandom",
    "sleep": "a wait that can be woken",
    "usleep": "a wait that can be woken",
    "nanosleep": "a wait that can be woken",
    "truncate": "nothing: a file that is being sent may never shrink (pitfalls of sendfile)",
    "fork": "nothing: LMDB and libcurl do not survive it",
    "pthread_cancel": "a flag and a wake-up",
    "abort": "assert",
}
# Nothing is run by a signal that is ignored.
HARMLESS = re.compile(r"signal\(SIG[A-Z]+, SIG_(IGN|DFL)\)")


def check(files):
    for path, text in sorted(files.items()):
        banned = dict(EVERYWHERE)
        if path.startswith(("src/", "blobstore/")):
            banned.update(PROGRAM)
        call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(banned))
        for line, code in csource.code_lines(text):
            for m in call.finditer(HARMLESS.sub("", code)):
                yield f"{path}:{line}: {m.group(1)}() is not used here; instead: {banned[m.group(1)]}"
