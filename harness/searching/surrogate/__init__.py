"""What errors a network will make after a training of some length, guessed from what was trained before."""
