"""Fakes, builders and helpers that several tests share; importable as `support.…`."""
