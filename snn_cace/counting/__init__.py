"""What a network costs: operations counted on real clips, module by module, and their energy by several models."""
