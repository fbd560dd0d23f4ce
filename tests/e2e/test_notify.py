"""Notifications end to end: real HTTPS, hanging and failing receivers, SMTP, a real Alertmanager, kill -9."""
import email
import email.policy
import json
import random
import time

import pytest

from harness.process import wait_for
from harness.receivers import Alertmanager, MailServer, WebReceiver, is_signed, make_ca
from test_ctl import Ctl
from test_telemetry import Publisher, add_devices

ALLOW = {"notify": {"allow": "127.0.0.0/8, ::1"}}
FAST = {"wait_ms": 0, "interval_ms": 100, "timeout_ms": 1000}
KILLS, MANY_KILLS = 20, 100


@pytest.fixture
def server(make_server):
    return make_server(config=ALLOW)


@pytest.fixture
def publisher(broker):
    p = Publisher(broker.port)
    yield p
    p.stop()


@pytest.fixture
def closing():
    things = []
    yield lambda thing: (things.append(thing), thing)[1]
    for thing in things:
        getattr(thing, "close", getattr(thing, "stop", None))()


class Heat:
    """Devices whose temperature fires a rule, and ends it."""

    def __init__(self, server, publisher, devices=3):
        add_devices(server, devices)
        self.publisher, self.seq, self.devices = publisher, 0, devices
        server.post("/alert-rules", {"name": "hot", "metric": "temperature_c", "threshold": 60, "severity": "critical"})
        time.sleep(1.2)  # rules are read within a second

    def __call__(self, value, devices=None):
        self.seq += 1
        for n in range(self.devices) if devices is None else devices:
            self.publisher.telemetry(f"dev-{n}", self.seq, {"temperature_c": value})


def hook(server, receiver, name="hook", **more):
    return server.post("/receivers", {"name": name, "type": "webhook", "per_minute": 0, "url": receiver.url, **FAST, **more})["id"]


def test_signed_over_https_in_order(server, publisher, tmp_path, closing):
    ca, certificate = make_ca(tmp_path / "ca")
    good = closing(WebReceiver(certificate=certificate))
    made = server.post("/receivers", {"name": "a", "type": "webhook", "url": good.url, "secret": "s3cret", "ca_file": str(ca), **FAST})
    assert "secret" not in made and made["has_secret"] and "s3cret" not in server.request("GET", "/receivers").text
    untrusting = hook(server, good, "b")  # the system's certificates do not sign this one
    other = hook(server, good, "c", ca_file=str(ca), secret="x", matchers=[{"name": "severity", "value": "info"}])
    heat = Heat(server, publisher)
    heat(70)
    wait_for(lambda: good.taken(), 10, "the first notification")
    heat(20)
    bodies = wait_for(lambda: good.taken() if good.taken() and good.taken()[-1]["status"] == "resolved" and
                      good.taken()[-1]["firing"] == 0 else None, 15, lambda: good.taken())
    assert bodies[0]["status"] == "firing" and bodies[0]["alerts"][0]["resource"].startswith("devices/dev-")
    assert [b["seq"] for b in bodies] == list(range(1, len(bodies) + 1))
    for _, headers, body, _, _ in good.requests:
        assert is_signed(headers, body, "s3cret") and not is_signed(headers, body + b" ", "s3cret")
        assert headers["Idempotency-Key"] == f"{json.loads(body)['key']}:{json.loads(body)['seq']}"
    states = {}
    for body in bodies:
        for a in body["alerts"]:
            states.setdefault(a["id"], []).append(a["status"])
    assert len(states) == 3 and all(s[-1] == "resolved" and "firing" in s for s in states.values())
    assert server.items("/deliveries", receiver=other) == []
    failed = server.items("/deliveries", receiver=untrusting)
    assert failed and all(d["status"] == "pending" for d in failed) and "certificate" in " ".join(d["error"] for d in failed)
    figures = server.metrics()
    assert figures["aviary_notifications_total"] >= 4 and figures['aviary_delivery_attempts_total{result="sent"}'] == len(bodies)


