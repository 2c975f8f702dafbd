"""What a run tells people: `report.html`, self-contained with inline SVG, and `model_card.md`.

Both are pure functions of the run's document (result.json), so that either can be made again from it.
"""
