"""The wheel without a checkout: every command works, and writes only to the current folder."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from photos import draw_photo, encode_photo, write_photos
from servers import free_port, running
from wheels import Installed, build, list_wheel

pytestmark = pytest.mark.slow

PACKAGES = {"components", "fashion", "flows", "ops", "serving"}
CLASSES = {"hats": 60, "shoes": 40, "Kids 2-6": 30}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed.create(tmp_path_factory.mktemp("installed"), built[1])


@pytest.fixture(scope="module")
def folder(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a model trained on default settings."""
    folder = tmp_path_factory.mktemp("user")
    output = installed.fashion(folder, "train", "--preset", "quick", "--source", "sample", "--epochs", "1")
    assert "(live)" in output
    assert "  fashion serve " in output, "the commands that it suggests need no checkout"
    (folder / "boot.png").write_bytes(encode_photo(draw_photo(0, 0)))
    return folder


def test_the_wheel_and_the_sdist_contain_no_tests_and_no_data(built: tuple[Path, Path]) -> None:
    sdist, wheel = built
    folders = {name.partition("/")[0] for name in list_wheel(wheel)}
    assert {name for name in folders if not name.endswith(".dist-info")} == PACKAGES
    with tarfile.open(sdist) as archive:
        top = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    assert top >= PACKAGES
    assert not top & {"tests", "data", "docs", "benchmarks"}


def test_the_public_api_comes_from_the_wheel(installed: Installed, built: tuple[Path, Path], tmp_path: Path) -> None:
    code = "import fashion, components.paths as p; print(fashion.__version__, p.CHECKOUT, p.RESOURCES, sep='\\n')"
    done = installed.run(tmp_path, "python", "-c", code)
    packages = installed.packages.resolve()
    version = built[1].name.split("-")[1]
    assert done.stdout.split() == [version, str(packages), str(packages / "fashion" / "resources")], done.stderr


def test_help_and_doctor_work_without_a_model(installed: Installed, tmp_path: Path) -> None:
    assert "Predict and serve" in installed.fashion(tmp_path, "-h")
    found = installed.fashion(tmp_path, "doctor", PORT=str(free_port()), PREFECT_PORT=str(free_port()))
    assert str(tmp_path / "data") in found
    assert "live model: run 'fashion train'" in found


def test_data_goes_to_the_current_folder_and_models_to_the_home(installed: Installed, folder: Path) -> None:
    assert {"datasets", "reports", "validation"} <= {path.name for path in (folder / "data").iterdir()}
    assert {path.name for path in Path(installed.environment["HOME"]).iterdir()} == {"bentoml"}


def test_environment_variables_set_other_folders(installed: Installed, tmp_path: Path) -> None:
    home, data = tmp_path / "store", tmp_path / "elsewhere"
    variables = {"BENTOML_HOME": str(home), "FASHION_DATA_DIR": str(data)}
    assert str(data) in installed.fashion(tmp_path, "ingest", "--source", "sample", **variables)
    assert json.loads(installed.fashion(tmp_path, "models", "--json", **variables)) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"store", "elsewhere"}


def test_a_model_is_listed_used_and_reported(installed: Installed, folder: Path) -> None:
    (model,) = json.loads(installed.fashion(folder, "models", "--json"))
    assert model["live"]
    predicted = json.loads(installed.fashion(folder, "predict", "boot.png", "--json"))
    assert (predicted["model"], len(predicted["predictions"])) == (model["tag"], 1)
    installed.fashion(folder, "score", "boot.png", "scored.csv")
    assert model["tag"] in (folder / "scored.csv").read_text()
    report = Path(installed.fashion(folder, "report", "latest").strip())
    assert report.is_relative_to(folder / "data")
    assert model["tag"] in report.read_text()
    assert "expectations met" in installed.fashion(folder, "validate")
    assert f"{model['tag']} is live" in installed.fashion(folder, "promote", "latest")
    code = "import fashion; print(fashion.classify('boot.png'), fashion.load_model())"
    done = installed.run(folder, "python", "-c", code)
    assert done.stdout.startswith(f"Predictions({model['tag']}: "), done.stderr


