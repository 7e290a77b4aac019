"""The actions of the soak test: compress schedules through Prefect's API, drop files into the inbox, backdate files."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from components.dataset.manifest import Examples

MINUTE = 60  # seconds
TRAINING, DRIFT, INBOX, MAINTENANCE = "training/nightly", "monitoring/hourly", "scoring/inbox", "maintenance/weekly"
LEAD = 60  # seconds until the first run of a new schedule: the server skips runs that are already due
ROWS = 300  # of a dropped table
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Plan:
    """The deployments of a running server."""

    def __init__(self, api: str) -> None:
        self.client = httpx.Client(base_url=api, timeout=90, trust_env=False)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the JSON response. Retries while the database is locked, like Prefect's clients."""
        while (answer := self.client.request(method, path, json=body)).status_code == 503:
            time.sleep(2)
        return answer.raise_for_status().json() if answer.content else None

    def pause(self) -> None:
        """Delete all schedules, and with them the runs that are not due yet."""
        for deployment in self.ask("POST", "/deployments/filter", {}):
            for schedule in deployment["schedules"]:
                self.ask("DELETE", f"/deployments/{deployment['id']}/schedules/{schedule['id']}")

    def compress(self, seconds: float) -> None:
        """Schedule everything except the maintenance many times within `seconds`.

        Each training has its own schedule, because the seed is a parameter of the schedule. Every fourth training adds
        an epoch, so that the gate sees both models to reject and better ones to promote.
        """
        count = int(seconds // (2 * MINUTE))
        for number in range(count):
            given = {"preset": "dense-128", "epochs": 2 + number // 4, "seed": number + 1}
            self._schedule(TRAINING, 2 * MINUTE * (count + 1), number * 2 * MINUTE, given)
        self._schedule(DRIFT, MINUTE, 20, {})
        self._schedule(INBOX, MINUTE, 40, {})

    def _schedule(self, name: str, every: int, first: int, parameters: dict[str, Any]) -> None:
        anchor = datetime.now(UTC) + timedelta(seconds=LEAD + first)
        schedule = {"interval": every, "anchor_date": anchor.isoformat(), "timezone": "UTC"}
        deployment = self.ask("GET", f"/deployments/name/{name}")["id"]
        body = [{"schedule": schedule, "active": True, "parameters": parameters}]
        self.ask("POST", f"/deployments/{deployment}/schedules", body)

    def start(self, name: str, parameters: dict[str, Any]) -> str:
        """Run a deployment now. Returns the run's id."""
        deployment = self.ask("GET", f"/deployments/name/{name}")["id"]
        return str(self.ask("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def finish(self, run: str) -> str:
        """Wait for a run to end and return its state."""
        while (state := str(self.ask("GET", f"/flow_runs/{run}")["state_type"])) not in ENDED:
            time.sleep(1)
        return state

    def drain(self, patience: float) -> None:
        """Wait for active runs to end, for at most `patience` seconds."""
        deadline = time.monotonic() + patience
        busy = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
        while self.ask("POST", "/flow_runs/count", busy) and time.monotonic() < deadline:
            time.sleep(1)

    def runs(self) -> list[dict[str, Any]]:
        """All runs that were due, oldest first, with the name of their deployment as `deployment`."""
        names = {one["id"]: one for one in self.ask("POST", "/deployments/filter", {})}
        flows = {one["id"]: one["name"] for one in self.ask("POST", "/flows/filter", {})}
        found: list[dict[str, Any]] = []
        due = {"flow_runs": {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}}}
        order = {"sort": "EXPECTED_START_TIME_ASC"}
        while page := self.ask("POST", "/flow_runs/filter", {**due, **order, "offset": len(found)}):
            found += page
        return [
            {**run, "deployment": f"{flows[run['flow_id']]}/{names[run['deployment_id']]['name']}"}
            for run in found
            if run["deployment_id"] in names
        ]


def drop(inbox: Path, number: int, examples: Examples) -> None:
    """Drop a table of images into the inbox atomically."""
    first = number * ROWS % (len(examples.images) - ROWS)
    header = ",".join(f"pixel{place}" for place in range(1, 785))
    lines = [",".join(map(str, image.ravel().tolist())) for image in examples.images[first : first + ROWS]]
    unfinished = inbox / f"{number:03}.csv.part"
    unfinished.write_text("\n".join([header, *lines]) + "\n")
    unfinished.rename(inbox / f"{number:03}.csv")


def age(folders: list[Path], hours: float) -> None:
    """Backdate the modification times of folders and everything in them."""
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            stat = path.lstat()
            times = (stat.st_atime, stat.st_mtime - hours * 3600)
            os.utime(path, times, follow_symlinks=False)
