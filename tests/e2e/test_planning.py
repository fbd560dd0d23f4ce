"""A plan over many devices is made in pieces: others are answered meanwhile, and who goes away, comes twice or stops the server gets what is
right."""
import concurrent.futures
import json
import socket
import sqlite3
import time

import pytest
import requests

from harness import tiny_model

DEVICES = 60000
# Each device is asked a score of questions, so that the plan takes a while: some hundred pieces.
SLOW = ",".join(f"attribute.a{i}=='*x*'" for i in range(20)) + ",hardware==x"


@pytest.fixture
def server(make_server):
    s = make_server(config={"models": {"unknown": "allow"}})  # its devices are only registered, and never say anything
    s.add_model("kws")
    s.add_version("kws", "1.0.0", {"*": tiny_model("any", payload=500)})
    s.add_release("kws-1.0.0", {"kws": "1.0.0"})
    s.stop()
    db = sqlite3.connect(s.state / "fleet.db")
    db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
               "INSERT INTO device (device_id, hardware, created_at, updated_at) SELECT 'd' || i, 'x', 1, 1 FROM n", (DEVICES,))
    db.commit()
    db.close()
    s.start()
    return s


def spec(**more):
    return {"name": "r", "release": "kws-1.0.0", "filter": SLOW, **more}


def timed(work):
    begin = time.monotonic()
    return work(), time.monotonic() - begin


def plan(server, body, key=None, dry=False):
    headers = {"Authorization": "Bearer " + server.token, **({"Idempotency-Key": key} if key else {})}
    return requests.post(server.url + "/api/v1/rollouts", json=body, headers=headers, params={"dryRun": "true"} if dry else None, timeout=60)


def test_others_are_answered_meanwhile(server, tell):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = server.metrics()
        future = pool.submit(timed, lambda: plan(server, spec(), dry=True))
        answers = []
        while not future.done():
            answers.append(timed(lambda: server.get("/devices", limit=1))[1])
        response, seconds = future.result()
    assert response.status_code == 200, response.text
    assert (response.json()["target"]["matched"], response.json()["target"]["devices"]) == (DEVICES, DEVICES)
    tell(f"a plan of {seconds:.2f} s, {len(answers)} other requests meanwhile, the slowest {1000 * max(answers):.0f} ms")
    assert seconds > 0.1
    assert len(answers) > 10 * seconds
    assert server.get("/rollouts")["items"] == []
    assert server.metrics()["aviary_loop_hold_seconds_count"] > before["aviary_loop_hold_seconds_count"] + 50 * seconds
    # and when it is stored
    response = plan(server, spec())
    assert response.status_code == 201 and response.json()["target"] == DEVICES
    assert response.headers["Location"] == f"/api/v1/rollouts/{response.json()['id']}"
    assert any(a["action"] == "rollout.create" for a in server.items("/audit"))


def test_a_refusal_comes_as_ever(server):
    response = plan(server, spec(filter=SLOW.replace(",hardware==x", "")))
    assert response.status_code == 422
    assert "no device is left" in response.text and "/filter" in response.text
    assert server.get("/rollouts")["items"] == []


def test_the_same_key_makes_one_rollout(server):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: plan(server, spec(), key="once"), range(3)))
    assert [a.status_code for a in answers] == [201] * 3
    assert len({a.content for a in answers}) == 1 and len({a.headers["Location"] for a in answers}) == 1
    assert len(server.get("/rollouts")["items"]) == 1
    assert plan(server, spec(), key="once").content == answers[0].content
    assert plan(server, spec(name="other"), key="once").status_code == 409


def test_too_many_are_told_to_come_again(server):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: plan(server, spec(), dry=True), range(8)))
    codes = sorted(a.status_code for a in answers)
    assert set(codes) == {200, 429} and codes.count(200) >= 4
    assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status_code == 429)
    assert plan(server, spec(), dry=True).status_code == 200


def send_and_leave(server, body):
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(f"POST /api/v1/rollouts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        time.sleep(0.05)


def test_who_goes_away_gets_no_rollout(server):
    seconds = timed(lambda: plan(server, spec(), dry=True))[1]
    for _ in range(6):  # more than may be under way at once
        send_and_leave(server, spec())
    time.sleep(0.1)
    assert plan(server, spec(), dry=True).status_code == 200
    time.sleep(2 * seconds)
    assert server.get("/rollouts")["items"] == []


def test_the_server_stops_in_the_middle(server):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(plan, server, spec(), "k")
        time.sleep(0.1)
        code, seconds = timed(server.stop)
        response = future.result()
    assert code == 0 and seconds < 5
    assert response.status_code == 503
    server.start()
    assert server.get("/rollouts")["items"] == []
    assert plan(server, spec(), "k").status_code == 201
