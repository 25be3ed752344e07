"""The nouns that every stage shares. Frozen records, no torch, integer nanoseconds."""
