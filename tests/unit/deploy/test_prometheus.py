"""The Prometheus rules and the Grafana dashboard: promtool accepts them, and the service has their metrics."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from promtool import FOLDER, promtool
from servers import Server

from components.settings import CHECKOUT

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((CHECKOUT / "deploy" / "grafana" / "service.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", ())] + [
    annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]
]
RUNBOOK = (CHECKOUT / "docs" / "operations.md").read_text()
METRIC = re.compile(r"\b(?:fashion|bentoml)_\w+")
pytestmark = pytest.mark.xdist_group("server")


def test_the_configuration_and_the_rules_are_valid() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "config", FOLDER / "prometheus.yml")


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    fires = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    assert fires == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_annotations_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n" in RUNBOOK


def test_the_runbook_has_no_other_alerts() -> None:
    assert set(re.findall(r"^### (Fashion\w+)$", RUNBOOK, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


def test_every_expression_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    filled = [one.replace("$__rate_interval", "1m").replace("$instance", ".*") for one in EXPRESSIONS]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(filled)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", path)


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_panel_uses_the_selected_data_source_and_instances() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert all("$instance" in target["expr"] or "ALERTS" in target["expr"] for target in panel["targets"])


@pytest.mark.slow
def test_the_service_exports_every_metric_and_label_in_use(server: Server) -> None:
    """An alert on a metric that does not exist never fires."""
    with server.client() as client:
        client.post("/predict", json={"images": [[0] * 784]}).raise_for_status()
        metrics = wait_for_metrics(client)
    exported = set(re.findall(r"^(\w+)(?:\{| )", metrics, re.MULTILINE))
    text = "\n".join([*EXPRESSIONS, *(rule["expr"] for rule in ALERTS)])
    assert set(METRIC.findall(text)) <= exported
    labels = set(re.findall(r'(\w+)="', metrics))
    used = set(re.findall(r"(\w+) ?=~?\"", text)) - {"job", "instance", "alertname", "alertstate"}
    assert used <= labels
    assert 'endpoint="/predict",http_response_code="200"' in metrics


def wait_for_metrics(client: httpx.Client) -> str:
    """The metrics, including those updated once a second."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        metrics = client.get("/metrics").raise_for_status().text
        if re.search(r"^fashion_memory_bytes [1-9]", metrics, re.MULTILINE):
            return metrics
        time.sleep(0.2)
    pytest.fail("the service never exported its memory")
