"""The long tests, whose figures are published in docs/evidence/reliability.md: `make torture`.

A part is a module here with `main(argv) -> list[Figure]`; its defaults are the full length. The
slow tests of the suite run the same code in its short form.
"""