def test_private_addresses_are_refused(make_server, publisher, closing):
    server = make_server(config={"notify": {"allow": "192.168.7.0/24"}})
    receiver = closing(WebReceiver())
    base = {"name": "x", "type": "webhook"}
    for host in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "224.0.0.1", "[fe80::1]", "192.168.8.1"):
        answer = server.request("POST", "/receivers", {**base, "url": f"http://{host}:{receiver.port}/"})
        assert answer.status_code == 422 and answer.json()["pointer"] == "/url", host
    assert server.request("POST", "/receivers", {**base, "name": "y", "url": "http://192.168.7.9/"}).status_code == 201
    # Names, and spellings that only a resolver understands, are looked at where the socket is opened.
    for name, url in (("name", receiver.url), ("short", f"http://127.1:{receiver.port}/"), ("number", f"http://2130706433:{receiver.port}/")):
        made = server.post("/receivers", {**base, "name": name, "url": url})["id"]
        delivery = server.post(f"/receivers/{made}/test")["id"]
        wait_for(lambda: server.get(f"/deliveries/{delivery}")["attempts"], 10, "an attempt")
        assert "may not be called" in server.get(f"/deliveries/{delivery}")["error"]
    assert receiver.requests == []
    assert server.request("GET", "/deliveries", params={"status": "x"}).status_code == 400


def test_receivers_that_make_no_sense(server):
    hooked = {"name": "a", "type": "webhook", "url": "https://example.com/x"}
    mail = {"name": "a", "type": "email", "url": "smtp://mail.example.com", "sender": "a@b.c", "recipients": ["d@e.f"]}
    for whole, change, pointer in (
            (hooked, {"url": "ftp://example.com"}, "/url"), (hooked, {"url": "https://"}, "/url"), (hooked, {"url": "https://u:p@example.com"}, "/url"),
            (hooked, {"url": "https://example.com/a b"}, "/url"), (hooked, {"title": "{{nope}}"}, "/title"), (hooked, {"text": "{{at"}, "/text"),
            (hooked, {"body": "{\"a\": {{summary}}}"}, "/body"), (hooked, {"matchers": [{"name": "colour", "value": "x"}]}, "/matchers/0/name"),
            (hooked, {"secret": "a\r\nb"}, "/secret"), (hooked, {"sender": "a@b.c"}, "/sender"), (hooked, {"ca_file": "x.pem"}, "/ca_file"),
            (hooked, {"interval_ms": 5000, "repeat_ms": 4000}, "/repeat_ms"), (mail, {"url": "https://example.com"}, "/url"),
            (mail, {"sender": "a@b.c\r\nBcc: x@y.z"}, "/sender"), (mail, {"recipients": ["d@e.f", "a b@c.d"]}, "/recipients/1"),
            (mail, {"recipients": []}, "/recipients"), (mail, {"body": "{}"}, "/body")):
        answer = server.request("POST", "/receivers", {**whole, **change})
        assert answer.status_code == 422 and answer.json()["pointer"] == pointer, (change, answer.text)
    made = server.request("POST", "/receivers", {**hooked, "body": "{\"text\": \"{{summary}} {{value}}\", \"n\": {{firing}}}"})
    assert made.status_code == 201
    assert server.request("POST", "/receivers", hooked).status_code == 409
    path = f"/receivers/{made.json()['id']}"
    assert server.request("PATCH", path, {"enabled": False}).status_code == 428
    changed = server.request("PATCH", path, {"enabled": False}, headers={"If-Match": made.headers["ETag"]})
    assert changed.status_code == 200 and changed.json()["enabled"] is False and changed.json()["body"].startswith("{")
    assert server.request("DELETE", path).status_code == 204 and server.request("GET", path).status_code == 404


