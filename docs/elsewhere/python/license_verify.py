"""Verifies licence files (.lic) offline: docs/verify-elsewhere.md.

Python 3.9 or later, and the package "cryptography" for Ed25519.

    verifier = Verifier(parse_anchors(ANCHORS), product="cad-pro")
    licence = verifier.verify(open("product.lic", "rb").read())
    status = licence.check(max(int(time.time()), floor))
    here = licence.match({"custom": [digest(licence.salt, "custom", my_id)]})
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import zlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FOREVER = 253402300799  # the last second of the year 9999: "no end"
MAX_FILE, MAX_TOKEN, MAX_STATUSES = 1 << 20, 64 << 10, 1 << 20  # bytes
MAX_DEPTH = 16


class Refused(Exception):
    """reason is forged, damaged or wrong_product."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def damaged(detail: str) -> Refused:
    return Refused("damaged", detail)


def forged(detail: str) -> Refused:
    return Refused("forged", detail)


# --- Base64url and JSON, strictly ---


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Base64url without padding, line breaks and stray bits in the last character."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise damaged("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data) != text:
        raise damaged("not base64url: stray bits")
    return data


class Number(str):
    """A JSON number as it stands there: 1, 1.0 and 1e0 are not the same to us."""


def read_json(data: bytes) -> dict:
    """The JSON object in data. Raises on what json.loads lets pass: a name twice in
    one object, half a character, NaN, and nesting over MAX_DEPTH."""

    def pairs(members):
        value = dict(members)
        if len(value) != len(members):
            raise damaged("a member name occurs twice")
        return value

    def constant(_):
        raise damaged("not valid JSON")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant,
                           parse_int=Number, parse_float=Number)
        inspect(value, 0)
    except (ValueError, RecursionError) as e:
        raise damaged("not valid JSON") from e
    if type(value) is not dict:
        raise damaged("not a JSON object")
    return value


def inspect(value, depth: int) -> None:
    if isinstance(value, (dict, list)):
        if depth == MAX_DEPTH:
            raise damaged("nested too deeply")
        for item in value:  # the names of an object, the elements of an array
            inspect(item, depth + 1)
        if isinstance(value, dict):
            for item in value.values():
                inspect(item, depth + 1)
    elif isinstance(value, str):
        value.encode("utf-8")  # raises on half a character


# --- Shapes: what a known member must hold ---
# A shape takes a value and returns it, or raises. Unknown members are dropped.


def text(value) -> str:
    if type(value) is not str:
        raise damaged("not a text")
    return value


def flag(value) -> bool:
    if type(value) is not bool:
        raise damaged("not true or false")
    return value


def anything(value):
    return value


def refuse(_):
    raise damaged("must be understood, and this version does not know it")


def whole(most: int):
    def shape(value) -> int:
        if type(value) is not Number or not re.fullmatch("[0-9]{1,16}", value) or int(value) > most:
            raise damaged("not a whole number in range")
        return int(value)

    return shape


def items(element, limit: int = 64):
    def shape(value) -> list:
        if type(value) is not list or len(value) > limit:
            raise damaged("not a list, or too long")
        return [element(item) for item in value]

    return shape


def members(required: dict, optional: dict = {}, limit: int | None = None):
    known = {**required, **optional}
    folded = {fold(name) for name in known}

    def shape(value) -> dict:
        if type(value) is not dict or limit is not None and len(value) > limit:
            raise damaged("not an object, or too many members")
        out = {}
        for name, item in value.items():
            if name in known:
                out[name] = known[name](item)
            elif fold(name) in folded:
                raise damaged("a member name differs only in case from one that has a meaning")
        for name in required:
            if name not in out:
                raise damaged(f"{name} is missing")
        return out

    return shape


def fold(name: str) -> str:
    return name.lower().replace("\u017f", "s")  # lower() knows the Kelvin sign, not the long s


def audience(value) -> list:
    return [value] if type(value) is str else items(text)(value)


def features(value) -> dict:
    """Features are true, a number or a text. Others mean nothing, and are off."""
    members({}, limit=256)(value)
    return {name: number(v) if type(v) is Number else v for name, v in value.items() if v is True or isinstance(v, str)}


