"""Tell the Prefect server what is to run: the work pool, the deployments, the automations. Harmless when repeated.

`python -m ops.register`, with PREFECT_API_URL set.
"""

import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from components.settings import CHECKOUT
from ops.automations import register_automations
from ops.environment import prepare
from ops.layout import POOL


def register() -> int:
    """Returns the exit status of `prefect deploy`, which says itself what went wrong."""
    with get_client(sync_client=True) as client:
        make_pool(client)
        prefect = Path(sys.executable).with_name("prefect")
        status = subprocess.run([prefect, "--no-prompt", "deploy", "--all"], cwd=CHECKOUT).returncode
        if status == 0:
            register_automations(client)  # which run deployments
    return status


def make_pool(client: SyncPrefectClient) -> None:
    """Make the work pool; one that is there stays as it is, since a person may have changed it."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


if __name__ == "__main__":
    prepare()
    sys.exit(register())
