"""The command line, in this process; whole flows from it are in tests/journeys."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import GateCheck, Images, ModelCard, Validated, Verdict
from components.dataset.manifest import Examples
from components.files import size_of
from components.model.mlp import MLP
from components.registry import champion, store, verdicts
from components.settings import CHECKOUT, Settings
from components.training.presets import PRESETS, configure, count_parameters
from fashion.cli.app import GROUPS
from fashion.cli.arguments import complete_tag
from fashion.cli.tables import in_bytes, in_words

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")
Fashion = Callable[..., tuple[int, str, str]]


def write_csv(path: Path, images: Images, bad: int = 0) -> Path:
    rows = [",".join(map(str, image.ravel())) for image in images] + ["1,2,3"] * bad
    path.write_text("\n".join([",".join(PIXEL_COLUMNS), *rows]) + "\n")
    return path


COMMANDS = [
    ("label", "import"),
    ("label", "inbox"),
    ("review", "add"),
    *(("classes", name) for name in ("add", "rename", "merge", "split", "remove", "undo", "history")),
    *((entry.function.__name__,) for entries in GROUPS.values() for entry in entries),
]
VERB = (
    "Add|Allow|Build|Check|Classify|Create|Evaluate|Export|Find|Import|List|Merge|Print|Protect|Remove|Rename|Restore"
    "|Score|Send|Serve|Show|Split|Start|Stop|Train|Undo|Write"
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_each_command_begins_with_a_verb_and_ends_with_an_example(
    fashion: Fashion, command: tuple[str, ...]
) -> None:
    status, out, _ = fashion(*command, "--help")
    usage, _, summary, *_, example = out.splitlines()
    assert status == 0
    assert usage.startswith(f"Usage: fashion {' '.join(command)} ")
    assert re.fullmatch(VERB, summary.split()[0]), summary
    assert example.startswith(f"  Example: fashion {' '.join(command)}")
    assert "..." not in out.removeprefix(usage).replace("s3://...", "")
    assert fashion(*command, "-h")[1] == out
    assert "--json" in out or command == ("serve",)


def test_the_list_of_commands_is_in_groups_and_cuts_no_line(fashion: Fashion) -> None:
    status, out, _ = fashion("-h")
    assert status == 0
    assert [line[:-1] for line in out.splitlines() if re.fullmatch(r"\S.*:", line)] == ["Options", *GROUPS]
    assert "..." not in out.replace("[ARGS]...", "")
    for entries in GROUPS.values():
        for entry in entries:
            assert re.search(rf"^  {entry.function.__name__} +[A-Z]", out, re.MULTILINE)


def test_the_version_is_the_package_s(fashion: Fashion) -> None:
    assert fashion("--version") == (0, f"fashion {version('fashion')}\n", "")


def test_with_json_an_error_is_one_json_object_too(fashion: Fashion) -> None:
    for arguments, status, message in (
        (("promote", "live", "--json"), 1, "no model is live"),
        (("train", "--epochs", "many", "--json"), 2, "Invalid value for '--epochs'"),
    ):
        found, out, err = fashion(*arguments)
        assert found == status
        assert message in json.loads(out)["error"]
        assert message in err


def test_a_shell_is_offered_the_models_and_their_short_names(
    live: str, bentoml_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(bentoml_home))
    assert [name for name, _ in complete_tag("")] == ["live", "previous", "latest", live]
    assert [name for name, _ in complete_tag(live[:14])] == [live]


def test_the_newest_model_is_first_and_a_rolled_back_one_says_so(
    fashion: Fashion, live: str, network: MLP, card: ModelCard
) -> None:
    newer = store.save_model(network, replace(card, created_at=datetime.now(UTC).isoformat()))
    champion.make_live(newer, "a test")
    champion.rollback()
    rows = json.loads(fashion("models", "--json")[1])
    assert [(row["tag"], row["state"]) for row in rows] == [(newer, "rolled back"), (live, "live")]
    champion.make_live(newer, "a test")
    assert json.loads(fashion("models", "--json")[1])[0]["state"] == "live"


@pytest.mark.parametrize(
    ("arguments", "status", "printed"),
    [
        (("unknown",), 2, "No such command"),
        (("train", "--epochs", "many"), 2, "--epochs"),
        (("train", "--epochs", "0"), 1, "error: epochs: 0"),
        (("train", "--preset", "nope"), 1, "error: preset: no 'nope'"),
        (("ingest", "--source", "/nowhere"), 1, "error: FASHION_SOURCE or --source: no such file or folder: /nowhere"),
        (("validate",), 1, "error: nothing to validate"),
        (("promote", "fashion-mlp:nothere1"), 1, "error: fashion-mlp:nothere1: not in the store"),
        (("promote", "latest"), 1, "the store has no model"),
        (("promote", "fashion-mlp:nothere1", "--force"), 1, "--force needs --reason"),
        (("rollback",), 1, "nothing to roll back to"),
        (("report", "fashion-mlp:nothere1"), 1, "not in the store"),
        (("pin", "fashion-mlp:nothere1"), 1, "not in the store"),
        (("unpin", "previous"), 1, "no model was live"),
        (("prune", "--keep", "-1"), 2, "--keep"),
        (("impact", "fashion-mlp:nothere1"), 1, "not in the store"),
        (("score", "in.csv", "out.csv"), 1, "error: no model is live"),
        (("serve", "--port", "0"), 2, "--port"),
    ],
)
def test_an_error_is_one_line_and_no_success(
    fashion: Fashion, arguments: tuple[str, ...], status: int, printed: str
) -> None:
    found, out, err = fashion(*arguments)
    assert (found, out) == (status, "")
    assert printed in err
    assert "Traceback" not in err
    if status == 1:
        assert len(err.splitlines()) == 1


def test_a_bad_environment_variable_is_named(fashion: Fashion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_DOWNLOAD_ATTEMPTS", "0")
    status, _, err = fashion("ingest")
    assert status == 1
    assert "FASHION_DOWNLOAD_ATTEMPTS" in err


def test_ingest_twice_then_validate(fashion: Fashion, archives: Path) -> None:
    assert "wrote dataset" in fashion("ingest", "--source", archives)[1]
    assert "already ingested, nothing to do" in fashion("ingest", "--source", archives)[1]
    status, out, _ = fashion("validate")
    assert status == 0
    assert "expectations met by 800 rows" in out
    assert Path(out.splitlines()[-1].removeprefix("validation page: ")).is_file()


def test_models_as_json_is_what_a_program_reads(fashion: Fashion, live: str, card: ModelCard) -> None:
    status, out, _ = fashion("models", "--json")
    assert status == 0
    assert card.known
    assert json.loads(out) == [
        {
            "tag": live,
            "preset": "quick",
            "source": "sample",
            "dataset_version": card.dataset_version,
            "live": True,
            "previous": False,
            "test_accuracy": card.test.accuracy,
            "unknown_rate": 0.05,
            "test_unknown_rate": card.known.test_refused if card.known else None,
            "created_at": card.created_at,
            "state": "live",
            "pinned": None,
            "barred": None,
            "verdict": "",
            "problem": "",
        }
    ]


def test_models_as_a_person_reads_them(fashion: Fashion, live: str, network: MLP, card: ModelCard) -> None:
    damaged, pinned = (store.save_model(network, card) for _ in range(2))
    (store.stored_folder(damaged) / "model.json").unlink()
    assert fashion("pin", pinned, "--reason", "for the audit")[1] == f"{pinned} is pinned: for the audit\n"
    head, *rows = [re.split(r"  +", line) for line in fashion("models")[1].splitlines()]
    assert head == ["STATE", "TAG", "ACCURACY", "PRESET", "SOURCE", "AGE", "VERDICT"]
    accuracy = f"{card.test.accuracy:.4f}"
    assert sorted(row[:5] + row[6:] for row in rows[:2]) == [  # made in the same moment
        ["candidate, pinned", pinned, accuracy, "quick", "sample", "not evaluated"],
        ["live", live, accuracy, "quick", "sample", "not evaluated"],
    ]
    assert all(re.fullmatch(r"\d+ (s|min)", row[5]) for row in rows[:2])
    assert rows[2] == ["damaged", damaged, "model.json cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("seconds", "printed"), [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (5 * 86_400, "5 d")]
)
def test_an_age_is_told_in_one_unit(seconds: float, printed: str) -> None:
    assert in_words(seconds) == printed


def test_prune_says_what_goes_and_why_the_others_stay(
    fashion: Fashion, live: str, network: MLP, card: ModelCard
) -> None:
    old, young = (store.save_model(network, card) for _ in range(2))
    for path in (store.stored_folder(old), *store.stored_folder(old).iterdir()):
        os.utime(path, (0, 0))
    size = in_bytes(size_of(store.stored_folder(old)))
    status, out, _ = fashion("prune", "--keep", "0", "--dry-run")
    assert status == 0
    assert f"would remove model {old}, {size}\n" in out
    assert f"kept {live}: live\n" in out
    assert f"kept {young}: written less than 1 h ago\n" in out
    assert out.endswith(f"would remove 1 model and 0 other things, {size}; kept 2\n")
    done = json.loads(fashion("prune", "--keep", "0", "--json")[1])
    assert [(one["what"], one["name"]) for one in done["removed"]] == [("model", old)]
    assert (done["dry_run"], done["bytes"], set(done["kept"])) == (False, done["removed"][0]["bytes"], {live, young})
    *kept, summary = fashion("prune")[1].splitlines()
    assert sorted(kept) == sorted([f"kept {live}: live", f"kept {young}: one of the newest 10"])
    assert summary == "removed 0 models and 0 other things, 0.0 kB; kept 2"


def test_unpin_says_whether_it_was_pinned(fashion: Fashion, live: str) -> None:
    fashion("pin", live)
    assert fashion("unpin", live)[1] == f"{live} is no longer pinned\n"
    assert fashion("unpin", live)[1] == f"{live} was not pinned\n"


def test_models_of_an_empty_store(fashion: Fashion) -> None:
    assert fashion("models", "--json") == (
        0,
        "[]\n",
        "no model is live; run 'fashion train' or 'fashion promote TAG'\n",
    )


def test_promote_roll_back_and_the_history(fashion: Fashion, live: str, network: MLP, card: ModelCard) -> None:
    other = store.save_model(network, card)
    champion.make_live(other, "a test")
    printed = fashion("rollback", "--reason", "too many shirts")[1]
    assert f"{live} is live again; it replaces {other}" in printed
    moves = json.loads(fashion("history", "--json")[1])
    assert [(move["action"], move["tag"]) for move in moves] == [
        ("promote", live),
        ("promote", other),
        ("rollback", live),
    ]
    rows = [re.split(r"  +", line)[3:] for line in fashion("history")[1].splitlines()]
    assert rows == [
        ["ACTION", "FROM", "TO", "VERDICT", "WHY"],
        ["promote", "nothing", "->", live, "-", "a test"],
        ["promote", live, "->", other, "-", "a test"],
        ["rollback", other, "->", live, "-", "too many shirts"],
    ]


def test_the_history_says_what_a_person_went_past(fashion: Fashion, network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, card)
    check = GateCheck("accuracy", False, "0.1", "0.8", "accuracy, least: 0.1, beyond the bound of 0.8")
    sha256 = store.card_sha256(tag)
    champion.make_live(tag, "urgent", Verdict(tag, None, "", "", 0, (check,), {}, sha256, forced="urgent"))
    assert fashion("history")[1].endswith(
        "forced   promoted despite: accuracy, least: 0.1, beyond the bound of 0.8; reason: urgent\n"
    )


def test_score_counts_add_up(fashion: Fashion, live: str, test_split: Examples, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", test_split.images[:7], bad=2)
    status, out, err = fashion("score", source, tmp_path / "out.csv", "--json")
    count = json.loads(out)
    assert (status, err) == (0, "")
    assert (count["rows"], count["scored"], count["rejected"], count["model"]) == (9, 7, 2, live)
    assert count["seconds"] > 0
    assert (tmp_path / "out.rejects.csv").read_text().splitlines()[1].startswith("9,")


def test_a_score_of_nothing_but_rejects_is_no_success(fashion: Fashion, live: str, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", np.empty((0, 28, 28), np.uint8), bad=3)
    status, _, err = fashion("score", source, tmp_path / "out.csv")
    assert status == 1
    assert "no row could be scored" in err


def test_the_report_is_written_when_asked_for(
    fashion: Fashion, network: MLP, card: ModelCard, archives: Path, settings: Settings
) -> None:
    fashion("ingest", "--source", archives)
    tag = store.save_model(network, card)
    status, out, err = fashion("report", tag)
    assert (status, err) == (0, "")
    path = Path(out.strip())
    assert path == settings.reports_dir / tag.replace(":", "-") / "index.html"
    assert tag in path.read_text()


def test_the_report_without_its_dataset_says_why(fashion: Fashion, live: str, validated: Validated) -> None:
    status, _, err = fashion("report", live)
    assert status == 1
    assert "no such dataset" in err
    assert "the model's own dataset" in err


def test_the_report_is_written_anew_once_the_gate_was_asked(
    fashion: Fashion, live: str, network: MLP, card: ModelCard, archives: Path
) -> None:
    """And again once there is an impact to lead to; else it stays as it is."""
    fashion("ingest", "--source", archives)
    tag = store.save_model(network, card)
    path = Path(fashion("report", tag)[1].strip())
    assert "Verdict" not in path.read_text()
    check = GateCheck("accuracy", True, "0.9", "at least 0.8", "good")
    verdicts.write_verdict(Verdict(tag, live, datetime.now(UTC).isoformat(), "", 200, (check,), {}))
    fashion("report", tag)
    assert "Verdict" in path.read_text()
    assert f"Compared with {live}" in path.read_text()
    assert "impact.csv" not in path.read_text()
    fashion("impact", tag)
    fashion("report", tag)
    assert "impact.csv" in path.read_text()
    path.write_text("as it is")
    fashion("report", tag)
    assert path.read_text() == "as it is"


def test_a_report_that_cannot_be_written_anew_is_shown_as_it_is(
    fashion: Fashion, live: str, settings: Settings
) -> None:
    """Its dataset is gone."""
    path = settings.reports_dir / live.replace(":", "-") / "index.html"
    path.parent.mkdir(parents=True)
    path.write_text("of before")
    verdicts.write_verdict(Verdict(live, None, "2100-01-01T00:00:00+00:00", "", 200, (), {}))
    status, out, err = fashion("report", live)
    assert (status, out.strip()) == (0, str(path))
    assert "could not be updated" in err
    assert fashion("report", live, "--compare-with", live)[0] == 1


def test_impact_needs_another_model(fashion: Fashion, network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, card)
    assert fashion("impact", tag)[::2] == (
        1,
        "error: no model is live; run 'fashion train' or 'fashion promote TAG'; or name a model with --compare-with\n",
    )
    champion.make_live(tag, "a test")
    assert f"{tag} is the live model; name another with --compare-with" in fashion("impact", tag)[2]
    assert f"{tag} is the same model" in fashion("impact", tag, "--compare-with", tag)[2]


def test_impact_tells_the_counts_and_where_the_rest_is(
    fashion: Fashion, live: str, network: MLP, card: ModelCard, archives: Path, test_split: Examples, tmp_path: Path
) -> None:
    fashion("ingest", "--source", archives)
    network.state_dict()["logits.bias"][6] += 2  # shirts everywhere
    tag = store.save_model(network, card)
    status, out, err = fashion("impact", tag)
    assert (status, err) == (0, "")
    assert out.startswith(f"{tag} replacing {live}, on the test split of dataset {card.dataset_version}")
    printed = json.loads(fashion("impact", tag, "--json")[1])
    shirts = printed["classes"][6]
    names = ("before", "after", "gained", "lost", "fixed", "regressed", "moved")
    assert ["Shirt", *(str(shirts[name]) for name in names)] in [line.split() for line in out.splitlines()]
    assert shirts["gained"] > 0 == shirts["lost"]
    assert out.splitlines()[-2:] == [printed["page"], printed["table"]]
    assert Path(printed["table"]).read_text().count("\n") == printed["flips"] + 1
    back = json.loads(fashion("impact", live, "--compare-with", tag, "--json")[1])
    assert (back["fixed"], back["regressed"]) == (printed["regressed"], printed["fixed"])
    source = write_csv(tmp_path / "in.csv", test_split.images, bad=2)
    found = json.loads(fashion("impact", tag, "--data", source, "--output", tmp_path / "here", "--json")[1])
    assert (found["flips"], found["rejected"], found["fixed"]) == (printed["flips"], 2, None)
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"impact.html", "impact.csv"}


def test_a_prefect_server_that_is_not_there_is_named(bentoml_home: Path, settings: Settings, archives: Path) -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [sys.executable, "-m", "fashion", "train", "--source", str(archives)]
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no Prefect server responds at http://127.0.0.1:9/api (PREFECT_API_URL): "
        "[Errno 111] Connection refused. Start it ('fashion up' starts a local one), "
        "or unset PREFECT_API_URL to use a temporary server\n"
    )


def test_an_unexpected_error_ends_in_one_line(fashion: Fashion, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise LookupError("a fault\nof ours")

    monkeypatch.setattr("fashion.cli.app.app", fail)
    monkeypatch.delenv("FASHION_DEBUG", raising=False)
    assert fashion("train") == (
        1,
        "",
        "error: LookupError: a fault. Run it again with FASHION_DEBUG=1 to see the traceback\n",
    )


def test_presets_are_listed_with_layers_parameters_origin_and_fields(fashion: Fashion) -> None:
    printed = fashion("presets")[1]
    for preset in PRESETS.values():
        layers, parameters = preset.layers(CONTRACT), count_parameters(preset.config, CONTRACT)
        epochs = preset.config.describe_epochs()
        assert f"{preset.name}: {layers}, {parameters:,} parameters, {epochs}\n  {preset.origin}\n" in printed
    assert "dense-128: 784-128-10 relu, 101,770 parameters, 10 epochs" in printed
    assert "gelu, 11,712,394 parameters, 48 epochs\n" in printed
    assert "fields that a preset does not set: hidden=[128]" in printed


def test_presets_as_json_are_the_whole_configurations(fashion: Fashion) -> None:
    listed = json.loads(fashion("presets", "--json")[1])
    assert list(listed) == list(PRESETS)
    for name, config in listed.items():
        model = config.pop("model")
        assert configure("dense-128", {**model, **config}) == PRESETS[name].config


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("momentum=0.9", "error: momentum: no such training setting; expected one of activation, "),
        ("epochs", "error: --set epochs: expected FIELD=VALUE"),
        ("epochs=many", "error: epochs: 'many'; input should be a valid integer"),
        ("hidden=512,0", "error: hidden: (512, 0); expected each layer to have 1 to 16,384 units"),
    ],
)
def test_a_field_that_cannot_be_set_is_refused_before_anything_starts(
    fashion: Fashion, given: str, printed: str
) -> None:
    status, out, err = fashion("train", "--set", given)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(printed)


def test_the_default_preset_is_one_and_the_same() -> None:
    """The Makefile leaves it to the command."""
    assert "PRESET ?=\n" in (CHECKOUT / "Makefile").read_text()


def test_the_scheduled_training_is_the_most_accurate_one() -> None:
    assert "preset: flagship\n" in (CHECKOUT / "prefect.yaml").read_text()
    assert "flagship" in PRESETS


def test_drift_tells_by_its_status_whether_a_table_has_drifted(
    fashion: Fashion, live: str, test_split: Examples, tmp_path: Path
) -> None:
    calm = write_csv(tmp_path / "calm.csv", test_split.images)
    status, out, _ = fashion("drift", "--data", calm)
    assert (status, out.splitlines()[0]) == (0, f"calm: {live}, {calm}")
    odd = write_csv(tmp_path / "odd.csv", 255 - test_split.images)
    status, out, _ = fashion("drift", "--data", odd, "--html", tmp_path / "drift.html")
    assert (status, out.splitlines()[0]) == (3, f"drift: {live}, {odd}")
    assert "what to do" in out
    assert "Traffic has drifted" in (tmp_path / "drift.html").read_text()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_drift_reads_what_score_wrote(
    fashion: Fashion, live: str, test_split: Examples, tmp_path: Path, suffix: str
) -> None:
    source, output = write_csv(tmp_path / "in.csv", test_split.images), tmp_path / f"out{suffix}"
    assert fashion("score", source, output, "--check", "off")[0] == 0
    status, out, _ = fashion("drift", "--scored", output, "--json")
    printed = json.loads(out)
    assert (status, printed["verdict"], printed["model"], printed["windows"][0]["images"]) == (0, "calm", live, 200)
    names = [feature["name"] for feature in printed["windows"][0]["features"]]
    assert names == ["confidence", "not sure", "unknown", "classes"]


def test_drift_without_traffic_is_no_alarm(fashion: Fashion, live: str) -> None:
    status, out, _ = fashion("drift", "--hours", "2")
    assert status == 0
    assert out.startswith(f"too few: {live}")
    assert fashion("drift", "--scored", "a.csv", "--data", "b.csv")[0] == 1
