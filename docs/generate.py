"""Write the pages that are made from the code: `python docs/generate.py`. A test keeps them up to date."""

from __future__ import annotations

from pathlib import Path

from pilotage.api.reasons import ConditionType, describe

PAGES = Path(__file__).parent


def reasons() -> str:
    """docs/reasons.md: every reason of a condition or an event, with what it means and what to do."""
    kinds = ", ".join(f"`{kind.value}`" for kind in ConditionType)
    lines = [
        "# Reasons",
        "",
        f"The closed list behind every condition ({kinds}) and event. Made from `pilotage.api.reasons`.",
        "",
        "| reason | what it means, what to do |",
        "|---|---|",
    ]
    lines += [f"| `{reason}` | {description} |" for reason, description in describe()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (PAGES / "reasons.md").write_text(reasons())
