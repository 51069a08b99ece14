"""A session as a picture: its calls over time, a lane for each tool, drawn as SVG.

How a call ended is told by colour and by shape, for those who see no colours and for paper: a dot went well, a cross in
a square was denied, a diamond was held for a person, a triangle failed, a ring has no outcome.  Pure.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from callgate.audit.story import Step, Tone
from callgate.cli.markup import Markup, joined, tag
from callgate.cli.session_words import call_words, ending_words, quoted
from callgate.cli.words import duration, offset

# A picture of more lanes is no overview; the rest share one.
_MAX_LANES: Final = 12
_LANE_PX: Final = 34
_LABEL_PX: Final = 210
_PLOT_PX: Final = 700
_MARGIN_PX: Final = 34
_TOP_PX: Final = 30
_LABEL_MAX_CHARS: Final = 30
_TICKS: Final = 5
# A pause this many times as long as the mean one as drawn would press everything else together: it is cut to that, and
# the cut is drawn.  Each round finds a shorter mean; a few dozen are as good as all.
_CUT_MEANS: Final = 4
_ROUNDS: Final = 32
# Server and tool; None for those that have no lane of their own.
_Lane: TypeAlias = tuple[str, str] | None
_LEFT_PX: Final = _LABEL_PX + _MARGIN_PX


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a moment is on the picture.  Long pauses are cut; `cuts`: where each begins and ends, in µs."""

    knots: tuple[int, ...]
    places: tuple[float, ...]
    cuts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, offsets: Sequence[int], width: float) -> "Scale":
        """For moments in µs, in any order; at least one."""
        knots = sorted(set(offsets))
        pauses = list(pairwise(knots))
        gaps = [after - before for before, after in pauses]
        drawn: list[float] = [*gaps]
        for _ in range(_ROUNDS):
            longest = _CUT_MEANS * sum(drawn) / len(drawn) if drawn else 0
            drawn = [min(gap, longest) for gap in drawn]
        unit = width / sum(drawn) if drawn else 0
        places = [0.0]
        for each in drawn:
            places.append(places[-1] + each * unit)
        cuts = (pause for pause, gap, shown in zip(pauses, gaps, drawn, strict=True) if shown < gap)
        return cls(tuple(knots), tuple(places), tuple(cuts))

    def x(self, us: int) -> float:
        """From the left edge of the plot, in its units."""
        index = min(bisect_right(self.knots, us) - 1, len(self.knots) - 2)
        if index < 0:
            return 0.0
        before, after = self.knots[index], self.knots[index + 1]
        share = (us - before) / (after - before)
        return self.places[index] + share * (self.places[index + 1] - self.places[index])

    def moment(self, x: float) -> int:
        """The other way: what moment a place stands for, in µs."""
        index = min(bisect_right(self.places, x) - 1, len(self.places) - 2)
        if index < 0:
            return self.knots[0]
        left, right = self.places[index], self.places[index + 1]
        share = (x - left) / (right - left) if right > left else 0
        return round(self.knots[index] + share * (self.knots[index + 1] - self.knots[index]))


def picture(steps: Sequence[Step]) -> Markup:
    """An SVG element; nothing for no steps.  Each mark links to `#step-N`."""
    if not steps:
        return joined()
    lanes = _lanes(steps)
    scale = Scale.of([step.offset_us for step in steps], _PLOT_PX)
    bottom = _TOP_PX + _LANE_PX * len(lanes)
    return tag(
        "svg",
        tag("title", "The requests over time", id="picture-title"),
        tag("desc", _described(steps), id="picture-text"),
        *_drawn_lanes(lanes),
        *_axis(scale, bottom),
        *_cuts(scale, bottom),
        *_marks(steps, lanes, scale),
        viewBox=f"0 0 {_LABEL_PX + _PLOT_PX + 2 * _MARGIN_PX} {bottom + 34}",
        role="img",
        aria_labelledby="picture-title picture-text",
    )


