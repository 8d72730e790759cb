"""The decisions: pure functions on frozen values. No I/O, no clock, no logging, no asyncio.

`model` has the nouns, `rules` says what can be wrong with an SFTP config, `alerts` when a
finding becomes an alert, `environment` what is wrong with an API, `assess` puts them together.
"""
