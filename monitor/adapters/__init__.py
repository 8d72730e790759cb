"""The outside world: one module or package per thing we talk to. None imports another."""
