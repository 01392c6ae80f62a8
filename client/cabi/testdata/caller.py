"""A caller of the library in Python, for the tests, by licensed.py: commands as in caller.c."""

import gc
import json
import multiprocessing
import os
import sys
import threading

import licensed

CODE = "PL0123456789ABCDEF"


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def expect(reason, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except licensed.LicensedError as e:
        assert e.reason == reason, (reason, e.reason, e.log)
        assert str(e) == e.detail != "", e.log
        return e
    raise AssertionError("%s was not refused" % (arguments,))


def vectors(folder):
    anchors, n, good = read(folder, "anchors.json"), 0, 0
    keys = read(folder, "keys")
    for line in read(folder, "list").decode().splitlines():
        want, phase, now, product, issuer, name = line.split(" ")
        try:
            with licensed.License(read(folder, name), anchors, product, issuer=None if issuer == "-" else issuer, keys=keys) as l:
                code, good = 0, good + 1
                status = l.status(int(now))
                assert phase == "0" or status.phase == licensed.PHASES[int(phase)], name
                assert json.loads(l.json(int(now)))["license"]["product"] == product, name
        except licensed.LicensedError as e:
            code = e.code
        assert code == int(want), (name, code, want)
        n += 1
    print(n, good)


def features_are_on(guard):
    assert guard.feature("export") and guard.feature("projects") and not guard.feature("no such")
    assert guard.number("projects") == 10 and guard.number("tier") is None
    assert guard.text("tier") == "gold · 金" and guard.text("export") is None


def carry(guard, folder, op, code=None):
    file = guard.request(op, code)
    assert file == guard.request(op, code)
    with open(os.path.join(folder, "request.lic"), "wb") as f:
        f.write(file)
    print("request", flush=True)
    assert sys.stdin.readline() == "answered\n"
    guard.import_file(read(folder, "answer.lic"))


def life(folder):
    options = {"anchors": read(folder, "anchors.json"), "product": "cad-pro", "state_dir": os.path.join(folder, "state")}
    with licensed.Guard(**options) as guard:
        status = guard.status()
        assert not status.usable and status.reason == "no_license" and status.phase == "blocked" and status.state == ""
        expect("no_license", guard.file)
        expect("no_license", guard.request, "refresh")
        carry(guard, folder, "activate", CODE)
        features_are_on(guard)
        file = guard.file()
        expect("damaged", guard.import_file, file[: len(file) // 2])
        expect("damaged", guard.import_file, b"")
        expect("damaged", guard.import_file, b"a\0b")
        with licensed.License(file, options["anchors"], "cad-pro") as l:
            ok, why = l.matches()
            assert ok and "this is the machine" in why
            assert l.feature("export") and not l.feature("export", now=status.at + 400 * 86400)
            assert l.number("projects") == 10 and l.text("tier") == "gold · 金" and l.text("export") is None
        expect("handle", l.status)
    guard.close()
    expect("handle", guard.status)
    with licensed.Guard(**options) as guard:
        features_are_on(guard)
        carry(guard, folder, "refresh")
        carry(guard, folder, "transfer", CODE)
        report = json.loads(guard.status_json())
        status = guard.status()
        assert report["usable"] and report["features"] == {"export": True, "projects": 10, "tier": "gold · 金"}, report
        assert report["license"]["license_id"] == "lic_1" and report["warnings"] == [] and report["expires_at"] == status.expires_at
        assert (status.phase, status.state, status.enforcement, status.clock) == ("valid", "active", "block", "ok")
        assert "this is the machine" in guard.explain()
        carry(guard, folder, "deactivate")
        assert not guard.status().usable and not guard.feature("export")


def online(folder, server):
    options = {"anchors": read(folder, "anchors.json"), "product": "cad-pro", "flags": licensed.IN_MEMORY}
    with licensed.Guard(server=server, timeout=20, **options) as guard:
        event = guard.next_event(timeout=20)
        assert event.kind == "blocked" and event.reason == "no_license" and event.text and event.log and not event.status.usable, event
        assert guard.next_event(timeout=0) is None
        expect("no_license", guard.refresh)
        expect("unknown_code", guard.activate, "PLFFFFFFFFFFFFFFFF")
        assert expect("rate_limited", guard.activate, "PLEEEEEEEEEEEEEEEE").retry_after == 90
        guard.activate(CODE)
        features_are_on(guard)
        guard.refresh()
        expect("not_found", guard.refresh_status)
        guard.transfer(CODE)
        features_are_on(guard)
        guard.deactivate()
        assert not guard.feature("export")
    assert expect("bad_request", licensed.Guard, server="http://licence.example.com/", **options).field == "server"
    assert expect("argument", licensed.Guard, options["anchors"], None).field == "product"
    assert expect("argument", licensed.Guard, None, "cad-pro").field == "anchors"
    assert expect("argument", licensed.Guard, options["anchors"], b"\xff").field == "product"
    expect("argument", licensed.Guard, options["anchors"], "cad-pro", timeout=-1)
    expect("argument", licensed.Guard, options["anchors"], "cad-pro", flags=1 << 31)
    with licensed.Guard(**options) as guard:
        expect("argument", guard.request, "no such")
        expect("argument", guard.feature, None)
        expect("argument", guard.feature, "x" * 70000)


def threads(folder):
    anchors, file = read(folder, "anchors.json"), read(folder, "anybody.lic")
    failed = []
    guard = licensed.Guard(anchors, "cad-pro", flags=licensed.IN_MEMORY)
    guard.import_file(file)

    def user():
        try:
            for _ in range(50):
                features_are_on(guard)
                licensed.License(file, anchors, "cad-pro")  # closed when it is collected
                expect("damaged", guard.import_file, b"x")
        except BaseException as e:
            failed.append(e)

    users = [threading.Thread(target=user) for _ in range(8)]
    for t in users:
        t.start()
    for t in users:
        t.join()
    gc.collect()
    assert not failed, failed
    guard.close()


def forked(folder):
    guard = licensed.Guard(read(folder, "anchors.json"), "cad-pro", flags=licensed.IN_MEMORY)
    child = multiprocessing.get_context("fork").Process(target=lambda: expect("forked", guard.status))
    child.start()
    child.join()
    assert child.exitcode == 0, child.exitcode
    assert not guard.status().usable
    guard.close()


if __name__ == "__main__":
    licensed.load(sys.argv[1])
    assert licensed.version()
    {"vectors": vectors, "life": life, "online": online, "threads": threads, "forked": forked}[sys.argv[2]](*sys.argv[3:])
