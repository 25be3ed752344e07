"""Answers: which nouns does every stage share? Frozen records, no torch, integer nanoseconds."""
