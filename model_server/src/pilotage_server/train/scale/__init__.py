"""Larger than one process: fits on other processes or machines (`backend`), rows beyond memory (`streaming`)."""
