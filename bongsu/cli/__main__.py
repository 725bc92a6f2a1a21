"""`python -m bongsu.cli`, which is what `torchrun -m bongsu.cli` runs."""

from bongsu.cli import main

main()