def number(n: Number):
    return int(n) if re.fullmatch("-?[0-9]{1,15}", n) else float(n)


INSTANT, COUNT, SERIAL = whole(FOREVER), whole(2**31 - 1), whole(2**53 - 1)
KINDS = ("custom", "os", "uuid", "disk", "mac", "board", "cpu")
KEY_MEMBERS = ("kty", "crv", "x", "kid", "alg", "use", "nbf", "exp")

ANY_KEY = members({}, dict.fromkeys(KEY_MEMBERS, anything))
KEY = members({"kty": text, "crv": text, "x": text},
              {"kid": text, "alg": text, "use": text, "nbf": INSTANT, "exp": INSTANT})
HEADER = members({}, {"alg": text, "typ": text, "kid": text, "jwk": ANY_KEY, "crit": refuse, "b64": refuse})
ANCHORS = members({"anchors": items(KEY)})
KEY_SET = members({"iss": text, "iat": INSTANT, "exp": INSTANT, "seq": SERIAL, "keys": items(ANY_KEY)})
TIME = members({"iss": text, "iat": INSTANT, "sub": text, "nonce": text})
LIST = members({"iss": text, "sub": text, "iat": INSTANT, "exp": INSTANT, "ttl": SERIAL,
                "status_list": members({"bits": COUNT, "lst": text})})
LIC = members({
    "ver": COUNT,
    "phases": members({"warn_at": INSTANT, "expires_at": INSTANT, "block_at": INSTANT, "enforcement": text}),
    "refresh_after": INSTANT, "lease_until": INSTANT,
    "binding": members({"policy": text}, {"salt": text, "code": text,
                                          "components": members({}, dict.fromkeys(KINDS, items(text)), 64)}),
}, {"crit": items(text), "customer": text, "order": text, "channel": text, "code_last4": text, "features": features,
    "machines": COUNT, "mode": text, "status_max_age": INSTANT, "trial": flag})
LICENSE = members({
    "iss": text, "sub": text, "aud": audience, "jti": text, "iat": INSTANT, "nbf": INSTANT, "exp": INSTANT, "lic": LIC,
}, {"status": members({}, {"status_list": members({"idx": COUNT, "uri": text})}), "cnf": members({"jwk": KEY})})
CRITICAL = {"ver", "crit", "customer", "order", "channel", "code_last4", "features", "machines", "mode", "phases",
            "refresh_after", "lease_until", "binding", "status_max_age", "trial"}  # what lic.crit may name


def check_name(value: str, limit: int) -> None:
    if not value or len(value.encode()) > limit or not value.isprintable() or "\ufffd" in value:
        raise damaged("a name is empty, too long or cannot be printed")


def check_id(value: str) -> None:
    if not re.fullmatch("[!-~]{1,128}", value):
        raise damaged("not an id: 1 to 128 characters of printable ASCII")


# --- Keys and signatures ---


@dataclass(frozen=True)
class Key:
    kid: str
    public: bytes
    nbf: int = 0
    exp: int = FOREVER


@dataclass
class KeySet:
    raw: str
    rank: int
    iss: str
    iat: int
    seq: int
    keys: dict  # kid → Key


def thumbprint(public: bytes) -> str:
    """RFC 7638: the kid of a key."""
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"%s"}' % encode(public)
    return encode(hashlib.sha256(jwk.encode()).digest())


def is_ours(jwk: dict) -> bool:
    """Whether a JWK is an Ed25519 key that signs; others are skipped in a set."""
    word = {name: "" if v is None else v if type(v) is str else "?" for name, v in jwk.items()}
    return (word.get("kty") == "OKP" and word.get("crv") == "Ed25519" and word.get("use", "") in ("", "sig")
            and word.get("alg", "") in ("", "EdDSA", "Ed25519"))


def key_of(jwk: dict) -> Key:
    public = decode(jwk["x"])
    if not is_ours(jwk) or len(public) != 32:
        raise damaged("not an Ed25519 key that signs")
    kid = thumbprint(public)
    if jwk.get("kid", "") not in ("", kid):
        raise damaged("kid is not the thumbprint of the key")
    return Key(kid, public, jwk.get("nbf", 0), jwk.get("exp", FOREVER))