def test_failing_receivers_block_nobody_and_lose_nothing(server, publisher, build, tmp_path, closing):
    well = []  # from when the failing ones answer 200

    def unless_well(status, headers=None, wait=0):
        def answer(n, request):
            if well:
                return 200, {}
            time.sleep(wait)
            return status, headers or {}
        return answer
    stolen = closing(WebReceiver())
    kinds = {"good": None, "hang": unless_well(200, wait=4), "broken": unless_well(500), "gone": unless_well(404),
             "moved": unless_well(302, {"Location": stolen.url}), "busy": lambda n, _: (429, {"Retry-After": "3"}) if n == 0 else (200, {})}
    receivers = {name: closing(WebReceiver(answer)) for name, answer in kinds.items()}
    ids = {name: hook(server, r, name) for name, r in receivers.items()}
    heat = Heat(server, publisher)
    begun = time.monotonic()
    for value in (70, 20, 70, 20):
        heat(value)
        time.sleep(0.7)
    good = receivers["good"]
    wait_for(lambda: good.taken() and good.taken()[-1]["firing"] == 0 and len(good.taken()) >= 2, 10, lambda: good.taken())
    assert time.monotonic() - begun < 10
    wait_for(lambda: len(receivers["busy"].requests) >= 2, 15, "the second try")
    first, second = receivers["busy"].requests[:2]
    assert 2.9 < second[0] - first[0] < 8 and first[1]["Idempotency-Key"] == second[1]["Idempotency-Key"]
    for name in ("gone", "moved"):
        assert wait_for(lambda: server.items("/deliveries", receiver=ids[name], status="dead"), 10, "a dead letter")[0]["reply"] in (404, 302)
    assert stolen.requests == []  # no redirects
    assert wait_for(lambda: server.metrics()["aviary_receivers_failing"], 15, "circuits that are open") >= 1
    for name in ("hang", "broken"):
        assert not server.items("/deliveries", receiver=ids[name], status="dead")
        assert len(receivers[name].requests) < 12  # left alone more and more
    well.append(True)
    for name in ("hang", "broken"):
        told = receivers[name]
        wait_for(lambda: not server.items("/deliveries", receiver=ids[name], status="pending"), 40, lambda: server.items("/deliveries", receiver=ids[name]))
        seqs = {}
        for _, _, body, _, _ in sorted(told.requests, key=lambda r: r[0]):  # as they came
            seqs.setdefault(json.loads(body)["key"], []).append(json.loads(body)["seq"])
        for key, numbers in seqs.items():
            assert numbers == sorted(numbers), (name, key)
            assert sorted({b["seq"] for b in told.taken() if b["key"] == key}) == list(range(1, numbers[-1] + 1))
    ctl = Ctl(build, tmp_path, server)
    for dead in server.items("/deliveries", receiver=ids["gone"], status="dead"):
        ctl.run("receiver", "resend", str(dead["id"]))
    wait_for(lambda: not server.items("/deliveries", receiver=ids["gone"], status="dead"), 10, "dead letters, sent again")
    wait_for(lambda: not server.items("/deliveries", receiver=ids["gone"], status="pending"), 10, "their way")
    assert len(receivers["gone"].taken()) >= 1
    sent = server.items("/deliveries", receiver=ids["gone"], status="sent")[0]
    assert server.request("POST", f"/deliveries/{sent['id']}/resend").status_code == 409


def test_silenced_alerts_are_left_out(server, publisher, closing):
    receiver = closing(WebReceiver())
    hook(server, receiver)
    now = int(time.time() * 1000)
    silence = server.post("/silences", {"matchers": [{"name": "resource", "value": "devices/dev-0"}], "comment": "works on it",
                                        "expires_at": now + 3600000})["id"]
    heat = Heat(server, publisher)
    heat(70)
    wait_for(lambda: receiver.taken() and sum(1 for b in receiver.taken() for a in b["alerts"] if a["resource"] == "devices/dev-2"), 10, "the others")
    time.sleep(0.5)
    assert not any(a["resource"] == "devices/dev-0" for b in receiver.taken() for a in b["alerts"])
    assert receiver.taken()[-1]["silenced"] == 1 and receiver.taken()[-1]["firing"] == 2
    server.post(f"/silences/{silence}/expire")
    wait_for(lambda: any(a["resource"] == "devices/dev-0" for b in receiver.taken() for a in b["alerts"]), 10, "the one that was silenced")
    heat(20)
    wait_for(lambda: receiver.taken()[-1]["status"] == "resolved", 10, "the end")


