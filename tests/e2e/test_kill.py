"""kill -9 at random instants under load: the whole program, again and again on the same store.

What is asked of every round: no complete answer has a wrong byte, and what the store has been seen to hold is served
after the kill although no upstream can be reached. ENTREPOT_KILLS makes it longer (./dev fault)."""

import os
import random
import shutil
import threading
import time

import pytest

from wire import Client

KILLS = int(os.environ.get("ENTREPOT_KILLS", "200"))
KILLS_A_STORE = 5       # then everything is stored, and a kill would disturb little
CLIENTS = 8
LONGEST = 0.25          # seconds of load before a kill; when it comes, chance says


class Crowd:
    """Clients that pull what chance names until the mirror is gone."""

    def __init__(self, host_port, wanted, seed):
        self.client = Client(host_port)
        self.wanted = wanted
        self.over = threading.Event()
        self.wrong = []
        self.complete = 0
        self.threads = [threading.Thread(target=self.pull, args=(random.Random(seed * 100 + i),))
                        for i in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def pull(self, rng):
        while not self.over.is_set():
            target, data = rng.choice(self.wanted)
            first = rng.choice([0, 0, 0, rng.randrange(len(data))])
            try:
                r = self.client.get(target, {"Range": f"bytes={first}-"} if first else {})
            except OSError:
                continue
            if r.status in (200, 206) and r.end == "complete":
                self.complete += 1
                if bytes(r.body) != data[first if r.status == 206 else 0:]:
                    self.wrong.append(target)

    def go(self):
        self.over.set()
        for t in self.threads:
            t.join()


@pytest.fixture
def wanted(image):
    """(target, bytes) of everything that a pull of two images asks for."""
    out = []
    for img in (image(), image("library/beta")):
        out += [(target, img.bytes(d)) for target, d in img.targets()]
        out.append((f"/v2/{img.repo}/manifests/{img.tag}", img.bytes(img.digest)))
    return out


def blobs_served_from_the_store(lines):
    """A blob is a hit when its record has been committed; a manifest may be one before, from memory."""
    return {f"/v2/{line.get('repository')}/blobs/{line.get('reference')}" for line in lines
            if line.get("event") == "request" and line.get("object") == "blob" and line.get("outcome") == "hit"}


def test_kill_9_at_any_instant_loses_nothing_that_was_served(launch, hub, wanted, tmp_path):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    m = launch(started=False)
    stored, kept, complete = set(), 0, 0
    for kill in range(KILLS):
        if kill % KILLS_A_STORE == 0:
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
            stored = set()
        m.start()
        hub.refuse()
        client = Client(m.host_port)
        for target, data in wanted:
            r = client.get(target, {"Cache-Control": "only-if-cached"})   # 504 at once where it is not there
            assert r.end == "complete" and (r.status == 504 or bytes(r.body) == data)
            assert r.status == 200 or target not in stored, f"{target} was lost"
            kept += target in stored
            if r.status == 200:
                stored.add(target)
        hub.listen()
        before = m.mark()
        crowd = Crowd(m.host_port, wanted, seed + kill)
        time.sleep(rng.uniform(0, LONGEST))
        m.kill()
        crowd.go()
        assert not crowd.wrong
        complete += crowd.complete
        stored |= blobs_served_from_the_store(m.lines[before:])
    assert complete > KILLS and kept > KILLS, "there was load, and something to lose"
