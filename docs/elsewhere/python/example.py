"""python3 example.py ANCHORS PRODUCT STATE FILE.lic: exit status 0 where the product may run here and now."""

import os
import sys
import time
from pathlib import Path

from license_verify import Refused, Verifier, digest, parse_anchors


def main(anchors: str, product: str, state: str, file: str) -> str:
    floor, keys = 0, ""  # what was seen: the newest date, and the newest key set
    if os.path.exists(state):
        first, keys = Path(state).read_text().split("\n")
        floor = int(first)
    verifier = Verifier(parse_anchors(Path(anchors).read_bytes()), product, keys=keys)  # anchors: compile them in
    try:
        licence = verifier.verify(Path(file).read_bytes())
    except Refused as e:
        return f"not licensed: {e}"
    if licence.proven > floor or verifier.keys != keys:
        floor = max(floor, licence.proven)
        Path(state + ".new").write_text(f"{floor}\n{verifier.keys}")
        os.replace(state + ".new", state)
    machine = {"custom": [digest(licence.salt, "custom", os.environ.get("LICENSED_MACHINE_ID", ""))]}
    if not licence.match(machine):
        return "not licensed: another machine"
    status = licence.check(max(int(time.time()), floor))
    if not status.usable:
        return f"not licensed: {status.reason}"
    print(f"licensed: {status.phase}", *sorted(status.features))
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