def test_alertmanager(server, publisher, tmp_path, closing):
    manager = closing(Alertmanager(tmp_path / "am"))
    server.post("/receivers", {"name": "am", "type": "alertmanager", "url": manager.url, "wait_ms": 0, "interval_ms": 200, "repeat_ms": 1000})
    heat = Heat(server, publisher)
    heat(70)
    alerts = wait_for(lambda: manager.alerts() if len(manager.alerts()) == 3 else None, 15, lambda: manager.alerts())
    assert {a["labels"]["resource"] for a in alerts} == {"devices/dev-0", "devices/dev-1", "devices/dev-2"}
    assert alerts[0]["labels"]["alertname"] == "metric.threshold" and alerts[0]["labels"]["severity"] == "critical" and alerts[0]["annotations"]["summary"]
    seen = max(a["updatedAt"] for a in alerts)
    wait_for(lambda: min(a["updatedAt"] for a in manager.alerts()) > seen, 10, "the same alerts, sent again while they fire")
    heat(20)
    wait_for(lambda: not manager.alerts(), 15, lambda: manager.alerts())


def test_mail(server, tmp_path, closing):
    ca, certificate = make_ca(tmp_path / "ca")
    mails = closing(MailServer(certificate, refuse={"nobody@example.org": "550 who"}, user="aviary", password="päss"))
    base = {"type": "email", "url": f"smtp://localhost:{mails.port}", "ca_file": str(ca), "user": "aviary", "secret": "päss", "sender": "aviary@example.org"}
    good = server.post("/receivers", {**base, "name": "m", "recipients": ["a@example.org", "b@example.org"],
                                      "title": "Größe {{status}}\r\nBcc: evil@example.org", "text": "Hällo\n.\n{{summary}}\n" + "x" * 300})["id"]
    bad = server.post("/receivers", {**base, "name": "n", "recipients": ["nobody@example.org"]})["id"]
    wrong = server.post("/receivers", {**base, "name": "o", "recipients": ["a@example.org"], "secret": "no"})["id"]
    tests = {r: server.post(f"/receivers/{r}/test")["id"] for r in (good, bad, wrong)}
    sender, to, text, was_tls, user = wait_for(lambda: mails.mails, 10, lambda: server.get(f"/deliveries/{tests[good]}"))[0]
    assert (sender, to, was_tls, user) == ("aviary@example.org", ["a@example.org", "b@example.org"], True, "aviary")
    message = email.message_from_string(text, policy=email.policy.default)
    assert "Größe test" in message["Subject"] and message["Bcc"] is None and message["To"] and message["Message-ID"]
    assert message.get_content().splitlines()[:3] == ["Hällo", ".", "a test of this receiver"]
    assert all(len(line) <= 78 for line in text.splitlines())
    assert wait_for(lambda: server.items("/deliveries", receiver=bad, status="dead"), 10, "the refused one")[0]["reply"] == 550
    wait_for(lambda: server.get(f"/deliveries/{tests[wrong]}")["attempts"], 10, "an attempt with a wrong password")
    assert len(mails.mails) == 1


