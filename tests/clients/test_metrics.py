"""Metrics, as Prometheus's own parsers read them."""

import http.client
import json
import os
import re
import socket
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from websockets.sync.client import connect

from program import DEADLINE, running

SERVER = os.environ["SECURE_SERVER"]
OPEN_METRICS = "application/openmetrics-text"
# What Prometheus sends.
ACCEPT = f"{OPEN_METRICS};version=1.0.0;q=0.5,{OPEN_METRICS};version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


def ask(port, accept, method="GET", path="/metrics"):
    connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
    connection.request(method, path, headers={"Accept": accept} if accept else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def values(families, port):
    """The samples of the server on this port, by name and, of a bucket, its bound."""
    samples = [sample for family in families for sample in family.samples]
    found = {}
    for sample in samples:
        bound = sample.labels.pop("le", "")
        assert set(sample.labels) == {"server", "port"}
        if sample.labels["port"] == str(port):
            found[sample.name + bound] = sample.value
    return found


def test_both_formats_say_what_was_counted():
    with running([SERVER, "METRICS_PATH=/metrics"]) as program:
        with connect(program.url("/")) as client:
            for text in ["one", "two"]:
                client.send(text)
                assert client.recv(DEADLINE) == text
            response, body = ask(program.port, ACCEPT)
            assert response.status == 200
            assert response.headers["Content-Type"] == f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"
            open_metrics = values(parse_open_metrics(body), program.port)
            response, body = ask(program.port, None)
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = values(parse_text(body), program.port)
        for found in [open_metrics, text]:
            assert found["portal_websockets_open"] == 1
            assert found["portal_websockets_opened_total"] == 1
            assert found["portal_messages_received_total"] == 2
            assert found["portal_messages_sent_total"] == 2
            assert found["portal_received_bytes_total"] > 0
        assert open_metrics.keys() == text.keys()
        program.stop()


def test_the_histograms_count_turns_and_queues():
    with running([SERVER, "METRICS_PATH=/metrics"]) as program:
        with connect(program.url("/"), compression=None) as client:
            for _ in range(500):
                client.send("x" * 300)
                client.recv(DEADLINE)
            found = values(parse_open_metrics(ask(program.port, ACCEPT)[1]), program.port)
        for name in ["portal_turn_duration_seconds", "portal_send_queue_bytes"]:
            assert found[f"{name}_count"] == found[f"{name}_bucket+Inf"] >= 1
            assert found[f"{name}_sum"] > 0
        assert found["portal_send_queue_bytes_bucket1024.0"] >= 1
        assert found["portal_send_queue_bytes_sum"] >= 300
        program.stop()


def test_each_metric_is_explained_and_drawn_and_no_other():
    root = Path(__file__).parents[2]
    with running([SERVER, "METRICS_PATH=/metrics"]) as program:
        families = list(parse_text(ask(program.port, None)[1]))
        program.stop()
    histograms = {family.name for family in families if family.type == "histogram"}
    # Python's parser drops the suffix of a counter's family.
    known = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    explained = re.findall(r"`(portal_\w+)`", (root / "docs/operating.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0])
    assert set(explained) == known
    dashboard = json.loads((root / "packaging/grafana/portal.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    drawn = {name.removesuffix("_bucket") for query in queries for name in re.findall(r"portal_\w+", query)}
    assert drawn == known
    assert all(f"{name}_bucket" in " ".join(queries) for name in histograms)


def test_only_get_and_head_and_only_where_it_was_asked_for():
    with running([SERVER, "METRICS_PATH=/metrics"]) as program:
        response, body = ask(program.port, None, "HEAD")
        assert (response.status, body) == (200, "")
        assert int(response.headers["Content-Length"]) > 0
        assert ask(program.port, None, "POST")[0].status == 405
        assert ask(program.port, None, path="/metrics/")[0].status == 404
        assert ask(program.port, f"{OPEN_METRICS};q=0")[0].headers["Content-Type"].startswith("text/plain")
        program.stop()
    with running([SERVER]) as program:
        assert ask(program.port, None)[0].status == 404
        program.stop()


def test_a_handshake_that_takes_too_long_is_counted():
    with running([SERVER, "METRICS_PATH=/metrics", "HANDSHAKE_TIMEOUT=500"]) as program:
        with socket.create_connection(("localhost", program.port), DEADLINE) as silent:
            silent.settimeout(DEADLINE)
            assert silent.recv(1) == b""
        found = values(parse_text(ask(program.port, None)[1]), program.port)
        assert found["portal_handshake_timeouts_total"] == 1
        assert found["portal_handshakes_rejected_total"] == 1
        program.stop()
