"""A stored model -> live, or refused: the gate, then the canary, then the pointer."""

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
from components.promotion.trial import hold_trial
from components.registry.champion import Move, current_move, load_live, make_live, try_live
from components.registry.store import card_sha256, home, load_stored, require_own
from components.registry.verdicts import read_verdict, write_verdict
from components.settings import Settings, load_settings

ATTEMPTS = 10  # how often the live model may change while a challenger is judged


@dataclass(frozen=True)
class Promotion:
    """What came of an attempt to promote."""

    tag: str
    promoted: bool  # False: refused, and the live model is as it was
    verdict: Verdict | None  # None: it was live already, and has none
    previous: str | None  # what was live before
    is_news: bool = True  # False: it was live already, and nothing changed

    def __str__(self) -> str:
        return _join(str(self.verdict), describe_classes(self.verdict)) if self.verdict else "it is live already"


def promote(
    tag: str,
    why: str,
    *,
    force: bool = False,
    bounds: GateBounds | None = None,
    settings: Settings | None = None,
    canary: Callable[[Classifier, GateBounds, Settings], tuple[GateCheck, ...]] = try_canary,
) -> Promotion:
    """Put a model live if the gate and the canary let it; what they measured is kept beside its weights.

    Nothing is locked meanwhile: a rollback never waits for a trial. Where another model goes live before this one
    could, it is judged again, beside that.

    Args:
        tag: exact.
        why: kept in the history, with what became of the classes.
        force: past the gate, though not past the canary.
        bounds: the gate's; None: from the environment.
        settings: where datasets are; None: from the environment.
        canary: serves the model for trial; returns its checks, of which the last failed or none did.

    Raises:
        ModelNotFound, ModelError: it does not load, is another catalogue's, or the live model that it must be
            compared with does not load.
        DatasetError: the images it would be judged on are missing or changed.
        LiveModelChanged: the live model changed again and again.
        PromotionRefused: other promotions kept the canary waiting for too long.
        SettingsError: forced without a reason, or a bound for a class that the model does not know.
    """
    if force and not why.strip():
        raise SettingsError("a forced promotion needs a reason, which is kept in the history")
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
        verdict = replace(_ask(model, live, bounds, settings, force), challenger_sha256=sha256)
        may = force or verdict.passed
        if may:
            served = served or canary(model, bounds, settings)
            may = all(check.passed for check in served)
        verdict = replace(verdict, checks=verdict.checks + served, forced=why if force and may else "")
        if (now := try_live()) and now.tag == tag:
            continue  # somebody else made it live meanwhile, under a verdict that stands
        write_verdict(verdict)
        if not may:
            return Promotion(tag, False, verdict, live.tag if live else None)
        try:
            move = make_live(tag, _join(why, describe_classes(verdict)), verdict)
        except LiveModelChanged:
            continue
        return Promotion(tag, True, verdict, move.previous)
    raise LiveModelChanged(f"{tag}: the live model changed {ATTEMPTS} times while it was judged; try again")


def _join(*told: str) -> str:
    return "; ".join(filter(None, told))


def _ask(model: Classifier, live: Move | None, bounds: GateBounds, settings: Settings, force: bool) -> Verdict:
    """The gate's verdict; where a person goes past it anyway, what cannot be measured is one more failed check."""
    try:
        champion = load_live(live) if live else None
        if champion and (other := _refuse(model, champion)):
            verdict = verdict_of(model.tag, champion.tag, [other], bounds)
        else:
            verdict = judge(hold_trial(model, champion, live, settings), bounds)
    except FashionError as error:
        if not force:
            raise
        check = GateCheck("measurement", False, "failed", "done", str(error))
        verdict = verdict_of(model.tag, live.tag if live else None, [check], bounds)
    return replace(verdict, champion_sha256=live.card_sha256 if live else "")


def _refuse(model: Classifier, champion: Classifier) -> GateCheck | None:
    """The failed check where the two have nothing that they could be compared on."""
    if find_common(model.card, champion.card):
        return None
    return refuse_contract(model.tag, model.contract, champion.tag, champion.contract)
