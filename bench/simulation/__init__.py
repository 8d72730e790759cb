"""The whole daemon on virtual time, for days, against a platform and a machine that misbehave.

`plan` draws from a seed what happens when, `world` makes it happen to the real daemon, `platform`
is what the API answers, `opinion` what alerts should come of these answers, and `checks` compare
after every decision. One seed is one story, always the same: `run` runs it.
"""