def mark(tone: Tone) -> Markup:
    """One mark alone, for a legend or a heading; says nothing to those who do not see it."""
    return tag(
        "svg", _shape(tone), class_=f"mark {tone}", viewBox="-9 -9 18 18", width=16, height=16, aria_hidden="true"
    )


def _shape(tone: Tone) -> Markup:
    match tone:
        case Tone.WELL:
            return tag("circle", r=6)
        case Tone.DENIED:
            return tag("path", d="M-7-7H7V7H-7ZM-3.5-3.5 3.5 3.5M3.5-3.5-3.5 3.5")
        case Tone.HELD:
            return tag("path", d="M0-7 7 0 0 7-7 0Z")
        case Tone.FAILED:
            return tag("path", d="M0-8 8 6.5H-8Z")
        case Tone.OPEN:
            return tag("circle", r=5)


def _described(steps: Sequence[Step]) -> str:
    return f"{len(steps)} requests in {duration(steps[-1].offset_us - steps[0].offset_us)}; each is told below."


def _lane(step: Step) -> _Lane:
    return step.entry.server, step.entry.tool or step.entry.method


def _lanes(steps: Sequence[Step]) -> Mapping[_Lane, int]:
    """Each lane and its number from above, in the order in which they were first used."""
    found: list[_Lane] = list(dict.fromkeys(map(_lane, steps)))
    if len(found) > _MAX_LANES:
        found = [*found[: _MAX_LANES - 1], None]
    return {lane: number for number, lane in enumerate(found)}


def _label(lane: _Lane) -> str:
    if lane is None:
        return "other tools"
    label = "/".join(quoted(name) for name in lane if name) or "not read"
    return label if len(label) <= _LABEL_MAX_CHARS else f"{label[: _LABEL_MAX_CHARS - 1]}…"


def _y(lane: int) -> float:
    return _TOP_PX + _LANE_PX * (lane + 0.5)


def _drawn_lanes(lanes: Mapping[_Lane, int]) -> Iterator[Markup]:
    for lane, number in lanes.items():
        y = _y(number)
        yield _line("lane", (_LABEL_PX, y), (_LABEL_PX + _PLOT_PX + 2 * _MARGIN_PX, y))
        yield tag("text", _label(lane), class_="name", x=_LABEL_PX - 8, y=f"{y + 4}")


def _axis(scale: Scale, bottom: float) -> Iterator[Markup]:
    ticks = _TICKS if len(scale.knots) > 1 else 1
    for number in range(ticks):
        x = _PLOT_PX * number / max(ticks - 1, 1)
        at = _LEFT_PX + x
        yield _line("tick", (at, _TOP_PX), (at, bottom + 4))
        yield tag("text", offset(scale.moment(x)), class_="time", x=f"{at:.1f}", y=f"{bottom + 20}")


def _cuts(scale: Scale, bottom: float) -> Iterator[Markup]:
    for before, after in scale.cuts:
        at = _LEFT_PX + (scale.x(before) + scale.x(after)) / 2
        yield _line("cut", (at, _TOP_PX - 6), (at, bottom))
        yield tag("text", f"{duration(after - before)} cut", class_="time", x=f"{at:.1f}", y=_TOP_PX - 12)


def _line(kind: str, begin: tuple[float, float], end: tuple[float, float]) -> Markup:
    (x1, y1), (x2, y2) = begin, end
    return tag("line", class_=kind, x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}")


def _marks(steps: Sequence[Step], lanes: Mapping[_Lane, int], scale: Scale) -> Iterator[Markup]:
    # What went well is drawn first, so that it hides nothing that did not.
    for step in sorted(steps, key=lambda step: (step.tone is not Tone.WELL, step.number)):
        x, y = _LEFT_PX + scale.x(step.offset_us), _y(lanes.get(_lane(step), _MAX_LANES - 1))
        words = f"{step.number}  {offset(step.offset_us)}  {call_words(step)}: {ending_words(step)}"
        drawn = tag("g", tag("title", words), _shape(step.tone), class_=step.tone, transform=f"translate({x:.1f} {y})")
        # No stop for the keyboard: the list below has them all.
        yield tag("a", drawn, href=f"#step-{step.number}", tabindex=-1)
