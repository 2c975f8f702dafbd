"""Fixtures that every test area may use; what they are is told where they are defined."""

from support.clouds import clouds, hub, namespace, start_clouds

__all__ = ["clouds", "hub", "namespace", "start_clouds"]
