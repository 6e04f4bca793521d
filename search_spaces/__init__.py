"""What can be built: the notation of networks, their shapes and costs, and search spaces. No torch."""
