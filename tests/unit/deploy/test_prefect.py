"""prefect.yaml: every deployment says what it is, takes what its flow takes, and is due once a night, in any season."""

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
# Nights on which a clock in Berlin is changed: at 2:00 it is 3:00, at 3:00 it is 2:00.
SPRING, AUTUMN = date(2027, 3, 28), date(2027, 10, 31)


def flow_of(deployment: dict[str, Any]) -> Any:
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def name_of(deployment: dict[str, Any]) -> str:
    return str(deployment["name"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_a_deployment_says_what_it_is_and_is_limited(deployment: dict[str, Any]) -> None:
    assert len(deployment["description"]) > 20
    assert deployment["tags"]
    assert deployment["work_pool"]["name"] == POOL
    assert deployment["concurrency_limit"]["limit"] == 1
    scheduled = bool(deployment.get("schedules"))
    strategy = ConcurrencyLimitStrategy(deployment["concurrency_limit"]["collision_strategy"])
    assert (strategy is ConcurrencyLimitStrategy.CANCEL_NEW) == scheduled, "a person's run waits, a scheduled one goes"
    assert all("timezone" in schedule for schedule in deployment.get("schedules", ()))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_a_deployment_gives_parameters_that_its_flow_takes(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    taken = inspect.signature(flow.fn).parameters
    given = deployment.get("parameters", {})
    assert set(given) <= set(taken)
    needed = {name for name, one in taken.items() if one.default is inspect.Parameter.empty}
    if deployment.get("schedules"):
        assert needed <= set(given), "nobody is there to give them"
    if needed <= set(given):
        flow.validate_parameters({**{name: one.default for name, one in taken.items()}, **given})


@pytest.mark.parametrize("hours", [-1, 0, 745])
def test_no_traffic_is_looked_at_of_hours_that_are_none(hours: int) -> None:
    from prefect.exceptions import ParameterTypeError

    from flows.monitoring import monitoring

    with pytest.raises(ParameterTypeError, match="hours"):
        monitoring.validate_parameters({"hours": hours})


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_every_parameter_has_a_type_and_a_description_on_prefect_s_page(deployment: dict[str, Any]) -> None:
    from prefect.utilities.callables import parameter_schema

    for name, shown in parameter_schema(flow_of(deployment)).properties.items():
        assert shown.get("description"), name
        assert {"type", "anyOf", "allOf", "$ref", "enum"} & shown.keys(), name


def due(schedule: dict[str, Any], around: date) -> list[datetime]:
    """Every time that the scheduler writes down from two days before to two days after, asked each quarter hour."""
    cron = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    start = datetime(around.year, around.month, around.day, tzinfo=UTC) - timedelta(days=2)

    async def ask() -> set[datetime]:
        asked = (start + timedelta(minutes=15 * number) for number in range(4 * 24 * 4))
        return {found for moment in asked for found in await cron.get_dates(n=2, start=moment)}

    zone = ZoneInfo(schedule["timezone"])
    return sorted(found.astimezone(zone) for found in asyncio.run(ask()))


@pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_change_of_the_clock_costs_no_run_and_gives_none_twice(schedule: dict[str, Any], night: date) -> None:
    minute, hour, _, _, weekday = schedule["cron"].split()
    if hour == "*" or weekday != "*":
        pytest.skip("it is not due once a night")
    found = due(schedule, night)
    nights = Counter(moment.date() for moment in found)
    assert [nights[night + timedelta(days=days)] for days in (-1, 0, 1)] == [1, 1, 1]
    assert {(moment.hour, moment.minute) for moment in found} == {(int(hour), int(minute))}


def test_half_past_two_is_a_time_that_the_test_above_would_refuse() -> None:
    found = due({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, SPRING)
    assert {(moment.hour, moment.minute) for moment in found} == {(2, 30), (3, 30)}


def test_the_automation_waits_for_three_heartbeats() -> None:
    from ops.environment import DEFAULTS

    (dead,) = [one for one in yaml.safe_load(AUTOMATIONS.read_text()) if one["name"] == "dead-runs"]
    environments = [DEFAULTS, *(one["work_pool"]["job_variables"]["env"] for one in DEPLOYMENTS)]
    for environment in environments:
        assert dead["trigger"]["within"] > 3 * int(environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert f"{dead['trigger']['within']} seconds" in dead["description"]
