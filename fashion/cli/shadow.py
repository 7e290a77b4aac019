"""Letting a candidate classify live traffic in shadow, and what it would change."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import MODEL, Json, complete_tag, resolve
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from datetime import datetime

    from components.registry.shadowed import Shadow
    from components.shadow.verdict import ClassFlips, ShadowVerdict

COLUMNS = ("LABEL NOW", "IMAGES", "CHANGE", "MOSTLY TO")
SHOWN = 3  # labels that a class mostly changes to


def shadow(
    tag: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            callback=resolve,
            autocompletion=complete_tag,
            help=f"{MODEL}; without one, the command shows what was found.",
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the images to mirror, above 0, at most 1.")] = 0.1,
    hours: Annotated[
        float | None, typer.Option("--for", min=0, help="Hours until it ends [default: until it is stopped].")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Mirrored images until it ends [default: until it is stopped].")
    ] = None,
    keep_images: Annotated[
        int, typer.Option(min=0, max=100, help="Pictures to keep of each change of label; 0 keeps only hashes.")
    ] = 0,
    off: Annotated[bool, typer.Option("--off", help="End the shadow. What it found stays.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was found as an HTML page.")] = None,
    reason: Annotated[str, typer.Option(help="Reason, kept in the record.")] = "asked for",
    as_json: Json = False,
) -> None:
    """Start a shadow: a model classifies a share of the live traffic, without anyone getting its answers.

    Without a model, show how many answers would change if that model went live.
    """
    from components.errors import SettingsError

    if tag and (off or html):
        raise SettingsError("--off and --html take no model")
    if tag:
        _start(tag, share, hours, images, keep_images, reason, as_json)
    elif off:
        _stop(as_json)
    else:
        _show(html, as_json)


def _start(
    tag: str, share: float, hours: float | None, images: int | None, keep_images: int, reason: str, as_json: bool
) -> None:
    from components.files import user_name
    from components.shadow.control import start_shadow

    started = start_shadow(
        tag,
        share=share,
        who=user_name(),
        why=reason,
        keep_images=keep_images,
        until=_after(hours),
        images=images,
    )
    if as_json:
        print(json.dumps(asdict(started)))
        return
    print(f"{tag} is in shadow: it classifies {_describe(started)}")
    print("'fashion shadow' shows what would change; 'fashion shadow --off' ends it")


def _after(hours: float | None) -> "datetime | None":
    from datetime import UTC, datetime, timedelta

    return None if hours is None else datetime.now(UTC) + timedelta(hours=hours)


def _describe(shadow: "Shadow") -> str:
    ends = [f"until {shadow.until[:16]} UTC"] if shadow.until else []
    ends += [f"until {shadow.images:,} images are mirrored"] if shadow.images else []
    return ", ".join([f"{100 * shadow.share:.3g} % of the images", *ends])


def _stop(as_json: bool) -> None:
    from components.shadow.control import stop_shadow

    ended = stop_shadow()
    if as_json:
        print(json.dumps(asdict(ended) if ended else None))
        return
    print(f"the shadow of {ended.tag} has ended" if ended else "no model is in shadow")


def _show(html: Path | None, as_json: bool) -> None:
    from components.errors import ModelError
    from components.files import require_writable
    from components.registry.champion import try_live
    from components.shadow.control import current_shadow
    from components.shadow.counts import champions_of, list_shadows
    from components.shadow.verdict import ShadowVerdict

    current = current_shadow()
    shadows = list_shadows()
    newest = current or (shadows[-1] if shadows else None)
    found = [ShadowVerdict(one) for one in champions_of(newest)] if newest else []
    live = try_live()
    now = next((one for one in found if live and one.counts.champion == live.tag), None)
    if html:
        if not (now or found):
            raise ModelError("no shadow has seen an image yet; 'fashion shadow MODEL' starts one")
        require_writable(html.parent)
        from components.shadow.page import write_page

        write_page(now or found[-1], html)
    if as_json:
        print(json.dumps({"shadow": asdict(current) if current else None, "found": [one.to_json() for one in found]}))
        return
    _print_state(current, live.tag if live else "")
    if newest and not found:
        print("it has seen no image yet", file=sys.stderr)
    for one in found:
        _print_verdict(one, is_live=one is now)
    if html:
        print(f"\n{html}")


def _print_state(current: "Shadow | None", live: str) -> None:
    if current is None:
        print("no model is in shadow; 'fashion shadow MODEL' starts one")
        return
    print(f"{current.tag} is in shadow since {current.since[:16]} UTC: {_describe(current)}")
    print(f"started by {current.who}: {current.why}")
    if current.tag == live:
        print("it is live itself now, so there is nothing to compare; 'fashion shadow --off' ends the shadow")


def _print_verdict(verdict: "ShadowVerdict", is_live: bool) -> None:
    which = "the live model" if is_live else "an earlier model,"
    print(f"\n{verdict.counts.candidate} compared with {which} {verdict.counts.champion}")
    print_table(list(verdict.describe()))
    if verdict.classes:
        print()
        print_table(list(map(_class_line, verdict.classes)), COLUMNS)


def _class_line(one: "ClassFlips") -> tuple[str, ...]:
    to = ", ".join(f"{name} {100 * part.share:.1f} %" for name, part in one.to[:SHOWN])
    return one.name, f"{one.changed.of:,}", str(one.changed), to
