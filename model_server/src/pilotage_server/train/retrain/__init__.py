"""From feedback to a successor, or to the proof that none is needed.

`join` puts the payload log and labels together, `trigger` asks whether anything has changed, `run` trains a
challenger on what came first and compares it with the champion on what came later than both of their training rows.
"""
