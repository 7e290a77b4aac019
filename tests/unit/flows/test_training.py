"""Steps of a training run that must not fail it."""

from prefect.logging import disable_run_logger
from revised import ADDED, FIRST, model_of

from components.dataset.manifest import dataset_of
from components.evaluation.report import report_path
from components.settings import Settings
from flows.training import _write_impact


def test_a_live_model_without_common_classes_gives_no_impact_page_and_fails_no_run(settings: Settings) -> None:
    live = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    model = model_of(settings.datasets_dir, ADDED)
    with disable_run_logger():
        _write_impact(model, live, dataset_of(settings.datasets_dir, model.card.dataset_version))
    assert not (report_path(model.tag, settings).parent / "impact.html").exists()
