"""What is counted about predictions and outcomes: bucket edges, reference bins, and the counters of a server pod.

`buckets` fixes the scales that pods, collectors and gates share (no NumPy: collectors import it); `reference` holds the
bins a manifest brings; `rows` counts one row per request in a pod.
"""
