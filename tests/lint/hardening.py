"""What a release binary must show: position independent, full RELRO, no executable stack, stack protector, FORTIFY."""

import re
import subprocess


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], check=True, capture_output=True, text=True).stdout


def check(binary):
    """Yields complaints."""
    if not re.search(r"^\s*Type:\s+DYN", readelf("-h", binary), re.M):
        yield f"{binary}: not position independent"
    headers = readelf("-l", binary)
    dynamic = readelf("-d", binary)
    symbols = readelf("--dyn-syms", binary)
    if "GNU_RELRO" not in headers:
        yield f"{binary}: no RELRO"
    if not re.search(r"BIND_NOW|FLAGS_1\).*\bNOW\b", dynamic):
        yield f"{binary}: not bound at start (BIND_NOW)"
    stack = re.search(r"GNU_STACK.*", headers)
    if not stack or re.search(r"\bR?WE\b|\bRWE\b", stack.group(0)):
        yield f"{binary}: executable stack"
    if re.search(r"\((?:RPATH|RUNPATH)\)", dynamic):
        yield f"{binary}: has an RPATH"
    if "__stack_chk_fail" not in symbols:
        yield f"{binary}: no stack protector"
    if not re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")):
        yield f"{binary}: not fortified"
