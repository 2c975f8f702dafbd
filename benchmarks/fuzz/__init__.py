"""Coverage-guided fuzzing of whatever reads what others send: see `__main__`."""