def test_it_serves_the_page_and_the_api(installed: Installed, folder: Path) -> None:
    port = free_port()
    command = [str(installed.bin / "fashion"), "serve", "--port", str(port)]
    with (
        running(command, port, installed.environment, folder, folder / "serve.log") as server,
        server.client() as client,
    ):
        assert "<!doctype html>" in client.get("/").raise_for_status().text
        for name in ("page.css", "page.js", "icon.svg"):
            assert client.get(f"/{name}").raise_for_status().content
        answer = client.post("/classify", files={"file": (folder / "boot.png").read_bytes()}).raise_for_status().json()
    assert len(answer["predictions"]) == 1


def test_a_bento_contains_the_serving_code(installed: Installed, folder: Path) -> None:
    built = json.loads(installed.fashion(folder, "bento", "--json"))
    name, _, version = built["tag"].partition(":")
    source = Path(installed.environment["HOME"]) / "bentoml" / "bentos" / name / version / "src"
    for file in ("service.py", "ui/index.html", "serving/endpoints.py", "components/paths.py"):
        assert (source / file).is_file()
    assert not (source / "fashion").exists()


def test_the_stack_runs_flows(installed: Installed, folder: Path) -> None:
    ports = {"PORT": str(free_port()), "PREFECT_PORT": str(free_port())}
    try:
        api = json.loads(installed.fashion(folder, "up", "--json", **ports))["api"]
        run = ("deployment", "run", "maintenance/weekly", "--watch")
        done = installed.run(
            folder, "prefect", *run, PREFECT_API_URL=api, PREFECT_HOME=str(folder / "data" / "prefect")
        )
        assert "finished successfully" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    finally:
        installed.fashion(folder, "down", **ports)


def test_a_folder_of_photos_becomes_its_own_model(installed: Installed, tmp_path: Path) -> None:
    """`fashion init shop`, photos, `fashion train`: the settings come from the folder's fashion.toml."""
    store = {"BENTOML_HOME": str(tmp_path / "store")}
    installed.fashion(tmp_path, "init", "shop")
    shop = tmp_path / "shop"
    write_photos(shop / "photos", CLASSES)
    trained = json.loads(installed.fashion(shop, "train", "--json", **store).splitlines()[-1])
    assert (trained["promoted"], trained["preset"], trained["tag"].split(":")[0]) == (True, "vectors", "shop-mlp")
    own = shop / "data" / "catalogues" / "shop"
    assert {"datasets", "reports", "validation"} <= {path.name for path in own.iterdir()}
    assert {path.name for path in shop.iterdir()} == {"README.md", "data", "fashion.toml", "photos"}
    assert {path.name for path in tmp_path.iterdir()} == {"shop", "store"}
    predicted = json.loads(installed.fashion(shop, "predict", "photos/shoes/001.png", "--json", **store))
    assert predicted["predictions"][0]["name"] == "shoes"
    code = "import fashion; print(fashion.classify('photos/hats/001.png').names)"
    assert installed.run(shop, "python", "-c", code, **store).stdout == "['hats']\n"


def test_the_commit_of_a_repository_around_the_environment_is_not_recorded(installed: Installed) -> None:
    for arguments in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message", "of the user")):
        identity = ("-c", "user.name=user", "-c", "user.email=user@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=installed.folder, check=True)
    code = "from components.settings import checkout_commit; print(checkout_commit())"
    assert installed.run(installed.folder, "python", "-c", code).stdout == "unknown\n"


@pytest.mark.usefixtures("folder")
def test_nothing_is_written_to_site_packages(installed: Installed, built: tuple[Path, Path]) -> None:
    """Runs last, after all tests above."""
    ours = {installed.packages / name for name in list_wheel(built[1])}
    added = {path for path in installed.files() - ours if ".dist-info" not in str(path)}
    assert {path.name for path in added} == {"dependencies.pth"}