def parse_anchors(document: bytes) -> list[bytes]:
    """Reads what "licensectl keys anchors -o json" prints: the anchors, ranked."""
    keys = [key_of(jwk).public for jwk in ANCHORS(read_json(document))["anchors"]]
    if not keys or len(set(keys)) != len(keys):
        raise damaged("no anchor, or one twice")
    return keys


def open_token(raw: str, typ: str, find) -> tuple[Key, dict]:
    """Takes a compact JWS apart and verifies it under the key that find(kid) gives,
    and returns that key and the content, which is not yet looked at."""
    if len(raw) > MAX_TOKEN:
        raise damaged("longer than 64 KiB")
    parts = raw.split(".")
    if len(parts) != 3:
        raise damaged("not three parts joined by dots")
    header = HEADER(read_json(decode(parts[0])))
    if header.get("alg") not in ("EdDSA", "Ed25519") or header.get("typ") != typ:
        raise forged(f"not an Ed25519 signature of a {typ}")
    payload, signature = decode(parts[1]), decode(parts[2])
    if len(signature) != 64:
        raise damaged("a signature of the wrong length")
    key = find(header.get("kid", ""))
    if key is None or thumbprint(key.public) != header["kid"]:
        raise forged("signed with a key that is not trusted for this, or no longer")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, f"{parts[0]}.{parts[1]}".encode())
    except (InvalidSignature, ValueError) as e:
        raise forged("the signature does not fit") from e
    return key, read_json(payload)


def verify_key_set(raw: str, anchors: list[bytes]) -> KeySet:
    ranks = {thumbprint(public): rank for rank, public in enumerate(anchors)}
    signer, content = open_token(raw, "license-keys+jwt", {k: Key(k, anchors[r]) for k, r in ranks.items()}.get)
    claims = KEY_SET(content)
    check_name(claims["iss"], 2048)
    if claims["exp"] < claims["iat"]:
        raise damaged("exp is before iat")
    keys = {}
    for jwk in claims["keys"]:
        if not is_ours(jwk):
            continue
        jwk = KEY(jwk)
        if not jwk.get("kid") or jwk.get("nbf", FOREVER) >= jwk.get("exp", 0):
            raise damaged("a key without kid, nbf or exp, or with exp not after nbf")
        key = key_of(jwk)
        if key.kid in keys:
            raise damaged("a key twice")
        keys[key.kid] = key
    for kid in ranks:  # an anchor signs key sets only
        keys.pop(kid, None)
    return KeySet(raw, ranks[signer.kid], claims["iss"], claims["iat"], claims["seq"], keys)


def judge(claims: dict, key: Key, keys: KeySet, issuer: str) -> None:
    """What holds for all that a signing key signs, once the claims are known to be sound."""
    if claims["iss"] != keys.iss or issuer and claims["iss"] != issuer:
        raise forged("of another issuer")
    if not key.nbf <= claims["iat"] < key.exp:
        raise forged("its key was not valid when it was signed")


def verify_time(raw: str, keys: KeySet, issuer: str = "", install: str = "", nonce: str = "") -> int:
    """The instant that a signed time proves to have passed."""
    key, content = open_token(raw, "license-time+jwt", keys.keys.get)
    claims = TIME(content)
    check_name(claims["iss"], 2048)
    check_id(claims["nonce"])
    if not re.fullmatch("[A-Za-z0-9_-]{43}", claims["sub"]):
        raise damaged("sub is not an install id")
    judge(claims, key, keys, issuer)
    if install and claims["sub"] != install or nonce and claims["nonce"] != nonce:
        raise forged("it answers another install or request")
    return claims["iat"]


# --- Status lists ---


