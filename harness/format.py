"""Numbers as text, the same in the terminal and on the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.scores import Summary


def interval_text(summary: Summary) -> str:
    """``[0.598, 0.690]``."""
    return f"[{summary.low:.3f}, {summary.high:.3f}]"


def score_text(summary: Summary | None) -> str:
    """``0.6451 [0.598, 0.690]``; FAILED for None."""
    return f"{summary.value:.4f} {interval_text(summary)}" if summary else "FAILED"


def signed(value: float) -> str:
    """``+0.031`` or ``−0.031``, with a minus sign as wide as the plus; ``0.000`` has none."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def probability(p: float) -> str:
    """``0.034``; ``< 0.001`` below that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """``20 ms``, ``0.4 s``, ``38 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def latency(seconds: float) -> str:
    """``0.42 ms``, ``8.1 ms``, ``120 ms``, ``2.4 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    thousandths = seconds * 1000
    return (
        f"{thousandths:.2f} ms" if thousandths < 1 else f"{thousandths:.{1 if thousandths < 10 else 0}f} ms"
    )


def size(count: float) -> str:
    """``12 MB``; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def joules(count: float) -> str:
    """``12 kJ``."""
    for unit in ("J", "kJ", "MJ"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "J" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GJ"


def rate(per_second: float) -> str:
    """``1,042`` or, when it is slow, ``0.53``."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"
