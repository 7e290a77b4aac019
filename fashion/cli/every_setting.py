"""Reading every variable, whichever command would use it."""


def check_every_setting() -> None:
    """Read every variable as the commands, the flows and the service do.

    Raises:
        SettingsError: a variable has an invalid value; the message is one line that names it.
        DatasetError: the data of a catalogue in FASHION_CATALOGUES is damaged.
    """
    from components.catalogues.preparation import check_preparation
    from components.dataset.ingest import check_source
    from components.monitoring.drift.bounds import DriftBounds
    from components.networks.sources import check_network_name
    from components.probation.settings import ProbationSettings
    from components.promotion.bounds import GateBounds
    from components.settings import Settings, read_settings
    from flows.cluster import ClusterSettings
    from flows.notify.send import notify_url
    from ops.catalogues import find_scheduled
    from ops.layout import Ports
    from serving.settings import check_settings

    for kind in (Settings, GateBounds, DriftBounds, ProbationSettings, Ports, ClusterSettings):
        read_settings(kind)
    check_source()
    settings = read_settings(Settings)
    check_preparation(settings.preparation)
    check_network_name(settings.network)
    notify_url()
    find_scheduled()
    check_settings()
