"""What the monitor costs, beside what a user would pick instead: `make bench`, docs/performance.md.

`figures` declares what is measured and which target it has, `experiments` measure the real programs
in turns, `programs` starts them and looks at their processes, `peers` has the configs of nginx,
blackbox_exporter and Prometheus, and `page` writes the figures down.
"""