def test_mail_by_smtps(server, tmp_path, closing):
    """TLS from the first byte. Who is not signed by the authority that was named, or is not the host that was meant, hears nothing, not even a greeting."""
    ca, certificate = make_ca(tmp_path / "ca")
    other_ca, other_certificate = make_ca(tmp_path / "other")
    mails, plain = closing(MailServer(certificate, user="aviary", password="p", smtps=True)), closing(MailServer())
    stranger, elsewhere = closing(MailServer(other_certificate, smtps=True)), closing(MailServer(certificate, smtps=True, host="127.0.0.2"))

    def to(name, scheme, port, host="localhost", **more):
        receiver = server.post("/receivers", {"name": name, "type": "email", "url": f"{scheme}://{host}:{port}", "ca_file": str(ca), "sender": "aviary@example.org",
                                              "recipients": ["a@example.org"], **more})["id"]
        return server.post(f"/receivers/{receiver}/test")["id"]

    def failed(delivery):
        return wait_for(lambda: (shown := server.get(f"/deliveries/{delivery}"))["attempts"] and shown, 15, lambda: server.get(f"/deliveries/{delivery}"))
    login = {"user": "aviary", "secret": "p"}
    good = to("good", "smtps", mails.port, **login)
    untrusted = to("untrusted", "smtps", stranger.port)
    other_host = to("other host", "smtps", elsewhere.port, host="127.0.0.2")  # its certificate names 127.0.0.1
    no_tls = to("no tls", "smtps", plain.port, timeout_ms=1000)
    sender, recipients, text, was_tls, user = wait_for(lambda: mails.mails, 10, lambda: server.get(f"/deliveries/{good}"))[0]
    assert (sender, recipients, was_tls, user) == ("aviary@example.org", ["a@example.org"], True, "aviary")
    assert "a test of this receiver" in email.message_from_string(text, policy=email.policy.default).get_content()
    wait_for(lambda: server.get(f"/deliveries/{good}")["status"] == "sent", 5, "it was taken")
    for delivery in (untrusted, other_host, no_tls):
        shown = failed(delivery)
        assert shown["status"] == "pending" and shown["error"] and shown["next_at"] > shown["created_at"], shown
    assert "certificate" in failed(untrusted)["error"].lower()
    assert stranger.spoken == elsewhere.spoken == plain.spoken == 0 and len(mails.mails) == 1
    # the same authority for the stranger, and it is told
    receiver = next(r for r in server.items("/receivers") if r["name"] == "untrusted")
    server.call("PATCH", f"/receivers/{receiver['id']}", {"ca_file": str(other_ca)}, headers={"If-Match": f'"{receiver["revision"]}"'})
    wait_for(lambda: stranger.mails, 20, lambda: server.get(f"/deliveries/{untrusted}"))


def test_storm_is_few_notifications(server, publisher, closing, tell):
    receiver = closing(WebReceiver())
    server.post("/receivers", {"name": "standard", "type": "webhook", "url": receiver.url, "wait_ms": 3000})
    heat = Heat(server, publisher, 2000)
    begun = time.monotonic()
    heat(70)
    wait_for(lambda: receiver.requests, 30, "a notification")
    time.sleep(6)
    body = receiver.taken()[0]
    tell(f"{len(receiver.requests)} notifications of 2000 devices, the first after {receiver.requests[0][0] - begun:.1f} s")
    assert len(receiver.requests) <= 3
    assert any(a["resource"].startswith("cohorts/") for b in receiver.taken() for a in b["alerts"]), body["title"]


def test_kill_loses_no_transition(server, publisher, closing, request, tell):
    kills = MANY_KILLS if request.config.getoption("--seeds") else KILLS
    pace = random.Random(4)
    receiver = closing(WebReceiver(lambda n, _: (500, {}) if n % 7 == 3 else (200, {})))
    hook(server, receiver)
    heat = Heat(server, publisher, kills + 1)  # each fires about once: what flaps is told to nobody
    for n in range(kills):
        heat(20, range(max(n - 2, 0), n))
        heat(70, [n])
        time.sleep(pace.random() * 0.5)
        server.kill9()
        server.start()
    heat(20)
    time.sleep(1.5)
    heat(20)
    wait_for(lambda: not server.items("/alerts", status="firing"), 10, "the end of all alerts")
    alerts = server.items("/alerts")
    assert len(alerts) > kills / 2 and not any(a["suppressed"] for a in alerts)

    def told():
        return {(a["id"], a["status"]) for b in receiver.taken() for a in b["alerts"]}
    missing = {(a["id"], "resolved") for a in alerts}
    wait_for(lambda: missing <= told(), 30, lambda: missing - told())
    wait_for(lambda: not server.items("/deliveries", status="pending"), 30, "nothing on its way")
    last = {}
    for _, headers, body, status, _ in receiver.requests:
        b = json.loads(body)
        assert b["seq"] >= last.get(b["key"], 0), "order of a key"  # at least once: the same may come again
        last[b["key"]] = b["seq"]
    written = {d["key"] for d in server.items("/deliveries")}
    assert written == {headers["Idempotency-Key"] for _, headers, _, status, _ in receiver.requests if status == 200}
    tell(f"{kills} kills, {len(alerts)} alerts, {len(written)} notifications, {len(receiver.requests)} requests")
