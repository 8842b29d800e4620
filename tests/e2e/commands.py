"""The commands that talk to a running mirror."""

import json
import os
import subprocess

from servers import SANITIZER, SANITIZER_ENV, binary


class Cli:
    """The commands, asked of one mirror as a person would, through its configuration."""

    def __init__(self, mirror):
        self.mirror = mirror

    def run(self, *args, env=None, timeout=60):
        """No answer may bring a sanitizer's report; 99 is theirs."""
        e = {**os.environ, **SANITIZER_ENV, "NO_COLOR": "1", **(env or {})}
        r = subprocess.run([binary(), *args], cwd=self.mirror.dir, env=e, text=True, capture_output=True,
                           timeout=timeout)
        assert not SANITIZER.search(r.stderr) and r.returncode != 99, r.stderr
        return r

    def __call__(self, command, *args, status=0, **kw):
        r = self.run(command, *args, "--config", str(self.mirror.config_path), **kw)
        assert r.returncode == status, f"{r.returncode}\n{r.stdout}{r.stderr}"
        return r.stdout if status in (0, 3) else r.stderr

    def json(self, command, *args, **kw):
        return json.loads(self(command, *args, "--json", **kw))
