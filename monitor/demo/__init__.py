"""The demo: a stand-in TalkOver API that plays two minutes of incidents, over and over.

`story` says who is there, what happens and when; `state` plays it; `platform` serves it over HTTP.
Nothing here imports the monitor, so that what the monitor shows in the demo is what it learnt over
the wire, as it would from the real platform.
"""
