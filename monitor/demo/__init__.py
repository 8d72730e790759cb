"""The demo: a stand-in TalkOver API that plays two minutes of incidents, over and over.

`campaigns` says who is there, `state` what the stand-in remembers, `story` what happens and when,
`platform` serves it all over HTTP. Nothing here imports the monitor, so that what the monitor shows
in the demo is what it learnt over the wire, as it would from the real platform.
"""