@dataclass
class StatusList:
    uri: str
    iat: int
    exp: int
    statuses: bytes

    def at(self, index: int) -> int | None:
        """0 valid, 1 and 3 revoked, 2 suspended; None beyond the end: it says nothing."""
        if index // 4 >= len(self.statuses):
            return None
        return self.statuses[index // 4] >> index % 4 * 2 & 3


def verify_status_list(raw: str, keys: KeySet, issuer: str = "", uri: str = "") -> StatusList:
    """Judges no clock: an expired list still proves what it says, and no freshness."""
    key, content = open_token(raw, "statuslist+jwt", keys.keys.get)
    claims = LIST(content)
    check_name(claims["iss"], 2048)
    check_name(claims["sub"], 2304)
    if claims["exp"] <= claims["iat"] or claims["ttl"] == 0 or claims["status_list"]["bits"] != 2:
        raise damaged("exp, ttl or bits of a status list make no sense")
    judge(claims, key, keys, issuer)
    statuses = inflate(decode(claims["status_list"]["lst"]))
    if uri and claims["sub"] != uri:
        raise forged("the list of another address")
    return StatusList(claims["sub"], claims["iat"], claims["exp"], statuses)


def inflate(packed: bytes) -> bytes:
    z = zlib.decompressobj()
    try:
        out = z.decompress(packed, MAX_STATUSES + 1)
    except zlib.error as e:
        raise damaged("lst is not in zlib form") from e
    if not out or len(out) > MAX_STATUSES or not z.eof or z.unused_data:
        raise damaged("lst is empty, too long, cut short or followed by something")
    return out


# --- Licences ---


@dataclass
class Status:
    """Where a licence stands at an instant."""

    usable: bool  # whether the product may run
    phase: str  # valid, warning, grace or blocked
    reason: str  # why it is blocked: not_yet_valid, expired, lease_over, revoked, suspended
    features: dict  # those that hold now
    refresh_after: int  # when to fetch a newer file
    lease_until: int  # until when this one holds without


@dataclass
class License:
    claims: dict  # of known members only
    product: str
    status_list: StatusList | None = None
    proven: int = 0  # the newest iat of all that was authentic in the file: see floor, in the page
    salt: bytes = b""
    install: str = ""  # thumbprint of the install key (cnf), "" where there is none
    lic: dict = field(default_factory=dict)

    def __post_init__(self):
        self.lic = self.claims["lic"]

    def check(self, now: int) -> Status:
        """Where the licence stands at now, in seconds since the epoch. Ask match too."""
        c, lic, p = self.claims, self.lic, self.lic["phases"]
        lease, refresh = lic["lease_until"], lic["refresh_after"]
        phase, reason = "valid", ""
        if now < c["nbf"]:
            phase, reason = "blocked", "not_yet_valid"
        elif now >= p["block_at"] or now >= c["exp"]:
            phase, reason = "blocked", "expired"
        elif now >= lease:
            phase, reason = "blocked", "lease_over"
        elif now >= p["expires_at"] or lease < c["exp"] and 4 * now >= 3 * lease + c["iat"]:
            phase = "grace"
        elif now >= p["warn_at"]:
            phase = "warning"

        listed = None
        if self.status_list is not None:
            listed = self.status_list.at(c["status"]["status_list"]["idx"])
        if lic.get("status_max_age"):
            since = until = c["iat"]  # no list, or none that speaks of this install: nothing is proven
            if listed is not None:
                since = self.status_list.iat
                until = min(since + lic["status_max_age"], self.status_list.exp)
            lease, refresh = min(lease, until), min(refresh, (since + until) // 2)
            if phase != "blocked" and (listed is None or now >= until):
                phase, reason = "blocked", "lease_over"
            elif phase != "blocked" and 4 * now >= 3 * until + since:
                phase = "grace"

        usable, on = True, lic.get("features", {})
        if listed:
            phase, reason = "blocked", "suspended" if listed == 2 else "revoked"
        if listed or phase == "blocked" and p["enforcement"] == "block":
            usable, on = False, {}
        elif phase == "blocked" and p["enforcement"] == "degrade":
            on = {}
        return Status(usable, phase, reason, on, refresh, lease)

    def match(self, components: dict, code: str = "") -> bool:
        """Whether this machine is the bound one. components is kind → digests; code is
        the digest of an identification code. False always blocks."""
        return match(self.lic["binding"], components, code)


def verify_license(raw: str, keys: KeySet, product: str = "", issuer: str = "") -> License:
    """Whether a licence is authentic and for this product. Judges no clock and no machine."""
    key, content = open_token(raw, "license+jwt", keys.keys.get)
    claims = LICENSE(content)
    lic, binding = claims["lic"], claims["lic"]["binding"]
    if lic["ver"] != 1 or not CRITICAL.issuperset(lic.get("crit", [])):
        raise damaged("made for a newer version of this software")
    if not claims["aud"]:
        raise damaged("aud is empty")
    for name in [claims["sub"], binding["policy"], *claims["aud"]]:
        check_name(name, 256)
    check_name(claims["iss"], 2048)
    check_id(claims["jti"])
    if "status_list" in claims.get("status", {}):
        check_name(claims["status"]["status_list"]["uri"], 2304)
    check_dates(claims)
    salt = check_binding(binding)
    install = key_of(claims["cnf"]["jwk"]).kid if "cnf" in claims else ""
    judge(claims, key, keys, issuer)
    if product and product not in claims["aud"]:
        raise Refused("wrong_product", "the licence is for another product")
    return License(claims, product or claims["aud"][0], salt=salt, install=install)


def check_dates(claims: dict) -> None:
    lic, p = claims["lic"], claims["lic"]["phases"]
    if not p["warn_at"] <= p["expires_at"] <= p["block_at"] <= claims["exp"] or lic["lease_until"] > claims["exp"]:
        raise damaged("its dates are not in order")
    if p["enforcement"] not in ("block", "degrade", "advisory"):
        raise damaged("enforcement is not block, degrade or advisory")
    if p["enforcement"] != "block" and claims["exp"] != FOREVER:
        raise damaged("exp has an end, under degrade or advisory")


def check_binding(binding: dict) -> bytes:
    salt = decode(binding.get("salt", ""))
    digests = [d for kind in binding.get("components", {}).values() for d in kind]
    digests += [binding["code"]] if binding.get("code") else []
    if len(salt) > 64 or digests and not salt or any(len(d) != 22 or len(decode(d)) != 16 for d in digests):
        raise damaged("binding: salt or a digest is not as it must be")
    return salt


# --- Machines ---

BLANKS = "[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"


def digest(salt: bytes, kind: str, value: str) -> str:
    """The digest of a component, or of an identification code (kind "code"); "" where
    the value counts as absent. Placeholders of makers are not known here."""
    if kind == "code":
        value = re.sub(BLANKS, "", value)
    if "|" in value or "," in value:
        return ""
    normal = value.strip("".join(map(chr, range(0x21)))).translate({c: c - 32 for c in range(ord("a"), ord("z") + 1)})
    if not normal:
        return ""
    return encode(hmac.new(salt, f"{kind}\n{normal}".encode(), hashlib.sha256).digest()[:16])


def match(binding: dict, components: dict, code: str = "") -> bool:
    """docs/fingerprint.md, "How a machine is matched". A policy's name is frozen: one
    that is not known matches nothing."""
    policy = binding["policy"]
    if policy == "none":
        return True
    if policy not in ("exact", "fuzzy", "loose"):
        return False
    if binding.get("code"):
        return hmac.compare_digest(binding["code"].encode(), code.encode())
    weight = same = lost = changed = 0
    for kind, bound in binding.get("components", {}).items():
        seen = components.get(kind, [])
        if len(seen) > 8:
            seen = sorted(set(seen))[:8]
        if not bound:
            continue
        if set(bound) & set(seen):
            weighs = 0 if kind == "cpu" else 1 if kind in ("mac", "board") and policy != "loose" else 2
            weight += weighs
            same += weighs > 0
        elif policy == "exact" and kind in ("custom", "os", "disk", "mac"):
            lost += 1
            changed += bool(seen)
    return weight >= 2 and lost <= 1 and (changed == 0 or same >= 2)


# --- Files ---

BLOCKS = ("LICENSE", "LICENSE KEYS", "LICENSE STATUS", "LICENSE TIME", "LICENSE REQUEST", "LICENSE DELIVERY")
NOISE = " \t\v\f\u00a0\u200b\ufeff"


def parse_file(data: bytes) -> dict:
    """The tokens of a licence file by the label of their block, none of them verified."""
    if len(data) > MAX_FILE:
        raise damaged("longer than 1 MiB")
    utf16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(data[:2])
    content = data[2 : len(data) & ~1].decode(utf16, "replace") if utf16 else data.decode("utf-8", "replace")
    lines = iter([clean(line) for line in content.replace("\r", "\n").split("\n")])
    found = {label: [] for label in BLOCKS}
    for line in lines:
        label = line[11:-5] if line.startswith("-----BEGIN ") and line.endswith("-----") else ""
        if label not in BLOCKS:
            continue
        body = []
        for line in lines:
            if line.startswith("-----"):
                break
            body.append(line)
        if line != f"-----END {label}-----":
            raise damaged(f"its {label} block has no end")
        found[label].append(block("".join(body)))
    if not any(found[label] for label in BLOCKS[:4]):
        raise damaged("not a licence file")
    return found


def clean(line: str) -> str:
    """Without what mail and copying put around a line."""
    line = line.lstrip(NOISE + ">|")
    return (line[2:] if line.startswith("- ") else line).rstrip(NOISE)


def block(body: str) -> str:
    try:
        raw = base64.b64decode(body.encode("ascii"), validate=True)
    except ValueError as e:
        raise damaged("a block is not complete or was changed") from e
    if base64.b64encode(raw).decode() != body or not re.fullmatch(rb"[A-Za-z0-9_.-]{1,65536}", raw):
        raise damaged("a block is not complete or was changed")
    return raw.decode()


class Verifier:
    """anchors, ranked, and product are compiled in. issuer, where it is given, must have
    issued it all. keys is a signed key set, compiled in or seen last: a minimum."""

    def __init__(self, anchors: list[bytes], product: str, issuer: str = "", keys: str = ""):
        if not anchors or not product:
            raise ValueError("without anchors and a product nothing can be verified")
        self.anchors, self.product, self.issuer, self.keys = anchors, product, issuer, keys

    def verify(self, file: bytes) -> License:
        """The licence for this product in a file, of several the one issued last."""
        tokens = parse_file(file)
        keys = self.newest_keys(tokens["LICENSE KEYS"])
        good, fault = [], None
        for raw in tokens["LICENSE"]:
            try:
                good.append(verify_license(raw, keys, self.product, self.issuer))
            except Refused as e:
                fault = e if fault is None or fault.reason == "wrong_product" else fault
        if not good:
            raise fault or damaged("the file holds no licence")
        licence = max(good, key=lambda l: l.claims["iat"])  # the first of equals
        proven = [keys.iat, licence.claims["iat"]]
        place = licence.claims.get("status", {}).get("status_list", {})
        for raw in tokens["LICENSE STATUS"]:  # one that does not verify is as good as absent
            try:
                found = verify_status_list(raw, keys, self.issuer)
            except Refused:
                continue
            proven.append(found.iat)
            if found.uri == place.get("uri") and (licence.status_list is None or found.iat > licence.status_list.iat):
                licence.status_list = found
        for raw in tokens["LICENSE TIME"]:
            try:
                proven.append(verify_time(raw, keys, self.issuer))
            except Refused:
                continue
        licence.proven = max(proven)
        return licence

    def newest_keys(self, raws: list[str]) -> KeySet:
        """The newest key set: by a later anchor, or by the same one with a higher seq."""
        best = self.verify_keys(self.keys) if self.keys else None
        fault = None
        for raw in raws:
            try:
                found = self.verify_keys(raw)
            except Refused as e:
                fault = fault or e
                continue
            if best is None or (found.rank, found.seq) > (best.rank, best.seq):
                best = found
        if best is None:
            raise fault or damaged("the file holds no key set, and none is known")
        self.keys = best.raw  # what was seen once is a minimum from then on; keep it with the floor
        return best

    def verify_keys(self, raw: str) -> KeySet:
        keys = verify_key_set(raw, self.anchors)
        if self.issuer and keys.iss != self.issuer:
            raise forged("the key set is of another issuer than the expected one")
        return keys
