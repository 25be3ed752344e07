"""Answers: how does a session become Chrome's trace JSON, which Perfetto opens, and torch.profiler's a session?"""
