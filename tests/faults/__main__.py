"""``make faults``: writes docs/faults.md."""

from tests.faults.report import main

main()
