"""`python -m monitor` is the command `sftp-monitor`."""

from monitor.cli import main

if __name__ == "__main__":
    main()
