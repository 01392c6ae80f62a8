"""python3 example.py ANCHORS PRODUCT STATE FILE.lic: exit status 0 where the product may run here and now."""

import os
import sys
import time
from pathlib import Path

from license_verify import Refused, Verifier, digest, parse_anchors


def main(anchors: str, product: str, state: str, file: str) -> str:
    # What was seen: the newest date of all, the date of the newest licence, the newest key set.
    seen = Path(state).read_text() if os.path.exists(state) else "0\n0\n"
    first, second, keys = seen.split("\n")
    floor, newest = int(first), int(second)
    verifier = Verifier(parse_anchors(Path(anchors).read_bytes()), product, keys=keys)  # anchors: compile them in
    wrong = ""
    try:
        licence = verifier.verify(Path(file).read_bytes())
        floor = max(floor, licence.proven)
        if licence.claims["iat"] < newest:
            wrong = "older than one that was seen"
        newest = max(newest, licence.claims["iat"])
    except Refused as e:
        wrong = str(e)  # e.reason is forged, damaged or wrong_product
    keep(state, seen, f"{floor}\n{newest}\n{verifier.keys}")
    if wrong:
        return f"not licensed: {wrong}"
    machine = {"custom": [digest(licence.salt, "custom", os.environ.get("LICENSED_MACHINE_ID", ""))]}
    if not licence.match(machine):
        return "not licensed: another machine"
    status = licence.check(max(int(time.time()), floor))
    if not status.usable:
        return f"not licensed: {status.reason}"
    print(f"licensed: {status.phase}", *sorted(status.features))
    return ""


def keep(state: str, was: str, now: str) -> None:
    if now != was:
        Path(state + ".new").write_text(now)
        os.replace(state + ".new", state)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
