"""The licence client for Python: ctypes over the C library (licensed.h).

    with licensed.Guard(anchors=anchors, product="cad-pro", server="https://licence.example.com") as guard:
        if not guard.status().usable:
            guard.activate(code)
        if guard.feature("export"):
            ...

The library is looked for in the folder of this file, or where the environment variable LICENSED_LIBRARY says, or by load(path).
It is loaded at the first use. A process that forks afterwards must not use it in the child: with multiprocessing, use the start method
"spawn", or use it for the first time after the fork.

Every call may be made from any thread; it gives the interpreter's lock away while it waits.
"""

import ctypes
import os
import sys
import threading
import time

ABI_MAJOR, ABI_MINOR = 1, 0

FOREVER = 253402300799

ALLOW_PLAIN, IN_MEMORY, MANUAL, KEEP_SEAT = 1, 2, 4, 8

OPS = {"activate": 1, "refresh": 2, "transfer": 3, "deactivate": 4}
PHASES = {1: "valid", 2: "warning", 3: "grace", 4: "blocked"}
STATES = {0: "", 1: "active", 2: "expired", 3: "suspended", 4: "revoked"}
ENFORCEMENTS = {0: "", 1: "block", 2: "degrade", 3: "advisory"}
CLOCKS = {0: "", 1: "ok", 2: "behind", 3: "ahead", 4: "unconfirmed"}

EVENTS = {
    1: "expiring", 2: "grace", 3: "blocked", 4: "revoked", 5: "restored", 6: "license", 7: "clock", 8: "machine", 9: "trouble", 10: "reached",
}

_NO_VALUE, _TIMEOUT = 7, 9


class LicensedError(Exception):
    """What went wrong: code and reason for programs, detail (also str()) for people, log for the product's log."""

    def __init__(self, code, reason, detail, field="", log="", retry_after=0):
        super().__init__(detail)
        self.code, self.reason, self.detail, self.field, self.log, self.retry_after = code, reason, detail, field, log, retry_after


class _Error(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t), ("code", ctypes.c_int32), ("reserved", ctypes.c_int32), ("retry_after", ctypes.c_int64),
        ("reason", ctypes.c_char_p), ("detail", ctypes.c_char_p), ("field", ctypes.c_char_p), ("log", ctypes.c_char_p),
    ]


