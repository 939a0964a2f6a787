"""Benchmarks: each times both sides in one run, on one thread each."""
