"""Runs vectors: JSON lines in, JSON lines out.

The first line is {"anchors": …, "keys": …}, each further one a vector as
license/token/testdata/README.md describes them. The answer to each is what became of it.
"""

import base64
import json
import sys

import license_verify as lv


def answer(v: dict, anchors: list, document: dict) -> dict:
    form, raw, issuer = v["form"], v.get("input", ""), v.get("issuer", "")
    data = base64.b64decode(v["bytes"]) if "bytes" in v else raw.encode()
    if form == "match":
        return {"match": lv.match(v["binding"], v["components"], v.get("code", ""))}
    if form == "digest":
        return {"digest": lv.digest(lv.decode(v["salt"]), v["kind"], v["value"])}
    if form == "keys":
        keys = lv.verify_key_set(raw, anchors)
        return {"rank": keys.rank, "kids": list(keys.keys)}
    if form == "file":
        return {"tokens": [len(found) for found in list(lv.parse_file(data).values())[:4]]}
    if form == "verify":
        verifier = lv.Verifier(anchors, v["product"], issuer, v.get("minimum", ""))
        licence = verifier.verify(data)
        return {"jti": licence.claims["jti"], "proven": licence.proven, **standing(licence, v),
                "match": licence.match(v.get("components", {}), v.get("code", ""))}
    keys = lv.verify_key_set(document["keys"], anchors)
    if form == "license":
        licence = lv.verify_license(raw, keys, v.get("product", ""), issuer)
        return {"jti": licence.claims["jti"], "install": licence.install, **standing(licence, v)}
    if form == "list":
        found = lv.verify_status_list(raw, keys, issuer, v.get("uri", ""))
        end = len(found.statuses) * 4
        return {"statuses": [found.at(i) for i in range(min(end, 64))], "beyond": found.at(end)}
    if form == "time":
        return {"proven": lv.verify_time(raw, keys, issuer, v.get("install", ""), v.get("nonce", ""))}
    raise ValueError(f"form {form}")


def standing(licence, v: dict) -> dict:
    if "now" not in v:
        return {}
    s = licence.check(v["now"])
    return {"usable": s.usable, "phase": s.phase, "why": s.reason, "features": dict.fromkeys(s.features, True),
            "refresh_after": s.refresh_after, "lease_until": s.lease_until}


def main() -> None:
    lines = (json.loads(line) for line in sys.stdin.buffer)
    document = next(lines)
    anchors = lv.parse_anchors(json.dumps(document["anchors"]).encode())
    for v in lines:
        try:
            out = {"reason": "", **answer(v, anchors, document)}
        except lv.Refused as e:
            out = {"reason": e.reason}
        print(json.dumps(out))


if __name__ == "__main__":
    main()
