"""Promote a stored model: evaluation gate, canary deployment, live-model pointer."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from components.contract import GateCheck, Verdict
from components.errors import FashionError, LiveModelChanged, SettingsError
from components.evaluation.groups import find_common
from components.files import require_writable
from components.model.classifier import Classifier
from components.promotion.bounds import GateBounds, load_bounds
from components.promotion.canary import try_canary
from components.promotion.gate import describe_classes, judge, refuse_contract, verdict_of
from components.promotion.shadowed import check_shadow, lacks_only_shadow
from components.promotion.trial import run_trial
from components.registry.bars import find_bar
from components.registry.champion import Move, current_move, load_live, make_live, try_live
from components.registry.store import card_sha256, home, load_stored, require_own
from components.registry.verdicts import read_verdict, write_verdict
from components.settings import Settings, load_settings

ATTEMPTS = 10  # retries if the live model changes during an evaluation


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion attempt."""

    tag: str
    promoted: bool  # False: rejected; the live model is unchanged
    verdict: Verdict | None  # None: already live, without a verdict
    previous: str | None  # the live model before
    is_news: bool = True  # False: already live; nothing changed

    @property
    def waits(self) -> bool:
        """Whether it was rejected only because it has not classified enough images in shadow; see `waiting`."""
        return not self.promoted and self.verdict is not None and lacks_only_shadow(self.verdict)

    def __repr__(self) -> str:
        if not self.verdict:
            return f"Promotion({self.tag}: already live)"
        failed = ", ".join(check.name for check in self.verdict.checks if not check.passed)
        outcome = "live" if self.promoted else "rejected"
        found = f"failed: {failed}" if failed else f"{len(self.verdict.checks)} checks passed"
        return f"Promotion({self.tag}: {outcome}, {found})"

    def __str__(self) -> str:
        return _join(str(self.verdict), describe_classes(self.verdict)) if self.verdict else "already live"


def promote(
    tag: str,
    why: str,
    *,
    force: bool = False,
    bounds: GateBounds | None = None,
    settings: Settings | None = None,
    canary: Callable[[Classifier, GateBounds, Settings], tuple[GateCheck, ...]] = try_canary,
) -> Promotion:
    """Promote a model if it passes the evaluation gate and the canary deployment. The verdict is stored with the model.

    No lock is held during the evaluation, so a rollback never waits for it. If another model goes live in the
    meantime, the model is evaluated again, against the new champion.

    Args:
        tag: exact tag.
        why: reason stored in the history, followed by the changed classes.
        force: ignore a rejection by the gate, which is still recorded. The canary must pass.
        bounds: the gate's settings; None: from the environment.
        settings: where the datasets are; None: from the environment.
        canary: runs the canary deployment and returns its checks; only the last may have failed.

    Raises:
        ModelNotFound, ModelError: the model or the champion does not load, or the model belongs to another catalogue.
        DatasetError: the test images are missing or changed.
        LiveModelChanged: the live model changed 10 times during the evaluation.
        PromotionRefused: other canary deployments held the lock for too long.
        SettingsError: `force` without a reason, or a margin for an unknown class.
    """
    if force and not why.strip():
        raise SettingsError("a forced promotion needs a reason; it is stored in the history")
    settings = settings or load_settings()
    require_own(tag)
    sha256 = card_sha256(tag)
    model = load_stored(tag)
    bounds = bounds or load_bounds()
    bounds.check_classes(model.contract)
    served: tuple[GateCheck, ...] = ()
    for _ in range(ATTEMPTS):
        live = try_live() if force else current_move()
        if live and live.tag == tag:
            return Promotion(tag, True, read_verdict(tag), live.previous, is_news=False)
        require_writable(home())
        verdict = replace(_evaluate(model, live, bounds, settings, force), challenger_sha256=sha256)
        if barred := _check_bar(tag):
            verdict = replace(verdict, checks=(*verdict.checks, barred))
        accepted = force or verdict.passed
        if accepted:
            served = served or canary(model, bounds, settings)
            accepted = all(check.passed for check in served)
        verdict = replace(verdict, checks=verdict.checks + served, forced=why if force and accepted else "")
        if (now := try_live()) and now.tag == tag:
            continue  # another process promoted it; keep that verdict
        write_verdict(verdict)
        if not accepted:
            return Promotion(tag, False, verdict, live.tag if live else None)
        try:
            move = make_live(tag, _join(why, describe_classes(verdict)), verdict)
        except LiveModelChanged:
            continue
        return Promotion(tag, True, verdict, move.previous)
    raise LiveModelChanged(f"{tag}: the live model changed {ATTEMPTS} times during the evaluation; try again")


def _check_bar(tag: str) -> GateCheck | None:
    """Return the failed check if live traffic has shown this model to be worse, else None."""
    bar = find_bar(tag)
    if bar is None:
        return None
    same = "" if bar.model == tag else f", the same model as {bar.model}, which"
    message = f"{tag}{same} was rolled back on {bar.when[:10]} and is barred: {bar.why}"
    return GateCheck("barred", False, f"barred on {bar.when[:10]}", "not barred", message)


def _join(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _evaluate(model: Classifier, live: Move | None, bounds: GateBounds, settings: Settings, force: bool) -> Verdict:
    """Return the gate's verdict. With `force`, a failed measurement becomes a failed check."""
    try:
        champion = load_live(live) if live else None
        if champion and (mismatch := _check_comparable(model, champion)):
            verdict = verdict_of(model.tag, champion.tag, [mismatch], bounds)
        else:
            verdict = judge(run_trial(model, champion, live, settings), bounds)
    except FashionError as error:
        if not force:
            raise
        check = GateCheck("measurement", False, "failed", "done", str(error))
        verdict = verdict_of(model.tag, live.tag if live else None, [check], bounds)
    checks = verdict.checks + check_shadow(model.tag, live, bounds)
    return replace(verdict, checks=checks, champion_sha256=live.card_sha256 if live else "")


def _check_comparable(model: Classifier, champion: Classifier) -> GateCheck | None:
    """Return the failed check if the two models have no common classes, else None."""
    if find_common(model.card, champion.card):
        return None
    return refuse_contract(model.tag, model.contract, champion.tag, champion.contract)
