"""Answers: which workloads come with syncwatch? One file a scenario; the rest is what it is made of."""
