"""A stand-in TalkOver API that plays two minutes of incidents; nothing here imports the monitor."""
