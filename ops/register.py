"""Register the work pool, deployments and automations with the Prefect server. Idempotent.

Run `python -m ops.register` with PREFECT_API_URL set.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from components.settings import CHECKOUT
from ops.automations import register_automations, remove_automations_of
from ops.catalogues import Scheduled, find_scheduled, kept_scheduled
from ops.deployments import TAG, describe_deployments
from ops.environment import prepare
from ops.layout import MARK, POOL

PAGE = 200  # deployments per response


def register() -> int:
    """Register everything. Returns the exit status of `prefect deploy`, which prints its own errors."""
    home = os.environ.get(MARK)
    scheduled = kept_scheduled(Path(home)) if home else find_scheduled()
    with get_client(sync_client=True) as client:
        make_pool(client)
        status = deploy(scheduled)
        if status == 0:
            remove_others(client, scheduled)
            register_automations(client, scheduled)  # after the deployments that they run
    return status


def make_pool(client: SyncPrefectClient) -> None:
    """Create the work pool. An existing one stays unchanged, because a user may have edited it."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


def deploy(scheduled: Scheduled) -> int:
    """Register the deployments of prefect.yaml for each catalogue. Returns the exit status of `prefect deploy`."""
    prefect = Path(sys.executable).with_name("prefect")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(describe_deployments(scheduled), sort_keys=False, allow_unicode=True))
        command = [str(prefect), "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        return subprocess.run(command, cwd=CHECKOUT).returncode


def remove_others(client: SyncPrefectClient, scheduled: Scheduled) -> None:
    """Remove deployments, scheduled runs and automations of catalogues that are no longer scheduled."""
    kept, offset = {one.name for one in scheduled.others}, 0
    gone: dict[str, list[UUID]] = {}
    while found := client.read_deployments(limit=PAGE, offset=offset):
        offset += len(found)
        for one in found:
            if one.work_pool_name == POOL and (name := _catalogue_of(one.tags)) and name not in kept:
                gone.setdefault(name, []).append(one.id)
    for name, deployments in gone.items():
        remove_automations_of(client, name)
        for deployment in deployments:
            client.delete_deployment(deployment)


def _catalogue_of(tags: list[str]) -> str:
    return next((tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)), "")


if __name__ == "__main__":
    prepare()
    sys.exit(register())
