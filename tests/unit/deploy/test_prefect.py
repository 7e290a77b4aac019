"""prefect.yaml: every deployment is described, has valid parameters, and runs once a night in any season."""

import asyncio
import importlib
import inspect
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.server.schemas.schedules import CronSchedule

from components.settings import CHECKOUT
from ops.automations import AUTOMATIONS
from ops.layout import POOL

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
SCHEDULES = [
    pytest.param(schedule, id=f"{one['name']}-{schedule['cron']}")
    for one in DEPLOYMENTS
    for schedule in one.get("schedules", ())
]
# Nights with a clock change in Berlin: from 2:00 to 3:00, and from 3:00 to 2:00.
SPRING, AUTUMN = date(2027, 3, 28), date(2027, 10, 31)


def flow_of(deployment: dict[str, Any]) -> Any:
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def name_of(deployment: dict[str, Any]) -> str:
    return str(deployment["name"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_a_deployment_has_a_description_tags_and_a_concurrency_limit(deployment: dict[str, Any]) -> None:
    assert len(deployment["description"]) > 20
    assert deployment["tags"]
    assert deployment["work_pool"]["name"] == POOL
    assert deployment["concurrency_limit"]["limit"] == 1
    scheduled = bool(deployment.get("schedules"))
    strategy = ConcurrencyLimitStrategy(deployment["concurrency_limit"]["collision_strategy"])
    assert (strategy is ConcurrencyLimitStrategy.CANCEL_NEW) == scheduled, (
        "manual runs wait, scheduled runs are cancelled"
    )
    assert all("timezone" in schedule for schedule in deployment.get("schedules", ()))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_the_parameters_of_a_deployment_are_valid_for_its_flow(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    accepted = inspect.signature(flow.fn).parameters
    set_here = deployment.get("parameters", {})
    assert set(set_here) <= set(accepted)
    required = {name for name, one in accepted.items() if one.default is inspect.Parameter.empty}
    if deployment.get("schedules"):
        assert required <= set(set_here), "a scheduled run cannot ask for them"
    if required <= set(set_here):
        flow.validate_parameters({**{name: one.default for name, one in accepted.items()}, **set_here})


@pytest.mark.parametrize("hours", [-1, 0, 745])
def test_monitoring_refuses_invalid_hours(hours: int) -> None:
    from prefect.exceptions import ParameterTypeError

    from flows.monitoring import monitoring

    with pytest.raises(ParameterTypeError, match="hours"):
        monitoring.validate_parameters({"hours": hours})


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_every_parameter_has_a_type_and_a_description_in_prefect(deployment: dict[str, Any]) -> None:
    from prefect.utilities.callables import parameter_schema

    for name, shown in parameter_schema(flow_of(deployment)).properties.items():
        assert shown.get("description"), name
        assert {"type", "anyOf", "allOf", "$ref", "enum"} & shown.keys(), name


def due(schedule: dict[str, Any], around: date) -> list[datetime]:
    """Every run scheduled from two days before to two days after, with the scheduler called every quarter hour."""
    cron = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    start = datetime(around.year, around.month, around.day, tzinfo=UTC) - timedelta(days=2)

    async def collect() -> set[datetime]:
        moments = (start + timedelta(minutes=15 * number) for number in range(4 * 24 * 4))
        return {found for moment in moments for found in await cron.get_dates(n=2, start=moment)}

    zone = ZoneInfo(schedule["timezone"])
    return sorted(found.astimezone(zone) for found in asyncio.run(collect()))


@pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_clock_change_neither_skips_nor_repeats_a_run(schedule: dict[str, Any], night: date) -> None:
    minute, hour, _, _, weekday = schedule["cron"].split()
    if hour == "*" or weekday != "*":
        pytest.skip("not a nightly schedule")
    found = due(schedule, night)
    nights = Counter(moment.date() for moment in found)
    assert [nights[night + timedelta(days=days)] for days in (-1, 0, 1)] == [1, 1, 1]
    assert {(moment.hour, moment.minute) for moment in found} == {(int(hour), int(minute))}


def test_half_past_two_would_fail_the_test_above() -> None:
    found = due({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, SPRING)
    assert {(moment.hour, moment.minute) for moment in found} == {(2, 30), (3, 30)}


def test_the_automation_for_dead_runs_waits_for_three_heartbeats() -> None:
    from ops.environment import DEFAULTS

    (dead,) = [one for one in yaml.safe_load(AUTOMATIONS.read_text()) if one["name"] == "dead-runs"]
    environments = [DEFAULTS, *(one["work_pool"]["job_variables"]["env"] for one in DEPLOYMENTS)]
    for environment in environments:
        assert dead["trigger"]["within"] > 3 * int(environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert f"{dead['trigger']['within']} seconds" in dead["description"]
