"""The decisions: pure functions on frozen values. No I/O, no clock, no logging, no asyncio."""
