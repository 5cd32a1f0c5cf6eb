"""``make hostile``: writes docs/hostile.md."""

from tests.hostile.report import main

main()
