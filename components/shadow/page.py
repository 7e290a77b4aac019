"""The HTML page of a shadow, with pictures of flips if the shadow keeps them."""

from collections import defaultdict
from pathlib import Path

from components.files import write_whole
from components.pages.render import render_page
from components.registry.store import describe_stored
from components.shadow.flips import ShadowFlip, read_flips
from components.shadow.verdict import ShadowVerdict, sorted_reasons

SHOWN_PAIRS = 40  # label changes with pictures
SHOWN = 16  # pictures, or hashes, of each


def write_page(verdict: ShadowVerdict, path: Path) -> None:
    """Write the page atomically.

    Raises:
        ModelNotFound, ModelError: the candidate has been removed or is damaged.
    """
    counts = verdict.counts
    flips = _group(read_flips(counts.shadow, counts.champion))
    table = {(one.champion, one.candidate): one for one in counts.pairs}
    content = render_page(
        Path(__file__).with_name("shadow.html.j2"),
        verdict=verdict,
        counts=counts,
        reasons=sorted_reasons(counts),
        image=describe_stored(counts.candidate).contract.image,
        before=sorted({left for left, _ in table}),
        after=sorted({right for _, right in table}),
        table=table,
        most=max((one.images for one in counts.pairs if not one.same), default=1),
        flips=sorted(flips.items(), key=lambda one: -table[one[0]].images if one[0] in table else 0)[:SHOWN_PAIRS],
        half=counts.seconds_at(0.5),
        most_seconds=counts.seconds_at(0.99),
    )
    write_whole(path, content)


def _group(flips: list[ShadowFlip]) -> dict[tuple[str, str], list[ShadowFlip]]:
    """The newest flips of each pair of labels, those with a picture first."""
    found = defaultdict[tuple[str, str], list[ShadowFlip]](list)
    for flip in sorted(flips, key=lambda one: (not one.png, -one.time)):
        if len(some := found[flip.champion, flip.candidate]) < SHOWN:
            some.append(flip)
    return dict(found)
