"""A stand-in SFTP world, a TalkOver API on it, and a story; nothing here imports the monitor."""
