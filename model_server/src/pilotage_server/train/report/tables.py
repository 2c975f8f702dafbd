"""Tables a screen reader can follow: captions, headings with a scope, a confusion matrix that is no picture.

Cells are HTML already; whoever fills them escapes what comes from data.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, marked: int | None = None) -> str:
    """A table whose first column names its rows; `marked`: the row that matters most."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f"<tr{' class=chosen' if i == marked else ''}>"
        f'<th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for i, row in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def matrix(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows actual, columns predicted, shaded by the share of the row; with recall and precision."""
    names = [escape(label if len(label) <= 18 else label[:17] + "…") for label in labels]
    has_shares = len(labels) <= 5
    top = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for i, row in enumerate(counts):
        total = sum(row)
        cells = "".join(_cell(count, total, is_right=i == j, has_share=has_shares) for j, count in enumerate(row))
        rows.append(f'<tr><th scope="row">{names[i]}</th>{cells}<td class="margin">{_share(row[i], total)}</td></tr>')
    found = [_share(counts[j][j], sum(row[j] for row in counts)) for j in range(len(labels))]
    last = "".join(f'<td class="margin">{share}</td>' for share in found)
    return (
        '<div class="scroll"><table class="matrix"><caption>Rows are what was true, columns what the model said; the '
        'margins are recall (right) and precision (below).</caption><thead><tr><th scope="col">true ↓ said →</th>'
        f'{top}<th scope="col" class="margin">found</th></tr></thead><tbody>{"".join(rows)}'
        f'<tr><th scope="row" class="margin">right</th>{last}<td></td></tr></tbody></table></div>'
    )


def _cell(count: int, total: int, *, is_right: bool, has_share: bool) -> str:
    share = count / total if total else 0.0
    # Never darker than 60 %: the text on it keeps its contrast in light and in dark.
    shade = round(4 + 56 * share) if count else 0
    small = f"<small>{_share(count, total)}</small>" if has_share and count else ""
    kind = "right" if is_right else "wrong"
    return f'<td class="{kind}" style="--share:{shade}%">{count or "·"}{small}</td>'


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"
