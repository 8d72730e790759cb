"""The demo: a stand-in TalkOver API that plays two minutes of incidents, over and over.

`story` says what happens when, `platform` serves it. Nothing here imports the monitor: what it
shows in the demo is what it learnt over the wire.
"""