class _Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [
        (name, ctypes.c_char_p) for name in ("anchors", "product", "issuer", "keys", "server", "state_dir", "code", "instance", "ca_file")
    ] + [("timeout_ms", ctypes.c_int64), ("build_time", ctypes.c_int64), ("flags", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class _Status(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [
        (name, ctypes.c_int32) for name in ("usable", "phase", "reason", "state", "enforcement", "clock", "refresh_due", "reserved")
    ] + [
        (name, ctypes.c_int64)
        for name in ("at", "not_before", "warn_at", "expires_at", "block_at", "refresh_after", "lease_until", "listed_at")
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t), ("kind", ctypes.c_int32), ("missed", ctypes.c_int32), ("at", ctypes.c_int64), ("code", ctypes.c_int32),
        ("reserved", ctypes.c_int32), ("reason", ctypes.c_char_p), ("text", ctypes.c_char_p), ("log", ctypes.c_char_p),
    ]


class Event:
    """What has changed: kind is a word of EVENTS, text is for people, status where the install stands by it."""

    def __init__(self, raw, status):
        self.kind, self.missed, self.at, self.status = EVENTS.get(raw.kind, ""), raw.missed, raw.at, status
        self.code = raw.code
        self.reason, self.text, self.log = (getattr(raw, f).decode("utf-8", "replace") for f in ("reason", "text", "log"))

    def __repr__(self):
        return "Event(%r, %r)" % (self.kind, self.text)


class Status:
    """Where a licence stands: usable is the one to ask. Instants are seconds since the epoch, FOREVER where there is no end."""

    def __init__(self, raw, reason):
        self.usable, self.refresh_due = bool(raw.usable), bool(raw.refresh_due)
        self.phase, self.state = PHASES.get(raw.phase, "blocked"), STATES.get(raw.state, "")
        self.enforcement, self.clock, self.reason = ENFORCEMENTS.get(raw.enforcement, "block"), CLOCKS.get(raw.clock, ""), reason
        for name in ("at", "not_before", "warn_at", "expires_at", "block_at", "refresh_after", "lease_until", "listed_at"):
            setattr(self, name, getattr(raw, name))

    def __repr__(self):
        return "Status(usable=%r, phase=%r, reason=%r)" % (self.usable, self.phase, self.reason)


_PTR, _U64, _I64, _I32, _STR, _SIZE = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int32, ctypes.c_char_p, ctypes.c_size_t
_OUT, _OUT_SIZE, _ERR = ctypes.POINTER(_PTR), ctypes.POINTER(_SIZE), ctypes.POINTER(_PTR)
_OUT_U64, _OUT_I32, _OUT_DOUBLE = ctypes.POINTER(_U64), ctypes.POINTER(_I32), ctypes.POINTER(ctypes.c_double)
_OPTIONS, _STATUS = ctypes.POINTER(_Options), ctypes.POINTER(_Status)

# The arguments of each function; all return licensed_code but the first four.
_FUNCTIONS = {
    "abi_version": (), "version": (), "code_name": (_I32,), "free": (_PTR,),
    "close": (_U64,), "open": (_OPTIONS, _OUT_U64, _ERR), "check": (_U64, _STATUS),
    "feature": (_U64, _STR, _OUT_I32), "feature_number": (_U64, _STR, _OUT_DOUBLE), "feature_text": (_U64, _STR, _OUT, _OUT_SIZE, _ERR),
    "next_event": (_U64, _I64, _OUT, _STATUS, _ERR), "status_json": (_U64, _OUT, _ERR), "explain": (_U64, _OUT, _ERR), "file": (_U64, _OUT, _OUT_SIZE, _ERR),
    "request": (_U64, _I32, _STR, _STR, _OUT, _OUT_SIZE, _ERR), "import": (_U64, _STR, _SIZE, _ERR),
    "activate": (_U64, _STR, _ERR), "refresh": (_U64, _ERR), "refresh_status": (_U64, _ERR), "transfer": (_U64, _STR, _STR, _ERR),
    "deactivate": (_U64, _ERR), "verify": (_OPTIONS, _STR, _SIZE, _OUT_U64, _ERR),
    "license_check": (_U64, _I64, _STATUS), "license_feature": (_U64, _I64, _STR, _OUT_I32),
    "license_feature_number": (_U64, _I64, _STR, _OUT_DOUBLE), "license_feature_text": (_U64, _I64, _STR, _OUT, _OUT_SIZE, _ERR),
    "license_json": (_U64, _I64, _OUT, _ERR), "license_explain": (_U64, _OUT_I32, _OUT, _ERR),
}

_loading = threading.Lock()
_functions = None


def load(path=None):
    """Load the library from a path, once; without one, from the usual places."""
    global _functions
    with _loading:
        if _functions is not None:
            return
        if path is None:
            name = {"darwin": "liblicensed.dylib", "win32": "licensed.dll"}.get(sys.platform, "liblicensed.so")
            path = os.environ.get("LICENSED_LIBRARY") or os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
        library = ctypes.CDLL(path)
        functions = {}
        for name, arguments in _FUNCTIONS.items():
            try:
                function = getattr(library, "licensed_" + name)
            except AttributeError:
                raise OSError("%s is no licence library for this module: it has no licensed_%s" % (path, name)) from None
            function.argtypes = arguments
            function.restype = {"abi_version": ctypes.c_uint32, "version": _STR, "code_name": _STR, "free": None}.get(name, _I32)
            functions[name] = function
        version = functions["abi_version"]()
        if version >> 16 != ABI_MAJOR or version & 0xFFFF < ABI_MINOR:
            raise OSError("%s has version %d.%d of the interface, not %d.%d" % (path, version >> 16, version & 0xFFFF, ABI_MAJOR, ABI_MINOR))
        _functions = functions


def _function(name):
    if _functions is None:
        load()
    return _functions[name]


def version():
    """The release of the library."""
    return _function("version")().decode()


def _name(code):
    return _function("code_name")(code).decode()


def _check(code, error=None):
    if code == 0:
        return
    if not error:
        raise LicensedError(code, _name(code), _name(code))
    try:
        e = ctypes.cast(error, ctypes.POINTER(_Error)).contents
        texts = [getattr(e, f).decode("utf-8", "replace") for f in ("reason", "detail", "field", "log")]
        raise LicensedError(code, *texts, retry_after=e.retry_after)
    finally:
        _function("free")(error)


def _call(name, *arguments):
    """Call a function whose last argument is an error."""
    error = _PTR()
    code = _function(name)(*arguments, ctypes.byref(error))
    _check(code, error)


def _text(name, *arguments, sized=False):
    """Call a function that hands a text out; with its length where it says it."""
    text, length = _PTR(), _SIZE()
    try:
        _call(name, *arguments, ctypes.byref(text), *([ctypes.byref(length)] if sized else []))
        return ctypes.string_at(text, length.value) if sized else ctypes.string_at(text)
    finally:
        if text:
            _function("free")(text)


def _bytes(value):
    """A text for the library; None stays None."""
    if value is None or isinstance(value, bytes):
        data = value
    else:
        data = str(value).encode()
    if data is not None and b"\0" in data:
        raise ValueError("a text with NUL in it")
    return data


def _options(anchors, product, issuer=None, keys=None, server=None, state_dir=None, code=None, instance=None, ca_file=None, timeout=0, build_time=0, flags=0):
    return _Options(
        ctypes.sizeof(_Options), _bytes(anchors), _bytes(product), _bytes(issuer), _bytes(keys), _bytes(server), _bytes(state_dir),
        _bytes(code), _bytes(instance), _bytes(ca_file), int(timeout * 1000), int(build_time), flags, 0,
    )


def _status(name, *arguments):
    raw = _Status(ctypes.sizeof(_Status))
    _check(_function(name)(*arguments, ctypes.byref(raw)))
    return Status(raw, _name(raw.reason) if raw.reason else "")


def _feature(name, *arguments):
    on = _I32()
    _check(_function(name)(*arguments, ctypes.byref(on)))
    return bool(on.value)


def _number(name, *arguments):
    number = ctypes.c_double()
    code = _function(name)(*arguments, ctypes.byref(number))
    if code == _NO_VALUE:
        return None
    _check(code)
    return number.value


def _string(name, *arguments):
    try:
        return _text(name, *arguments, sized=True).decode()
    except LicensedError as e:
        if e.code != _NO_VALUE:
            raise
        return None


class _Handle:
    _handle = 0

    def close(self):
        """End it. It may be called again."""
        handle, self._handle = self._handle, 0
        if handle:
            _function("close")(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if not sys.is_finalizing():
            self.close()


class Guard(_Handle):
    """The licence of one install. timeout is in seconds; the other options are those of licensed_options."""

    def __init__(self, anchors, product, **options):
        handle = _U64()
        _call("open", ctypes.byref(_options(anchors, product, **options)), ctypes.byref(handle))
        self._handle = handle.value

    def status(self):
        return _status("check", self._handle)

    def feature(self, name):
        return _feature("feature", self._handle, _bytes(name))

    def number(self, name):
        return _number("feature_number", self._handle, _bytes(name))

    def text(self, name):
        return _string("feature_text", self._handle, _bytes(name))

    def next_event(self, timeout=None):
        """Wait for an event, for so many seconds, or without end; None where nothing has changed meanwhile."""
        event, raw = _PTR(), _Status(ctypes.sizeof(_Status))
        try:
            _call("next_event", self._handle, -1 if timeout is None else int(timeout * 1000), ctypes.byref(event), ctypes.byref(raw))
            e = ctypes.cast(event, ctypes.POINTER(_Event)).contents
            return Event(e, Status(raw, _name(raw.reason) if raw.reason else ""))
        except LicensedError as e:
            if e.code != _TIMEOUT:
                raise
            return None
        finally:
            if event:
                _function("free")(event)

    def status_json(self):
        return _text("status_json", self._handle).decode()

    def explain(self):
        return _text("explain", self._handle).decode()

    def file(self):
        return _text("file", self._handle, sized=True)

    def request(self, op, code=None, from_install=None):
        return _text("request", self._handle, OPS.get(op, 0), _bytes(code), _bytes(from_install), sized=True)

    def import_file(self, file):
        _call("import", self._handle, bytes(file), len(file))

    def activate(self, code):
        _call("activate", self._handle, _bytes(code))

    def refresh(self):
        _call("refresh", self._handle)

    def refresh_status(self):
        _call("refresh_status", self._handle)

    def transfer(self, code, from_install=None):
        _call("transfer", self._handle, _bytes(code), _bytes(from_install))

    def deactivate(self):
        _call("deactivate", self._handle)


class License(_Handle):
    """A licence file that was verified, without an install. now is in seconds since the epoch, this instant if left out."""

    def __init__(self, file, anchors, product, issuer=None, keys=None):
        handle = _U64()
        options = _options(anchors, product, issuer=issuer, keys=keys)
        _call("verify", ctypes.byref(options), bytes(file), len(file), ctypes.byref(handle))
        self._handle = handle.value

    def status(self, now=None):
        return _status("license_check", self._handle, _now(now))

    def feature(self, name, now=None):
        return _feature("license_feature", self._handle, _now(now), _bytes(name))

    def number(self, name, now=None):
        return _number("license_feature_number", self._handle, _now(now), _bytes(name))

    def text(self, name, now=None):
        return _string("license_feature_text", self._handle, _now(now), _bytes(name))

    def json(self, now=None):
        return _text("license_json", self._handle, _now(now)).decode()

    def matches(self):
        """Whether the licence was made for this machine, and why."""
        matches, text = _I32(), _PTR()
        try:
            _call("license_explain", self._handle, ctypes.byref(matches), ctypes.byref(text))
            return bool(matches.value), ctypes.string_at(text).decode()
        finally:
            if text:
                _function("free")(text)


def _now(now):
    return int(time.time() if now is None else now)
